"""Pure: what chunks, and the bytes that the kernel holds, may still cost on one connection, given what its path loses.

These are estimates on the safe side, not bounds: on a path that loses much no formula is one. They decide what is begun and
how far leases have to reach ahead; that the budget holds is watched by the kernel's count (transport/metering.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from transport import wire
from transport.wire import Path, TcpInfo

LEAST_AGAIN = 0.25
"""Share of what is in flight that is reckoned to be sent again on a path that has lost nothing so far."""

AGAIN_BY_LOSS = 1.5
"""The same on a path that loses: this times its loss, since what is sent again is lost as often."""

MOST_IN_FLIGHT_BYTES = 65_536
"""The send buffer (transport/sockets.py): no more can be in flight."""

LOSS_SAMPLE_BYTES = 16_384
"""Fewer bytes sent say nothing of a path's loss."""

SMALL_RECORD_BYTES = 4096
"""Small writes make small TLS records: reckon with this size."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What bytes cost.

    Attributes:
        topic_bytes: of the topic that chunks are published on. path: how bytes travel. mqtt5: else 3.1.1.
        loss_ratio: share of retransmitted bytes to reckon with, 0..1.
    """

    topic_bytes: int
    path: Path
    mqtt5: bool
    loss_ratio: float

    def chunk(self, payload_bytes: int) -> int:
        """Return what the budget must still hold for a chunk to be begun: its bound, and its exposure while it is in flight."""
        bound = wire.chunk_bound(
            self.topic_bytes, payload_bytes, self.path, mqtt5=self.mqtt5, loss_ratio=self.loss_ratio
        )
        return bound + int(min(payload_bytes, MOST_IN_FLIGHT_BYTES) * self._again)

    def largest(self, cost_bytes: int) -> int:
        """Return the size of the largest chunk that costs at most so much; 0 when there is none."""
        low, high = 0, max(0, cost_bytes)
        while low < high:
            middle = (low + high + 1) // 2
            if self.chunk(middle) <= cost_bytes:
                low = middle
            else:
                high = middle - 1
        return low

    def exposure(self, info: TcpInfo) -> int:
        """Return what the bytes that the kernel holds may still cost: those not sent, and those that may be sent again."""
        return int(info.unsent * self._unsent + info.in_flight * self._again)

    def affordable(self, free_bytes: int) -> int:
        """Return how many bytes handed to the kernel raise the exposure by at most `free_bytes`."""
        price = self._unsent
        if self.path.tls:
            price *= 1 + wire.TLS_RECORD_OVERHEAD / SMALL_RECORD_BYTES
        return max(0, int(free_bytes / price) - 2 * wire.TLS_RECORD_OVERHEAD * self.path.tls)

    @property
    def _header(self) -> int:
        return wire.SEGMENT_BOUND_BYTES + (20 if self.path.ipv6 else 0)

    @property
    def _again(self) -> float:
        """Price of a byte that is sent and may have to be sent again."""
        return max(LEAST_AGAIN, AGAIN_BY_LOSS * self.loss_ratio) * (1 + self._header / self.path.mss_bytes)

    @property
    def _unsent(self) -> float:
        """Price of a byte that is not sent yet: itself, the headers of it and of its acknowledgement, and perhaps again."""
        return 1 + 2 * self._header / self.path.mss_bytes + self._again


def loss_ratio(info: TcpInfo | None, before: float) -> float:
    """Return the share of retransmitted bytes to reckon with: what was learned before, or what is seen now if that is worse."""
    if info is None or info.sent < LOSS_SAMPLE_BYTES:
        return before
    return max(before, min(1.0, info.retransmitted / info.sent))
