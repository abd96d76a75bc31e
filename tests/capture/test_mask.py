"""Masks cover a picture strip by strip, and say whether they are the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.errors import CaptureError
from capture.mask import Mask, Patch

Pixels = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 12, 20

patches = st.lists(
    st.builds(
        lambda x, y, width, height, hide: Patch(x, y, min(x + width, WIDTH), min(y + height, HEIGHT), hide),
        st.integers(0, WIDTH - 1),
        st.integers(0, HEIGHT - 1),
        st.integers(1, WIDTH),
        st.integers(1, HEIGHT),
        st.booleans(),
    ),
    max_size=6,
)


def strips(picture: Pixels, *cuts: int) -> Iterator[Pixels]:
    edges = [0, *cuts, len(picture)]
    for first, last in pairwise(edges):
        yield picture[first:last].copy()


@given(patches, st.booleans(), st.lists(st.integers(1, HEIGHT - 1), max_size=4, unique=True))
def test_the_last_patch_over_a_pixel_decides_however_the_picture_is_cut(
    painted: list[Patch], hide: bool, cuts: list[int]
) -> None:
    picture = np.random.default_rng(1).integers(1, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    mask = Mask(WIDTH, HEIGHT, hide, tuple(painted))
    seen = np.concatenate(list(mask.over(strips(picture, *sorted(cuts)))))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            over = [one for one in painted if one.left <= x < one.right and one.top <= y < one.bottom]
            hidden = over[-1].hide if over else hide
            assert np.array_equal(seen[y, x], np.zeros(4) if hidden else picture[y, x])


@pytest.mark.parametrize("shape", [(HEIGHT - 1, WIDTH), (HEIGHT + 1, WIDTH), (HEIGHT, WIDTH + 1)])
def test_a_picture_of_another_size_is_not_passed_on_as_masked(shape: tuple[int, int]) -> None:
    picture = np.ones((*shape, 4), np.uint8)
    with pytest.raises(CaptureError, match="not of the display's size"):
        list(Mask(WIDTH, HEIGHT, hide=False, patches=()).over(strips(picture, 5)))


def test_masks_that_hide_something_else_are_not_equal() -> None:
    mask = Mask(WIDTH, HEIGHT, hide=True, patches=(Patch(0, 0, 4, 4, hide=False),))
    assert mask == Mask(WIDTH, HEIGHT, hide=True, patches=(Patch(0, 0, 4, 4, hide=False),))
    assert mask != Mask(WIDTH, HEIGHT, hide=True, patches=(Patch(0, 0, 4, 4, hide=True),))
    assert mask != Mask(WIDTH, HEIGHT, hide=True, patches=())
