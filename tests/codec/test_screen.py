"""Screenshots go into a section and come out of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import CodecError, Truncated, Unsupported
from codec.model import Frame
from codec.screen import Effort, ScreenEncoder, decode_frames, list_frames


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


@pytest.mark.parametrize(("width_px", "height_px", "cuts"), [(101, 70, (16, 64)), (64, 48, (16, 32)), (5, 7, ())])
def test_a_frame_that_comes_in_strips_is_the_frame(width_px: int, height_px: int, cuts: tuple[int, ...]) -> None:
    frames = [Frame(t_ms, picture(width_px, height_px, seed)) for seed, t_ms in enumerate((0, 5, 9))]
    whole, cut = ScreenEncoder(effort=Effort.FAST), ScreenEncoder(effort=Effort.FAST)
    for frame in frames:
        whole.add(frame)
        writer = cut.write(width_px, height_px)
        for strip in np.split(frame.pixels, cuts):
            writer.strip(strip)
        assert cut.keep(writer, frame.t_ms)
    assert cut.finish() == whole.finish()


def test_a_frame_that_is_not_kept_leaves_no_trace() -> None:
    frames = [Frame(t_ms, picture(64, 48, seed)) for seed, t_ms in enumerate((0, 5, 9))]
    plain, dropping = ScreenEncoder(effort=Effort.FAST), ScreenEncoder(effort=Effort.FAST)
    for frame in frames:
        plain.add(frame)
        dropped = dropping.write(64, 48)
        dropped.strip(picture(64, 48, 77)[:32])
        dropping.add(frame)
        with pytest.raises(ValueError, match="another frame was begun"):
            dropping.keep(dropped, 3)
    assert dropping.finish() == plain.finish()


def test_strips_that_do_not_make_a_frame_are_refused() -> None:
    encoder = ScreenEncoder(effort=Effort.FAST)
    for pixels in (np.zeros((16, 65, 4), np.uint8), np.zeros((16, 64, 4), np.uint16), np.zeros((49, 64, 4), np.uint8)):
        with pytest.raises(Unsupported):
            encoder.write(64, 48).strip(pixels)
    writer = encoder.write(64, 48)
    writer.strip(np.zeros((10, 64, 4), np.uint8))
    with pytest.raises(ValueError, match="10 of 48 rows"):
        encoder.keep(writer, 0)
    with pytest.raises(Unsupported, match="whole tiles"):
        writer.strip(np.zeros((38, 64, 4), np.uint8))
    for size in ((0, 5), (5, 0)):
        with pytest.raises(Unsupported):
            encoder.write(*size)


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


@st.composite
def sessions(draw: st.DrawFn) -> list[Frame]:
    """Small displays of few colours at work: edits, scrolls, moved pieces, switches back, other sizes, two screens."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    current: dict[int, npt.NDArray[np.uint8]] = {}
    seen: list[tuple[int, npt.NDArray[np.uint8]]] = []
    frames = []
    for t_ms in range(draw(st.integers(1, 8))):
        screen = draw(st.integers(0, 1))
        act = draw(st.sampled_from(["new", "edit", "scroll", "move", "back", "same"]))
        pixels = current.get(screen)
        if pixels is None or act == "new":
            size = draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
            pixels = np.repeat(rng.integers(0, 3, (*size, 1), dtype=np.uint8) * 100, 4, axis=2)
        pixels = pixels.copy()
        height_px, width_px = pixels.shape[:2]
        y, x = int(rng.integers(height_px)), int(rng.integers(width_px))
        if act == "edit":
            pixels[y : y + 20, x : x + 30] = rng.integers(0, 250, 4)
        elif act == "scroll":
            pixels = np.roll(pixels, -y, axis=0)
        elif act == "move":
            piece = pixels[: height_px // 2, : width_px // 2].copy()
            pixels[y : y + height_px // 2, x : x + width_px // 2] = piece[: height_px - y, : width_px - x]
        elif act == "back" and [one for one, _ in seen if one == screen]:
            pixels = next(old for one, old in seen if one == screen)
        current[screen] = pixels
        seen.append((screen, pixels))
        frames.append(Frame(t_ms * 2000, pixels, screen))
    return frames


@settings(max_examples=60, deadline=None)
@given(sessions(), st.sampled_from(list(Effort)))
def test_what_is_drawn_in_few_colours_comes_back_exactly(frames: list[Frame], effort: Effort) -> None:
    encoder = ScreenEncoder(effort=effort)
    stored = [frame for frame in frames if encoder.add(frame)]
    decoded = list(decode_frames(encoder.finish()))
    assert len(decoded) == len(stored)
    for before, after in zip(stored, decoded, strict=True):
        assert (after.t_ms, after.screen) == (before.t_ms, before.screen)
        assert np.array_equal(after.pixels[..., :3], before.pixels[..., :3])


def test_a_frame_is_stored_only_when_it_differs_and_read_only_while_it_is_added() -> None:
    encoder = ScreenEncoder(effort=Effort.FAST)
    pixels = picture(64, 64)
    assert encoder.add(Frame(0, pixels))
    assert not encoder.add(Frame(1, pixels))
    pixels[0, 0, 3] = 7  # the fourth byte is no content
    assert not encoder.add(Frame(2, pixels))
    pixels[0, 0, 0] ^= 1
    assert encoder.add(Frame(3, pixels))
    pixels[:] = 0
    first, second = decode_frames(encoder.finish())
    assert first.pixels[0, 0, 0] ^ second.pixels[0, 0, 0] == 1
    with pytest.raises(RuntimeError):
        encoder.add(Frame(4, pixels))


@pytest.mark.parametrize("effort", Effort)
def test_a_photograph_is_lossy_once_and_never_drifts(effort: Effort) -> None:
    rng = np.random.default_rng(4)
    page = np.full((300, 128, 4), 255, np.uint8)
    page[64:160, :, :3] = np.cumsum(rng.integers(-3, 4, (96, 128, 3)), axis=1).clip(-90, 90) + 128
    encoder = ScreenEncoder(effort=effort)
    tops = [0, 5, 17, 40, 17, 5, 0] * 3
    for n, top in enumerate(tops):
        assert encoder.add(Frame(n, page[top : top + 160])) or (n and tops[n - 1] == top)
    section = encoder.finish()
    errors = [
        np.abs(
            frame.pixels[64 - tops[frame.t_ms] : 120 - tops[frame.t_ms], :, 1].astype(int) - page[64:120, :, 1]
        ).mean()
        for frame in decode_frames(section)
    ]
    assert max(errors) < 6
    assert errors[-1] <= errors[0] + 0.5


def test_frames_are_listed_without_decoding_them() -> None:
    encoder = ScreenEncoder(effort=Effort.FAST)
    rng = np.random.default_rng(5)
    for number, (height, width) in enumerate([(40, 60), (40, 60), (70, 50), (40, 60)]):
        encoder.add(Frame(number * 700, rng.integers(0, 256, (height, width, 4), np.uint8), number % 2))
    section = encoder.finish()
    decoded = [(f.t_ms, f.pixels.shape[1], f.pixels.shape[0], f.screen) for f in decode_frames(section)]
    assert [(f.t_ms, f.width_px, f.height_px, f.screen) for f in list_frames(section)] == decoded
    assert len(decoded) == 4
    assert list(list_frames(b"")) == []
    for cut in range(1, len(section), 97):
        with pytest.raises(CodecError):
            list(list_frames(section[:cut]))
