"""Shell: the scripted person: someone who reads mail, writes notes, fills in a form, looks at numbers, uses a terminal.

What is done follows from the seed alone; when exactly it happens also depends on how fast the applications answer. What is not
installed is done without: with no browser there is more writing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from random import Random

from benches import furniture, phrases
from benches.desktop import VirtualDesktop
from benches.display import Window
from benches.hands import Hands, TimeUp
from benches.truth import Truth

Box = tuple[int, int, int, int]

ACTIVITIES = ("browsing", "typing", "form", "terminal", "scrolling", "numbers", "video", "idle")
NEEDS_BROWSER = {"browsing", "form", "scrolling", "numbers", "video"}
SHARES = {"browsing": 9, "typing": 11, "form": 15, "terminal": 7, "scrolling": 6, "numbers": 5, "video": 4, "idle": 3}
"""Seconds of a minute that each activity gets in `work`."""

ANSWER_S = 6.0
"""For an application to react; then the person tries something else."""

MENUS_X = {"File": 19, "Edit": 60, "Search": 110, "View": 164, "Document": 229}
MENUS_Y = 12
"""Where mousepad's menus stand in its window, in DejaVu Sans 10."""

MENU_ROW_PX = 25.3
"""From one entry of a menu to the next, a separator's share included."""

LIST_ROW_PX = 26
"""The height of an entry in the browser's drop-down lists, at the font of our pages."""


class Person:
    """Someone at a virtual desktop.

    Args:
        desktop: a started desktop.
        seed: what they do and how they move.
        truth: where everything they do is noted; None only counts.
    """

    def __init__(self, desktop: VirtualDesktop, seed: int = 1, truth: Truth | None = None) -> None:
        self._desktop = desktop
        self._rng = Random(seed)
        self.truth = truth or Truth()
        self.truth.add(
            "start",
            size=[desktop.width_px, desktop.height_px],
            seed=seed,
            apps=sorted(desktop.apps),
            wall_ns=time.time_ns(),
        )
        self._stop = threading.Event()
        self._display = desktop.connect()
        self._hands = Hands(self._display, self._rng, self.truth, self._stop)
        desktop.site.listen(self._on_page)
        self._last_change: dict[str, object] = {}
        self._editor_begun = False
        self._unwritten = ""
        self._half_a_command = False

    def work(self, seconds: float, activities: Sequence[str] = ACTIVITIES) -> dict[str, int]:
        """Do a mixture of activities, each for its share of every minute.

        Returns:
            How many moves, presses, wheel clicks, keys, … there were.
        """
        end = time.monotonic() + seconds
        scale = min(1.0, seconds / 60) * sum(SHARES.values()) / sum(SHARES[name] for name in activities)
        while time.monotonic() < end and not self._stop.is_set():
            for name in activities:
                spread = self._rng.uniform(0.85, 1.15)
                left = end - time.monotonic()
                if left > 0.5:
                    self.do(name, min(left, SHARES[name] * scale * spread))
                elif left > 0:
                    self._stop.wait(left)
        return self.truth.counts()

    def do(self, activity: str, seconds: float) -> None:
        """Do one activity for so long."""
        if activity in NEEDS_BROWSER and "browser" not in self._desktop.apps:
            activity = "typing" if activity in {"browsing", "form"} else "terminal"
        steps: dict[str, Callable[[], None]] = {
            "browsing": self._read_mail,
            "typing": self._write,
            "form": self._fill_in,
            "terminal": self._command,
            "scrolling": self._read,
            "numbers": self._look_at_numbers,
            "video": self._watch,
            "idle": lambda: self._hands.wait(3600),
        }
        self.truth.add("activity", name=activity)
        try:
            with self._hands.until(time.monotonic() + seconds):
                while True:
                    steps[activity]()
        except TimeUp:
            pass  # the bench is to stop
        if activity == "video" and not self._stop.is_set():
            self._pause_video()

    def stop(self) -> None:
        """End what is being done, from another thread."""
        self._stop.set()

    def close(self) -> None:
        """Leave the desktop."""
        self._display.close()

    # --- the browser ---

    def _read_mail(self) -> None:
        self._visit("mail")
        number = self._rng.randrange(10)
        if not self._click_target(f"mail-{number}"):
            return
        self._hands.pause(1.6)
        if self._rng.random() < 0.5 and self._click_target("reply"):
            self._hands.pause(0.5)
            self._hands.type(self._rng.choice(phrases.ANSWERS))
            self._hands.pause(0.4)
            self._click_target("send")
            self._hands.pause(0.8)
        elif self._rng.random() < 0.3:
            self._click_target("archive")

    def _fill_in(self) -> None:
        self._visit("form")
        self._choose("customer", self._rng.randrange(1, 8))
        self._choose("article", self._rng.randrange(7))
        if self._click_target("boxes"):
            self._hands.press("Control+a")
            self._hands.type(str(self._rng.randint(1, 24)))
        if self._click_target("note"):
            self._hands.type(self._rng.choice(phrases.DRIVER_NOTES))
        if self._rng.random() < 0.5:
            self._click_target("rush")
        self._click_target("save")
        self._hands.pause(1.5)

    def _choose(self, name: str, index: int) -> None:
        """Choose an entry of a drop-down list: open it, go down it, click."""
        if not self._click_target(name):
            return
        self._hands.pause(0.5)
        box = self._target(name)
        if box is None:
            return
        x, y, width, height = box
        for passed in range(self._rng.randrange(2, 4)):  # browse before choosing
            self._hands.move(x + width * 0.25, y + height + LIST_ROW_PX * (passed * 2 + 0.5), LIST_ROW_PX)
            self._hands.pause(0.25)
        self._hands.click(x + width * 0.25, y + height + LIST_ROW_PX * (index + 0.5), target_px=LIST_ROW_PX)
        self.truth.add("choose", name=name, index=index)
        self._hands.pause(0.4)

    def _read(self) -> None:
        self._visit("article")
        view = self._view()
        self._hands.move(view[0] + view[2] * 0.5, view[1] + view[3] * 0.55, 200)
        for _ in range(self._rng.randint(3, 6)):
            layout = self._desktop.site.layout()
            if layout.get("at_end"):
                self._hands.pause(0.6)
                self._hands.wheel(-self._rng.randint(20, 40))
                return
            self._hands.wheel(self._rng.randint(3, 9))
            self._hands.pause(1.3)
            if self._rng.random() < 0.25:
                self._hands.drift()

    def _look_at_numbers(self) -> None:
        self._visit("dashboard")
        self._hands.pause(0.8)
        self._click_target(self._rng.choice(["sort-total", "only-late"]))
        view = self._view()
        self._hands.move(view[0] + view[2] * 0.5, view[1] + view[3] * 0.7, 200)
        self._hands.wheel(self._rng.randint(4, 12))
        self._hands.pause(1.0)
        if self._rng.random() < 0.4:
            # mark a line of the table and copy it
            self._hands.click(view[0] + view[2] * 0.35, view[1] + view[3] * 0.6, times=3, target_px=16)
            self._hands.press("Control+c")
        self._hands.wheel(-self._rng.randint(8, 14))
        self._hands.pause(0.5)

    def _watch(self) -> None:
        self._visit("video")
        if self._click_target("play"):
            while True:
                self._hands.pause(4.0)
                self._hands.drift()
        self._hands.pause(1.0)

    def _pause_video(self) -> None:
        """Stop the film: it must not play on under the next activity. Takes its own second."""
        try:
            with self._hands.until(time.monotonic() + 3):
                if self._desktop.site.layout().get("page") == "video":
                    self._bring("browser")
                    self._click_target("play")
        except TimeUp:
            pass

    def _visit(self, page: str) -> None:
        """Bring the browser forward and open a page by its link."""
        self._bring("browser")
        if self._desktop.site.layout().get("page") == page:
            return
        if self._target(f"go-{page}") is None:
            self._hands.press("Home")
        self._click_target(f"go-{page}")
        until = time.monotonic() + ANSWER_S
        while self._desktop.site.layout().get("page") != page and time.monotonic() < until:
            self._hands.wait(0.05)
        self._hands.pause(0.7)

    def _target(self, name: str) -> Box | None:
        """Return where a thing of the page stands, as far as it is in view."""
        layout = self._desktop.site.layout()
        box = layout.get("targets", {}).get(name)
        if box is None:
            return None
        left, top, width, height = self._view()
        x, y = max(box[0], left), max(box[1], top)
        right, bottom = min(box[0] + box[2], left + width), min(box[1] + box[3], top + height)
        return (x, y, right - x, bottom - y) if right - x > 4 and bottom - y > 4 else None

    def _view(self) -> Box:
        x, y, width, height = self._desktop.site.layout().get("view", (0, 0, 400, 400))
        return x, y, width, height

    def _click_target(self, name: str) -> bool:
        """Click a thing of the page; False when it does not come into view."""
        until = time.monotonic() + 1.5
        while (box := self._target(name)) is None:
            if time.monotonic() > until:
                return False
            self._hands.wait(0.05)
        self._hands.click_box(box)
        self._hands.pause(0.35)
        return True

    def _on_page(self, report: dict[str, object]) -> None:
        self.truth.add("page", saw=report)

    # --- the editor and the terminal ---

    def _write(self) -> None:
        window = self._bring("editor")
        if window is None:
            self._hands.pause(1.0)
            return
        if not window.title.endswith("Mousepad"):
            self._hands.press("Escape")  # a dialog that a slip has opened
            return
        if not self._editor_begun:
            self._hands.click(window.x + window.width * 0.4, window.y + window.height * 0.55, target_px=100)
            self._editor_begun = True
        self._hands.press("Control+End")
        for _ in range(self._rng.randint(1, 2)):
            text = self._unwritten or self._rng.choice(phrases.SENTENCES) + self._rng.choice([" ", " ", "\n"])
            try:
                self._hands.type(text)
            finally:
                self._unwritten = self._hands.untyped  # goes on there next time
            self._hands.pause(0.9)
        chance = self._rng.random()
        if chance < 0.35:
            self._use_menu(window)
        elif chance < 0.65:
            self._hands.press("Control+s")
        elif chance < 0.85:
            self._hands.drag(
                (window.x + 4, window.y + 60),
                (window.x + self._rng.randint(120, 420), window.y + self._rng.randint(80, 180)),
            )
            self._hands.press("Control+c")

    def _use_menu(self, window: Window) -> None:
        """Open a menu, go down it and leave; then perhaps switch the line numbers on or off."""
        name = self._rng.choice(["Edit", "Search", "View", "Document"])
        self._open_menu(window, name)
        for row in range(self._rng.randint(3, 6)):
            self._hands.move(*self._entry(window, name, row), MENU_ROW_PX)
            self._hands.pause(0.15)
        self._hands.press("Escape", 2)  # a submenu, then the menu
        if self._rng.random() < 0.6:
            self._open_menu(window, "View")
            self._hands.move(*self._entry(window, "View", 1), MENU_ROW_PX)
            self._hands.click(*self._entry(window, "View", 2), target_px=MENU_ROW_PX)
            self.truth.add("choose", name="View > Line Numbers")
            self._hands.pause(0.6)

    def _open_menu(self, window: Window, name: str) -> None:
        self._hands.click(window.x + MENUS_X[name], window.y + MENUS_Y, target_px=MENU_ROW_PX)
        self._hands.pause(0.4)

    def _entry(self, window: Window, name: str, row: int) -> tuple[int, int]:
        return window.x + MENUS_X[name] + 45, window.y + MENUS_Y + round((row + 1) * MENU_ROW_PX)

    def _command(self) -> None:
        window = self._bring("terminal")
        if window is None:
            self._hands.pause(1.0)
            return
        if self._half_a_command:
            self._hands.press("Control+u")
        self._half_a_command = True
        self._hands.type(self._rng.choice(phrases.COMMANDS) + "\n", typo_ratio=0.01)
        self._half_a_command = False
        self._hands.pause(1.2)
        if self._rng.random() < 0.25:
            self._hands.move(window.x + window.width * 0.5, window.y + window.height * 0.5, 150)
            self._hands.wheel(-self._rng.randint(2, 6))
            self._hands.pause(0.6)

    # --- windows ---

    def _bring(self, role: str) -> Window | None:
        """Bring an application's window forward, by a click on what can be seen of it or in the task bar."""
        window = self._desktop.find(self._display, role)
        if window is None or self._display.active() == window.id:
            return window
        spots = [self._task(role), self._visible_spot(window)]
        self._rng.shuffle(spots)
        for spot in spots:
            if spot is None:
                continue
            self._hands.click(*spot, target_px=40)
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                if self._display.active() == window.id:
                    self._hands.pause(0.3)
                    return window
                self._hands.wait(0.05)
        return window

    def _task(self, role: str) -> tuple[int, int] | None:
        """Return the middle of a window's button in the task bar."""
        windows = self._display.windows()
        if not any(window.app == "Tint2" for window in windows):
            return None
        place = list(self._desktop.apps).index(role)
        return 6 + place * furniture.TASK_PX + furniture.TASK_PX // 2, self._display.height_px - furniture.PANEL_PX // 2

    def _visible_spot(self, window: Window) -> tuple[int, int] | None:
        """Return a quiet point of a window that no other one covers: its title bar, else some edge of its content."""
        windows = self._display.windows()
        above = windows[[other.id for other in windows].index(window.id) + 1 :]
        spots = [
            (window.x + round(window.width * share), window.y - furniture.TITLE_BAR_PX // 2)
            for share in (0.3, 0.5, 0.7, 0.15)
        ]
        spots = [spot for spot in spots if spot[1] > 4 and not any(_covers(other, spot) for other in above)]
        return self._rng.choice(spots) if spots else None


def _covers(window: Window, spot: tuple[int, int]) -> bool:
    """Whether a window with its frame lies over a point."""
    margin = 4
    return (
        window.x - margin <= spot[0] <= window.x + window.width + margin
        and window.y - furniture.TITLE_BAR_PX - margin <= spot[1] <= window.y + window.height + margin
    )
