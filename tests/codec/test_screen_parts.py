"""The parts of a screen section: packed blocks, ink, matches, scripts, canvases."""

from __future__ import annotations

import lzma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import tiles as tl
from codec.canvas import Photos, from_yuv, to_yuv
from codec.errors import Corrupt, TooLarge, Truncated
from codec.ink import Ink, InkReader
from codec.match import REACH_PX, Memory, Shelf, corners, moves
from codec.packed import Cursor, pack, unzigzag, varint, zigzag
from codec.script import Kind, Op, ScriptWriter, read_script
from codec.video import Bitstream


@given(st.integers(0, 2**63 - 1))
def test_varints_come_back(value: int) -> None:
    cursor = Cursor(varint(value))
    assert cursor.varint() == value
    cursor.end()


@given(st.integers(-(2**62), 2**62 - 1))
def test_zigzag_comes_back(value: int) -> None:
    assert unzigzag(zigzag(value)) == value


def test_a_number_over_its_limit_and_one_without_end_are_refused() -> None:
    with pytest.raises(TooLarge):
        Cursor(varint(11)).varint(10)
    with pytest.raises(Corrupt):
        Cursor(b"\xff" * 20).varint()
    with pytest.raises(Truncated):
        Cursor(b"\xff" * 3).varint()


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 100))
def test_a_block_is_read_in_steps_of_any_size(pieces: list[bytes], step: int) -> None:
    raw = b"".join(pieces)
    block = Cursor(pack(pieces, preset=1)).block(10_000, "a block")
    read = b"".join(block.read(min(step, block.left_bytes)) for _ in range(0, len(raw), step))
    assert read == raw
    with pytest.raises(Corrupt):
        block.read(1)


@given(st.binary(max_size=20_000), st.integers(0, 1 << 25), st.sampled_from([2, 9]))
def test_a_block_comes_back_however_large_it_was_said_to_be(piece: bytes, most_bytes: int, preset: int) -> None:
    packed = pack([piece, piece], preset=preset, most_bytes=most_bytes)
    assert Cursor(packed).block(40_000, "a block").rest() == 2 * piece


def test_a_block_that_states_more_than_it_holds_is_corrupt() -> None:
    packed = pack([b"x" * 100], preset=1)
    lying = varint(101) + packed[1:]
    with pytest.raises(Corrupt):
        Cursor(lying).block(1000, "a block").rest()
    with pytest.raises(TooLarge):
        Cursor(lying).block(100, "a block")


@st.composite
def tile_lists(draw: st.DrawFn) -> list[np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    colours = draw(st.sampled_from([1, 2, 200, 255, 256, 5000, 1 << 24]))
    counts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    return [rng.integers(0, colours, (count, 16, 16), dtype=np.uint32) | tl.OPAQUE for count in counts]


@given(tile_lists(), st.sampled_from([0, 4, 255]))
def test_ink_comes_back_within_its_tolerance(batches: list[np.ndarray], tolerance: int) -> None:
    ink = Ink()
    for tiles in batches:
        ink.add(tiles)
    cursor = Cursor(ink.finish(preset=0, tolerance=tolerance))
    reader = InkReader(cursor)
    for tiles in batches:
        back = reader.read(len(tiles))
        off = np.abs(back.copy().view(np.uint8).astype(int) - tiles.view(np.uint8)).max(initial=0)
        assert off <= tolerance
    reader.end()
    cursor.end()


def test_ink_of_more_tiles_than_a_piece_keeps_their_order() -> None:
    ink = Ink()
    tiles = (np.arange(3000, dtype=np.uint32)[:, None, None] + np.zeros((1, 16, 16), np.uint32)) | tl.OPAQUE
    for start in range(0, 3000, 700):
        ink.add(tiles[start : start + 700])
    reader = InkReader(Cursor(ink.finish(preset=0, tolerance=0)))
    assert np.array_equal(np.concatenate([reader.read(1500), reader.read(1500)]), tiles)


@pytest.mark.parametrize(("dx", "dy"), [(0, 37), (-23, 0), (50, -19), (3, 1)])
def test_a_moved_picture_is_found_at_its_offset(dx: int, dy: int) -> None:
    rng = np.random.default_rng(5)
    raster = tl.Raster(320, 240)
    big = np.repeat(rng.integers(0, 2, (400, 260), dtype=np.uint32) * 0xFFFFFF, 2, axis=1) | tl.OPAQUE
    before = big[80:320, 100:420].copy()
    after = big[80 + dy : 320 + dy, 100 + dx : 420 + dx].copy()
    numbers = np.arange(raster.tile_count)
    found, across, down = moves(before, after, raster, numbers, tl.gather(after, raster, numbers))
    top, left = raster.corners(numbers)
    inside = (top + dy >= 0) & (top + dy <= 224) & (left + dx >= 0) & (left + dx <= 304)
    assert found[inside].mean() > 0.95
    assert set(zip(across[found].tolist(), down[found].tolist(), strict=True)) == {(dx, dy)}


def test_a_corner_is_looked_for_only_where_tiles_are() -> None:
    raster = tl.Raster(160, 320)
    picture = np.random.default_rng(6).integers(0, 9, (320, 160), dtype=np.uint32) | tl.OPAQUE
    row, column = np.divmod(corners(picture, raster, np.array([11, 12, 21, 125])), 160)
    in_first = (row >= 16) & (row < 48) & (column >= 16) & (column < 48)  # around the tiles 11, 12 and 21
    in_second = (row >= 192) & (row < 208) & (column >= 80) & (column < 96)
    assert (in_first | in_second).all()
    across = picture[16:48, 16:48] != picture[16:48, 15:47]
    down = picture[16:48, 16:48] != picture[15:47, 16:48]
    assert in_first.sum() == (across & down).sum()
    assert in_second.any()


def test_what_lies_at_a_pictures_edge_has_corners_only_within_reach() -> None:
    raster = tl.Raster(48, 48)
    picture = np.random.default_rng(7).integers(0, 9, (48, 48), dtype=np.uint32) | tl.OPAQUE
    row, column = np.divmod(corners(picture, raster, np.arange(raster.tile_count)), 48)
    assert len(row)
    assert row.min() == column.min() == 1
    assert row.max() == column.max() == 48 - REACH_PX - 1


def test_two_things_that_moved_apart_are_both_found() -> None:
    rng = np.random.default_rng(8)
    raster = tl.Raster(320, 400)
    before = raster.blank()
    upper, lower = (rng.integers(0, 2, (60, 100), dtype=np.uint32) * 0xFFFFFF | tl.OPAQUE for _ in range(2))
    after = before.copy()
    before[40:100, 20:120], after[32:92, 20:120] = upper, upper
    before[320:380, 150:250], after[320:380, 157:257] = lower, lower
    numbers = tl.renew(tl.unload(after, raster), before, after)
    found, across, down = moves(before, after, raster, numbers, tl.gather(after, raster, numbers))
    assert set(zip(across[found].tolist(), down[found].tolist(), strict=True)) >= {(0, 8), (-7, 0)}
    assert found.mean() > 0.8


@given(st.integers(0, 2**32 - 1))
def test_whatever_is_found_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    raster = tl.Raster(96, 80)
    before = rng.integers(0, 3, (80, 96), dtype=np.uint32) | tl.OPAQUE
    after = np.roll(before, (int(rng.integers(-9, 9)), int(rng.integers(-9, 9))), (0, 1))
    after[20:50, 20:60] = rng.integers(0, 2, (30, 40), dtype=np.uint32) | tl.OPAQUE
    numbers = np.arange(raster.tile_count)
    tiles = tl.gather(after, raster, numbers)
    found, dx, dy = moves(before, after, raster, numbers, tiles)
    top, left = raster.corners(numbers)
    for place in np.flatnonzero(found):
        y, x = top[place] + dy[place], left[place] + dx[place]
        assert np.array_equal(before[y : y + 16, x : x + 16], tiles[place])


@given(st.lists(st.lists(st.integers(0, 12), max_size=9), max_size=12))
def test_what_the_encoder_finds_the_decoder_has(frames: list[list[int]]) -> None:
    memory, shelf = Memory(capacity=8), Shelf(capacity=8)
    for hashes in frames:
        oldest = memory.count + len(hashes) - memory.capacity
        known = {h: memory.find(h, oldest) for h in hashes}
        new = [h for h in hashes if known[h] is None]
        for h in new:
            memory.remember(h)
        shelf.remember(np.array(new, np.uint32)[:, None, None] + np.zeros((1, 16, 16), np.uint32))
        for h, slot in known.items():
            if slot is not None:
                recalled = shelf.recall(np.array([slot]))
                assert recalled is not None
                assert (recalled == h).all()
    assert len(memory.slots) <= 8


def test_a_decoder_says_what_it_no_longer_has() -> None:
    shelf = Shelf(capacity=4)
    shelf.remember(np.zeros((6, 16, 16), np.uint32))
    assert shelf.recall(np.array([2])) is not None
    assert shelf.recall(np.array([1])) is None
    assert shelf.recall(np.array([6])) is None
    assert shelf.recall(np.array([-1])) is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 5))
def test_a_script_comes_back_run_by_run(seed: int, tile_count: int, frame_count: int) -> None:
    rng = np.random.default_rng(seed)
    writer = ScriptWriter()
    ops = []
    for number in range(frame_count):
        op = Op(tile_count)
        kinds = rng.integers(0, 6, tile_count)
        everywhere = np.arange(tile_count)
        for kind in (Kind.FILL, Kind.INK, Kind.PHOTO):
            op.set(
                everywhere[kinds == kind], kind, rng.integers(0, 2, (kinds == kind).sum()) if kind == Kind.FILL else 0
            )
        copied, recalled = everywhere[kinds == Kind.COPY], everywhere[kinds == Kind.RECALL]
        offset = rng.integers(-(2**14), 2**14, (2, len(copied))).astype(np.int32)
        slots = rng.integers(0, 3, len(recalled)) + recalled
        op.copy(copied, offset[0], offset[1])
        op.recall(recalled, slots)
        writer.add(number % 2, int(rng.integers(-5, 2**40)), op)
        ops.append((kinds, op, copied, offset, recalled, slots))
    cursor = Cursor(writer.finish(preset=1))
    steps = list(read_script(cursor, segment_count=2, max_frames=frame_count))
    cursor.end()
    assert [step.segment for step in steps] == [number % 2 for number in range(frame_count)]
    for step, (kinds, op, copied, offset, recalled, slots) in zip(steps, ops, strict=True):
        back = np.repeat(step.kinds, step.lengths)
        assert np.array_equal(np.pad(back, (0, tile_count - len(back))), kinds)
        run = np.repeat(np.arange(len(step.kinds)), step.lengths)
        start = np.cumsum(step.lengths) - step.lengths
        filled = np.flatnonzero(kinds == Kind.FILL)
        assert np.array_equal(step.values[run[filled], 0], op.value[filled])
        assert np.array_equal(step.values[run[copied]], offset.T)
        assert np.array_equal(step.values[run[recalled], 0] + recalled - start[run[recalled]], slots)


def test_a_script_with_rubbish_in_a_column_is_corrupt() -> None:
    raw = b"".join([varint(1), *(varint(n) for n in (3, 0, 0, 0, 0, 1)), varint(0), varint(0), varint(0), b"\x07"])
    with pytest.raises(Corrupt):
        list(read_script(Cursor(pack([raw], preset=lzma.PRESET_DEFAULT)), segment_count=1, max_frames=1))


def test_greys_survive_the_colour_conversion_exactly_and_colours_nearly() -> None:
    grey = (np.arange(256, dtype=np.uint32) * 0x010101).reshape(1, 16, 16) | tl.OPAQUE
    assert np.array_equal(
        from_yuv(*to_yuv(np.repeat(np.repeat(grey, 2, 1), 2, 2)[:, :16, :16])),
        np.repeat(np.repeat(grey, 2, 1), 2, 2)[:, :16, :16],
    )
    for colour in (0xFF0000, 0x00FF00, 0x0000FF, 0x123456, 0xFFFFFF, 0):
        tile = np.full((1, 16, 16), colour, np.uint32) | tl.OPAQUE
        off = np.abs(from_yuv(*to_yuv(tile)).view(np.uint8).astype(int) - tile.view(np.uint8)).max()
        assert off <= 2


def test_more_tiles_than_a_slice_convert_alike() -> None:
    tiles = np.random.default_rng(6).integers(0, 2**32, (5000, 16, 16), dtype=np.uint32) | tl.OPAQUE
    assert np.array_equal(from_yuv(*to_yuv(tiles))[4990:], from_yuv(*to_yuv(tiles[4990:])))


@pytest.mark.parametrize("bitstream", Bitstream)
def test_noise_is_coded_coarser_until_it_fits(bitstream: Bitstream, monkeypatch: pytest.MonkeyPatch) -> None:
    raster = tl.Raster(128, 128)
    tiles = np.random.default_rng(7).integers(0, 2**24, (64, 16, 16), dtype=np.uint32) | tl.OPAQUE

    def encoded() -> int:
        photos = Photos(raster)
        photos.add(np.arange(64), tiles)
        return len(photos.finish(bitstream=bitstream))

    free = encoded()
    monkeypatch.setattr("codec.canvas.ENOUGH_BYTES", free // 2)
    assert encoded() < free * 0.7
