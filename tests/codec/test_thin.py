"""Thinning: what is kept is untouched, what is dropped is as near as promised."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.model import PointerEvents
from codec.thin import lossy_names, stamp_coarsely, stamp_name, thin_pointer


@st.composite
def motions(draw: st.DrawFn, *, monotone: bool = False) -> PointerEvents:
    steps = draw(
        st.lists(
            st.tuples(
                st.integers(0 if monotone else -5, 60),
                st.sampled_from((0, 0, 0, 0, 0, 0, 1, 2, 3, 8, 10)),
                st.integers(-30, 30),
                st.integers(-30, 30),
                st.booleans(),
            ),
            max_size=120,
        )
    )
    t = x = y = 0
    rows = []
    for dt, kind, dx, dy, smooth in steps:
        dx, dy = (dt // 2, dt // 3) if smooth else (dx, dy)
        t, x, y = t + dt, x + (dx if kind < 2 else 0), y + (dy if kind < 2 else 0)
        rows.append((t, kind, x, y))
    table = np.array(rows, np.int64).reshape(-1, 4)
    return PointerEvents(
        table[:, 0].copy(), table[:, 1].astype(np.uint8), table[:, 2].astype(np.int32), table[:, 3].astype(np.int32)
    )


def rows_of(pointer: PointerEvents) -> list[tuple[int, int, int, int]]:
    columns = (pointer.t_ms, pointer.kind, pointer.x, pointer.y)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def kept_places(pointer: PointerEvents, thinned: PointerEvents) -> npt.NDArray[np.int64]:
    """Return which of the events were kept: the earliest subsequence, and fail where there is none."""
    places, place = [], 0
    rows = rows_of(pointer)
    for row in rows_of(thinned):
        place = rows.index(row, place) + 1
        places.append(place - 1)
    return np.array(places, np.int64)


SETTINGS = st.fixed_dictionaries(
    {
        "move_interval_ms": st.sampled_from((0, 1, 4, 8, 100)),
        "drop_zero_moves": st.booleans(),
        "tolerance_px": st.sampled_from((0.0, 0.5, 1.0, 2.0, 10.0)),
    }
)


@settings(deadline=None)
@given(motions(), SETTINGS)
def test_the_result_is_a_subsequence_with_every_button_and_both_ends(
    pointer: PointerEvents, how: dict[str, float]
) -> None:
    thinned = thin_pointer(pointer, **how)  # type: ignore[arg-type]
    kept_places(pointer, thinned)
    buttons = [row for row in rows_of(pointer) if row[1] > 1]
    assert [row for row in rows_of(thinned) if row[1] > 1] == buttons
    if len(pointer):
        assert rows_of(thinned)[0] == rows_of(pointer)[0]
        assert rows_of(thinned)[-1] == rows_of(pointer)[-1]


@settings(deadline=None)
@given(motions(monotone=True), st.sampled_from((0.5, 1.0, 2.0, 10.0)))
def test_the_path_is_within_tolerance_at_every_original_time(pointer: PointerEvents, tolerance_px: float) -> None:
    thinned = thin_pointer(pointer, tolerance_px=tolerance_px)
    places = kept_places(pointer, thinned)
    for before, after in zip(places[:-1].tolist(), places[1:].tolist(), strict=True):
        for index in range(before + 1, after):
            span = int(pointer.t_ms[after] - pointer.t_ms[before])
            part = (int(pointer.t_ms[index]) - int(pointer.t_ms[before])) / span
            for axis in (pointer.x, pointer.y):
                line = int(axis[before]) + part * (int(axis[after]) - int(axis[before]))
                assert abs(line - int(axis[index])) <= tolerance_px + 1e-6


def test_a_straight_even_motion_is_two_events() -> None:
    n = np.arange(1000)
    pointer = PointerEvents(n.astype(np.int64), np.zeros(1000, np.uint8), n.astype(np.int32), (2 * n).astype(np.int32))
    assert len(thin_pointer(pointer, tolerance_px=0.5)) == 2
    assert len(thin_pointer(pointer, move_interval_ms=8)) == 1000 // 8 + 1


def test_zero_moves_go_and_clicks_in_place_stay() -> None:
    table = [(0, 0, 5, 5), (1, 0, 5, 5), (2, 2, 5, 5), (3, 3, 5, 5), (4, 0, 5, 5), (5, 0, 6, 5)]
    t, kind, x, y = (np.array(column) for column in zip(*table, strict=True))
    pointer = PointerEvents(t.astype(np.int64), kind.astype(np.uint8), x.astype(np.int32), y.astype(np.int32))
    assert [row[0] for row in rows_of(thin_pointer(pointer, drop_zero_moves=True))] == [0, 2, 3, 5]


@settings(deadline=None)
@given(motions(monotone=True), st.sampled_from((1, 4, 8, 16)))
def test_coarse_stamps_keep_order_buttons_and_places(pointer: PointerEvents, interval_ms: int) -> None:
    coarse = stamp_coarsely(pointer, interval_ms)
    assert not len(coarse) or (np.diff(coarse.t_ms) >= 0).all()
    late = pointer.t_ms - coarse.t_ms
    assert ((late >= 0) & (late < interval_ms)).all()
    assert (late[pointer.kind > 1] == 0).all()
    np.testing.assert_array_equal(coarse.x, pointer.x)


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ({}, ()),
        ({"move_interval_ms": 1}, ()),
        ({"drop_zero_moves": True, "move_interval_ms": 8}, ("zero-moves-dropped", "last-move-per-8ms")),
        ({"tolerance_px": 2.0}, ("path-within-2px",)),
        ({"tolerance_px": 0.5}, ("path-within-0.5px",)),
    ],
)
def test_what_was_lost_is_named(how: dict[str, float], names: tuple[str, ...]) -> None:
    assert lossy_names(**how) == names  # type: ignore[arg-type]
    assert stamp_name(8) == "move-times-per-8ms"
