"""Damaged and hostile sections raise, in bounded time and memory; nothing large is taken on a section's word."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from codec.errors import CodecError, Corrupt, TooLarge, Truncated, Unsupported
from codec.model import Frame
from codec.packed import pack, varint, zigzag
from codec.screen import Effort, ScreenEncoder, decode_frames
from codec.script import MAX_PIXELS, MAX_SEGMENTS


def section(effort: Effort = Effort.FAST) -> bytes:
    """Return a section with every kind of tile: fills, copies, recalls, ink and a photograph."""
    rng = np.random.default_rng(11)
    encoder = ScreenEncoder(effort=effort)
    page = np.full((400, 128, 4), 240, np.uint8)
    page[::3, ::2, :3] = rng.integers(0, 3, (134, 64, 1)) * 90
    page[200:264, 32:96, :3] = rng.integers(0, 256, (64, 64, 3))
    for n, top in enumerate((0, 7, 150, 0)):
        encoder.add(Frame(n * 2000, page[top : top + 112].copy()))
    encoder.add(Frame(9000, page[:50, :70].copy(), 1))
    return encoder.finish()


@pytest.mark.parametrize("effort", Effort)
def test_every_proper_prefix_is_truncated(effort: Effort) -> None:
    whole = section(effort)
    assert len(list(decode_frames(whole))) == 5
    for length in range(1, len(whole), 1 if len(whole) < 3000 else 7):
        with pytest.raises(Truncated):
            list(decode_frames(whole[:length]))


@pytest.mark.parametrize("effort", Effort)
def test_a_flipped_byte_raises_or_is_harmless(effort: Effort) -> None:
    whole = section(effort)
    rng = np.random.default_rng(12)
    for place in sorted({*range(min(200, len(whole))), *rng.integers(0, len(whole), 300).tolist()}):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        start = time.process_time()
        try:
            for frame in decode_frames(bytes(damaged)):
                assert frame.pixels.size <= 4 * MAX_PIXELS
        except CodecError:
            pass
        assert time.process_time() - start < 2


def test_rubbish_raises() -> None:
    rng = np.random.default_rng(13)
    for length in (1, 2, 5, 20, 200, 3000):
        for _ in range(50):
            data = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
            with pytest.raises(CodecError):
                list(decode_frames(b"\x01" + data + b"\xff"))


def test_what_follows_the_end_is_noticed() -> None:
    with pytest.raises(Corrupt):
        list(decode_frames(section() + b"x"))


def test_another_version_asks_for_a_newer_reader() -> None:
    with pytest.raises(Unsupported, match="upgrade"):
        list(decode_frames(b"\x02" + section()[1:]))


@pytest.mark.parametrize(
    "head",
    [
        [1, MAX_SEGMENTS + 1],
        [1, 1, 0, 16385, 1, 1],
        [1, 1, 0, 7681, 4320, 1],
        [1, 1, 64, 10, 10, 1],
        [1, 1, 0, 10, 10, 1 << 40],
        [1, 1, 0, 10, 10, 1, 1 << 40, 5],
    ],
)
def test_what_is_stated_over_the_limits_is_refused_before_memory_is_taken(head: list[int]) -> None:
    data = b"".join(map(varint, head)) + bytes(64)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            list(decode_frames(data))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_block_that_unpacks_to_gigabytes_is_unpacked_as_far_as_a_frame_asks() -> None:
    column = varint(0) + varint(zigzag(5)) + varint(1)  # one frame, one run …
    columns = [column, b"\x04", varint(4), b"", b"", b""]  # … of four tiles of ink
    script = pack([varint(1), *(varint(len(one)) for one in columns), *columns], preset=1)
    bomb = pack((bytes(1 << 20) for _ in range(256)), preset=1)
    head = b"".join(map(varint, (1, 1, 0, 32, 32, 1)))
    data = head + script + varint(1) + bytes(3) + bomb + pack([], preset=1) + varint(0)
    tracemalloc.start()
    frames = decode_frames(data)
    assert next(frames).t_ms == 5
    with pytest.raises(Corrupt):
        next(frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_a_script_over_its_limit_is_refused() -> None:
    bomb = pack((bytes(1 << 20) for _ in range(25)), preset=1)
    with pytest.raises(TooLarge):
        list(decode_frames(b"".join(map(varint, (1, 1, 0, 32, 32, 1))) + bomb))


def test_frames_that_the_format_does_not_carry_are_refused_by_name() -> None:
    encoder = ScreenEncoder(effort=Effort.FAST)
    wide = np.lib.stride_tricks.as_strided(np.zeros(4, np.uint8), (4, 16385, 4), (0, 0, 1))
    huge = np.lib.stride_tricks.as_strided(np.zeros(4, np.uint8), (4321, 7680, 4), (0, 0, 1))
    for pixels in (wide, huge):
        with pytest.raises(TooLarge):
            encoder.add(Frame(0, pixels))
    for pixels in (np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4, 4), np.uint8), np.zeros((4, 4, 4), np.int16)):
        with pytest.raises(Unsupported):
            encoder.add(Frame(0, pixels))
    with pytest.raises(Unsupported):
        encoder.add(Frame(0, np.zeros((4, 4, 4), np.uint8), -1))
    assert encoder.finish() == b""
