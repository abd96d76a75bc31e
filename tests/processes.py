"""Child processes of tests: how they end."""

from __future__ import annotations

import subprocess

ENDS_S = 10.0
"""For a process that was asked to end; then it is killed."""


def end(*processes: subprocess.Popen[bytes]) -> None:
    """Ask processes to end, in this order, and wait until all have; kill what does not."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
