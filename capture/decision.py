"""Pure: a decision and its reasons, which are shown to the person as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Decision(Generic[Value]):
    """What was decided.

    Attributes:
        value: the outcome.
        reasons: why, in words, the weightiest first; never empty.
    """

    value: Value
    reasons: tuple[str, ...]
