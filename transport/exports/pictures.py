"""Shell: frames as PNG, by Pillow; the only module that imports it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PNG_LEVEL = 3
"""Screenshots gain some percent above it, and take several times as long (zlib's levels go to 9)."""


def to_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a frame, uint8 BGRA (H, W, 4), as PNG of three channels.

    Raises:
        ImportError: Pillow is not installed: it comes with modicum[export].
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[..., 2::-1]).save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()
