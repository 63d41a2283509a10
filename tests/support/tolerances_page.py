"""`python -m tests.support.tolerances_page`: compute the table of `docs/tolerances.md`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, PACKAGE = ROOT / "docs" / "tolerances.md", ROOT / "tests" / "support" / "kernels"
TABLE = re.compile(
    r"(?<=<!-- table: written by `python -m tests.support.tolerances_page` -->\n).*?(?=<!-- end)", re.DOTALL
)
HEADER = """\
| suite, test | gradient | its tolerance | the whole gradient times 1 ± e passes up to | is refused here from | its largest element off by e passes up to | is refused here from |
|---|---|---|---|---|---|---|
"""  # noqa: E501


def table() -> str:
    """The table, computed where the package of the layers is installed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (PACKAGE, ROOT)))}
    command = [sys.executable, str(PACKAGE / "tolerances.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    rows = (f"| {' | '.join(row.values())} |\n" for row in json.loads(done.stdout))
    return HEADER + "".join(rows)


def main() -> None:
    """Write the table into the page."""
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
