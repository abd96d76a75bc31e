"""How well a decoded frame keeps what matters on a desktop: text and edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BLOCK_PX = 8
MIN_VARIANCE = 100
"""A block whose original luma varies less is plain, and no text."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004."""


def text_ssim(original: npt.NDArray[np.uint8], decoded: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the structural similarity of every 8x8 block of text or edges.

    The blocks lie side by side from the top left; those whose original's luma (BT.709) has a variance of at most 100
    are left out, and what is over at the right and below.

    Args:
        original, decoded: uint8 BGRA (H, W, 4).

    Returns:
        float32 (blocks,), within -1 and 1. The bench's figures are means over all blocks of all frames, and of the
        worst frame.
    """
    x, y = _blocks(original), _blocks(decoded)
    mean_x, mean_y = x.mean(axis=(1, 3)), y.mean(axis=(1, 3))
    variance_x = np.square(x).mean(axis=(1, 3)) - mean_x**2
    text = variance_x > MIN_VARIANCE
    variance_y = np.square(y).mean(axis=(1, 3)) - mean_y**2
    covariance = (x * y).mean(axis=(1, 3)) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    similarity: npt.NDArray[np.float32] = (luminance * structure)[text]
    return similarity


def _blocks(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    height_px, width_px = pixels.shape[0] // BLOCK_PX * BLOCK_PX, pixels.shape[1] // BLOCK_PX * BLOCK_PX
    blue, green, red = (pixels[:height_px, :width_px, channel] for channel in range(3))
    luma: npt.NDArray[np.float32] = blue * np.float32(0.0722) + green * np.float32(0.7152) + red * np.float32(0.2126)
    return luma.reshape(height_px // BLOCK_PX, BLOCK_PX, width_px // BLOCK_PX, BLOCK_PX)
