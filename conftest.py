"""In a checkout the plugin is loaded from beside this file; its options have short names too."""

import os
from pathlib import Path

import pytest

import backproof

pytest_plugins = ["backproof.pytest_plugin"]

if Path(backproof.__file__).parents[1] != Path(__file__).parent:
    raise pytest.UsageError(
        f"backproof is imported from {backproof.__file__}, and not from this checkout; "
        "say `python -m pytest`, or install the checkout itself: pip install --editable ."
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--backend` and `--require-backend`."""
    group, short = parser.getgroup("backproof"), "in this checkout the same as --backproof-"
    backend = {"dest": "backproof_backend", "action": "append", "metavar": "NAME"}
    group.addoption("--backend", help=f"{short}backend", **backend)
    required = {"dest": "backproof_require_backend", "default": os.environ.get("CI") == "true"}
    what = f"{short}require-backend"
    group.addoption("--require-backend", action="store_true", help=what, **required)
