"""`python .ci/release.py v1.2.3`: check that this tag may become a release, and print its notes."""  # noqa: INP001

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNRELEASED = "(unreleased)"


def notes(tag: str, root: Path) -> str:
    """Return the text of the CHANGELOG's section on the version that a tag names.

    Raises:
        ValueError: with all that must be changed before.
    """
    version = tomllib.loads(_text(root, "pyproject.toml"))["project"]["version"]
    citation = re.search(r"^version: (\S+)$", _text(root, "CITATION.cff"), re.MULTILINE)
    section = re.search(
        rf"^## {re.escape(version)}(?P<more> [^\n]*)?\n(?P<text>.*?)(?=^## |\Z)",
        _text(root, "CHANGELOG.md"),
        re.MULTILINE | re.DOTALL,
    )
    wrong = []
    if tag != f"v{version}":
        wrong.append(
            f"the tag is {tag}, but pyproject.toml has {version}: expected the tag v{version}"
        )
    if not citation or citation[1] != version:
        found = citation[0] if citation else "no version"
        wrong.append(f"CITATION.cff has {found}: expected version: {version}")
    if not section or not section["text"].strip():
        wrong.append(
            f"CHANGELOG.md says nothing below a heading '## {version}': write what is new in it"
        )
    elif UNRELEASED in (section["more"] or ""):
        wrong.append(f"CHANGELOG.md calls {version} {UNRELEASED}: put the date in its place")
    if wrong:
        raise ValueError("\n".join(wrong))
    return section["text"].strip()


def _text(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def main() -> int:
    """Print the notes; 1 where there is something to change, 2 without a tag."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(notes(sys.argv[1], ROOT))
    except ValueError as wrong:
        print(wrong, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
