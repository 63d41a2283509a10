"""Where the numbers come from: versions, processor, threads, and the command that makes them again."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from pathlib import Path

from backends import describe


def describe_environment(names: list[str]) -> dict[str, str]:
    """One line a fact."""
    backends = {
        row.pop("backend"): ", ".join(value if key == "packages" else f"{key}: {value}" for key, value in row.items())
        for row in map(describe, names)
    }
    return {
        "command": shlex.join(["python", "-m", "report", *sys.argv[1:]]),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        **backends,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
