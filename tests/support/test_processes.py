"""Worker processes end with the program, however it ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

BUSY = """
import signal, sys, time
from tests.support.processes import processes

def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    with processes(2) as pool:
        pool.submit(print, "at work", flush=True).result()
        pool.submit(time.sleep, 600)
        pool.submit(time.sleep, 600).result()

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_workers_end_with_the_program(tmp_path, end):
    """Standard output is open as long as one of its processes lives."""
    script, log = tmp_path / "busy.py", tmp_path / "log"
    script.write_text(BUSY)
    command = [sys.executable, "-X", "faulthandler", script]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    with (
        log.open("w") as errors,
        subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=errors) as program,
    ):
        assert program.stdout.readline() == "at work\n"
        program.send_signal(getattr(signal, end))
        try:
            assert program.communicate(timeout=60)[0] == ""
        except subprocess.TimeoutExpired:
            program.send_signal(signal.SIGABRT)
            program.communicate()
            pytest.fail(f"its processes live on; it was at\n{log.read_text()}")
        assert program.returncode != 0
