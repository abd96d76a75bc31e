"""Screenshots go into a section and come out of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from codec.errors import Truncated
from codec.model import Frame
from codec.screen import Effort, ScreenEncoder, decode_frames


def picture(width_px: int, height_px: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return a smooth picture with some boxes in it."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height_px, width_px, 4), 240, np.uint8)
    for _ in range(6):
        y, x = int(rng.integers(height_px)), int(rng.integers(width_px))
        pixels[y : y + height_px // 3 + 1, x : x + width_px // 3 + 1, :3] = rng.integers(0, 256)
    pixels[..., 3] = 255
    return pixels


@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize(("width_px", "height_px"), [(1, 1), (3, 70), (101, 33), (320, 240)])
def test_frames_come_back_with_their_times_and_nearly_their_pixels(
    effort: Effort, width_px: int, height_px: int
) -> None:
    encoder = ScreenEncoder(effort=effort)
    frames = [Frame(t_ms, picture(width_px, height_px, seed)) for seed, t_ms in enumerate((-7, 0, 2**40))]
    for frame in frames:
        encoder.add(frame)
    decoded = list(decode_frames(encoder.finish()))
    kept = [frame for n, frame in enumerate(frames) if not n or not np.array_equal(frame.pixels, frames[n - 1].pixels)]
    assert [frame.t_ms for frame in decoded] == [frame.t_ms for frame in kept]
    for before, after in zip(kept, decoded, strict=True):
        assert after.pixels.shape == before.pixels.shape
        assert np.abs(after.pixels.astype(int) - before.pixels).mean() < 12


@pytest.mark.parametrize("effort", Effort)
def test_sizes_and_screens_may_change_within_a_section(effort: Effort) -> None:
    encoder = ScreenEncoder(effort=effort)
    assert encoder.add(Frame(0, picture(64, 48)))
    assert encoder.add(Frame(1, picture(80, 48), 1))
    assert not encoder.add(Frame(2, picture(64, 48)))
    assert encoder.add(Frame(3, picture(48, 64)))
    assert encoder.add(Frame(4, picture(80, 48, 5), 1))
    decoded = [(frame.t_ms, frame.screen, frame.pixels.shape) for frame in decode_frames(encoder.finish())]
    assert decoded == [(0, 0, (48, 64, 4)), (1, 1, (48, 80, 4)), (3, 0, (64, 48, 4)), (4, 1, (48, 80, 4))]


def test_nothing_in_gives_nothing_out() -> None:
    assert ScreenEncoder(effort=Effort.FAST).finish() == b""
    assert list(decode_frames(b"")) == []


def test_every_prefix_is_truncated() -> None:
    encoder = ScreenEncoder(effort=Effort.FAST)
    encoder.add(Frame(0, picture(32, 32)))
    encoder.add(Frame(1, picture(32, 32, 1)))
    section = encoder.finish()
    for length in range(1, len(section)):
        with pytest.raises(Truncated):
            list(decode_frames(section[:length]))
