"""Video streams decode to what they were made of, and exported files keep the frames' own times."""

from __future__ import annotations

import contextlib
from pathlib import Path

import av
import numpy as np
import pytest

from codec.canvas import blank
from codec.errors import Corrupt, Unsupported
from codec.model import Frame
from codec.video import Bitstream, VideoDecoder, VideoEncoder, write_mp4


def planes(seed: int) -> tuple[np.ndarray, ...]:
    out = blank(6, 8)
    for plane in out:
        plane[:] = np.linspace(20 + seed * 9, 220, plane.shape[1]).astype(np.uint8)
    return out


@pytest.mark.parametrize("bitstream", Bitstream)
def test_every_picture_comes_back_in_order(bitstream: Bitstream) -> None:
    encoder = VideoEncoder(bitstream, 128, 96, crf=20)
    packets = [packet for seed in range(9) for packet in encoder.encode(planes(seed))] + encoder.finish()
    decoded = list(VideoDecoder(bitstream, 128, 96).decode(packets))
    assert len(decoded) == 9
    for seed, picture in enumerate(decoded):
        for plane, original in zip(picture, planes(seed), strict=True):
            assert np.abs(plane.astype(int) - original).mean() < 3


@pytest.mark.parametrize("bitstream", Bitstream)
def test_a_stream_of_another_size_is_corrupt_and_larger_ones_are_not_allocated(bitstream: Bitstream) -> None:
    encoder = VideoEncoder(bitstream, 1920, 1088, crf=40)
    big = blank(68, 120)
    packets = encoder.encode(big) + encoder.finish()
    with pytest.raises(Corrupt):
        list(VideoDecoder(bitstream, 64, 64).decode(packets))


@pytest.mark.parametrize("bitstream", Bitstream)
def test_rubbish_is_corrupt_or_gives_no_picture(bitstream: Bitstream) -> None:
    with contextlib.suppress(Corrupt):
        assert list(VideoDecoder(bitstream, 64, 64).decode([b"\x00\x00\x01rubbish" * 9])) == []


def test_an_unknown_bitstream_asks_for_a_newer_reader() -> None:
    with pytest.raises(Unsupported, match="upgrade"):
        Bitstream.known(9)


def frame(t_ms: int, shade: int, width_px: int = 101, height_px: int = 67) -> Frame:
    pixels = np.full((height_px, width_px, 4), shade, np.uint8)
    return Frame(t_ms, pixels)


def test_an_exported_file_shows_each_frame_at_its_own_time(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    times_ms = [5_000, 5_007, 9_000, 69_123, 69_124]
    frames = [frame(t_ms, 40 * n) for n, t_ms in enumerate(times_ms)]
    assert write_mp4(path, iter(frames), last_ms=500) == 5
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = list(container.decode(stream))
        assert [round(picture.time * 1000) for picture in pictures] == [t_ms - 5_000 for t_ms in times_ms]
        assert (pictures[0].width, pictures[0].height) == (100, 66)
        assert abs(float(stream.duration * stream.time_base) - 64.624) < 0.01
    for n, picture in enumerate(pictures):
        assert abs(int(picture.to_ndarray(format="bgra")[30, 50, 1]) - 40 * n) < 4


def test_equal_and_odd_times_and_sizes_do_not_break_an_export(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    frames = [frame(10, 0), frame(10, 90), frame(10, 180, 64, 64), frame(9, 20, 1, 1)]
    assert write_mp4(path, iter(frames)) == 4
    with av.open(str(path)) as container:
        times = [round(picture.time * 1000) for picture in container.decode(video=0)]
    assert times == [0, 1, 2, 3]


@pytest.mark.parametrize(("width_px", "height_px"), [(1, 1), (1, 50), (2, 2), (3, 3)])
def test_tiny_frames_can_be_exported(tmp_path: Path, width_px: int, height_px: int) -> None:
    assert write_mp4(tmp_path / "out.mp4", iter([frame(0, 9, width_px, height_px)])) == 1


def test_nothing_to_export_makes_no_file(tmp_path: Path) -> None:
    assert write_mp4(tmp_path / "out.mp4", iter([])) == 0
    assert not (tmp_path / "out.mp4").exists()
