"""Where the numbers come from: versions, processor, threads, and the command to make them again."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from contextlib import suppress
from pathlib import Path

from backproof.cases.console.command import INSTALLED, as_called
from backproof.cases.console.terminal import cut


def describe_environment(backends: list[dict[str, str]]) -> dict[str, str]:
    """Return the facts by name, a line each; the backends as they describe themselves."""
    told = {}
    for row in backends:
        facts = {key: value for key, value in row.items() if key != "backend"}
        words = (value if key == "packages" else f"{key}: {value}" for key, value in facts.items())
        told[row["backend"]] = cut(", ".join(words))
    arguments = sys.argv[2:] if INSTALLED else sys.argv[1:]  # behind `backproof report`
    return {
        "command": f"{as_called('report')} {shlex.join(arguments)}".rstrip(),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{processor()}, {os.cpu_count()} cores",
        **told,
    }


def processor() -> str:
    """Return the name of the processor."""
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
