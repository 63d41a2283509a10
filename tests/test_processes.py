"""Worker processes end with the program, however it ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

BUSY = """
import sys, time
from report.processes import processes

def main():
    with processes(2) as pool:
        pool.submit(print, "at work", flush=True).result()
        pool.submit(time.sleep, 600)
        pool.submit(time.sleep, 600).result()

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_program(tmp_path, end):
    """Standard output is open as long as one of its processes lives."""
    script = tmp_path / "busy.py"
    script.write_text(BUSY)
    program = subprocess.Popen(
        [sys.executable, script], env={"PYTHONPATH": str(Path(__file__).parents[1])}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert program.stdout.readline() == "at work\n"
        program.send_signal(end)
        assert program.communicate(timeout=20)[0] == ""
        assert program.returncode != 0
    finally:
        program.kill()
