"""Pictures are tiled, compared and sorted into plain, drawn and photographed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import tiles as tl

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))


@given(SIZES, st.integers(0, 2**32 - 1))
def test_a_frame_survives_the_picture_without_its_fourth_byte(size: tuple[int, int], seed: int) -> None:
    raster = tl.Raster(*size)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    picture = raster.blank()
    tl.renew(pixels, raster.blank(), picture)
    back = tl.unload(picture, raster)
    assert np.array_equal(back[..., :3], pixels[..., :3])
    assert (back[..., 3] == 255).all()


def test_a_frame_may_be_a_view_of_any_strides() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    raster = tl.Raster(20, 10)
    picture = raster.blank()
    view = pixels[5:25:2, 10:50:2]
    tl.renew(view, raster.blank(), picture)
    assert np.array_equal(tl.unload(picture, raster)[..., :3], view[..., :3])


@given(
    st.tuples(st.integers(1, 70), st.integers(1, 150)),
    st.lists(st.tuples(st.integers(0, 69), st.integers(0, 149), st.integers(0, 3)), max_size=8),
)
def test_exactly_the_tiles_with_a_changed_pixel_are_changed(
    size: tuple[int, int], edits: list[tuple[int, int, int]]
) -> None:
    raster = tl.Raster(*size)
    pixels = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    before, after = raster.blank(), raster.blank()
    tl.renew(pixels, after, before)
    edited = pixels.copy()
    for x, y, channel in edits:
        if x < size[0] and y < size[1]:
            edited[y, x, channel] ^= 1
    differs = (edited != pixels)[..., :3].any(axis=2)  # the fourth byte says nothing
    expected = {y // 16 * raster.columns + x // 16 for y, x in np.argwhere(differs).tolist()}
    assert tl.renew(edited, before, after).tolist() == sorted(expected)
    assert np.array_equal(tl.unload(after, raster)[..., :3], edited[..., :3])


def test_gather_and_scatter_are_inverse() -> None:
    raster = tl.Raster(100, 50)
    picture = np.random.default_rng(2).integers(0, 2**32, raster.blank().shape, dtype=np.uint32)
    numbers = np.array([0, 3, 6, 7, 27])
    other = raster.blank()
    tl.scatter(other, raster, numbers, tl.gather(picture, raster, numbers))
    assert np.array_equal(tl.gather(other, raster, numbers), tl.gather(picture, raster, numbers))
    assert (tl.gather(other, raster, np.array([1, 2, 26])) == tl.OPAQUE).all()


def test_one_odd_pixel_anywhere_makes_a_tile_no_fill() -> None:
    tiles = np.full((257, 16, 16), 7, np.uint32)
    for place in range(256):
        tiles[place].reshape(-1)[place] = 8
    assert tl.is_fill(tiles).tolist() == [False] * 256 + [True]


def test_windows_see_every_place() -> None:
    picture = np.arange(32 * 48, dtype=np.uint32).reshape(32, 48)
    assert np.array_equal(tl.windows(picture)[3, 5], picture[3:19, 5:21])
    assert tl.windows(picture).shape == (17, 33, 16, 16)


@pytest.mark.parametrize(("colours", "expected"), [(2, False), (60, False), (256, True)])
def test_an_area_of_many_colours_is_a_photograph(colours: int, expected: bool) -> None:
    raster = tl.Raster(64, 64)
    tiles = np.random.default_rng(3).integers(0, colours, (16, 16, 16), dtype=np.uint32)
    if not expected:  # drawn things have runs of one colour
        tiles = np.repeat(tiles[:, :, :4], 4, axis=2)
    assert (tl.is_photo(tiles, raster, np.arange(16)) == expected).all()


def test_a_single_tile_of_many_colours_is_none() -> None:
    raster = tl.Raster(640, 640)
    tiles = np.random.default_rng(4).integers(0, 256, (2, 16, 16), dtype=np.uint32)
    assert not tl.is_photo(tiles, raster, np.array([41, 47])).any()


def test_a_smooth_area_of_some_dozen_colours_is_a_photograph_and_a_title_bar_is_none() -> None:
    raster = tl.Raster(64, 64)
    numbers = np.arange(16)
    down, across = np.mgrid[0:64, 0:64].astype(np.uint32)
    sky = down * 2 + across * 3
    bar = across * 4
    for picture, expected in ((sky, True), (bar, False)):
        assert (tl.is_photo(tl.gather(picture, raster, numbers), raster, numbers) == expected).all()
