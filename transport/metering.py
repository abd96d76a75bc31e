"""Pure: what a connection has reserved, used, and may still send: leases against the kernel's count.

State: the open leases, oldest first, what was settled of earlier ones, and the bounds of what is being sent. The rule that
it keeps: settled + reserved ≥ used + what is being sent may still cost + what closing costs. Under it, a crash at any moment
leaves the ledger at or above the truth, since open leases count as spent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MARGIN_BYTES = 12_288
"""Room for what is not asked for (pings, retransmissions); at this distance from the end of what is reserved a connection
that is sending is cut. Measured to suffice at 15 % loss, when looked at every 20 ms with a send buffer of 64 KB."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """A lease that is done. used_bytes: what it was used for, 0..its size (the last one of a connection may exceed it)."""

    lease_id: int
    used_bytes: int


class Meter:
    """The account of one connection."""

    def __init__(self) -> None:
        self._leases: deque[tuple[int, int]] = deque()
        self._sending: dict[object, int] = {}
        self.reserved = 0
        self.settled = 0
        self.used = 0

    def add(self, lease_id: int, reserved_bytes: int) -> None:
        """Count a lease that the ledger granted."""
        self._leases.append((lease_id, reserved_bytes))
        self.reserved += reserved_bytes

    def observe(self, used_bytes: int) -> None:
        """Take the count of the wire; it never falls."""
        self.used = max(self.used, used_bytes)

    def missing(self, bound_bytes: int) -> int:
        """Return how much has to be reserved before something that costs up to `bound_bytes` may be sent; 0: nothing."""
        return max(
            0, self.used + sum(self._sending.values()) + bound_bytes + MARGIN_BYTES - self.settled - self.reserved
        )

    def start(self, key: object, bound_bytes: int) -> None:
        """Count something that is being sent."""
        self._sending[key] = bound_bytes

    def done(self, key: object) -> None:
        """Note that it was sent: its bytes are in the wire's count from now on."""
        self._sending.pop(key, None)

    @property
    def sending(self) -> int:
        """Return how many things are being sent."""
        return len(self._sending)

    @property
    def left(self) -> int:
        """Return what may still go over the wire before all that is reserved is used."""
        return self.settled + self.reserved - self.used

    def settle(self) -> list[Settlement]:
        """Return the leases that are not needed any more, keeping the rule; they are settled from now on."""
        settlements: list[Settlement] = []
        while self._leases:
            lease_id, size = self._leases[0]
            used = min(size, self.used - self.settled)
            needed = self.used + sum(self._sending.values()) + MARGIN_BYTES
            if self.settled + used + self.reserved - size < needed:
                break
            settlements.append(self._close(lease_id, size, used))
        return settlements

    def close(self) -> list[Settlement]:
        """Return all leases, settled by what the connection used in the end; what exceeds them falls on the last."""
        settlements: list[Settlement] = []
        while self._leases:
            lease_id, size = self._leases[0]
            rest = self.used - self.settled
            settlements.append(self._close(lease_id, size, rest if len(self._leases) == 1 else min(size, rest)))
        self._sending.clear()
        return settlements

    def close_pessimistically(self) -> list[Settlement]:
        """Return all leases as used up: nobody counted."""
        self.used = max(self.used, self.settled + self.reserved)
        return self.close()

    def _close(self, lease_id: int, size: int, used: int) -> Settlement:
        self._leases.popleft()
        self.reserved -= size
        self.settled += used
        return Settlement(lease_id, used)
