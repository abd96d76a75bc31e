"""Pure: what a connection has reserved, used, and may still send: leases against the kernel's count.

State: the open leases, oldest first, what was settled of earlier ones, the wire's count, what the kernel holds and may still
put on the wire (the exposure), and the bounds of the chunks that are being sent. Two rules:

* *Cover*: settled + reserved ≥ used + exposure + MARGIN. Bytes are handed to the kernel only as far as it holds. Under it a
  crash at any moment leaves the ledger at or above the truth, since open leases count as spent. Leases come in steps, so that
  what a crash costs is a step, not all that was to be sent.
* *Admission*: a chunk is begun only when the ledger could grant all that it and those before it may cost, so that none is
  begun in vain.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MARGIN_BYTES = 6_144
"""Room for what nobody asked for: pings, answers, and the four segments that a path at 15 % loss repeats between two looks."""

STEP_BYTES = 8_192
STEP_SHARE = 64
STEP_CAP_BYTES = 4 << 20
"""A lease is a 64th of what is left of the budget, within these limits: a crash costs at most so much, and the disk is
synced 64 times while a budget is used up, or once in 8 KB."""

LEAST_FREE_BYTES = 4_096
"""Whoever waits to hand something over gets so much, also when more was used than had been reckoned."""


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
        self.exposure = 0

    def add(self, lease_id: int, reserved_bytes: int) -> None:
        """Count a lease that the ledger granted."""
        self._leases.append((lease_id, reserved_bytes))
        self.reserved += reserved_bytes

    def observe(self, used_bytes: int, exposure_bytes: int | None = None) -> None:
        """Take the count of the wire, which never falls, and what the kernel may still send (None: as before)."""
        self.used = max(self.used, used_bytes)
        if exposure_bytes is not None:
            self.exposure = exposure_bytes

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

    @property
    def free(self) -> int:
        """Return what more of exposure the cover admits; negative: it is broken, and must be mended by a lease or a cut."""
        return self.left - self.exposure - MARGIN_BYTES

    def wanted(self, bound_bytes: int = 0) -> int:
        """Return what the ledger must still grant for all that is being sent and `bound_bytes` more; 0: nothing."""
        return max(0, max(self.exposure, sum(self._sending.values())) + bound_bytes + MARGIN_BYTES - self.left)

    def step(self, left_in_budget: int) -> int:
        """Return the size of the next lease: a step towards what is wanted, and enough to hand something over, at least 1.

        Args:
            left_in_budget: what the ledger could grant.
        """
        step = min(STEP_CAP_BYTES, max(STEP_BYTES, left_in_budget // STEP_SHARE))
        wanted = max(self.wanted(), LEAST_FREE_BYTES - self.free)
        return max(-self.free, min(wanted, step, left_in_budget), 1)

    def settle(self) -> list[Settlement]:
        """Return the leases that are used up, keeping the cover; they are settled from now on."""
        settlements: list[Settlement] = []
        while self._leases:
            lease_id, size = self._leases[0]
            used = min(size, self.used - self.settled)
            if used - size + self.free < 0:
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
