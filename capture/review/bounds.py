"""Pure: how much of the person's own copies is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long (seconds) and how much (bytes) is kept at most; either 0: no copies at all."""

    keep_s: float
    limit_bytes: int

    @property
    def keeps(self) -> bool:
        """Whether copies are kept."""
        return self.keep_s > 0 and self.limit_bytes > 0
