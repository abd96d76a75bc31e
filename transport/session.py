"""Pure: which chunk a device sends next: the window, repetitions, and what the collector's answers mean.

State: the chunks that were sent and not answered (at most `window`), those that are put off until a moment, the measured
time of an answer, and whether the collector knows this device. Nothing here counts bytes or knows the budget.

A collector that does not know the device, or has it revoked, says the same of every chunk. None is given up for that; but
until the pause it asked for is over nothing is sent, and then one chunk tries for all.

A chunk's life, as a table that tests walk: TRANSITIONS.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from codec.model import ChunkId
from transport.messages import KEPT, Answer, NackCode
from transport.spooled import ANY_SIZE

if TYPE_CHECKING:
    import random

SECOND_NS = 1_000_000_000

LEAST_WINDOW, OPENED_BY_ANSWER = 2.0, 0.5
"""Chunks that are on their way when a broker or a collector dies may have to be sent again. So the window opens with answers and
closes by half when chunks went missing, like TCP's (RFC 5681), up to the limit."""

ORDERS = 1 << 32
"""The epoch of ids that name no chunk but an order (a tombstone): no chunk's epoch is so large."""

UNWELCOME = {
    NackCode.UNKNOWN_KEY: "the archive does not know this device's key: enrol it, with `modicum enrol`",
    NackCode.REVOKED: "the archive's owner has revoked this device or its key: ask them",
}
"""What a refusal of every chunk means to the person."""


class HasSize(Protocol):
    """What the session needs to know of a chunk that waits."""

    @property
    def chunk_id(self) -> ChunkId: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def value(self) -> int: ...


class Phase(Enum):
    """Where a chunk is."""

    SENDING = "sending"  # handed to MQTT, the broker has not acknowledged it
    WAITING = "waiting"  # the broker has it; the collector has not answered
    PUT_OFF = "put off"  # not to be sent before `due_ns`


TRANSITIONS: dict[tuple[Phase | None, str], Phase | None] = {
    (None, "start"): Phase.SENDING,
    (None, "postponed"): Phase.PUT_OFF,  # it cannot be read now
    (Phase.WAITING, "postponed"): Phase.PUT_OFF,
    (Phase.PUT_OFF, "postponed"): Phase.PUT_OFF,
    (Phase.SENDING, "published"): Phase.WAITING,
    (Phase.SENDING, "failed"): Phase.PUT_OFF,
    (Phase.SENDING, "unheard"): Phase.PUT_OFF,  # the broker said that nobody subscribes
    (Phase.SENDING, "answered"): None,  # the collector was faster than the broker's PUBACK
    (Phase.SENDING, "later"): Phase.PUT_OFF,
    (Phase.WAITING, "start"): Phase.SENDING,  # no answer came in time: again
    (Phase.WAITING, "answered"): None,
    (Phase.WAITING, "later"): Phase.PUT_OFF,
    (Phase.PUT_OFF, "start"): Phase.SENDING,
    (Phase.PUT_OFF, "answered"): None,
    (Phase.PUT_OFF, "later"): Phase.PUT_OFF,
    (Phase.PUT_OFF, "published"): Phase.PUT_OFF,  # the PUBACK of a chunk that the collector asked to have later
    (Phase.PUT_OFF, "failed"): Phase.PUT_OFF,
    (Phase.PUT_OFF, "unheard"): Phase.PUT_OFF,
    (Phase.WAITING, "failed"): Phase.WAITING,
    (None, "adopted"): Phase.PUT_OFF,  # an earlier process may have sent it
    (Phase.WAITING, "asked"): Phase.PUT_OFF,
    (Phase.PUT_OFF, "asked"): Phase.PUT_OFF,
}
"""(where, what happened) -> where then; None: the session does not know the chunk (any more)."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The session's limits.

    Attributes:
        window: chunks sent and not answered, at most. first_window: at the beginning. window_bytes: their bytes, at most (one chunk is always admitted).
        publishing, publishing_bytes: of these, what the broker has not acknowledged: one more is begun only below both.
        answer_min_s: no repetition sooner than this after sending; twice the collector's batch delay at least.
        answer_cap_s: nor later than this.
    """

    window: int = 16
    first_window: int = 4
    window_bytes: int = 8 << 20
    publishing: int = 4
    publishing_bytes: int = 128 << 10
    answer_min_s: float = 10.0
    answer_cap_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Flight:
    """A chunk that the session watches. value: 0..255. digest: of its bytes. due_ns: when it may be sent (again). attempts: so far."""

    chunk_id: ChunkId
    size_bytes: int
    value: int
    digest: bytes
    phase: Phase
    sent_ns: int
    due_ns: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What an answer leads to. archived: free them. refused: give them up, with the reason. unknown: ids of no flight."""

    archived: tuple[ChunkId, ...]
    refused: tuple[tuple[ChunkId, str], ...]
    put_off: tuple[ChunkId, ...]
    unknown: tuple[tuple[ChunkId, bytes], ...]


def backoff_s(attempt: int, *, base_s: float, cap_s: float, rng: random.Random) -> float:
    """Return a pause with full jitter: uniform in 0 … min(cap, base · 2^attempt).

    Source: Brooker, "Exponential Backoff and Jitter" (AWS, 2015): full jitter clears a herd with the least work.
    """
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(attempt, 32)))


class Session:
    """See the module."""

    def __init__(self, limits: SessionLimits, *, device: str, rng: random.Random) -> None:
        self.limits = limits
        self.device = device
        self._rng = rng
        self._flights: dict[ChunkId, Flight] = {}
        self._answer_s: float | None = None  # smoothed, RFC 6298
        self._deviation_s = 0.0
        self._fresh_turn = True
        self._closed_until_ns = 0
        self._hesitant = False  # the archive could not take something: one at a time, until it takes one
        self._open = float(min(limits.first_window, limits.window))
        self.resends = 0
        self.unwelcome = ""
        """Why the collector takes nothing from this device, in words; "" when it does, as far as one knows."""

    @property
    def in_flight(self) -> int:
        """Return how many chunks are sent and not answered."""
        return sum(flight.phase is not Phase.PUT_OFF for flight in self._flights.values())

    def expecting(self, now_ns: int) -> bool:
        """Tell whether something is being sent, or an answer is due; what is overdue and may not be sent again is neither."""
        return any(
            flight.phase is Phase.SENDING or (flight.phase is Phase.WAITING and flight.due_ns > now_ns)
            for flight in self._flights.values()
        )

    @property
    def known(self) -> frozenset[ChunkId]:
        """Return all chunks that the session watches: they are not fresh."""
        return frozenset(self._flights)

    def digest(self, chunk_id: ChunkId) -> bytes | None:
        """Return the digest of a chunk that was sent, or None."""
        flight = self._flights.get(chunk_id)
        return flight.digest if flight else None

    def pipe_full(self) -> bool:
        """Tell whether the broker should acknowledge something before one more chunk is begun.

        What is begun only waits behind what the path carries; when the connection ends, all of it has to be begun again.
        """
        sending = [flight.size_bytes for flight in self._flights.values() if flight.phase is Phase.SENDING]
        return len(sending) >= self.limits.publishing or sum(sending) >= self.limits.publishing_bytes

    def room(self, size_bytes: int) -> bool:
        """Tell whether the window admits one more fresh chunk of this size."""
        flying = [flight for flight in self._flights.values() if flight.phase is not Phase.PUT_OFF]
        if not flying:
            return True
        if self.unwelcome or self._hesitant:
            return False
        total = sum(flight.size_bytes for flight in flying)
        return len(flying) < self._open and total + size_bytes <= self.limits.window_bytes

    def choose(
        self, now_ns: int, fresh: Iterable[HasSize], *, min_value: int = 0, max_bytes: int = ANY_SIZE
    ) -> HasSize | None:
        """Return what to send next: fresh chunks and repetitions in turn, each kind in its order; None: nothing now.

        Args:
            now_ns: monotonic. fresh: ready chunks that the session does not know, the most urgent first.
            min_value: repetitions of chunks worth less wait. max_bytes: and those of larger ones.
        """
        if now_ns < self._closed_until_ns or self.pipe_full():
            return None
        again = self._due(now_ns, min_value, max_bytes)
        new = next((entry for entry in fresh if entry.chunk_id not in self._flights), None)
        if new is not None and not self.room(new.size_bytes):
            new = None
        if new is not None and (again is None or self._fresh_turn):
            self._fresh_turn = False
            return new
        self._fresh_turn = True
        return again

    def next_due_ns(self, now_ns: int) -> int | None:
        """Return when the next repetition becomes due after now (or anything at all may be sent), or None when none will."""
        if now_ns < self._closed_until_ns:
            return self._closed_until_ns
        moments = [flight.due_ns for flight in self._flights.values() if flight.phase is not Phase.SENDING]
        return min((moment for moment in moments if moment > now_ns), default=None)

    def start(self, chunk: HasSize, digest: bytes, now_ns: int) -> None:
        """Note that a chunk is handed to MQTT."""
        before = self._flights.get(chunk.chunk_id)
        attempts = before.attempts + 1 if before else 1
        self.resends += attempts > 1
        flight = Flight(chunk.chunk_id, chunk.size_bytes, chunk.value, digest, Phase.SENDING, now_ns, now_ns, attempts)
        self._move(chunk.chunk_id, "start", flight)

    def postpone(self, chunk: HasSize, now_ns: int, pause_s: float) -> None:
        """Note that a chunk cannot be sent before a pause."""
        before = self._flights.get(chunk.chunk_id)
        flight = before or Flight(chunk.chunk_id, chunk.size_bytes, chunk.value, b"", Phase.PUT_OFF, now_ns, now_ns, 0)
        self._move(chunk.chunk_id, "postponed", replace(flight, due_ns=now_ns + int(pause_s * SECOND_NS)))

    def adopt(self, chunk: HasSize, digest: bytes, now_ns: int) -> None:
        """Watch a chunk that an earlier process may have sent; it may be sent now."""
        flight = Flight(chunk.chunk_id, chunk.size_bytes, chunk.value, digest, Phase.PUT_OFF, now_ns, now_ns, 0)
        self._move(chunk.chunk_id, "adopted", flight)

    def overdue(self, now_ns: int) -> list[Flight]:
        """Return the chunks that may be sent again now, those first that are overdue for longest."""
        if now_ns < self._closed_until_ns:
            return []
        return sorted(self._all_due(now_ns), key=lambda flight: (flight.due_ns, flight.chunk_id))

    def ask(self, ids: Iterable[ChunkId], now_ns: int, attempt: int) -> int:
        """Note that the collector is asked about chunks; return until when they wait for that.

        Args:
            attempt: how many questions went unanswered before, plus 1.
        """
        due_ns = now_ns + self._patience_ns(attempt)
        for chunk_id in ids:
            flight = self._flights.get(chunk_id)
            if flight is not None and flight.phase is not Phase.SENDING:
                self._move(chunk_id, "asked", replace(flight, due_ns=due_ns))
        return due_ns

    def missing(self, ids: Iterable[ChunkId], now_ns: int) -> None:
        """Note that the collector does not have chunks that it was asked about: they may be sent now."""
        lost = False
        for chunk_id in ids:
            flight = self._flights.get(chunk_id)
            if flight is not None and flight.phase is Phase.PUT_OFF:
                lost = lost or flight.attempts > 0
                self._move(chunk_id, "asked", replace(flight, due_ns=now_ns))

        if lost:
            self._open = max(LEAST_WINDOW, self._open / 2)

    def published(self, chunk_id: ChunkId, now_ns: int) -> None:
        """Note that the broker has a chunk: from now on the collector's answer is due."""
        flight = self._flights.get(chunk_id)
        if flight is not None:
            self._move(chunk_id, "published", replace(flight, due_ns=now_ns + self._patience_ns(flight.attempts)))

    def failed(self, chunk_id: ChunkId, now_ns: int) -> None:
        """Note that a chunk did not reach the broker: it goes again as soon as there is a connection."""
        flight = self._flights.get(chunk_id)
        if flight is not None:
            self._move(chunk_id, "failed", replace(flight, due_ns=now_ns))

    def unheard(self, chunk_id: ChunkId, now_ns: int, pause_s: float) -> None:
        """Note that the broker has nobody to give a chunk to: not before a pause."""
        flight = self._flights.get(chunk_id)
        if flight is not None:
            self._move(chunk_id, "unheard", replace(flight, due_ns=now_ns + int(pause_s * SECOND_NS)))

    def lost_connection(self, now_ns: int) -> None:
        """Note that answers may have got lost: what was being sent goes again soon, the rest when it is due."""
        for flight in list(self._flights.values()):
            if flight.phase is Phase.SENDING:
                self.failed(flight.chunk_id, now_ns)

    def forget(self, chunk_id: ChunkId) -> None:
        """Watch a chunk no longer: it left the spool."""
        self._flights.pop(chunk_id, None)

    def answered(self, answer: Answer, now_ns: int) -> Verdicts:
        """Take in what the collector says. Repeated and foreign answers change nothing."""
        archived: list[ChunkId] = []
        unknown: list[tuple[ChunkId, bytes]] = []
        refused: list[tuple[ChunkId, str]] = []
        put_off: list[ChunkId] = []
        for seq, digest in answer.acks:
            chunk_id = ChunkId(self.device, answer.epoch, seq)
            flight = self._flights.get(chunk_id)
            if flight is None:
                unknown.append((chunk_id, digest))  # sent before a restart, perhaps: the spool can tell by the digest
            elif flight.digest == digest:
                if flight.attempts == 1 and flight.phase is not Phase.PUT_OFF:  # else it is not known what is answered
                    self._measure((now_ns - flight.sent_ns) / SECOND_NS)
                self._move(chunk_id, "answered", flight)
                archived.append(chunk_id)
                self._open = min(self._open + OPENED_BY_ANSWER, float(self.limits.window))
        by_digest = {flight.digest: flight for flight in self._flights.values()}
        for digest in answer.done:
            flight = by_digest.get(digest)
            if flight is not None and flight.chunk_id.epoch == ORDERS:
                self._move(flight.chunk_id, "answered", by_digest.pop(digest))
                archived.append(flight.chunk_id)
        if archived:
            self.unwelcome, self._hesitant, self._closed_until_ns = "", False, 0
            by_digest = {flight.digest: flight for flight in self._flights.values()}
        for nack in answer.nacks:
            flight = by_digest.pop(nack.digest, None)  # whoever answers may name a chunk twice: the first counts
            if flight is None:
                continue
            if nack.code in KEPT:
                pause_s = max(nack.retry_s, 1) * (1 + self._rng.random())
                due_ns = now_ns + int(pause_s * SECOND_NS)
                self._move(flight.chunk_id, "later", replace(flight, due_ns=due_ns))
                put_off.append(flight.chunk_id)
                if nack.code in UNWELCOME:
                    self.unwelcome, self._closed_until_ns = UNWELCOME[nack.code], due_ns
                elif (
                    flight.attempts <= 1
                ):  # the archive is in trouble, or it is this chunk: then the next time others go on
                    self._hesitant, self._closed_until_ns = True, max(self._closed_until_ns, due_ns)
            else:
                self._move(flight.chunk_id, "answered", flight)
                refused.append((flight.chunk_id, nack.code.name.lower().replace("_", " ")))
        return Verdicts(tuple(archived), tuple(refused), tuple(put_off), tuple(unknown))

    def _move(self, chunk_id: ChunkId, event: str, flight: Flight) -> None:
        before = self._flights.get(chunk_id)
        key = (before.phase if before else None, event)
        if key not in TRANSITIONS:
            raise ValueError(f"{chunk_id}: {event!r} does not happen to a chunk that is {key[0]}")
        after = TRANSITIONS[key]
        if after is None:
            self._flights.pop(chunk_id, None)
        else:
            self._flights[chunk_id] = replace(flight, phase=after)

    def _due(self, now_ns: int, min_value: int, max_bytes: int) -> Flight | None:
        """Return the chunk to send again. One that is waited for has its place in the window; one that is put off needs one."""
        due = [
            flight
            for flight in self._all_due(now_ns)
            if flight.value >= min_value
            and flight.size_bytes <= max_bytes
            and (flight.phase is Phase.WAITING or self.room(flight.size_bytes))
        ]
        return min(due, key=lambda flight: (flight.due_ns, flight.chunk_id), default=None)

    def _all_due(self, now_ns: int) -> Iterable[Flight]:
        return (
            flight for flight in self._flights.values() if flight.phase is not Phase.SENDING and flight.due_ns <= now_ns
        )

    def _patience_ns(self, attempts: int) -> int:
        """Return how long to wait for an answer: what answers take (RFC 6298), doubled each time, with jitter on top."""
        usual_s = self.limits.answer_min_s
        if self._answer_s is not None:
            usual_s = max(usual_s, self._answer_s + 4 * self._deviation_s)
        least_s = min(self.limits.answer_cap_s, usual_s * 2.0 ** min(attempts - 1, 32))
        return int((least_s + self._rng.uniform(0, least_s / 2)) * SECOND_NS)

    def _measure(self, answer_s: float) -> None:
        if self._answer_s is None:
            self._answer_s, self._deviation_s = answer_s, answer_s / 2
        else:
            self._deviation_s += (abs(answer_s - self._answer_s) - self._deviation_s) / 4
            self._answer_s += (answer_s - self._answer_s) / 8
