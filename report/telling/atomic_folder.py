"""A folder that changes all at once: nothing old goes before all that is new is on the disk."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

SUMMARY, MOST_IN_SUMMARY = "GITHUB_STEP_SUMMARY", 2**20
WRITTEN = ".written"  # the names of what was written, so that nothing else is ever removed
CUT = (
    "\n\n*The rest is cut off here: a summary has room for 1 MiB. "
    "The whole report is in the file report.md.*\n"
)


def write_all(folder: Path, files: dict[str, bytes], *stale: str) -> None:
    """Write the files of a folder, and remove those of an earlier call that are not among them.

    Args:
        folder: it is made if need be.
        files: content by name, which may lead into folders below.
        stale: the patterns of the names that may be removed.

    Raises:
        OSError: if one can't be written; then all is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = _written(folder)
    files = files | {WRITTEN: json.dumps([*files], indent=1).encode()}
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        for name, content in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).replace(folder / name)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    for name in before - files.keys():
        depth = name.count("/")
        is_stale = any(fnmatchcase(name, one) and depth == one.count("/") for one in stale)
        if is_stale and ".." not in name.split("/"):
            (folder / name).unlink(missing_ok=True)


def _written(folder: Path) -> set[str]:
    """Return the names that the report before has written here; none if it does not say."""
    names = None
    with suppress(OSError, ValueError, RecursionError):
        names = json.loads((folder / WRITTEN).read_bytes())
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def write_summary(report: bytes) -> None:
    """Append the report to the summary of a GitHub job, if this is one, as far as there is room."""
    if path := os.environ.get(SUMMARY):
        with Path(path).open("ab") as summary:
            summary.write(cut_off(report, MOST_IN_SUMMARY - summary.tell()))


def cut_off(report: bytes, most: int) -> bytes:
    """Return at most so many bytes, cut between two lines, and say that they are cut.

    What is folded is closed again.
    """
    if len(report) <= most:
        return report
    closing = b"\n\n</details>" * 2
    room = max(most - len(CUT.encode()) - len(closing), 0)
    kept = report[: report.rfind(b"\n", 0, room) + 1]
    fence = b"\n```" if kept.count(b"\n```") % 2 else b""
    opened = kept.count(b"<details>") - kept.count(b"</details>")
    return (kept + fence + b"\n\n</details>" * opened + CUT.encode())[: max(most, 0)]
