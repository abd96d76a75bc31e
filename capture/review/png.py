"""Pure: pixels as PNG, for a browser on this very machine: quick, exact, and without a further library."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRUE_COLOUR = 2
QUICK = 1
"""zlib's level: nothing is gained by a smaller file that goes through the loopback."""


def to_png(pixels: npt.NDArray[np.uint8], *, level: int = QUICK) -> bytes:
    """Return a picture as PNG.

    Args:
        pixels: uint8 BGR or BGRA, shape (H, W, 3 or 4), neither side 0; a fourth channel is left out.
        level: zlib's, 1 to 9.
    """
    height_px, width_px = pixels.shape[:2]
    rows = np.zeros((height_px, 1 + width_px * 3), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:].reshape(height_px, width_px, 3)[:] = pixels[:, :, 2::-1]
    head = struct.pack(">IIBBBBB", width_px, height_px, 8, _TRUE_COLOUR, 0, 0, 0)
    data = zlib.compress(rows.data, level)
    return b"".join([_SIGNATURE, _chunk(b"IHDR", head), _chunk(b"IDAT", data), _chunk(b"IEND", b"")])


def shrink(pixels: npt.NDArray[np.uint8], width_px: int) -> npt.NDArray[np.uint8]:
    """Return a smaller picture, about `width_px` wide and no wider than before; each pixel the mean of four of its block's.

    All of a block's would look little better, and take ten times as long.

    Args:
        pixels: uint8, shape (H, W, 3 or 4). width_px: wanted, 1 or more.
    """
    height, width = pixels.shape[:2]
    factor = max(1, min(width // width_px, height))
    half = factor // 2
    cut = pixels[: height // factor * factor, : width // factor * factor, :3]
    total = cut[::factor, ::factor].astype(np.uint16)
    for down, right in ((half, 0), (0, half), (half, half)):
        total += cut[down::factor, right::factor]
    mean: npt.NDArray[np.uint8] = (total // 4).astype(np.uint8)
    return mean


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
