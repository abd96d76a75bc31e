"""Pictures for the browser."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from capture.review.png import shrink, to_png


def read_png(data: bytes) -> np.ndarray:
    """Read what to_png writes, as BGR."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, content, size = 8, b"", (0, 0)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        if kind == b"IHDR":
            size = struct.unpack_from(">II", body)
            assert body[8:] == b"\x08\x02\x00\x00\x00"
        elif kind == b"IDAT":
            content += body
        at += 12 + length
    width, height = size
    rows = np.frombuffer(zlib.decompress(content), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)[:, :, ::-1]


@pytest.mark.parametrize("channels", [3, 4])
def test_every_pixel_is_there(channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (37, 53, channels), np.uint8)
    assert (read_png(to_png(pixels)) == pixels[:, :, :3]).all()


@pytest.mark.parametrize(
    ("size", "expected"), [((1080, 1920), (180, 320)), ((50, 100), (50, 100)), ((1, 5000), (1, 5000))]
)
def test_a_small_picture_is_the_mean_of_four_pixels_of_each_block(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (*size, 4), np.uint8)
    small = shrink(pixels, 320)
    assert small.shape == (*expected, 3)
    factor = size[1] // expected[1]
    half = factor // 2
    corners = pixels[[0, 0, half, half], [0, half, 0, half], :3].astype(int)
    assert small[0, 0].tolist() == (corners.sum(axis=0) // 4).tolist()
