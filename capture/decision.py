"""Pure: a decision and its reasons, which are shown to the person as they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")
Reasons = tuple[str, ...]


class Decision(Generic[Value]):
    """What was decided. Not to be changed, and equal to another of the same value and reasons.

    Attributes:
        value: the outcome.
    """

    __slots__ = ("_reasons", "value")

    def __init__(self, value: Value, reasons: Reasons | Callable[[], Reasons]) -> None:
        """Keep a decision.

        Args:
            value: the outcome.
            reasons: why, in words, the weightiest first; never empty. A function puts them into words when they are
                first asked for (most are not), and must hold on to nothing that changes.
        """
        self.value = value
        self._reasons = reasons

    @property
    def reasons(self) -> Reasons:
        """Why, in words, the weightiest first."""
        if not isinstance(self._reasons, tuple):
            self._reasons = self._reasons()
        return self._reasons

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decision) and (self.value, self.reasons) == (other.value, other.reasons)

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Decision(value={self.value!r}, reasons={self.reasons!r})"
