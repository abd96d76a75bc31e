"""Pure: the lossy rungs for pointer motion, which the governor chooses and every chunk names in `Meta.lossy`.

Only motion is thinned: buttons and wheel clicks keep their exact times and places, and the path reaches each of them
through the last motion before it. What is thinned away is gone, with its own time. Guarantees: the result's events
are a subsequence of the input's, the first and the last are kept; with `tolerance_px` alone, the position at each
dropped event's time, read off the straight line between the events kept around it, is at most that far away, in x
and in y each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codec.model import PointerEvents, PointerKind

ZERO_MOVES_DROPPED = "zero-moves-dropped"
"""Motion to where the pointer already was is left out."""


def lossy_names(
    *, move_interval_ms: int = 0, drop_zero_moves: bool = False, tolerance_px: float = 0.0
) -> tuple[str, ...]:
    """Return what `Meta.lossy` says of these settings, in the order the steps are taken: empty when nothing is lost."""
    names = []
    if drop_zero_moves:
        names.append(ZERO_MOVES_DROPPED)
    if move_interval_ms > 1:
        names.append(f"last-move-per-{move_interval_ms}ms")
    if tolerance_px > 0:
        names.append(f"path-within-{tolerance_px:g}px")
    return tuple(names)


def thin_pointer(
    pointer: PointerEvents, *, move_interval_ms: int = 0, drop_zero_moves: bool = False, tolerance_px: float = 0.0
) -> PointerEvents:
    """Thin motion; see the module for what is kept and how far off the rest may be.

    Args:
        pointer: any.
        move_interval_ms: keep only the last motion of each interval of the source's clock; 0 or 1: all.
        drop_zero_moves: drop motion to where the pointer already was.
        tolerance_px: drop motion that straight lines between what is kept tell this well; 0: none. The greedy line is
            as long as it can be from where it starts, in linear time.
    """
    if drop_zero_moves:
        pointer = _take(pointer, ~_zero_moves(pointer))
    if move_interval_ms > 1:
        pointer = _take(pointer, _last_per_interval(pointer, move_interval_ms))
    if tolerance_px > 0:
        pointer = _take(pointer, _corners(pointer, tolerance_px))
    return pointer


def stamp_coarsely(pointer: PointerEvents, interval_ms: int) -> PointerEvents:
    """Round motion's times down to multiples of `interval_ms`; buttons and wheel keep theirs, and so does the order.

    A motion just after a button keeps the button's time where its own coarse one would lie before it.
    """
    if interval_ms <= 1 or not len(pointer):
        return pointer
    coarse = np.where(_is_motion(pointer), pointer.t_ms // interval_ms * interval_ms, pointer.t_ms)
    ordered = np.minimum(np.maximum.accumulate(coarse), pointer.t_ms)
    return PointerEvents(ordered, pointer.kind, pointer.x, pointer.y)


def stamp_name(interval_ms: int) -> str:
    """Return what `Meta.lossy` says of `stamp_coarsely`."""
    return f"move-times-per-{interval_ms}ms"


def _take(pointer: PointerEvents, keep: npt.NDArray[np.bool_]) -> PointerEvents:
    return PointerEvents(pointer.t_ms[keep], pointer.kind[keep], pointer.x[keep], pointer.y[keep])


def _is_motion(pointer: PointerEvents) -> npt.NDArray[np.bool_]:
    return pointer.kind <= PointerKind.DRAG


def _needed(pointer: PointerEvents) -> npt.NDArray[np.bool_]:
    """Tell which events no step may drop: all but motion, the motion before each of those, the first and the last."""
    needed = ~_is_motion(pointer)
    needed[:-1] |= needed[1:]
    if len(needed):
        needed[0] = needed[-1] = True
    return needed


def _zero_moves(pointer: PointerEvents) -> npt.NDArray[np.bool_]:
    zero = np.zeros(len(pointer), np.bool_)
    zero[1:] = (pointer.x[1:] == pointer.x[:-1]) & (pointer.y[1:] == pointer.y[:-1]) & (pointer.kind[1:] <= 1)
    if len(zero):
        zero[-1] &= not _is_motion(pointer)[-1]
    return zero


def _last_per_interval(pointer: PointerEvents, interval_ms: int) -> npt.NDArray[np.bool_]:
    keep = _needed(pointer)
    slot = pointer.t_ms // interval_ms
    keep[:-1] |= slot[1:] != slot[:-1]
    return keep


def _corners(pointer: PointerEvents, tolerance_px: float) -> npt.NDArray[np.bool_]:
    """Tell which events to keep: from each, the line reaches as far as every event passed stays within the tolerance.

    For each axis, the slopes that pass within the tolerance of all events since the anchor form an interval; an
    event may end the line only if its own slope lies in both.
    """
    keep = _needed(pointer)
    t_ms, xs, ys = pointer.t_ms.tolist(), pointer.x.tolist(), pointer.y.tolist()
    forced = keep.tolist()
    size = len(t_ms)
    anchor = 0
    while anchor < size - 1:
        anchor = _reach(t_ms, xs, ys, forced, anchor, tolerance_px)
        keep[anchor] = True
    return keep


def _reach(t_ms: list[int], xs: list[int], ys: list[int], forced: list[bool], anchor: int, tolerance_px: float) -> int:
    """Return the last event that a line from the anchor may end at."""
    t0, x0, y0 = t_ms[anchor], xs[anchor], ys[anchor]
    low_x = low_y = -np.inf
    high_x = high_y = np.inf
    best = anchor + 1
    for index in range(anchor + 1, len(t_ms)):
        span = t_ms[index] - t0
        if span <= 0:  # no line can tell two places at one time: the next event is kept
            return best
        dx, dy = xs[index] - x0, ys[index] - y0
        if low_x <= dx / span <= high_x and low_y <= dy / span <= high_y:
            best = index
        if forced[index]:
            return best
        low_x, high_x = max(low_x, (dx - tolerance_px) / span), min(high_x, (dx + tolerance_px) / span)
        low_y, high_y = max(low_y, (dy - tolerance_px) / span), min(high_y, (dy + tolerance_px) / span)
        if low_x > high_x or low_y > high_y:
            return best
    return best
