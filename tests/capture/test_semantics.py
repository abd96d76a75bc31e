"""What was chosen is told while the gate still judges by the window in which it was chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from capture.labels import Labels
from capture.selections import Input
from capture.semantics import Semantics, Surroundings, _shown
from capture.sources.a11y import Found, Kind, Signal
from capture.sources.windows import Window


class Around:
    """Keeps the rows that are told."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, dict[str, Any]]] = []

    def row(self, kind: str, fields: dict[str, Any], *, lasting: bool = False) -> bool:
        self.rows.append((kind, fields))
        return True

    def is_open(self) -> bool:
        return True

    def now_ms(self) -> int:
        return 1100


def chosen(around: Around) -> Semantics:
    """A menu item has just been clicked on, and nothing of it has settled yet."""
    semantics = Semantics(cast(Surroundings, around), labels=Labels.TEXT, key=b"k")
    semantics._app, semantics._window = ":1.1", window(1)
    selections = semantics._selections
    item = Found(":1.1", "item", "menu item", "AutoFilter", 4, 9, (0, 20, 200, 25), "data", "menu")
    selections.signal(900, Signal(0, ":1.1", "item", Kind.SELECTED, True))
    selections.found(item)
    for kind, t_ms in (("press", 1000), ("release", 1060)):
        selections.input(Input(t_ms, kind, 50, 30))
    selections.signal(1070, Signal(0, ":1.1", "item", Kind.SELECTED, False))
    return semantics


def window(number: int) -> Window:
    return Window(number, "libreoffice-calc", "", 7, 0, 0, 800, 600)


def test_a_choice_is_told_before_a_message_that_it_opened_takes_the_focus() -> None:
    around = Around()
    chosen(around).leave(window(2))
    assert [(kind, row["name"], row["committed"], row["ago"]) for kind, row in around.rows] == [
        ("select", "AutoFilter", True, 40)
    ]


def test_a_new_title_of_the_same_window_ends_nothing_early() -> None:
    around = Around()
    chosen(around).leave(window(1))
    assert around.rows == []


def test_a_site_is_not_that_of_a_window_whose_id_another_process_has_got() -> None:
    semantics = Semantics(cast(Surroundings, Around()), labels=Labels.TEXT, key=b"k")
    shown = Window(5, "firefox", "Sign in", 7, 0, 0, 800, 600)
    semantics._remember_site(_shown(shown), "example.org")
    assert semantics.site_of(replace(shown, x=40)) == "example.org"
    assert semantics.site_of(replace(shown, pid=8)) is None
