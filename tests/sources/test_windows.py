"""The visible windows in their order, and whose they are."""

from __future__ import annotations

from capture.sources.windows import TITLE_CHARACTERS, Child, Traits, Window, app_of, stack, title_of

MASK = 0xFFE00000
FRAME, TERM, BROWSER, OTHER = 0x200001, 0x400001, 0x600001, 0x600002
SCREEN = (1000, 800)
TRAITS = {
    TERM: Traits("xterm", "a shell", 11),
    BROWSER: Traits("firefox", "a page", 22),
    OTHER: Traits("firefox", "another page", 22),
}


def child(id: int, *, client: int = 0, menu: bool = False, x: int = 0, y: int = 0, **more: bool) -> Child:
    return Child(id, x, y, 300, 200, menu, client, **more)


def shown(*children: Child, traits: dict[int, Traits] | None = None) -> list[Window]:
    return stack(children, {**TRAITS, **(traits or {})}, MASK, SCREEN)


def test_the_order_is_the_servers_and_a_frame_stands_for_its_client() -> None:
    windows = shown(child(FRAME, client=BROWSER, x=5), child(FRAME + 1, client=TERM))
    assert [(window.id, window.app, window.title, window.x) for window in windows] == [
        (BROWSER, "firefox", "a page", 5),
        (TERM, "xterm", "a shell", 0),
    ]


def test_what_lies_outside_the_screen_is_left_out() -> None:
    assert shown(child(TERM, x=1000), child(TERM, y=800), child(TERM, x=-300), child(TERM, y=-200)) == []
    assert len(shown(child(TERM, x=999), child(TERM, x=-299), child(TERM, y=-199))) == 3


def test_a_menu_belongs_to_whom_it_says_it_is_transient_for() -> None:
    menu = child(0x800001, menu=True)
    said = {menu.id: Traits(transient_for=TERM)}
    assert shown(child(FRAME, client=TERM), menu, traits=said)[-1].owner == TERM


def test_a_menu_that_says_nothing_belongs_to_its_connection() -> None:
    menu = child(BROWSER + 100, menu=True)
    windows = shown(child(FRAME, client=BROWSER), child(FRAME + 1, client=TERM), menu)
    assert (windows[-1].app, windows[-1].owner, windows[-1].override_redirect) == ("", BROWSER, True)


def test_of_several_windows_of_a_connection_the_topmost_is_the_owner() -> None:
    menu = child(BROWSER + 100, menu=True)
    assert shown(child(FRAME, client=BROWSER), child(FRAME + 1, client=OTHER), menu)[-1].owner == OTHER


def test_a_menu_of_another_connection_belongs_by_leader_or_process() -> None:
    menu = child(0x800001, menu=True)
    below = child(FRAME, client=TERM)
    assert shown(below, menu, traits={menu.id: Traits(leader=TERM)})[-1].owner == TERM
    assert shown(below, menu, traits={menu.id: Traits(pid=11)})[-1].owner == TERM
    assert shown(below, menu, traits={menu.id: Traits(pid=99)})[-1].owner == 0


def test_a_claim_to_belong_to_a_window_that_is_not_there_counts_for_nothing() -> None:
    menu = child(0x800001, menu=True)
    assert shown(child(FRAME, client=TERM), menu, traits={menu.id: Traits(transient_for=4711)})[-1].owner == 0


def test_without_a_window_manager_windows_and_their_menus_are_known() -> None:
    menu = child(TERM + 5, menu=True)
    windows = shown(child(TERM), menu)
    assert [(window.app, window.owner) for window in windows] == [("xterm", 0), ("", TERM)]


def test_an_unknown_window_is_shown_as_unknown() -> None:
    (window,) = shown(child(0x800001))
    assert (window.app, window.title, window.pid, window.owner) == ("", "", 0, 0)


def test_what_shines_through_is_not_opaque() -> None:
    assert shown(child(FRAME, client=TERM))[0].opaque
    assert not shown(child(FRAME, client=TERM, opaque=False))[0].opaque
    assert not shown(child(FRAME, client=TERM), traits={TERM: Traits(translucent=True)})[0].opaque
    assert not shown(child(FRAME, client=TERM), traits={FRAME: Traits(translucent=True)})[0].opaque


def test_an_app_is_the_class_in_lower_case() -> None:
    assert app_of(b"xterm\0XTerm\0") == "xterm"
    assert app_of(b"Navigator\0firefox-esr\0") == "firefox-esr"
    assert app_of(b"only\0\0") == "only"
    assert app_of(b"") == ""
    assert app_of(b"\xff\xfe\0") == "\ufffd\ufffd"


def test_a_title_prefers_utf8_and_is_cut() -> None:
    assert title_of("Größe".encode(), b"x") == "Größe"
    assert title_of(b"", "Größe".encode("latin-1")) == "Größe"
    assert len(title_of(b"x" * 5000, b"")) == TITLE_CHARACTERS
