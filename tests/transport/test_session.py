"""The session: a list of moments; the table of a chunk's life; nothing is lost, forgotten or repeated without end."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from codec.model import ChunkId
from transport.messages import Answer, Nack, NackCode
from transport.session import SECOND_NS, TRANSITIONS, Phase, Session, SessionLimits, backoff_s


@dataclass(frozen=True)
class Waiting:
    chunk_id: ChunkId
    size_bytes: int = 1000
    value: int = 200


def chunk(seq: int, size: int = 1000, value: int = 200) -> Waiting:
    return Waiting(ChunkId("dev-1", 9, seq), size, value)


def digest(seq: int) -> bytes:
    return seq.to_bytes(8, "big")


def session(**limits: float) -> Session:
    return Session(SessionLimits(**{"first_window": 1000, **limits}), device="dev-1", rng=random.Random(1))  # type: ignore[arg-type]


def send(one: Session, seq: int, now_ns: int = 0, size: int = 1000) -> ChunkId:
    one.start(chunk(seq, size), digest(seq), now_ns)
    one.published(chunk(seq).chunk_id, now_ns)
    return chunk(seq).chunk_id


def ack(*seqs: int) -> Answer:
    return Answer(9, tuple((seq, digest(seq)) for seq in seqs))


EVENTS = {
    "start": lambda one, now: one.start(chunk(1), digest(1), now),
    "published": lambda one, now: one.published(chunk(1).chunk_id, now),
    "failed": lambda one, now: one.failed(chunk(1).chunk_id, now),
    "unheard": lambda one, now: one.unheard(chunk(1).chunk_id, now, 1.0),
    "postponed": lambda one, now: one.postpone(chunk(1), now, 1.0),
    "answered": lambda one, now: one.answered(ack(1), now),
    "adopted": lambda one, now: one.adopt(chunk(1), digest(1), now),
    "asked": lambda one, now: one.ask([chunk(1).chunk_id], now, 1) and None,
    "later": lambda one, now: one.answered(Answer(0, (), (Nack(digest(1), NackCode.LATER, 5),)), now),
}
WAYS: dict[Phase | None, list[str]] = {
    None: [],
    Phase.SENDING: ["start"],
    Phase.WAITING: ["start", "published"],
    Phase.PUT_OFF: ["start", "failed"],
}


@pytest.mark.parametrize(("place", "event"), TRANSITIONS)
def test_the_table_is_walked_as_it_stands(place: Phase | None, event: str) -> None:
    one = session()
    for step in WAYS[place]:
        EVENTS[step](one, 0)
    flight = one._flights.get(chunk(1).chunk_id)
    assert (flight.phase if flight else None) is place
    EVENTS[event](one, 1)
    after = one._flights.get(chunk(1).chunk_id)
    assert (after.phase if after else None) is TRANSITIONS[place, event]


def test_what_the_table_does_not_know_is_an_error() -> None:
    one = session()
    one.start(chunk(1), digest(1), 0)
    with pytest.raises(ValueError, match="does not happen"):
        one.start(chunk(1), digest(1), 1)


def test_the_window_limits_chunks_and_bytes_but_admits_one_of_any_size() -> None:
    one = session(window=3, window_bytes=10_000)
    assert one.room(50_000)
    send(one, 0, size=9_000)
    assert one.room(1_000)
    assert not one.room(1_001)
    send(one, 1)
    assert one.choose(0, [chunk(2, 1)]) is None
    one.answered(ack(0), 1)
    send(one, 2)
    assert one.choose(2, [chunk(3)]) is not None
    send(one, 3)
    assert one.choose(2, [chunk(4)]) is None


def test_no_answer_means_again_each_time_later_with_jitter() -> None:
    one = session(answer_min_s=10, answer_cap_s=100)
    now, waits = 0, []
    for _ in range(8):
        send(one, 1, now)
        due = one.next_due_ns(now)
        assert due is not None
        assert one.choose(due - 1, []) is None
        assert one.choose(due, []) is not None
        waits.append((due - now) / SECOND_NS)
        now = due
    for wait, least in zip(waits, [10, 20, 40, 80, 100, 100, 100, 100], strict=True):
        assert least <= wait <= least * 1.5
    assert one.resends == 7


def test_a_slow_collector_is_given_the_time_that_it_takes() -> None:
    one = session(answer_min_s=1, window=100)
    for seq in range(20):
        send(one, seq, seq * 100 * SECOND_NS)
        one.answered(ack(seq), (seq * 100 + 30) * SECOND_NS)
    send(one, 99, 0)
    due = one.next_due_ns(0)
    assert due is not None
    assert due >= 30 * SECOND_NS


def test_nothing_is_begun_that_would_only_wait_behind_what_the_broker_has_not_acknowledged() -> None:
    one = session(publishing=3, publishing_bytes=100_000, answer_min_s=1)
    for seq in range(3):
        assert one.choose(0, [chunk(seq)]) is not None
        one.start(chunk(seq), digest(seq), 0)
    assert one.choose(0, [chunk(3)]) is None
    one.published(chunk(0).chunk_id, 0)
    assert one.choose(0, [chunk(3, 1 << 20)]) is not None, "below the limit, one of any size"
    one.start(chunk(3, 1 << 20), digest(3), 0)
    for seq in (1, 2):
        one.published(chunk(seq).chunk_id, 0)
    late_ns = 60 * SECOND_NS
    assert one.choose(late_ns, [chunk(4)]) is None, "many bytes are on their way"
    one.published(chunk(3).chunk_id, late_ns)
    assert one.choose(late_ns, [chunk(4)]) is not None
    one.start(chunk(4), digest(4), late_ns)
    again = one.choose(late_ns, [])
    assert again is not None
    assert again.chunk_id.seq == 0, "repetitions are held back no longer either"


def test_fresh_and_old_take_turns() -> None:
    one = session(answer_min_s=1, window=50)
    for seq in range(4):
        send(one, seq)
    late = 60 * SECOND_NS
    order = []
    for seq in range(10, 14):
        for _ in range(2):
            chosen = one.choose(late, [chunk(seq)])
            assert chosen is not None
            order.append(chosen.chunk_id.seq)
            send(one, chosen.chunk_id.seq, late)
    assert [seq >= 10 for seq in order] == [True, False] * 4


def test_after_a_lost_connection_what_was_being_sent_goes_first_the_rest_when_it_is_due() -> None:
    one = session(answer_min_s=10)
    send(one, 0)
    one.start(chunk(1), digest(1), 0)
    one.lost_connection(5)
    assert one.choose(5, []) is not None
    assert one.choose(5, []).chunk_id.seq == 1  # type: ignore[union-attr]
    assert one.in_flight == 1


def test_later_is_kept_to_and_spread() -> None:
    one = session()
    send(one, 1)
    verdicts = one.answered(Answer(0, (), (Nack(digest(1), NackCode.LATER, 60),)), 0)
    assert verdicts.put_off == (chunk(1).chunk_id,)
    due = one.next_due_ns(0)
    assert due is not None
    assert 60 * SECOND_NS <= due <= 120 * SECOND_NS
    assert one.in_flight == 0


def test_worthless_repetitions_wait_while_only_events_are_permitted() -> None:
    one = session(answer_min_s=1)
    one.start(chunk(1, value=0), digest(1), 0)
    one.failed(chunk(1).chunk_id, 0)
    assert one.choose(10, [], min_value=1) is None
    assert one.choose(10, [], min_value=0) is not None


def test_answers_that_do_not_fit_change_nothing() -> None:
    one = session()
    send(one, 1)
    assert one.answered(Answer(9, ((1, digest(2)),)), 1).archived == ()
    verdicts = one.answered(Answer(8, ((1, digest(1)),)), 1)
    assert verdicts.archived == ()
    assert verdicts.unknown == ((ChunkId("dev-1", 8, 1), digest(1)),)
    assert one.answered(Answer(0, (), (Nack(digest(7), NackCode.ERASED),)), 1).refused == ()
    assert one.known == {chunk(1).chunk_id}
    assert one.answered(ack(1), 2).archived == (chunk(1).chunk_id,)
    assert one.answered(ack(1), 3).archived == ()


def test_back_off_has_full_jitter_and_a_cap() -> None:
    rng = random.Random(7)
    pauses = [backoff_s(attempt, base_s=1, cap_s=60, rng=rng) for attempt in range(40) for _ in range(50)]
    assert max(pauses) <= 60
    assert min(pauses) < 0.5
    assert max(backoff_s(3, base_s=1, cap_s=60, rng=rng) for _ in range(200)) <= 8


class SessionMachine(RuleBasedStateMachine):
    """Any order of events: every chunk ends archived or refused once, and never leaves the session's sight before."""

    def __init__(self) -> None:
        super().__init__()
        self.one = session(window=4, publishing=2, answer_min_s=1, answer_cap_s=8)
        self.now = 0
        self.fresh = [chunk(seq) for seq in range(100)]
        self.sending: set[ChunkId] = set()
        self.ended: set[ChunkId] = set()

    @rule()
    def choose(self) -> None:
        chosen = self.one.choose(self.now, self.fresh[:1])
        if chosen is None:
            return
        assert chosen.chunk_id not in self.ended
        assert chosen.chunk_id not in self.sending
        assert len([chunk_id for chunk_id in self.sending if chunk_id in self.one.known]) < 2
        self.fresh = [entry for entry in self.fresh if entry.chunk_id != chosen.chunk_id]
        self.one.start(chosen, digest(chosen.chunk_id.seq), self.now)
        self.sending.add(chosen.chunk_id)

    @precondition(lambda self: self.sending)
    @rule(data=st.data(), fate=st.sampled_from(["published", "failed", "unheard"]))
    def puback(self, data: st.DataObject, fate: str) -> None:
        chunk_id = data.draw(st.sampled_from(sorted(self.sending)))
        self.sending.discard(chunk_id)
        if fate == "published":
            self.one.published(chunk_id, self.now)
        elif fate == "failed":
            self.one.failed(chunk_id, self.now)
        else:
            self.one.unheard(chunk_id, self.now, 1.0)

    @rule(data=st.data(), code=st.sampled_from([None, *NackCode]))
    def answer(self, data: st.DataObject, code: NackCode | None) -> None:
        seqs = data.draw(st.lists(st.integers(0, 99), max_size=4))
        if code is None:
            verdicts = self.one.answered(ack(*seqs), self.now)
        else:
            verdicts = self.one.answered(Answer(0, (), tuple(Nack(digest(seq), code, 2) for seq in seqs)), self.now)
        for chunk_id in [*verdicts.archived, *(chunk_id for chunk_id, _ in verdicts.refused)]:
            assert chunk_id not in self.ended
            self.ended.add(chunk_id)

    @rule(step_s=st.floats(0, 20))
    def time(self, step_s: float) -> None:
        self.now += int(step_s * SECOND_NS)

    @rule()
    def connection_lost(self) -> None:
        self.one.lost_connection(self.now)
        for chunk_id in self.sending:
            self.one.failed(chunk_id, self.now)
        self.sending.clear()

    @invariant()
    def bounded_and_alive(self) -> None:
        assert self.one.in_flight <= 4
        assert not self.one.known & self.ended
        waiting = self.one.known - self.sending
        if waiting and self.one.in_flight < (1 if self.one.unwelcome else 4):
            due = self.one.next_due_ns(self.now)
            assert due is not None or self.sending or self.one.choose(self.now, []) is not None, (
                "a chunk would wait for ever"
            )


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


def test_what_is_overdue_and_may_not_be_sent_again_is_not_waited_for() -> None:
    one = session()
    large = chunk(0, 5000)
    one.start(large, digest(0), 0)
    assert one.expecting(10**12), "it is being sent"
    one.published(large.chunk_id, 0)
    due_ns = one.next_due_ns(0)
    assert due_ns is not None
    assert one.expecting(due_ns - 1)
    assert not one.expecting(due_ns)
    assert one.choose(due_ns, [], max_bytes=4999) is None
    assert one.choose(due_ns, [], max_bytes=5000) is not None


def test_the_window_opens_with_answers_and_closes_when_chunks_go_missing() -> None:
    one = session(first_window=4, window=8)

    def sendable() -> int:
        sent = 0
        while one.room(1000):
            send(one, 1000 + sent)
            sent += 1
        for seq in range(1000, 1000 + sent):
            one.forget(chunk(seq).chunk_id)
        return sent

    assert sendable() == 4
    for seq in range(20):
        send(one, seq)
        one.answered(ack(seq), 1)
    assert sendable() == 8
    send(one, 50)
    one.ask([chunk(50).chunk_id], 100, 1)
    one.missing([chunk(50).chunk_id], 200)
    assert sendable() == 4
    one.missing([chunk(51).chunk_id], 200)
    assert sendable() == 4, "what was not sent did not go missing"


def test_an_archive_in_trouble_is_tried_with_one_chunk_at_a_time() -> None:
    one = session()
    for seq in range(3):
        send(one, seq)
    one.answered(Answer(0, (), (Nack(digest(0), NackCode.LATER, 60),)), SECOND_NS)
    assert one.choose(2 * SECOND_NS, [chunk(9)]) is None, "the rest would only be refused as well"
    due_ns = one.next_due_ns(2 * SECOND_NS)
    assert due_ns is not None
    assert 60 * SECOND_NS < due_ns <= 122 * SECOND_NS
    one.answered(ack(1, 2), due_ns - 2)
    assert one.choose(due_ns - 1, [chunk(9)]) is not None, "it takes chunks again"
    send(one, 0, due_ns)
    one.answered(Answer(0, (), (Nack(digest(0), NackCode.LATER, 60),)), due_ns + 1)
    assert one.choose(due_ns + 2, [chunk(9)]) is not None, "it was this chunk: others go on"


def test_what_is_put_off_does_not_stand_in_the_way_of_what_fills_the_window() -> None:
    one = session(first_window=2)
    send(one, 1)
    send(one, 2)
    one.start(chunk(3), digest(3), 0)
    one.lost_connection(0)  # 3 may go again at once, but the window is full
    due_ns = one.next_due_ns(0)
    assert due_ns is not None
    assert one.choose(1, [chunk(9)]) is None
    later = due_ns + 60 * SECOND_NS
    assert one.next_due_ns(later) is None
    assert one.choose(later, [chunk(9)]) is not None, "it would wait for ever"
