"""TCP ports and display numbers for tests: those that nobody else on this machine takes in the meantime.

What the kernel or the X server picks as free is free only until it picks again: for somebody else, when a test has yet to use
it, or ends what used it and starts it once more. Tests run beside each other, so each worker of pytest-xdist takes from a part
of its own, and all of them lie where neither the kernel's own choice (from 32768 upwards) nor that of `Xvfb -displayfd` (from 0
upwards) comes.
"""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

PORTS = range(10_000, 30_000)
DISPLAYS = range(1_000, 3_000)
PARTS = 20
"""Of ports and displays; more workers than that on one machine would share them, and collide only by chance."""

_taken: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port where nobody listens, and which no other test gets."""
    while True:
        port = random.choice(_own(PORTS))
        with socket.socket() as probe:
            if port not in _taken and probe.connect_ex((host, port)) != 0:
                _taken.add(port)
                return port


def free_display() -> str:
    """Return the name of a display (":1234") that nobody has, for an X server that is started again under the same name."""
    while True:
        number = random.choice(_own(DISPLAYS))
        if not Path(f"/tmp/.X{number}-lock").exists():
            return f":{number}"


def _own(numbers: range) -> range:
    """Return this worker's part; without workers, the first."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = len(numbers) // PARTS
    start = worker % PARTS * size
    return numbers[start : start + size]
