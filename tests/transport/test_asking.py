"""Questions to the collector: what they look like, what is asked, and what their answers mean."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import errors
from codec.model import ChunkId
from transport import asking
from transport.doubts import Doubts
from transport.errors import Missing
from transport.messages import Answer, digest_of
from transport.session import ORDERS, Session, SessionLimits

DEVICE = "dev-1"
SECOND = 1_000_000_000

HEAD_BYTES, ASKED_BYTES = 24, 18
"""What a question takes at most, and each chunk in it: little beside a chunk."""


@dataclass(frozen=True)
class Waiting:
    chunk_id: ChunkId
    size_bytes: int = 1000
    value: int = 200


def chunk(seq: int, epoch: int = 9) -> Waiting:
    return Waiting(ChunkId(DEVICE, epoch, seq))


def digest(seq: int) -> bytes:
    return seq.to_bytes(8, "big")


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(min_size=8, max_size=8)), max_size=64),
)
def test_a_question_comes_back_as_it_was_and_is_small(epoch: int, asked: list[tuple[int, bytes]]) -> None:
    payload = asking.pack_question(epoch, asked)
    assert asking.parse_question(DEVICE, payload) == [(ChunkId(DEVICE, epoch, seq), its) for seq, its in asked]
    assert len(payload) <= HEAD_BYTES + ASKED_BYTES * len(asked)


@given(st.binary(max_size=200))
def test_what_is_no_question_is_corrupt(rest: bytes) -> None:
    try:
        asking.parse_question(DEVICE, asking.MAGIC + rest)
    except errors.Corrupt:
        return


def test_a_question_about_too_much_or_without_whole_digests_is_corrupt() -> None:
    for asked in ([(seq, digest(seq)) for seq in range(65)], [(1, b"short")], [(-1, digest(1))], [("x", digest(1))]):
        with pytest.raises(errors.Corrupt):
            asking.parse_question(DEVICE, asking.pack_question(1, asked))  # type: ignore[arg-type]


def test_the_collector_names_what_it_holds_and_nothing_that_only_has_the_same_name() -> None:
    archive = {ChunkId(DEVICE, 9, seq): b"chunk %d" % seq for seq in (1, 2)}

    def get(chunk_id: ChunkId) -> bytes:
        if chunk_id not in archive:
            raise Missing(str(chunk_id))
        return archive[chunk_id]

    asked = [(1, digest_of(b"chunk 1")), (2, digest_of(b"another")), (3, digest_of(b"chunk 3"))]
    reply = asking.handler(get)(DEVICE, asking.pack_question(9, asked))
    assert reply.archived == ((ChunkId(DEVICE, 9, 1), digest_of(b"chunk 1")),)
    assert asking.handler(get)("dev-2", asking.pack_question(9, asked)).archived == ()


class Scene:
    """A session with doubts, as an exchange uses them."""

    def __init__(self, count: int) -> None:
        self.session = Session(SessionLimits(answer_min_s=1), device=DEVICE, rng=random.Random(1))
        self.doubts = Doubts()
        for seq in range(count):
            self.session.start(chunk(seq), digest(seq), 0)
            self.session.published(chunk(seq).chunk_id, 0)

    def ask(self, now_s: float) -> bytes | None:
        now_ns = int(now_s * SECOND)
        question = self.doubts.question(self.session.overdue(now_ns))
        if question is None:
            return None
        until_ns = self.session.ask(question.asked, now_ns, self.doubts.unanswered + 1)
        self.doubts.ask(question, until_ns)
        return question.payload

    def answer(
        self, now_s: float, acks: list[int], *, done: tuple[bytes, ...] = (), refused: tuple[bytes, ...] = ()
    ) -> None:
        now_ns = int(now_s * SECOND)
        self.session.answered(Answer(9, tuple((seq, digest(seq)) for seq in acks), (), done), now_ns)
        self.session.missing(self.doubts.answered(done, refused), now_ns)

    def chosen(self, now_s: float) -> set[int]:
        return {flight.chunk_id.seq for flight in self.session.overdue(int(now_s * SECOND))}


def test_what_is_overdue_is_asked_for_and_only_what_is_missing_is_sent_again() -> None:
    scene = Scene(3)
    assert scene.ask(0.5) is None, "the answers are not due"
    payload = scene.ask(5)
    assert payload is not None
    assert {chunk_id.seq for chunk_id, _ in asking.parse_question(DEVICE, payload)} == {0, 1, 2}
    assert scene.chosen(5) == set()
    scene.answer(5.1, [0, 2], done=(digest_of(payload),))
    assert scene.chosen(5.1) == {1}
    assert scene.ask(5.1) is None, "it is known that 1 is missing"
    scene.doubts.sent(chunk(1).chunk_id)
    scene.session.start(chunk(1), digest(1), 6 * SECOND)
    scene.session.published(chunk(1).chunk_id, 6 * SECOND)
    assert scene.ask(20) is not None, "it was sent since"


def test_an_unanswered_question_is_asked_again_ever_more_rarely_and_nothing_is_sent_meanwhile() -> None:
    scene = Scene(1)
    now_s, pauses = 5.0, []
    for _ in range(5):
        assert scene.ask(now_s) is not None
        until_ns = scene.doubts.waits_until_ns(int(now_s * SECOND))
        assert until_ns is not None
        pauses.append(until_ns / SECOND - now_s)
        now_s = until_ns / SECOND
        assert scene.doubts.waits_until_ns(until_ns) is None
    assert pauses[0] < 2
    assert pauses[4] > 8 * pauses[0]


def test_a_collector_that_does_not_know_questions_is_not_asked_again() -> None:
    scene = Scene(1)
    payload = scene.ask(5)
    assert payload is not None
    scene.answer(5.1, [], refused=(digest_of(payload),))
    assert scene.chosen(5.1) == {0}
    assert scene.ask(5.1) is None


def test_an_answer_to_something_else_settles_no_doubt() -> None:
    scene = Scene(1)
    assert scene.ask(5) is not None
    scene.answer(5.1, [], done=(b"x" * 8,))
    assert scene.chosen(5.1) == set()
    scene.doubts.lost_connection()
    scene.answer(5.2, [], done=(b"x" * 8,))
    assert scene.doubts.waits_until_ns(0) is None


def test_what_an_earlier_process_may_have_sent_is_asked_for_first_and_is_no_repetition() -> None:
    scene = Scene(0)
    scene.session.adopt(chunk(7), digest(7), 0)
    payload = scene.ask(0)
    assert payload is not None
    scene.answer(0.1, [], done=(digest_of(payload),))
    scene.session.start(chunk(7), digest(7), SECOND)
    assert scene.session.resends == 0


def test_orders_and_chunks_of_two_epochs_are_not_mixed() -> None:
    scene = Scene(0)
    for one in (chunk(1, ORDERS), chunk(2, 9), chunk(3, 10)):
        scene.session.adopt(one, digest(1), 0)
    payload = scene.ask(0)
    assert payload is not None
    assert [str(chunk_id) for chunk_id, _ in asking.parse_question(DEVICE, payload)] == [str(chunk(2, 9).chunk_id)]


def test_a_question_that_nobody_hears_costs_no_patience() -> None:
    """However often the broker has no collector: once there is one, the chunk is asked about at once."""
    session, doubts = Session(SessionLimits(), device=DEVICE, rng=random.Random(1)), Doubts()
    session.adopt(chunk(0), digest(0), 0)
    now = 0
    for _ in range(8):
        question = doubts.question(session.overdue(now))
        assert question is not None
        doubts.ask(question, session.ask(question.asked, now, doubts.unanswered + 1))
        now += SECOND
        doubts.unheard()
        for chunk_id in question.asked:
            session.unheard(chunk_id, now, 0.0)
        assert doubts.waits_until_ns(now) is None
    assert doubts.unanswered == 0
