"""Pure: compares a recording with what the scripted person did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

Deed = tuple[str, int, int]
"""What was done and where; keys have no place."""

REACH = 400
"""How far the two sequences may be apart, in events, and still be fitted together."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a recording's pointer and key events fit the truth.

    Attributes:
        done: what the person did. found: how much of it the recording has, in the same order, at exactly the same place.
        extra: what the recording has beyond. late_ms: median distance of the times; worst_ms: of 99 in 100 at most this.
    """

    done: int
    found: int
    extra: int
    late_ms: float
    worst_ms: float


def compare(recorded: Iterable[Mapping[str, Any]], truth: Iterable[Mapping[str, Any]]) -> Comparison:
    """Fit the two sequences.

    Args:
        recorded: the lines of an exported `events.jsonl`, one device's, in order.
        truth: the lines of a truth, in order.
    """
    ours = [(deed, float(line["t_ms"])) for line in recorded if (deed := _recorded(line)) is not None]
    theirs = [(deed, float(line["ms"])) for line in truth if (deed := _done(line)) is not None]
    found = 0
    late: list[float] = []
    for of_keys in (False, True):  # separate streams: at the same millisecond either may stand first
        left = [entry for entry in ours if entry[0][0].startswith("key") == of_keys]
        right = [entry for entry in theirs if entry[0][0].startswith("key") == of_keys]
        pairs = _fit(left, right)
        found += len(pairs)
        late += [abs(left[i][1] - right[j][1]) for i, j in pairs]
    late.sort()
    return Comparison(
        done=len(theirs),
        found=found,
        extra=len(ours) - found,
        late_ms=median(late) if late else 0.0,
        worst_ms=late[min(len(late) - 1, len(late) * 99 // 100)] if late else 0.0,
    )


def _fit(left: list[tuple[Deed, float]], right: list[tuple[Deed, float]]) -> list[tuple[int, int]]:
    """Return the index pairs of a common subsequence, found greedily.

    Where the two differ, the nearest place at which they agree again is taken (by how much both skip together), so that equal
    sequences are found whole and the loss of one is counted as one.
    """
    pairs = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i][0] == right[j][0]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
            continue
        step = _nearest_agreement(left, right, i, j)
        if step is None:
            break
        i, j = i + step[0], j + step[1]
    return pairs


def _nearest_agreement(
    left: list[tuple[Deed, float]], right: list[tuple[Deed, float]], i: int, j: int
) -> tuple[int, int] | None:
    for skipped in range(1, REACH):
        for a in range(skipped + 1):
            b = skipped - a
            if i + a < len(left) and j + b < len(right) and left[i + a][0] == right[j + b][0]:
                return a, b
    return None


BUTTONS = {1: "left", 2: "middle", 3: "right"}
WHEEL = {4: "wheel-up", 5: "wheel-down", 6: "wheel-left", 7: "wheel-right"}


def _recorded(line: Mapping[str, Any]) -> Deed | None:
    kind = str(line["kind"])
    if kind.startswith("key-"):
        return kind, 0, 0
    if kind == "move" or kind.startswith(("press-", "release-", "wheel-")):
        return kind, int(line["x"]), int(line["y"])
    return None


def _done(line: Mapping[str, Any]) -> Deed | None:
    what = line["what"]
    if what == "key":
        return ("key-press" if line["down"] else "key-release"), 0, 0
    if what == "move":
        return "move", line["x"], line["y"]
    if what in {"press", "release"}:
        return f"{what}-{BUTTONS[line['button']]}", line["x"], line["y"]
    if what == "wheel":
        return WHEEL[line["button"]], line["x"], line["y"]
    return None
