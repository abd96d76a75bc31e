"""The canary suite: what must not come through does not, and what must, does; with real applications on a real display.

MODICUM_CANARIES=long repeats the scenes with other canaries and places (some ten minutes).
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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
sites = ["127.0.0.1"]

[capture]
chunk_age = "10 s"
hold_back = "0 s"

[screens]
min_interval = "1 s"

[semantics]
clipboard = "digest"

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
<!doctype html><title>{title}</title><style>body, input {{ font: 20px "DejaVu Sans Mono" }} input {{ width: 95% }}</style>
<pre>{text}</pre>{more}
"""
PASSWORD_FIELD = "<input type=password autofocus>"  # noqa: S105 - a field for one
REVEALING = """\
<script>const field = document.querySelector("input");
onkeydown = event => { if (event.key == "F8") field.type = "text"; if (event.key == "F9") field.value = ""; };</script>
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves pages and says nothing."""

    def log_message(self, *_: object) -> None: ...


class Scenes:
    """The scenes of one run: each sets canaries free somewhere."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.canaries = Canaries(seed)
        self.rng = random.Random(seed)
        self.sources = stack.folder / "home" / "canaries"
        self.sources.mkdir()
        self._number = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(self.sources)))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.site = f"http://127.0.0.1:{self._server.server_address[1]}"

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

    def page(self, name: str, title: str, words: list[str], more: str) -> None:
        """Write a page that shows canaries."""
        (self.sources / f"{name}.html").write_text(PAGE.format(title=title, text=columns_of(words, 3), more=more))

    def browser(self, name: str, url: str, left_px: int, title: str, *flags: str, tells: bool = True) -> str:
        """Open a browser, which tells its site or not; return its window."""
        command = [
            "chromium",
            "--no-sandbox",
            "--test-type",
            "--no-first-run",
            "--disable-gpu",
            "--password-store=basic",
        ]
        command += ["--disable-background-networking", "--disable-dev-shm-usage", "--disable-extensions", *flags]
        command += [
            f"--user-data-dir={self.sources / name}",
            f"--window-position={left_px},20",
            "--window-size=600,600",
        ]
        command += ["--force-renderer-accessibility"] * tells
        environment = {
            key: value for key, value in self.stack.environment.items() if not tells or key != "NO_AT_BRIDGE"
        }
        self.stack.processes.start(f"chromium-{name}", [*command, url], environment)
        window = self.window("--name", title)
        self.activate(window)
        return window

    def go(self, url: str, title: str) -> None:
        """Have the browser in front show another page."""
        self.run("xdotool", "key", "ctrl+l")
        self.type([url])
        self.run("xdotool", "key", "Return")
        self.window("--name", title)

    def secret_is_noticed(self) -> None:
        """Wait until keys are not recorded any more although the window is."""

        def kept_out() -> bool:
            before = self.status()["recorded"]["keys"]
            self.run("xdotool", "key", "x")
            status = self.status()
            return bool(status["state"] == "recording" and status["recorded"]["keys"] == before)

        wait_for(kept_out, "the password field to be noticed")
        self.run("xdotool", "key", "F9")

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
    if not any(Path(place, "at-spi-bus-launcher").exists() for place in ("/usr/libexec", "/usr/lib/at-spi2-core")):
        pytest.skip("not installed: at-spi2-core (`deploy/packages test` installs it)")
    need("tesseract", "chromium", "geany", "xclip", "dunst", "xrandr", "hexchat", "dbus-daemon")
    with display(tmp_path, size="1280x800") as environment, private_bus(environment) as environment:
        runtime = tmp_path / "run"
        runtime.mkdir(mode=0o700)
        environment["XDG_RUNTIME_DIR"] = str(runtime)
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
    stack.environment["NO_AT_BRIDGE"] = "1"
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
        unknown_site,
        sites,
        private_browser,
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


def unknown_site(scenes: Scenes, ticker: str) -> None:
    """A browser that shows a file, which is no site; a password is typed in it."""
    canaries = scenes.canaries
    title = canaries.keep_out("title of a browser", 1)[0]
    scenes.page("unknown", title, canaries.keep_out("shown in a browser", 20), PASSWORD_FIELD)
    window = scenes.browser("unknown", (scenes.sources / "unknown.html").as_uri(), 10, title, tells=False)
    scenes.type(canaries.keep_out("password in a browser", 3))
    scenes.run("xdotool", "key", "ctrl+a", "ctrl+c")
    scenes.looked(ticker)
    scenes.close(window)


def sites(scenes: Scenes, ticker: str) -> None:
    """A browser that tells its site: an allowed one, a password there that is then revealed, and a site not allowed."""
    canaries = scenes.canaries
    title = canaries.let_in("title", 1)[0]
    scenes.page("in", title, canaries.let_in("shown by an allowed site", 16), "<input autofocus>")
    window = scenes.browser("sites", f"{scenes.site}/in.html", 10, title)
    wait_for(lambda: scenes.status()["state"] == "recording", "the site to be known")
    scenes.looked(window)

    login = canaries.keep_out("title of another site", 1)[0]
    scenes.page("login", "signing in", [], PASSWORD_FIELD + REVEALING)
    scenes.go(f"{scenes.site}/login.html", "signing in")
    scenes.secret_is_noticed()
    before = scenes.status()["recorded"]
    scenes.type(canaries.keep_out("password in an allowed site, revealed", 4))
    scenes.run("xdotool", "key", "F8")  # the page shows it in the clear
    time.sleep(2.5)  # a frame would be due every second
    after = scenes.status()["recorded"]
    assert (after["keys"], after["frames"]) == (before["keys"], before["frames"])
    scenes.run("xdotool", "key", "F9")  # and clears it

    scenes.page("out", login, canaries.keep_out("shown by another site", 20), "<input autofocus>")
    scenes.go(f"{scenes.site.replace('127.0.0.1', 'localhost')}/out.html", login)
    scenes.type(canaries.keep_out("typed in another site", 2))
    scenes.looked(ticker)
    scenes.close(window)


def private_browser(scenes: Scenes, ticker: str) -> None:
    """A private window on an allowed site; neither its title nor its class says that it is one."""
    canaries = scenes.canaries
    title = canaries.keep_out("title of a private browser", 1)[0]
    scenes.page("private", title, canaries.keep_out("shown in a private browser", 20), "<input autofocus>")
    window = scenes.browser("private", f"{scenes.site}/private.html", 640, title, "--incognito")
    scenes.type(canaries.keep_out("typed in a private browser", 3))
    time.sleep(2.0)  # for as long as its site might be asked for
    assert scenes.status()["state"] == "waiting"
    scenes.looked(ticker)
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
    scenes.stack.processes.start("dunst", ["dunst"], scenes.stack.environment)
    wait_for(lambda: _notifies(scenes.stack.environment, note), "the notification daemon")
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
