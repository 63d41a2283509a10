"""Where the numbers come from: versions, processor, threads, and the command that makes them again."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from pathlib import Path

from backproof.cases.console.command import INSTALLED, as_called
from backproof.cases.console.terminal import cut


def describe_environment(backends: list[dict[str, str]]) -> dict[str, str]:
    """One line a fact; the backends as they describe themselves."""
    told = {
        row["backend"]: cut(
            ", ".join(
                value if key == "packages" else f"{key}: {value}"
                for key, value in row.items()
                if key != "backend"
            )
        )
        for row in backends
    }
    arguments = sys.argv[2:] if INSTALLED else sys.argv[1:]  # behind `backproof report`
    return {
        "command": f"{as_called('report')} {shlex.join(arguments)}".rstrip(),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{processor()}, {os.cpu_count()} cores",
        **told,
    }


def processor() -> str:
    """What the machine computes with."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
