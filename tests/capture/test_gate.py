"""The gate: what the policy forbids does not reach the recorder."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from capture.gate import SECRET_NOTICED_MS, Gate
from capture.policy import Policy, Rules
from capture.recorder import Draft, Recorder, RecorderLimits
from capture.sources.windows import Window
from codec.model import KeyClass

EDITOR = Window(1, "editor", "letter to the editor", 0, 0, 0, 10, 10)
CHAT = Window(2, "chat", "Kim: are you there?", 0, 20, 0, 10, 10)
BANK = Window(3, "bank", "Account 4711", 0, 40, 0, 10, 10)


@dataclass
class Parts:
    gate: Gate
    recorder: Recorder
    policy: Policy

    def close(self, now_ms: int = 100_000) -> Draft:
        draft = self.recorder.close(now_ms)
        assert draft is not None
        return draft

    def type(self, t_ms: int) -> None:
        self.gate.key(t_ms, True, KeyClass.LETTER, 0)
        self.gate.key(t_ms + 10, False, KeyClass.LETTER, 0)


def parts() -> Parts:
    policy = Policy(Rules(allow=("editor", "chat"), correspondence=("chat",)), consented=True)
    recorder = Recorder(RecorderLimits())
    gate = Gate(policy, recorder, on_open=lambda: None, on_full=lambda: None)
    return Parts(gate, recorder, policy)


def test_of_mail_and_chat_pass_only_structure_and_timing() -> None:
    made = parts()
    assert made.gate.focus(1000, CHAT)
    made.type(1100)
    assert made.gate.row(1200, "select", {"role": "list item", "name": "Kim", "n": 3}, words=("name",))
    made.gate.focus(2000, EDITOR)
    made.type(2100)
    assert made.gate.row(2200, "select", {"role": "menu item", "name": "Save"}, words=("name",))
    draft = made.close()
    chat, picked, editor, saved = draft.rows
    assert chat.fields == {"app": "chat", "x": 20, "y": 0, "w": 10, "h": 10}
    assert picked.fields == {"role": "list item", "n": 3}
    assert editor.fields["title"] == EDITOR.title
    assert saved.fields["name"] == "Save"
    assert list(draft.keys.code) == [KeyClass.OTHER] * 2 + [KeyClass.LETTER] * 2


def test_while_a_secret_is_typed_no_key_passes_and_the_last_ones_are_taken_back() -> None:
    made = parts()
    made.gate.focus(1000, EDITOR)
    made.type(10_000)
    made.type(10_000 + SECRET_NOTICED_MS)  # the field had the focus, and it was not known yet
    made.gate.secret(10_500 + SECRET_NOTICED_MS, True)
    made.gate.secret(10_600 + SECRET_NOTICED_MS, True)
    made.type(13_000)
    assert made.policy.mask([EDITOR], 10, 10) is None
    assert made.gate.pointer(13_100, 0, 5, 5)
    made.gate.row(13_200, "element", {"role": "password text", "name": "PIN"}, words=("name",))
    made.gate.secret(14_000, False)
    made.gate.secret(14_100, False)
    made.type(15_000)
    draft = made.close()
    times = [int(t) + draft.t0_ms for t in draft.keys.t_ms]
    assert times == [10_000, 10_010, 15_000, 15_010]
    assert [row.fields for row in draft.rows[1:]] == [
        {"role": "password text"},
        {"cause": "secret", "ms": 14_000 - 10_500 - SECRET_NOTICED_MS},
    ]
    assert made.policy.mask([EDITOR], 10, 10) is not None


def test_a_secret_holds_over_a_change_of_focus_until_it_is_lifted() -> None:
    made = parts()
    made.gate.focus(1000, EDITOR)
    made.gate.secret(5000, True)
    made.gate.focus(6000, BANK)
    made.gate.focus(7000, EDITOR)
    made.type(8000)
    assert made.gate.is_secret
    draft = made.close()
    assert not len(draft.keys.t_ms)
    assert "title" not in draft.rows[-1].fields


def test_a_gap_says_how_long_and_why_and_nothing_else() -> None:
    made = parts()
    made.gate.focus(1000, EDITOR)
    made.gate.focus(2000, BANK)
    made.type(2500)
    assert not made.gate.row(2600, "select", {"name": "Transfer"}, words=("name",))
    made.gate.suspend(3000, "pause", "you paused it")
    made.gate.focus(3500, replace(EDITOR, title="secret plans"))
    made.gate.lift(4000, "pause")
    draft = made.close()
    gap = next(row for row in draft.rows if row.kind == "gap")
    assert gap.fields == {"cause": "scope", "ms": 2000}
    assert not len(draft.keys.t_ms)
    assert "Account" not in str(draft.rows)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("focus"), st.sampled_from([EDITOR, CHAT, BANK, None])),
        st.tuples(st.just("suspend"), st.sampled_from(["pause", "lock"])),
        st.tuples(st.just("lift"), st.sampled_from(["pause", "lock"])),
        st.tuples(st.just("secret"), st.booleans()),
        st.tuples(st.just("key"), st.none()),
        st.tuples(st.just("select"), st.none()),
    ),
    max_size=40,
)


@given(steps)
def test_whatever_happens_in_whatever_order_nothing_passes_that_may_not(history: list[tuple[str, object]]) -> None:
    made = parts()
    window: Window | None = None
    causes: set[object] = set()
    secret = False
    may: list[int] = []
    for number, (what, value) in enumerate(history, 1):
        t_ms = number * 10_000
        if what == "focus":
            window = value if isinstance(value, Window) else None
            made.gate.focus(t_ms, window)
        elif what == "suspend":
            causes.add(value)
            made.gate.suspend(t_ms, str(value), "because")
        elif what == "lift":
            causes.discard(value)
            made.gate.lift(t_ms, str(value))
        elif what == "secret":
            secret = bool(value)
            made.gate.secret(t_ms, secret)
        elif what == "key":
            passed = made.gate.key(t_ms, True, KeyClass.DIGIT, 0)
            allowed = not causes and not secret and window in (EDITOR, CHAT)
            assert passed == allowed
            if allowed:
                may.append(KeyClass.DIGIT if window is EDITOR else KeyClass.OTHER)
        else:
            passed = made.gate.row(t_ms, "select", {"name": window.title if window else "?"}, words=("name",))
            assert passed == (not causes and window in (EDITOR, CHAT))
    draft = made.recorder.close(10**7)
    written = "" if draft is None else str([row.fields for row in draft.rows])
    assert CHAT.title not in written
    assert BANK.title not in written
    assert ([] if draft is None else list(draft.keys.code)) == may
