"""Comparison of pictures by strips."""

from __future__ import annotations

import numpy as np
import pytest

from capture.sources.screen import STRIP_PX, changed


def picture(height: int = 200, width: int = 30) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (height, width, 4), np.uint8)


def test_equal_pictures_have_no_changed_rows() -> None:
    assert changed(picture(), picture()) == []


@pytest.mark.parametrize("row", [0, STRIP_PX - 1, STRIP_PX, 199])
def test_a_changed_pixel_is_found_in_its_strip(row: int) -> None:
    current = picture()
    current[row, 29, 2] ^= 1
    first = row // STRIP_PX * STRIP_PX
    assert changed(picture(), current) == [(first, min(first + STRIP_PX, 200))]


def test_strips_that_touch_are_one_range() -> None:
    current = picture()
    current[10, 0, 0] ^= 1
    current[70, 0, 0] ^= 1
    current[199, 0, 0] ^= 1
    assert changed(picture(), current) == [(0, 128), (192, 200)]


def test_all_rows_changed_without_a_previous_one_or_with_another_size() -> None:
    assert changed(None, picture()) == [(0, 200)]
    assert changed(picture(100), picture()) == [(0, 200)]


def test_pictures_that_are_not_contiguous_are_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        changed(picture()[:, ::2], picture()[:, ::2])
