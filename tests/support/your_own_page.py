"""`python -m tests.support.your_own_page`: make the outputs that `docs/your-own.md` shows, from its examples."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE, EXAMPLES = ROOT / "docs" / "your-own.md", ROOT / "docs" / "examples"
BLOCK = re.compile(r"(<!-- (\w+): made by `make own` -->\n```text\n).*?(```\n)", re.DOTALL)


class Show(NamedTuple):
    """An example on its case; `wrong` is the expression whose sign is changed in it."""

    example: str
    case: str
    wrong: str = ""


SHOWS = {
    "template": Show("", "network/three_two_one"),
    "filled": Show("three_two_one", "network/three_two_one"),
    "sign": Show("three_two_one", "network/three_two_one", "np.dot(inputs.T"),
    "class": Show("three_four_one", "xor/three_four_one"),
    "class_sign": Show("three_four_one", "xor/three_four_one", "np.dot(Xj.T"),
}


def output(show: Show) -> str:
    """What the report prints of it."""
    with tempfile.TemporaryDirectory() as folder:
        mine = Path(folder) / "mine.py"
        case = f"cases/{show.case}.yaml"
        if show.example:
            text = (EXAMPLES / f"{show.example}.py").read_text(encoding="utf-8")
            mine.write_text(text.replace(show.wrong, f"-{show.wrong}") if show.wrong else text, encoding="utf-8")
        else:
            _python("backends", "--new", str(mine), case)
        own = f"--backend=mine={mine}:gradients"
        printed = _python("report", case, own, "--backend=torch", "--backend=jax", "--no-exact", f"--output={folder}")
        return printed.partition("\nThe report is in")[0]


def _python(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def main() -> None:
    """Write the outputs into the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda found: f"{found[1]}{output(SHOWS[found[2]])}{found[3]}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
