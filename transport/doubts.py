"""Pure: which chunks a device should ask the collector about before it sends them (again), and what is known of them.

State: the chunks that are known not to be in the archive, the question that is out, how many in a row went unanswered, and
whether the collector understands questions at all. While a question is out nothing else is sent: in doubt, a small message goes
into the void and not a window of chunks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transport.asking import MAX_ASKED, pack_question
from transport.messages import digest_of
from transport.session import ORDERS

if TYPE_CHECKING:
    from codec.model import ChunkId
    from transport.session import Flight


@dataclass(frozen=True, slots=True)
class Question:
    """A question to send. asked: about these. payload: its bytes."""

    asked: tuple[ChunkId, ...]
    payload: bytes


class Doubts:
    """See the module."""

    def __init__(self) -> None:
        self.understood = True
        self.unanswered = 0
        self._missing: set[ChunkId] = set()
        self._out: tuple[bytes, Question] | None = None
        self._until_ns = 0

    def question(self, overdue: Iterable[Flight]) -> Question | None:
        """Return what to ask before anything of `overdue` is sent, None: nothing."""
        if not self.understood:
            return None
        asked = [flight for flight in overdue if flight.chunk_id not in self._missing and flight.digest]
        asked = [flight for flight in asked if flight.chunk_id.epoch != ORDERS]
        if not asked:
            return None
        epoch = asked[0].chunk_id.epoch
        asked = [flight for flight in asked if flight.chunk_id.epoch == epoch][:MAX_ASKED]
        payload = pack_question(epoch, [(flight.chunk_id.seq, flight.digest) for flight in asked])
        return Question(tuple(flight.chunk_id for flight in asked), payload)

    def ask(self, question: Question, until_ns: int) -> None:
        """Note that a question goes out, and how long its answer is waited for."""
        self._out = digest_of(question.payload), question
        self._until_ns = until_ns
        self.unanswered += 1

    def waits_until_ns(self, now_ns: int) -> int | None:
        """Return until when the answer to the question that is out is waited for, or None."""
        return self._until_ns if self._out is not None and now_ns < self._until_ns else None

    def answered(self, done: Collection[bytes], refused: Collection[bytes]) -> tuple[ChunkId, ...]:
        """Take in an answer; return the chunks that were asked about, where it is the answer to that: what it did not name is missing.

        Args:
            done, refused: digests of payloads.
        """
        if self._out is None:
            return ()
        digest, question = self._out
        if digest in refused:
            self.understood = False
        elif digest not in done:
            return ()
        self._out = None
        self.unanswered = 0
        self._missing.update(question.asked)
        return question.asked

    def lost_connection(self) -> None:
        """Give up the question that is out: its answer would come to a connection that is no more."""
        self._out = None

    def unheard(self) -> None:
        """Note that nobody heard the question that is out: it does not count as unanswered."""
        self._out = None
        self.unanswered = max(0, self.unanswered - 1)

    def clear(self, ids: Iterable[ChunkId]) -> None:
        """Note that chunks are not in the archive for sure."""
        self._missing.update(ids)

    def sent(self, chunk_id: ChunkId) -> None:
        """Note that a chunk is being sent: from now on it may be there."""
        self._missing.discard(chunk_id)
