"""The portable source's own logic, with pynput on an X display (Windows and macOS are not tested here)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.x11_display import x_server
from tests.x11_injector import Injector

pytestmark = pytest.mark.x11

WATCH = """
import asyncio, json, sys
from capture.sources.portable import PortableDesktop
from capture.sources.windows import Window

told = []

class Sink:
    def __getattr__(self, name):
        return lambda *arguments: told.append((name, arguments[1:]))

async def main():
    focused = Window(1, "editor", "", 2, 0, 0, 10, 10)
    desktop = PortableDesktop(foreground=lambda: focused)
    await desktop.start(asyncio.get_running_loop(), Sink())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.sleep(0.5)
    desktop.stop()
    assert desktop.windows() is None
    print(json.dumps([(name, [v for v in values if isinstance(v, (int, bool))]) for name, values in told]))

asyncio.run(main())
"""


async def test_what_is_injected_is_told() -> None:
    if find_spec("pynput") is None:
        pytest.skip("pynput is not installed (it is only for Windows and macOS)")
    with x_server() as display:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WATCH, cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "DISPLAY": display}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert (await process.stdout.readline()).strip() == b"ready"
        injector = Injector(display)
        for step in range(10):
            injector.move_to(20 + step, 30)
        injector.click(1)
        injector.click(4)
        for down in (True, False):
            injector.key(ord("a"), "LETTER", down=down)
            injector.key(0xFF0D, "EDIT", down=down)
            injector.key(0xFFE1, "MODIFIER", down=down)
        output, _ = await process.communicate(b"\n")
        injector.close()
    told = [(name, *values) for name, values in json.loads(output)]
    assert told[0] == ("display", 1280, 800)
    assert told[1] == ("focus",)
    pointer = [one[1:] for one in told if one[0] == "pointer"]
    assert pointer == [event[:3] for event in injector.truth.pointer]
    assert sorted(one[1:] for one in told if one[0] == "key") == sorted(
        [(True, 1, 0), (True, 5, 1), (True, 7, 2), (False, 1, 0), (False, 5, 1), (False, 7, 2)]
    )
