"""Shell: a virtual desktop with real applications: Xvfb, a window manager, a browser, an editor, a terminal.

It is a world of its own: its display number is free and guarded by a cookie, its home folder is a temporary one, it has no
session bus, and the browser reaches nothing but the pages of `benches.site`. All of it ends with the `with` block, also
when the bench is killed (`benches.keeper`). Nothing else on the machine is touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benches import furniture
from benches.display import Display, Window
from benches.keeper import Keeper, Kept
from benches.site import Site

START_S = 30.0
"""A browser's first start on a busy two-core machine takes up to ten seconds; beyond this it counts as broken."""

PROGRAMS_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


class DesktopError(Exception):
    """The virtual desktop cannot be made; the text says what is missing and how to mend it."""


class VirtualDesktop:
    """A desktop on a display of its own.

    Args:
        size: width and height in pixels.
        apps: which of "browser", "editor", "terminal" to open; what is not installed is left out.
        display: a display number to use; None takes a free one.
        panel: whether a task bar with a clock stands at the bottom (its clock changes once a minute).
        accessible: whether there is a session bus with accessibility on it. Applications then run as this user, since
            the bus lets nobody else in.

    Attributes:
        name: e.g. ":70", once started. server_pid: the X server's process.
        environment: what a program needs to run on this desktop.
        folder: everything of this desktop; it is deleted at the end.
        site: the pages of the browser.
        apps: the applications that are open, by role.
    """

    def __init__(
        self,
        size: tuple[int, int] = (1920, 1080),
        *,
        apps: tuple[str, ...] = ("browser", "editor", "terminal"),
        display: int | None = None,
        panel: bool = True,
        accessible: bool = False,
    ) -> None:
        self.width_px, self.height_px = size
        self._wanted = apps
        self._number = display
        self._panel = panel
        self._accessible = accessible
        self.name = ""
        self.environment: dict[str, str] = {}
        self.apps: dict[str, Kept] = {}

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="modicum-desktop-"))
        self.keeper = Keeper(self.folder, delete=True)
        self.site = Site()
        try:
            self._start_server()
            self._start_session()
            self._open_apps()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything; the keeper deletes the folder."""
        for app in self.apps.values():
            app.terminate(2.0)
        self.keeper.stop()
        self.site.stop()

    @property
    def authority(self) -> Path:
        """The file with the display's cookie."""
        return self.folder / "Xauthority"

    @property
    def home(self) -> Path:
        """The home folder of the person at this desktop."""
        return self.folder / "home"

    def connect(self) -> Display:
        """Return a new connection to the display."""
        return Display(self.name, self.authority)

    def find(self, display: Display, role: str) -> Window | None:
        """Return the topmost window of an application, None when there is none."""
        classes = furniture.CLASSES[role]
        return next((window for window in reversed(display.windows()) if window.app in classes), None)

    def start(self, argv: list[str], *, name: str) -> Kept:
        """Start one more program on this desktop, as its person."""
        return self.keeper.start([*self._person, *argv], name=name, environment=self.environment, folder=self.work)

    @property
    def work(self) -> Path:
        """The folder with the person's files."""
        return self.home / "work"

    # --- the parts, in the order they come up ---

    def _start_server(self) -> None:
        if not _which("Xvfb"):
            raise DesktopError("a virtual desktop needs Xvfb: run `deploy/packages demo` (as root), or install xvfb")
        write_authority(self.authority)
        number = [f":{self._number}"] if self._number is not None else []
        server = self.keeper.start(
            [
                *["Xvfb", *number, "-displayfd", "1", "-auth", str(self.authority), "-nolisten", "tcp", "-noreset"],
                *["-screen", "0", f"{self.width_px}x{self.height_px}x24", "-dpi", "96"],
            ],
            name="Xvfb",
            environment={"PATH": PROGRAMS_PATH, "HOME": str(self.folder)},
            folder=self.folder,
        )
        self.server_pid = server.pid
        until = time.monotonic() + START_S
        while not self.name:
            lines = [line for line in server.log.read_text().splitlines() if line.isdigit()]
            if lines:
                self.name = f":{lines[0]}"
            elif server.poll() is not None or time.monotonic() > until:
                raise DesktopError(f"Xvfb did not start: {server.tail()}")
            else:
                time.sleep(0.05)

    def _start_session(self) -> None:
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        self.environment = {
            "PATH": PROGRAMS_PATH,
            "DISPLAY": self.name,
            "XAUTHORITY": str(self.authority),
            "HOME": str(self.home),
            "USER": furniture.PERSON,
            "LOGNAME": furniture.PERSON,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_SESSION_TYPE": "x11",
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",  # or applications would talk to the real person's session
            "GSETTINGS_BACKEND": "keyfile",
            "NO_AT_BRIDGE": "1",
            "GTK_OVERLAY_SCROLLING": "0",
        }
        furniture.furnish(self.home, (self.width_px, self.height_px))
        self._person = [] if self._accessible else _as_person()
        if self._accessible:
            self._start_bus()
        self.display = self.connect()
        self.display.paint_background(furniture.BACKGROUND)
        self.display.stop_key_repeat()
        if not _which("openbox"):
            raise DesktopError("a virtual desktop needs openbox: run `deploy/packages demo` (as root)")
        manager = self.start(["openbox", "--config-file", str(self.home / ".config/openbox/rc.xml")], name="openbox")
        until = time.monotonic() + START_S
        while not self.display.managed():
            if manager.poll() is not None or time.monotonic() > until:
                raise DesktopError(f"openbox did not start: {manager.tail()}")
            time.sleep(0.02)
        if self._panel and _which("tint2"):
            self.start(["tint2", "-c", str(self.home / ".config/tint2/tint2rc")], name="tint2")

    def _start_bus(self) -> None:
        """Start a session bus; accessibility's own is started by who first asks for it."""
        if not _which("dbus-daemon"):
            raise DesktopError("an accessible desktop needs dbus-daemon: run `deploy/packages test` (as root)")
        address = f"unix:path={self.folder / 'bus'}"
        bus = self.start(["dbus-daemon", "--session", "--nofork", f"--address={address}"], name="bus")
        until = time.monotonic() + START_S
        while not (self.folder / "bus").exists():
            if bus.poll() is not None or time.monotonic() > until:
                raise DesktopError(f"dbus-daemon did not start: {bus.tail()}")
            time.sleep(0.02)
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = address
        del self.environment["NO_AT_BRIDGE"]

    def _open_apps(self) -> None:
        commands = furniture.commands(self.home, self.site.url, (self.width_px, self.height_px))
        for role in self._wanted:
            argv = next((argv for argv in commands[role] if _which(argv[0])), None)
            if argv is not None:
                self.apps[role] = self.start(argv, name=role)
                self._await_window(role)

    def _await_window(self, role: str) -> None:
        until = time.monotonic() + START_S
        while self.find(self.display, role) is None:
            app = self.apps[role]
            if app.poll() is not None or time.monotonic() > until:
                # A browser that may not run here (no sandbox in a container) must not stop the others.
                app.terminate(2.0)
                del self.apps[role]
                return
            time.sleep(0.1)


def write_authority(path: Path) -> None:
    """Write a new MIT-MAGIC-COOKIE-1 that fits every display number (the format of libXau: Xauth(5))."""
    any_host, name, cookie = 0xFFFF, b"MIT-MAGIC-COOKIE-1", secrets.token_bytes(16)
    fields = b"".join(struct.pack(">H", len(field)) + field for field in (b"", b"", name, cookie))
    path.touch(mode=0o600)
    path.write_bytes(struct.pack(">H", any_host) + fields)


def _which(program: str) -> str | None:
    return shutil.which(program, path=PROGRAMS_PATH)


def _as_person() -> list[str]:
    """Return the prefix under which applications do not see that they are root's (they warn, and look unlike daily work)."""
    if os.geteuid() != 0 or not _which("unshare"):
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if allowed else []
