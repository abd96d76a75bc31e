"""What toolkits tell, as they were heard, becomes the choice that was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from capture.breaker import FAILURES, FIRST_REST_NS, Breaker
from capture.labels import Labels, digest, fields_of
from capture.selections import Choice, Input, Selections
from capture.sources.a11y import Found, Kind, Signal, bounds_of, signal_of

Step = tuple[int, str, str, bool] | Input
"""A signal (ms, kind, path, on), or an input."""


@dataclass(frozen=True)
class Scene:
    """Objects by path: role, name, index, container, bounds."""

    things: dict[str, Found]

    def play(self, *steps: Step) -> list[Choice]:
        """Tell everything in the order of time (inputs late, as the X server's come), and look when it is due."""
        selections, choices = Selections(), []
        queue = sorted(steps, key=lambda step: step.t_ms if isinstance(step, Input) else step[0])
        late: list[Input] = []
        for step in [*queue, None]:
            t_ms = 1 << 40 if step is None else step.t_ms if isinstance(step, Input) else step[0]
            while (due_ms := selections.due_ms()) is not None and due_ms <= t_ms:
                for one in late:
                    selections.input(one)
                late.clear()
                choices += selections.resolve()
            if step is None:
                return choices
            if isinstance(step, Input):
                late.append(step)
                continue
            at_ms, kind, path, on = step
            asked = selections.signal(at_ms, Signal(at_ms * 1_000_000, ":1.1", path, Kind(kind), on))
            if asked is not None and asked in self.things:
                selections.found(self.things[asked])
        return choices


def thing(
    path: str, role: str, name: str = "", index: int = 0, box: Sequence[int] = (0, 0, 100, 20), **more: str
) -> Found:
    return Found(
        ":1.1",
        path,
        role,
        name,
        index,
        9,
        (box[0], box[1], box[2], box[3]),
        more.get("parent", ""),
        more.get("container", ""),
    )


def click(t_ms: int, x: int, y: int) -> tuple[Input, Input]:
    return Input(t_ms, "press", x, y), Input(t_ms + 60, "release", x, y)


def key(t_ms: int, name: str) -> Input:
    return Input(t_ms, "key", name=name)


GTK = Scene(
    {
        "edit": thing("edit", "menu", "Edit", box=(0, 0, 40, 20)),
        "cut": thing("cut", "menu item", "Cut", 3, (0, 20, 200, 25), parent="edit"),
        "copy": thing("copy", "menu item", "Copy", 4, (0, 45, 200, 25), parent="edit"),
        "wrap": thing("wrap", "check menu item", "Word Wrap", 0, (0, 70, 200, 25), parent="edit"),
        "text": thing("text", "text", box=(0, 20, 600, 500)),
    }
)


def opened(t_ms: int) -> list[Step]:
    return [*click(t_ms, 10, 10), (t_ms + 8, "selected", "edit", True)]


def closed(t_ms: int, item: str) -> list[Step]:
    return [
        (t_ms, "selected", item, False),
        (t_ms + 1, "selected", "edit", False),
        (t_ms + 9, "focused", "text", True),
    ]


def test_gtk_a_click_on_a_highlighted_item_chooses_it() -> None:
    steps = [
        *opened(0),
        (400, "selected", "cut", True),
        (500, "selected", "cut", False),
        (500, "selected", "copy", True),
    ]
    (choice,) = GTK.play(*steps, *click(900, 50, 50), *closed(968, "copy"))
    assert (choice.found.name, choice.found.index, choice.committed, choice.t_ms) == ("Copy", 4, True, 960)


def test_gtk_return_chooses_and_escape_gives_up() -> None:
    lit: list[Step] = [*opened(0), (400, "selected", "cut", True)]
    (chosen,) = GTK.play(*lit, key(700, "Return"), *closed(705, "cut"))
    assert (chosen.found.name, chosen.committed) == ("Cut", True)
    (left,) = GTK.play(*lit, key(700, "Escape"), *closed(705, "cut"))
    assert (left.found.name, left.committed) == ("Cut", False)


def test_gtk_a_click_elsewhere_gives_up() -> None:
    (left,) = GTK.play(*opened(0), (400, "selected", "cut", True), *click(700, 500, 300), *closed(765, "cut"))
    assert not left.committed


def test_gtk_browsing_is_no_choice_and_neither_is_a_menu_that_was_only_opened() -> None:
    browsing: list[Step] = [*opened(0), (400, "selected", "cut", True), (600, "selected", "cut", False)]
    assert GTK.play(*browsing, (600, "selected", "copy", True)) == []
    assert GTK.play(*opened(0), key(700, "Escape"), (705, "selected", "edit", False)) == []


def test_gtk_a_check_item_tells_its_new_state_once() -> None:
    steps = [*opened(0), (400, "selected", "wrap", True), *click(700, 50, 80), (763, "checked", "wrap", True)]
    (choice,) = GTK.play(*steps, *closed(765, "wrap"))
    assert (choice.found.name, choice.committed, choice.checked) == ("Word Wrap", True, True)


WEB = Scene(
    {
        "combo": thing("combo", "combo box", box=(30, 230, 80, 20)),
        "apple": thing("apple", "menu item", "Apple", 0, (33, 252, 60, 24), container="menu"),
        "banana": thing("banana", "menu item", "Banana", 1, (33, 276, 60, 24), container="menu"),
        "cherry": thing("cherry", "menu item", "Cherry", 2, (33, 300, 60, 24), container="menu"),
        "terms": thing("terms", "check box", "Accept", box=(36, 269, 13, 14)),
        "red": thing("red", "radio button", "Red", box=(180, 269, 14, 14)),
        "green": thing("green", "radio button", "Green", box=(250, 269, 14, 14)),
        "tab": thing("tab", "page tab", "General", 2, (300, 10, 80, 30)),
    }
)
CHROMIUM_OPEN: list[Step] = [
    *click(0, 70, 240),
    (10, "expanded", "combo", True),
    (11, "focused", "apple", True),
    (11, "selected", "apple", True),
]


def test_chromium_what_is_selected_after_the_dropdown_closed_was_chosen() -> None:
    end: list[Step] = [
        (975, "focused", "combo", True),
        (975, "expanded", "combo", False),
        (976, "selected", "apple", False),
        (976, "selected", "cherry", True),
    ]
    (choice,) = WEB.play(*CHROMIUM_OPEN, *click(900, 70, 310), *end)
    assert (choice.found.name, choice.committed, choice.t_ms) == ("Cherry", True, 960)


def test_chromium_a_dropdown_that_closes_with_nothing_selected_was_left() -> None:
    (left,) = WEB.play(
        *CHROMIUM_OPEN, key(900, "Escape"), (910, "expanded", "combo", False), (910, "focused", "combo", True)
    )
    assert (left.found.name, left.committed) == ("Apple", False)


FIREFOX_OPEN: list[Step] = [
    *click(0, 70, 240),
    (20, "focused", "apple", True),
    (22, "expanded", "combo", True),
    (25, "focused", "combo", True),
]


def test_firefox_focus_comes_back_and_the_option_is_selected() -> None:
    hovered: list[Step] = [*FIREFOX_OPEN, (500, "focused", "banana", True), (600, "focused", "cherry", True)]
    end: list[Step] = [
        (970, "focused", "combo", True),
        (972, "selected", "cherry", True),
        (972, "selected", "apple", False),
    ]
    (choice,) = WEB.play(*hovered, *click(900, 70, 310), *end)
    assert (choice.found.name, choice.committed) == ("Cherry", True)
    (left,) = WEB.play(*hovered, key(900, "Escape"), (905, "focused", "combo", True))
    assert (left.found.name, left.committed) == ("Cherry", False)


def test_firefox_the_click_that_opens_a_dropdown_ends_nothing() -> None:
    assert WEB.play(*FIREFOX_OPEN) == []


@pytest.mark.parametrize("late_ms", [0, 3, 20, 60])
def test_firefox_a_dropdown_that_was_only_opened_and_left_is_told_however_late_it_says_that_it_is_open(
    late_ms: int,
) -> None:
    opening: list[Step] = [*click(0, 70, 240), (12, "focused", "combo", True), (16, "focused", "apple", True)]
    expanded: Step = (16 + late_ms, "expanded", "combo", True)
    (left,) = WEB.play(*opening, expanded, key(600, "Escape"), (608, "focused", "combo", True))
    assert (left.found.name, left.committed) == ("Apple", False)


def test_a_box_is_changed_by_a_click_on_it_or_by_space_and_not_by_a_program() -> None:
    clicked: list[Step] = [*click(0, 42, 275), (10, "focused", "terms", True), (70, "checked", "terms", True)]
    (choice,) = WEB.play(*clicked)
    assert (choice.found.name, choice.checked) == ("Accept", True)
    both = WEB.play(*clicked, key(900, "space"), (905, "checked", "terms", False))
    assert [one.checked for one in both] == [True, False]
    assert WEB.play(*click(0, 500, 400), (70, "checked", "terms", True)) == []
    assert WEB.play((70, "checked", "terms", True)) == []


def test_of_radio_buttons_only_the_chosen_one_is_told() -> None:
    steps: list[Step] = [*click(0, 257, 276), (10, "focused", "green", True), (70, "checked", "red", False)]
    (choice,) = WEB.play(*steps, (70, "checked", "green", True))
    assert choice.found.name == "Green"


def test_a_tab_is_chosen_by_a_click_on_it() -> None:
    (choice,) = WEB.play(*click(0, 340, 25), (30, "selected", "tab", True))
    assert (choice.found.name, choice.found.index) == ("General", 2)


def test_what_a_press_hit_is_what_was_highlighted_there() -> None:
    selections = Selections()
    for path, at_ms in (("edit", 8), ("cut", 400)):
        selections.signal(at_ms, Signal(0, ":1.1", path, Kind.SELECTED, True))
        selections.found(GTK.things[path])
    found = selections.lit_at(700, 50, 30)
    assert found is not None
    assert found.name == "Cut"
    assert selections.lit_at(700, 500, 300) is None


@pytest.mark.parametrize(
    ("interface", "member", "arguments"),
    [
        ("org.a11y.atspi.Event.Object", "StateChanged", ["sensitive", 1, 0, 0]),
        ("org.a11y.atspi.Event.Object", "StateChanged", []),
        ("org.a11y.atspi.Event.Object", "ActiveDescendantChanged", ["", 1]),
        ("org.a11y.atspi.Event.Object", "ActiveDescendantChanged", ["", 1, 0, "x"]),
        ("org.example", "StateChanged", ["selected", 1]),
    ],
)
def test_what_is_not_as_it_should_be_is_nothing(interface: str, member: str, arguments: list[object]) -> None:
    assert signal_of(0, ":1.1", "/a", interface, member, arguments) is None
    assert bounds_of((-2147483648, 0, 5, 5)) is None


def test_labels_are_text_or_digests_and_never_what_was_written() -> None:
    button, entry = thing("b", "push button", "Save"), thing("e", "entry", "my secret plan")
    assert fields_of(button, Labels.TEXT, b"k")["name"] == "Save"
    hidden = fields_of(button, Labels.DIGEST, b"k")
    assert "name" not in hidden
    assert hidden["digest"] == digest(b"k", "Save") != digest(b"other", "Save")
    assert not {"name", "digest"} & fields_of(entry, Labels.TEXT, b"k").keys()


def test_an_application_that_does_not_answer_is_left_alone_for_a_while() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.permits(":1.1", 0)
        breaker.failed(":1.1", 0)
    assert not breaker.permits(":1.1", FIRST_REST_NS - 1)
    assert breaker.permits(":1.2", 0)
    assert breaker.permits(":1.1", FIRST_REST_NS)
    breaker.worked(":1.1")
    assert breaker.permits(":1.1", 0)
