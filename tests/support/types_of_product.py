"""`python -m tests.support.types_of_product` runs mypy over the product, laid out as it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("cases", "reference", "backends", "report")


def main() -> int:
    """Copy the folders into one package, which is what they are for whoever imports them, and check it."""
    with TemporaryDirectory() as folder:
        package = Path(folder) / "backproof"
        shutil.copytree(ROOT / "backproof", package)
        for room in ROOMS:
            shutil.copytree(ROOT / room, package / room, ignore=shutil.ignore_patterns("*.yaml", "*.npz", "*.csv"))
        options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
        command = [sys.executable, "-m", "mypy", *options, "-p", "backproof"]
        return subprocess.run(command, cwd=folder, env=os.environ | {"MYPYPATH": folder}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
