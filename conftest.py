"""In a checkout the plugin is loaded from beside this file, and its options have short names too."""

import os
from pathlib import Path

import pytest

import backproof

pytest_plugins = ["backproof.pytest_plugin"]

if Path(backproof.__file__).parents[1] != Path(__file__).parent:
    raise pytest.UsageError(
        f"backproof is imported from {backproof.__file__}, and not from this checkout; say `python -m pytest`, or "
        "install the checkout itself: pip install --editable ."
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--backend` and `--require-backend`."""
    add, same = parser.getgroup("backproof").addoption, "in this checkout the same as --backproof-"
    required = os.environ.get("CI") == "true"
    add(
        "--backend",
        action="append",
        dest="backproof_backend",
        metavar="NAME",
        help=f"{same}backend",
    )
    add(
        "--require-backend",
        action="store_true",
        dest="backproof_require_backend",
        default=required,
        help=f"{same}require-backend",
    )
