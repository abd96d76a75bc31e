"""An X server with outputs that can be plugged and unplugged: Xorg with its dummy driver (DUMMY0 is there from the start)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.processes import end
from tests.x11_display import need

CONFIG = """\
Section "ServerFlags"
  Option "AutoAddDevices" "false"
  Option "AutoAddGPU" "false"
EndSection
Section "Device"
  Identifier "card"
  Driver "dummy"
  VideoRam 65536
EndSection
Section "Monitor"
  Identifier "monitor"
  HorizSync 5.0-1000.0
  VertRefresh 5.0-200.0
EndSection
Section "Screen"
  Identifier "screen"
  Device "card"
  Monitor "monitor"
  DefaultDepth 24
  SubSection "Display"
    Depth 24
    Modes "1024x768"
    Virtual 2560 1600
  EndSubSection
EndSection
"""


@contextlib.contextmanager
def xorg_server(folder: Path, *, screen: str = "1024x768") -> Iterator[str]:
    """Run Xorg and yield its display; skip the test where it, or its driver, is missing or may not run."""
    import pytest

    need("Xorg", "xrandr")
    config, log = folder / "xorg.conf", folder / "xorg.log"
    config.write_text(CONFIG.replace("1024x768", screen))
    reading, writing = os.pipe()
    command = ["Xorg", "-displayfd", str(writing), "-config", str(config), "-logfile", str(log), "-noreset",
               "-novtswitch", "-nolisten", "tcp", "-ac"]  # fmt: skip
    server = subprocess.Popen(command, pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        if not number:
            pytest.skip("Xorg with the dummy driver does not start here (xserver-xorg-video-dummy, and root)")
        yield f":{number}"
    finally:
        end(server)


def xrandr(display: str, *arguments: str) -> str:
    """Change outputs; return what xrandr prints."""
    command = ["xrandr", "-d", display, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
