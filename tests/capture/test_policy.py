"""The policy: who is seen, who is not, and that doubt hides."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.denied import DENIED
from capture.policy import EVERYTHING, NOTHING, STRUCTURE, Policy, Rules, Verdict, Window


@dataclass(frozen=True)
class Win:
    id: int
    app: str
    x: int = 0
    y: int = 0
    width: int = 10
    height: int = 10
    title: str = ""
    override_redirect: bool = False
    owner: int = 0
    opaque: bool = True


def policy(allow: tuple[str, ...] = ("editor", "firefox*"), **rules: object) -> Policy:
    rules.setdefault("sites", ("example.org",))
    return Policy(Rules(allow=allow, **rules), consented=True, site_of=lambda _: "example.org")  # type: ignore[arg-type]


def may(app: str, title: str = "", **rules: object) -> bool:
    return policy(**rules).verdict(Win(1, app, title=title)).value.events  # type: ignore[arg-type]


def test_what_no_rule_allows_is_not_recorded() -> None:
    assert may("editor")
    assert not may("mail")
    assert not may("editor2")
    assert not may("editor", allow=())


def test_patterns_ignore_case() -> None:
    assert may("Firefox-ESR")
    assert may("code", allow=("CODE",))


def test_deny_wins_over_allow() -> None:
    decision = policy(deny=("edit*",)).verdict(Win(1, "editor"))
    assert not decision.value.events
    assert decision.reasons == ("editor is denied by scope.deny",)


@pytest.mark.parametrize(
    "app",
    [
        "keepassxc",
        "org.keepassxc.keepassxc",
        "bitwarden",
        "1password",
        "pinentry-gtk-2",
        "seahorse",
        "kwalletmanager5",
        "org.remmina.remmina",
        "xfreerdp",
        "vncviewer",
        "teamviewer",
        "anydesk",
        "virt-viewer",
        "i3lock",
        "gnome-screensaver",
        "xsecurelock",
        "lightdm-gtk-greeter",
        "tor browser",
        "modicum-review",
        "ssh-askpass",
        "polkit-gnome-authentication-agent-1",
    ],
)
def test_what_is_never_recorded_is_not_whatever_the_configuration_allows(app: str) -> None:
    assert not may(app, allow=("*", app))


def test_every_hard_rule_has_its_reason() -> None:
    for reason, patterns in DENIED.items():
        for pattern in patterns:
            app = pattern.replace("*", "").replace("?", " ")
            decision = policy(allow=("*",)).verdict(Win(1, app))
            assert not decision.value.pixels
            assert reason in decision.reasons[0] or "never recorded" in decision.reasons[0]


@pytest.mark.parametrize(
    "title",
    [
        "Bank — Mozilla Firefox Private Browsing",
        "x — Mozilla Firefox (Privater Modus)",
        "x – Navigation privée de Mozilla Firefox",
    ],
)
def test_private_browsing_is_never_recorded(title: str) -> None:
    assert not may("firefox", title)
    assert may("firefox", "Bank — Mozilla Firefox")
    assert may("editor", title), "only a browser's title says so"


def test_before_consent_and_while_suspended_there_is_nothing() -> None:
    before = Policy(Rules(allow=("*",), show_desktop=True), consented=False)
    assert before.verdict(Win(1, "editor")).reasons == ("there is no consent",)
    assert masked(before, [Win(1, "editor")], 10, 10) is None
    after = policy()
    after.suspend("pause", "paused")
    after.suspend("lock", "the screen is locked")
    assert after.verdict(Win(1, "editor")).reasons == ("paused", "the screen is locked")
    assert masked(after, [Win(1, "editor")], 10, 10) is None
    after.lift("pause")
    assert not after.verdict(Win(1, "editor")).value.events
    after.lift("lock")
    assert after.verdict(Win(1, "editor")).value.events


def masked(judge: Policy, windows: Sequence[Win], width: int, height: int) -> npt.NDArray[np.bool_] | None:
    """Return the whole mask, True = hide."""
    mask = judge.mask(windows, width, height)
    return None if mask is None else mask.rows(0, height)


def test_no_window_in_focus_is_not_recorded() -> None:
    assert not policy().verdict(None).value.events
    assert not policy().verdict(Win(1, "")).value.events


def test_only_allowed_windows_are_visible_in_stacking_order() -> None:
    windows = [Win(1, "editor", 0, 0, 8, 8), Win(2, "mail", 4, 4, 8, 8), Win(3, "editor", 6, 6, 2, 2)]
    hide = masked(policy(), windows, 12, 12)
    assert hide is not None
    expected = np.ones((12, 12), bool)
    expected[0:8, 0:8] = False
    expected[4:12, 4:12] = True
    expected[6:8, 6:8] = False
    np.testing.assert_array_equal(hide, expected)


def test_the_desktop_is_hidden_unless_it_may_be_shown() -> None:
    window = [Win(1, "mail", 0, 0, 2, 2)]
    assert masked(policy(), window, 4, 4) is None, "nothing would be seen"
    hide = masked(policy(show_desktop=True), window, 4, 4)
    assert hide is not None
    assert hide.sum() == 4


def test_an_unknown_window_stops_the_picture() -> None:
    assert masked(policy(), [Win(1, "editor"), Win(2, "", 0, 0, 1, 1)], 10, 10) is None
    assert masked(policy(), [Win(1, "editor"), Win(2, "", 50, 50, 9, 9)], 10, 10) is not None, (
        "it is not on the display"
    )


def test_a_menu_follows_its_owner() -> None:
    editor, mail = Win(1, "editor"), Win(2, "mail", 20, 0)
    seen = masked(policy(), [editor, mail, Win(3, "", 12, 0, 4, 4, override_redirect=True, owner=1)], 30, 10)
    assert seen is not None
    assert not seen[0, 12]
    hidden = masked(policy(), [editor, mail, Win(3, "", 0, 0, 4, 4, override_redirect=True, owner=2)], 30, 10)
    assert hidden is not None
    assert hidden[0, 0]
    assert masked(policy(), [editor, Win(3, "", 0, 0, 4, 4, override_redirect=True, owner=9)], 30, 10) is None


def test_a_menu_with_an_allowed_class_of_its_own_still_follows_a_denied_owner() -> None:
    mail = Win(2, "mail", 20, 0)
    hidden = masked(policy(), [Win(1, "editor"), mail, Win(3, "editor", 0, 0, 4, 4, owner=2)], 30, 10)
    assert hidden is not None
    assert hidden[0, 0]
    assert not hidden[5, 5]


def test_a_menu_that_may_belong_to_a_private_window_is_hidden() -> None:
    private = Win(2, "firefox", 20, 0, title="x — Mozilla Firefox Private Browsing")
    menu = Win(3, "firefox", 0, 0, 4, 4, override_redirect=True, owner=1)
    alone = masked(policy(), [Win(1, "firefox"), menu], 30, 10)
    beside = masked(policy(), [Win(1, "firefox"), private, menu], 30, 10)
    assert alone is not None
    assert beside is not None
    assert not alone[0, 0]
    assert beside[0, 0]


def test_owners_in_a_circle_are_not_identified() -> None:
    assert masked(policy(), [Win(1, "editor", owner=2), Win(2, "editor", owner=1)], 10, 10) is None


def test_a_translucent_window_does_not_uncover_what_lies_below() -> None:
    hide = masked(
        policy(), [Win(1, "editor", 5, 0, 5, 10), Win(2, "mail", 0, 0, 5, 10), Win(3, "editor", opaque=False)], 10, 10
    )
    assert hide is not None
    assert hide[:, :5].all()
    assert not hide[:, 5:].any()
    denied = masked(policy(), [Win(1, "editor"), Win(2, "mail", 0, 0, 5, 10, opaque=False)], 10, 10)
    assert denied is not None
    assert denied[:, :5].all()


windows = st.lists(
    st.builds(
        Win,
        id=st.integers(1, 6),
        app=st.sampled_from(["editor", "mail", "chat", "keepassxc", "firefox", ""]),
        x=st.integers(-8, 24),
        y=st.integers(-8, 24),
        width=st.integers(0, 20),
        height=st.integers(0, 20),
        owner=st.integers(0, 6),
        override_redirect=st.booleans(),
        opaque=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda window: window.id,
)


@settings(deadline=None)
@given(windows, st.booleans())
def test_no_pixel_of_a_denied_window_is_visible_unless_an_allowed_one_covers_it(
    stack: list[Win], desktop: bool
) -> None:
    judge = policy(("editor", "firefox", "chat"), correspondence=("chat",), show_desktop=desktop)
    hide = masked(judge, stack, 20, 16)
    if hide is None:
        return
    for y in range(16):
        for x in range(20):
            if hide[y, x]:
                continue
            for window in reversed(stack):  # what is seen there, from the top
                if not (window.x <= x < window.x + window.width and window.y <= y < window.y + window.height):
                    continue
                assert window.app in {"editor", "firefox", ""}
                assert window.app or window.owner
                if window.opaque:
                    break
            else:
                assert desktop


def test_a_mask_takes_less_than_a_millisecond() -> None:
    judge = policy()
    stack = [Win(i, ["editor", "mail"][i % 2], 40 * i, 20 * i, 900, 700, title=f"t{i}") for i in range(1, 31)]
    masked(judge, stack, 1920, 1080)
    best = min(_timed(judge, stack) for _ in range(20))
    assert best < 0.002, f"{best * 1000:.2f} ms"  # 0.3 ms on the reference machine; loaded CI gets the benefit of doubt


def _timed(judge: Policy, stack: list[Win]) -> float:
    began = time.perf_counter()
    masked(judge, stack, 1920, 1080)
    return time.perf_counter() - began


def on(site: str | None, app: str = "firefox", title: str = "x", **rules: object) -> Verdict:
    """Return the verdict on a browser's window that shows a site."""
    given: dict[str, object] = {"allow": ("firefox",), "sites": ("example.org", "mail.example.com"), **rules}
    judge = Policy(Rules(**given), consented=True, site_of=lambda _: site)  # type: ignore[arg-type]
    return judge.verdict(Win(1, app, title=title)).value


def test_a_browser_is_judged_by_its_site_and_one_that_is_not_known_stays_out() -> None:
    assert on("example.org") == EVERYTHING
    assert on("www.example.org") == EVERYTHING
    assert on("EXAMPLE.org.") == EVERYTHING
    for site in (None, "", "example.com", "badexample.org", "example.org.evil.net", "https://example.org/", "a b"):
        assert on(site) == NOTHING, site
    assert on("example.org", allow=()) == NOTHING, "the browser itself must be allowed"


def test_nobody_who_knows_no_site_may_record_a_browser() -> None:
    judge = Policy(Rules(allow=("*",), sites=("example.org",)), consented=True)
    assert judge.verdict(Win(1, "firefox")).value == NOTHING
    assert judge.verdict(Win(1, "editor")).value == EVERYTHING


def test_deny_rules_of_sites_win() -> None:
    assert on("secret.example.org", deny_sites=("secret.example.org",)) == NOTHING
    assert on("a.example.org", deny_sites=("secret.example.org",)) == EVERYTHING
    assert on("example.org", never_sites={"a bank": ("example.org",)}) == NOTHING
    assert on("example.org", title="x - InPrivate") == NOTHING


def test_a_site_that_looks_alike_in_another_alphabet_is_another_site() -> None:
    cyrillic = "ex\N{CYRILLIC SMALL LETTER A}mple.org"
    assert on(cyrillic) == NOTHING
    assert on("xn--exmple-4nf.org") == NOTHING


def test_mail_and_chat_give_structure_and_no_pixels() -> None:
    rules = Rules(allow=("chat", "editor"), correspondence=("chat",))
    judge = Policy(rules, consented=True)
    assert judge.verdict(Win(1, "chat")).value == STRUCTURE
    hide = masked(judge, [Win(1, "editor", 0, 0, 10, 10), Win(2, "chat", 5, 0, 5, 10)], 10, 10)
    assert hide is not None
    assert hide[:, 5:].all()
    assert not hide[:, :5].any()
    chosen = Policy(Rules(allow=("chat",), correspondence=("chat",), content=("chat",)), consented=True)
    assert chosen.verdict(Win(1, "chat")).value == EVERYTHING
    assert on("mail.example.com", correspondence_sites=("mail.example.com",)) == STRUCTURE
    known: dict[str, object] = {"correspondence_sites": ("mail.example.com",), "content": ("mail.example.com",)}
    assert on("mail.example.com", **known) == EVERYTHING


def test_what_the_catalogue_denies_stays_out() -> None:
    judge = Policy(Rules(allow=("gnucash",), never={"banking": ("gnucash",)}), consented=True)
    assert judge.verdict(Win(1, "gnucash")).reasons == ("gnucash is never recorded: banking",)


def test_while_a_secret_is_typed_there_is_no_picture() -> None:
    judge = policy()
    assert masked(judge, [Win(1, "editor")], 10, 10) is not None
    judge.secret = True
    assert masked(judge, [Win(1, "editor")], 10, 10) is None
    assert judge.verdict(Win(1, "editor")).value.events, "the pointer goes on"


def test_a_browsers_dialogue_has_the_site_of_its_window() -> None:
    def site_of(window: Window) -> str | None:
        return {1: "example.org", 2: "bank.example"}.get(window.id)

    judge = Policy(Rules(allow=("firefox",), sites=("example.org",)), consented=True, site_of=site_of)
    good, bad = Win(1, "firefox"), Win(2, "firefox", 20, 0)
    hide = masked(judge, [good, bad, Win(3, "firefox", 2, 2, 4, 4, owner=1), Win(4, "", 22, 2, 4, 4, owner=2)], 40, 10)
    assert hide is not None
    assert not hide[:10, :10].any()
    assert hide[:, 10:].all()
    # With two sites open nobody can tell whose an unowned list is.
    menu = Win(5, "firefox", 0, 0, 3, 3, override_redirect=True, owner=1)
    unsure = masked(judge, [good, bad, menu], 40, 10)
    assert unsure is not None
    assert unsure[0, 0]
    sure = masked(judge, [good, menu], 40, 10)
    assert sure is not None
    assert not sure[0, 0]
