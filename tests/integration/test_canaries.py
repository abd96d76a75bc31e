"""The canary suite: what must not come through does not, and what must, does; with real applications on a real display.

MODICUM_CANARIES=long repeats the scenes with other canaries and places (some ten minutes).
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from capture.errors import Exit
from capture.sources import x11
from codec import reader
from codec.model import Row
from codec.reader import Recording
from codec.seal import ArchivePrivateKey
from tests.integration.canaries import Canaries, columns_of, files_with, found_in, read_frames
from tests.integration.stack import Stack, display, wait_for
from tests.x11_display import need
from transport.archive import FolderStore
from transport.fs import RealFiles

pytestmark = [pytest.mark.x11, pytest.mark.broker]

ROUNDS = 8 if os.environ.get("MODICUM_CANARIES") == "long" else 1

CONFIG = """\
[scope]
allow = ["xterm", "@browser", "@mail", "@chat"]
sites = ["example.org"]

[capture]
chunk_age = "10 s"
hold_back = "0 s"

[screens]
min_interval = "1 s"

[budget.metered]
send = "all"

[energy]
cpu_mains = "100 %"

[broker]
port = {port}

[archive]
public_key = "{folder}/keys/archive.pub"
"""

MENU = """\
<?xml version="1.0" encoding="UTF-8"?>
<openbox_menu xmlns="http://openbox.org/3.4/menu"><menu id="root-menu" label="menu">{items}</menu></openbox_menu>
"""

PAGE = """\
<!doctype html><title>{title}</title><style>body, select, input {{ font: 20px "DejaVu Sans Mono" }}</style>
<pre>{text}</pre><input type=password autofocus>
"""


class Scenes:
    """The scenes of one run: each sets canaries free somewhere."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.canaries = Canaries(seed)
        self.rng = random.Random(seed)
        self.sources = stack.folder / "home" / "canaries"
        self.sources.mkdir()
        self._number = 0

    # -- hands

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.stack.environment, capture_output=True, text=True, timeout=30)
        return done.stdout.strip()

    def window(self, *query: str) -> str:
        """Wait for a visible window and return its id (the last of several)."""

        def look() -> str | None:
            return (self.run("xdotool", "search", "--onlyvisible", *query).splitlines() or [None])[-1]

        return wait_for(look, f"a window {query}")

    def activate(self, window: str) -> None:
        self.run("xdotool", "windowactivate", "--sync", window)

    def type(self, words: list[str]) -> None:
        self.run("xdotool", "type", "--delay", "4", " ".join(words))

    def copy(self, words: list[str]) -> None:
        """Put canaries on the clipboard."""
        for word in words:
            subprocess.run(
                ["xclip", "-selection", "clipboard"],
                input=word.encode(),
                env=self.stack.environment,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def rename(self, window: str, words: list[str]) -> None:
        for word in words:
            self.run("xdotool", "set_window", "--name", word, window)
            self.stack.status()  # flushes: each title is told

    def terminal(self, geometry: str, words: list[str], *, app: str = "XTerm", title: str = "", wide: int = 4) -> str:
        """Open a terminal that shows canaries; return its window."""
        self._number += 1
        text = self.sources / f"{self._number}.txt"
        text.write_text(columns_of(words, wide))
        name = title or f"terminal {self._number}"
        font = ["-fa", "DejaVu Sans Mono", "-fs", "12"]
        command = ["xterm", "-class", app, "-title", name, "-geometry", geometry, *font]
        hold = f'cat "{text}"; cat >/dev/null'
        self.stack.processes.start(f"xterm-{self._number}", [*command, "-e", "sh", "-c", hold], self.stack.environment)
        return self.window("--name", f"^{name}$")

    def close(self, *windows: str) -> None:
        for window in windows:
            self.run("xdotool", "windowkill", window)

    def unnamed_window(self) -> bool:
        """Tell whether there is a window that says nothing of itself (openbox's menus)."""
        server = x11.Server(self.stack.environment["DISPLAY"], "")
        try:
            return any(not window.app for window in server.stack() or ())
        finally:
            server.close()

    # -- what the agent does meanwhile

    def status(self) -> dict[str, Any]:
        status = self.stack.status()
        assert status is not None
        return status

    def looked(self, ticker: str, *, times: int = 1) -> None:
        """Give the focus to the allowed ticker until the camera has looked at what is on the screen."""
        self.activate(ticker)
        for _ in range(times):
            before = self.looks()
            self.type(["x"])  # something changes in an allowed window, so that a frame is due
            wait_for(partial(self._looked_since, before), "the camera to look")

    def _looked_since(self, before: int) -> bool:
        return self.looks() > before

    def looks(self) -> int:
        """Return how often the camera has looked, whether there was something to see or not."""
        status = self.status()
        return int(status["recorded"]["frames"]) + sum(
            count for reason, count in status["refused"].items() if "windows" in reason or reason == "not allowed"
        )


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A display with two monitors, a stack that is configured and not started, and no consent yet."""
    need("tesseract", "chromium", "geany", "xclip", "dunst", "xrandr", "hexchat", "dbus-daemon")
    with display(tmp_path, size="1280x800") as environment:
        stack = Stack(tmp_path, environment)
        stack.config.write_text(CONFIG.format(port=stack.port, folder=stack.folder))
        for name, place in (("left", "640/170x800/211+0+0"), ("right", "640/170x800/211+640+0")):
            subprocess.run(["xrandr", "--setmonitor", name, place, "none"], env=environment, check=True)
        try:
            yield stack
        finally:
            stack.end()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_no_canary_comes_through_that_must_not_and_all_that_must_do(
    stack: Stack, number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    scenes = Scenes(stack, 1000 + number)
    before_consent(scenes)
    stack.configure(stack.config.read_text())
    stack.start_broker()
    stack.start_collector()
    stack.start_agent()
    ticker = scenes.terminal("20x3+4+730", [], title="ticker")
    for scene in (
        allowed,
        denied_applications,
        covered_and_moving,
        second_monitor,
        mail_and_chat,
        browsers,
        menus_and_notifications,
        paused,
    ):
        scene(scenes, ticker)
    stack.ask("flush")
    wait_for(lambda: scenes.status()["chunks"]["waiting"] == 0, "the archive to have every chunk")
    stack.stop_agent()
    shown_s = time.monotonic() - began
    look(scenes, tmp_path)
    canaries = scenes.canaries
    with capsys.disabled():
        print(
            f"\n{len(canaries.forbidden)} canaries kept out, {len(canaries.wanted)} let through; "
            f"{shown_s:.0f} s of scenes, {time.monotonic() - began - shown_s:.0f} s of reading"
        )


def recordings(stack: Stack) -> list[Recording]:
    private = ArchivePrivateKey.from_text(stack.private_key.read_text())
    store = FolderStore(RealFiles(), stack.archive)
    return [
        reader.open(store.get(chunk_id), private, purpose="computer-use-training", now_s=int(time.time()))
        for chunk_id in sorted(store.iterate())
    ]


def look(scenes: Scenes, tmp_path: Path) -> None:
    """Look for every canary everywhere."""
    stack, canaries = scenes.stack, scenes.canaries
    forbidden, wanted = canaries.forbidden, canaries.wanted
    assert len(forbidden) >= 200
    assert len(wanted) >= 200

    logs = sorted(path for path in stack.folder.glob("*.log") if path.name.startswith(("agent", "broker", "collector")))
    assert logs
    places = [stack.folder / "agent", stack.archive, stack.folder / "broker", stack.config, *logs]
    assert files_with({**forbidden, **wanted}, places) == {}, "canaries in the clear"

    opened = recordings(stack)
    told = "\n".join(
        str({**event.fields, "kind": event.kind}) if isinstance(event, Row) else str(event)
        for recording in opened
        for event in recording.events()
    )
    assert {word: forbidden[word] for word in found_in(told, forbidden)} == {}, "canaries in rows"

    frames = [frame for recording in opened for frame in recording.frames()]
    assert len(frames) >= 8
    seen = list(read_frames(frames, tmp_path))
    leaked = {word: forbidden[word] for text in seen for word in found_in(text, forbidden)}
    assert leaked == {}, "canaries in frames"

    titles = {word for word, where in wanted.items() if where == "title"}
    assert titles - found_in(told, titles) == set(), "titles that must be there"
    shown = set(wanted) - titles
    read = set().union(*(found_in(text, shown) for text in seen))
    assert len(read) >= 0.97 * len(shown), f"{len(shown - read)} of {len(shown)} were not read: {sorted(shown - read)}"


# -- scenes


def before_consent(scenes: Scenes) -> None:
    """An allowed application is used before anybody has said yes, and somebody tries to start the recording."""
    canaries = scenes.canaries
    window = scenes.terminal("60x10+20+20", canaries.keep_out("before consent", 20))
    scenes.rename(window, canaries.keep_out("title before consent", 3))
    scenes.activate(window)
    scenes.type(canaries.keep_out("typed before consent", 2))
    scenes.copy(canaries.keep_out("copied before consent", 2))
    refused = scenes.stack.run("run", "--config", str(scenes.stack.config), check=False)
    assert refused.returncode == Exit.NO_CONSENT
    assert not (scenes.stack.folder / "agent" / "state" / "spool").exists()
    scenes.close(window)


def allowed(scenes: Scenes, ticker: str) -> None:
    """What must come through: text in an allowed window, and its titles."""
    canaries = scenes.canaries
    window = scenes.terminal("84x36+10+10", canaries.let_in("shown", 140), wide=4)
    scenes.looked(window, times=2)
    scenes.copy(canaries.keep_out("copied in an allowed window", 5))
    scenes.rename(window, canaries.let_in("title", 70))
    scenes.close(window)


def denied_applications(scenes: Scenes, ticker: str) -> None:
    """An editor that nobody allowed, and an application that nobody can allow."""
    canaries = scenes.canaries
    note = scenes.sources / f"{canaries.keep_out('title of a denied window', 1)[0]}.txt"
    note.write_text(columns_of(canaries.keep_out("shown by a denied window", 24), 2))
    scenes.stack.processes.start("geany", ["geany", "-i", "-m", "-t", str(note)], scenes.stack.environment)
    geany = scenes.window("--class", "geany")
    scenes.run("xdotool", "windowsize", geany, "600", "600", "windowmove", geany, "20", "40")
    bank = scenes.terminal("60x12+640+40", canaries.keep_out("shown by a bank", 24), app="Gnucash")
    for window in (geany, bank):
        scenes.activate(window)
        scenes.type(canaries.keep_out("typed in a denied window", 3))
        scenes.copy(canaries.keep_out("copied in a denied window", 3))
        scenes.rename(window, canaries.keep_out("title of a denied window", 3))
    scenes.looked(ticker)
    scenes.close(geany, bank)


def covered_and_moving(scenes: Scenes, ticker: str) -> None:
    """A denied window under and over an allowed one, and one that moves while pictures are taken."""
    canaries, rng = scenes.canaries, scenes.rng
    lower = scenes.terminal("60x14+60+60", canaries.keep_out("partly covered", 24), app="Secretive")
    over = scenes.terminal("40x8+360+160", canaries.let_in("shown over a denied window", 12), wide=3)
    upper = scenes.terminal("40x8+200+260", canaries.keep_out("over an allowed window", 12), app="Secretive", wide=3)
    scenes.looked(ticker, times=2)
    scenes.activate(over)
    scenes.looked(ticker)
    before = scenes.looks()
    for _ in range(40):
        scenes.run("xdotool", "windowmove", upper, str(rng.randint(0, 900)), str(rng.randint(0, 560)))
        scenes.type(["x"])
    wait_for(lambda: scenes.looks() > before, "the camera to look at what moves")
    scenes.close(lower, over, upper)


def second_monitor(scenes: Scenes, ticker: str) -> None:
    """Allowed on the first monitor, denied on the second, and across both."""
    canaries = scenes.canaries
    first = scenes.terminal("50x8+20+20", canaries.let_in("shown on the first monitor", 16))
    second = scenes.terminal("50x10+690+20", canaries.keep_out("on the second monitor", 20), app="Secretive")
    across = scenes.terminal("50x8+400+300", canaries.keep_out("across both monitors", 12), app="Secretive")
    scenes.looked(ticker)
    scenes.close(first, second, across)


def mail_and_chat(scenes: Scenes, ticker: str) -> None:
    """Allowed, and still nobody's words: structure and timing only."""
    canaries = scenes.canaries
    config = scenes.sources / "hexchat"
    scenes.stack.processes.start(
        "hexchat", ["hexchat", "-n", "--cfgdir", str(config), "--no-auto"], scenes.stack.environment
    )
    hexchat = scenes.window("--class", "hexchat")
    slack = scenes.terminal("60x10+20+40", canaries.keep_out("shown in chat", 20), app="Slack")
    mail = scenes.terminal("60x10+640+40", canaries.keep_out("shown in mail", 20), app="Claws-mail")
    for window in (hexchat, slack, mail):
        scenes.activate(window)
        scenes.rename(window, canaries.keep_out("title of mail or chat", 3))
        scenes.type(canaries.keep_out("typed in mail or chat", 3))
    scenes.looked(ticker)
    scenes.close(hexchat, slack, mail)


def browsers(scenes: Scenes, ticker: str) -> None:
    """A browser whose site is not known, and a private one; a password is typed in both."""
    canaries = scenes.canaries
    for kind, flags, x in (("browser", [], 10), ("private browser", ["--incognito"], 640)):
        title = canaries.keep_out(f"title of a {kind}", 1)[0]
        page = scenes.sources / f"{kind[:7]}.html"
        page.write_text(PAGE.format(title=title, text=columns_of(canaries.keep_out(f"shown in a {kind}", 20), 3)))
        profile = scenes.sources / f"profile-{x}"
        command = [
            "chromium",
            "--no-sandbox",
            "--test-type",
            "--no-first-run",
            "--disable-gpu",
            "--password-store=basic",
        ]
        command += ["--disable-background-networking", f"--user-data-dir={profile}", "--disable-dev-shm-usage"]
        command += [f"--window-position={x},20", "--window-size=600,600", *flags, page.as_uri()]
        scenes.stack.processes.start(f"chromium-{x}", command, scenes.stack.environment)
        window = scenes.window("--name", title)
        scenes.activate(window)
        scenes.type(canaries.keep_out(f"password in a {kind}", 3))
        scenes.run("xdotool", "key", "ctrl+a", "ctrl+c")
    scenes.looked(ticker)
    for window in scenes.run("xdotool", "search", "--onlyvisible", "--class", "chromium").splitlines():
        scenes.close(window)


def menus_and_notifications(scenes: Scenes, ticker: str) -> None:
    """A menu and notifications over allowed windows: they belong to nobody who was allowed."""
    canaries = scenes.canaries
    below = scenes.terminal("60x12+20+20", canaries.let_in("shown below a menu", 8))
    items = "".join(
        f'<item label="{word}"><action name="Execute"><command>true</command></action></item>'
        for word in canaries.keep_out("in a menu", 12)
    )
    folder = scenes.stack.folder / "home" / ".config" / "openbox"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "menu.xml").write_text(MENU.format(items=items))
    scenes.run("openbox", "--reconfigure")
    scenes.looked(ticker)
    scenes.run("xdotool", "mousemove", "1200", "770", "click", "3")
    wait_for(scenes.unnamed_window, "the menu")
    before = scenes.looks()
    wait_for(lambda: scenes.looks() > before, "the camera to look at the menu")
    scenes.run("xdotool", "key", "Escape")
    wait_for(lambda: not scenes.unnamed_window(), "the menu to go")
    note = canaries.keep_out("in a notification", 6)
    with private_bus(scenes.stack.environment) as environment:
        scenes.stack.processes.start("dunst", ["dunst"], environment)
        wait_for(lambda: _notifies(environment, note), "the notification daemon")
        scenes.window("--class", "dunst")
        scenes.looked(ticker)
    scenes.close(below)


@contextlib.contextmanager
def private_bus(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run a session bus of our own; give the environment of its clients."""
    command = ["dbus-daemon", "--session", "--nofork", "--print-address"]
    bus = subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, text=True)
    try:
        assert bus.stdout is not None
        yield {**environment, "DBUS_SESSION_BUS_ADDRESS": bus.stdout.readline().strip()}
    finally:
        bus.terminate()
        bus.wait()


def _notifies(environment: Mapping[str, str], words: list[str]) -> bool:
    done = subprocess.run(
        ["dunstify", words[0], "\n".join(words[1:])], env=dict(environment), capture_output=True, timeout=10
    )
    return done.returncode == 0


def paused(scenes: Scenes, ticker: str) -> None:
    """An allowed application is used during a pause."""
    canaries = scenes.canaries
    scenes.stack.ask("pause")
    window = scenes.terminal("60x12+20+20", canaries.keep_out("shown during a pause", 24))
    scenes.activate(window)
    scenes.rename(window, canaries.keep_out("title during a pause", 4))
    scenes.type(canaries.keep_out("typed during a pause", 3))
    scenes.copy(canaries.keep_out("copied during a pause", 3))
    time.sleep(2.5)
    scenes.close(window)
    scenes.activate(ticker)
    scenes.stack.ask("resume")
    scenes.looked(ticker)
