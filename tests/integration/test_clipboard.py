"""Copies and pastes on a real X server, and through real applications to the archive: what is told, and what is not even asked."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from capture import clipboard
from capture.clipboard import Clipboard
from capture.labels import Copies, digest
from capture.sources.desktop import Desktop
from capture.sources.windows import Window
from capture.sources.x11_clipboard import MAX_TARGETS
from codec.actions import ActionKind
from codec.model import Scalar
from tests.integration.stack import Stack, display, wait_for
from tests.integration.test_flow import flushed
from tests.integration.test_reload import text
from tests.integration.test_x11_capture import until
from tests.x11_display import need
from tests.x11_owner import PIECE_BYTES, Owner
from transport.reading import open_archive

pytestmark = [pytest.mark.x11, pytest.mark.broker]

KEY = b"the device's own secret"
SETTLED_S = 0.4
"""What is to be told has been told by then; only where something is not to be told is it waited for."""


class Scene:
    """A desktop with two applications; the agent's part of it is what this class says."""

    def __init__(self, display: str, detail: Copies) -> None:
        self.rows: list[tuple[str, dict[str, Scalar]]] = []
        self.open = self.words = True
        self.window: Window | None = None
        self.desktop = Desktop(display, hold_s=0.01, damage_hold_s=None)
        self.clipboard = Clipboard(self, self.desktop, detail=detail, key=KEY)

    # -- capture.clipboard.Surroundings

    def row(self, kind: str, fields: Mapping[str, Scalar]) -> bool:
        if self.open:
            self.rows.append((kind, dict(fields)))
        return self.open

    def is_open(self) -> bool:
        return self.open

    def has_words(self) -> bool:
        return self.open and self.words

    def focused(self) -> Window | None:
        return self.window

    def now_ms(self) -> int:
        return self.desktop.server_ms(time.monotonic_ns())

    # -- capture.sources.desktop.Sink

    def focus(self, t_ms: int, window: Window | None) -> None:
        self.window = window

    def command(self, t_ms: int, name: str) -> None:
        self.clipboard.shortcut(t_ms, name)

    def pointer(self, *_: object) -> None: ...
    def key(self, *_: object) -> None: ...
    def damage(self, *_: object) -> None: ...
    def idle(self, *_: object) -> None: ...
    def display(self, *_: object) -> None: ...
    def overflow(self, *_: object) -> None: ...
    def lost(self, reason: str) -> None:
        raise AssertionError(reason)

    # -- the tests'

    async def told(self, count: int) -> list[tuple[str, dict[str, Scalar]]]:
        """Wait for so many rows and return them; no more come."""
        await until(lambda: len(self.rows) >= count)
        await asyncio.sleep(0.05)
        self.desktop.flush()
        assert len(self.rows) == count
        return self.rows

    def readings(self) -> list[int]:
        """Return a list that gets, of each answer that is looked at from now on, how many words of it are read."""
        clipboard: Any = self.desktop._server._clipboard  # type: ignore[union-attr]
        look, made = clipboard._property, list[int]()

        def property_of(words: int) -> Any:
            made.append(words)
            return look(words)

        clipboard._property = property_of
        return made

    async def focus_on(self, owner: Owner) -> None:
        """Give an application the focus, and wait until that is known."""
        await owner.activate()
        await until(lambda: self.window is not None and self.window.id == owner.window)


Play = Callable[[Scene, Owner, Owner], Awaitable[None]]


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[str]:
    with display(tmp_path, size="800x600") as environment:
        yield environment["DISPLAY"]


@contextlib.asynccontextmanager
async def scene(screen: str, detail: Copies) -> AsyncIterator[tuple[Scene, Owner, Owner]]:
    made = Scene(screen, detail)
    editor, other = Owner(screen, "editor"), Owner(screen, "other")
    await made.desktop.start(asyncio.get_running_loop(), made)  # type: ignore[arg-type]  # a Sink, loosely
    try:
        await made.focus_on(editor)
        yield made, editor, other
    finally:
        made.desktop.stop()
        editor.close()
        other.close()


def play(screen: str, act: Play, detail: Copies = Copies.TYPES) -> None:
    """Run a play on a scene of its own."""

    async def run() -> None:
        async with scene(screen, detail) as (made, editor, other):
            await act(made, editor, other)

    asyncio.run(run())


def test_a_copy_tells_its_application_types_and_size_and_never_reads_the_text(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        read = scene.readings()
        editor.copy("wörds".encode(), "UTF8_STRING", "STRING", "text/html", "text/plain;charset=utf-8", "SAVE_TARGETS")
        ((kind, fields),) = await scene.told(1)
        assert kind == "clipboard"
        assert 0 <= fields.pop("ago") < 20_000  # type: ignore[operator]
        assert fields == {"source": "editor", "types": "text/plain,text/html", "size": 6}
        assert read == [MAX_TARGETS, 0]

    play(screen, act)


def test_equal_texts_have_equal_digests_and_a_paste_has_its_copys(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        for number, words in enumerate((b"one", b"two", b"one"), 1):
            editor.copy(words)
            await scene.told(number)
        editor.paste()
        rows = await scene.told(4)
        one, two = digest(KEY, b"one"), digest(KEY, b"two")
        assert [fields["digest"] for _, fields in rows] == [one, two, one, one]

    play(screen, act, Copies.DIGEST)


def test_text_that_is_long_has_a_size_and_no_digest(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        editor.copy(b"x" * 100_000)
        await scene.told(1)
        editor.copy(b"x" * (PIECE_BYTES + 7))
        rows = await scene.told(2)
        assert [fields["size"] for _, fields in rows] == [100_000, PIECE_BYTES + 7]
        assert not any("digest" in fields for _, fields in rows)
        assert editor.asked == ["TARGETS", "UTF8_STRING"], "not a piece is asked for"

    play(screen, act, Copies.DIGEST)


def test_what_another_application_copies_is_not_asked_for(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        other.copy(b"of nobody's business")
        await asyncio.sleep(SETTLED_S)
        scene.desktop.flush()
        assert (scene.rows, other.asked) == ([], [])
        editor.paste()  # that it was pasted is told; of what, nothing
        ((kind, fields),) = await scene.told(1)
        assert (kind, set(fields), fields["target"]) == ("paste", {"ago", "target"}, "editor")

    play(screen, act, Copies.DIGEST)


def test_where_nothing_may_be_recorded_nothing_is_asked(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        scene.open = False
        editor.copy()
        editor.paste()
        await asyncio.sleep(SETTLED_S)
        scene.desktop.flush()
        assert (scene.rows, editor.asked) == ([], ["UTF8_STRING"]), "it asked for its own"
        scene.open, scene.words = True, False
        editor.copy()
        ((_, fields),) = await scene.told(1)
        assert (set(fields), editor.asked) == ({"ago", "source", "types"}, ["TARGETS"])

    play(screen, act, Copies.DIGEST)


def test_of_a_password_managers_secret_nothing_is_known_but_that_it_is_one(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        editor.copy(b"hunter2", "UTF8_STRING", "x-kde-passwordManagerHint")
        ((_, fields),) = await scene.told(1)
        assert (set(fields), fields["secret"], editor.asked) == ({"ago", "source", "secret"}, True, ["TARGETS"])

    play(screen, act, Copies.DIGEST)


def test_an_application_that_does_not_answer_is_not_waited_for(screen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "ANSWER_S", 0.2)

    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        editor.silent = True
        editor.copy()
        ((_, fields),) = await scene.told(1)
        assert set(fields) == {"ago", "source"}

    play(screen, act)


def test_a_pause_that_comes_before_the_answer_leaves_it_unread(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        told = scene.clipboard.offered

        def offered(t_ms: int, offer: Any) -> None:
            told(t_ms, offer)
            assert editor.asked == ["TARGETS"]
            scene.open = False  # as Conductor.suspend does it
            scene.clipboard.leave()

        scene.clipboard.offered = offered  # type: ignore[method-assign]
        editor.copy()
        await until(lambda: len(editor.asked) == 2)  # the text had been asked for already
        await asyncio.sleep(SETTLED_S)
        scene.desktop.flush()
        scene.open = True
        assert scene.rows == []
        editor.paste()
        ((kind, fields),) = await scene.told(1)
        assert (kind, "since" in fields) == ("paste", False), "what was not recorded is not referred to"

    play(screen, act, Copies.DIGEST)


def test_another_application_that_takes_the_clipboard_meanwhile_is_not_read(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        told = scene.clipboard.offered

        def offered(t_ms: int, offer: Any) -> None:
            other.copy(b"of nobody's business")  # between its types and its text
            told(t_ms, offer)

        scene.clipboard.offered = offered  # type: ignore[method-assign]
        read = scene.readings()
        editor.copy(b"words")
        await asyncio.sleep(SETTLED_S)
        scene.desktop.flush()
        assert not any("size" in fields or "digest" in fields for _, fields in scene.rows)
        assert read == [MAX_TARGETS], "what the other answered is not looked at"

    play(screen, act, Copies.DIGEST)


def test_a_paste_is_told_once_by_whom_and_of_which_copy(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        editor.copy()
        (copy,) = await scene.told(1)
        copied_ms = scene.now_ms() - copy[1]["ago"]  # type: ignore[operator]
        other.paste()  # it has not the focus
        await scene.focus_on(other)
        other.paste("TARGETS")  # a menu looks whether there is anything
        await asyncio.sleep(SETTLED_S)
        other.paste("text/html", "UTF8_STRING")
        rows = await scene.told(2)
        kind, fields = rows[1]
        assert (kind, fields["target"]) == ("paste", "other")
        pasted_ms = scene.now_ms() - fields["ago"]  # type: ignore[operator]
        assert abs(pasted_ms - fields["since"] - copied_ms) < 2000  # type: ignore[operator]

    play(screen, act)


def test_what_an_application_pastes_of_its_own_is_known_by_the_shortcut(screen: str) -> None:
    async def act(scene: Scene, editor: Owner, other: Owner) -> None:
        editor.copy()
        await scene.told(1)
        for keys in ("ctrl+v", "ctrl+b", "shift+Insert"):
            await editor.hand("key", keys)
        rows = await scene.told(3)
        assert [(kind, fields["target"]) for kind, fields in rows[1:]] == [("paste", "editor")] * 2

    play(screen, act)


def test_copies_and_pastes_of_real_applications_reach_the_archive_joined_and_without_what_they_were(
    tmp_path: Path,
) -> None:
    need("mousepad", "geany", "xclip", "mosquitto")
    with display(tmp_path, size="1280x800") as environment:
        stack = Stack(tmp_path, environment)
        try:
            stack.configure(text(stack, allow='"mousepad"') + "[screens]\nenabled = false\n")
            stack.start_broker()
            stack.start_collector()
            stack.processes.start("mousepad", ["mousepad", "--disable-server"], environment)
            stack.processes.start("geany", ["geany", "-i", "-c", str(tmp_path / "geany")], environment)
            editor, denied = (window(environment, name) for name in ("Mousepad", "Geany"))

            def press(combination: str) -> None:
                """Press a shortcut in a recorded window, and wait for its row and for that of what it did."""
                before = rows(stack)
                run(environment, "key", combination)
                wait_for(lambda: rows(stack) >= before + 2, f"what {combination} did")

            run(environment, "windowactivate", "--sync", editor)
            stack.start_agent()
            wait_for(lambda: (stack.status() or {})["state"] == "recording", "it to record")
            size = len(write_and_copy(environment, "swordfish"))
            press("ctrl+v")
            run(environment, "windowactivate", "--sync", denied)
            run(environment, "key", "ctrl+v")
            write_and_copy(environment, "haddock")
            run(environment, "windowactivate", "--sync", editor)
            wait_for(lambda: (stack.status() or {})["state"] == "recording", "it to record again")
            press("ctrl+v")
            flushed(stack)
            stack.stop_agent()
        finally:
            stack.end()
    archive = open_archive(stack.archive, stack.private_key.read_text(), purpose="computer-use-training")
    actions = [one for one in archive.actions() if one.kind in {ActionKind.CLIPBOARD, ActionKind.PASTE}]
    copy, own, from_elsewhere = actions[-3:]
    assert {one.fields.get("source", "mousepad") for one in actions} == {"mousepad"}
    assert {one.fields.get("target", "mousepad") for one in actions} == {"mousepad"}
    assert (copy.kind, copy.fields["source"], copy.fields["size"]) == (ActionKind.CLIPBOARD, "mousepad", size)
    assert "text/plain" in str(copy.fields["types"])
    assert (own.kind, own.fields["target"], own.t_ms - int(str(own.fields["since"]))) == (
        ActionKind.PASTE,
        "mousepad",
        copy.t_ms,
    )
    assert (from_elsewhere.kind, "since" in from_elsewhere.fields) == (ActionKind.PASTE, False)
    assert not any("digest" in one.fields for one in actions)


def rows(stack: Stack) -> int:
    """Return how many rows were recorded until now."""
    return int((stack.status() or {})["recorded"]["rows"])


def write_and_copy(environment: Mapping[str, str], word: str) -> str:
    """Write a word where the focus is, and copy all that is there; return it. Again, while the application doesn't listen yet."""

    def once() -> str | None:
        run(environment, "type", word)
        run(environment, "key", "ctrl+a")
        run(environment, "key", "ctrl+c")
        time.sleep(0.5)
        words = ["xclip", "-out", "-selection", "clipboard"]
        held = subprocess.run(words, env=dict(environment), capture_output=True, text=True, timeout=30).stdout
        return held if word in held else None

    return wait_for(once, f"{word} to be copied")


def run(environment: Mapping[str, str], *words: str) -> str:
    done = subprocess.run(["xdotool", *words], env=dict(environment), capture_output=True, text=True, timeout=30)
    return done.stdout.strip()


def window(environment: Mapping[str, str], name: str) -> str:
    """Wait for an application's window and return its id."""
    return wait_for(lambda: run(environment, "search", "--onlyvisible", "--class", name).split("\n")[-1] or None, name)
