"""Shell: video bitstreams by FFmpeg; the only module that imports PyAV, and only on first use.

Guarantees: one thread; every picture that goes into an encoder comes out of its decoder, in order, and decodes to the
same samples everywhere (H.264 and AV1 define them exactly); FFmpeg's errors leave as `Corrupt`. Does not guarantee that
another version of an encoder writes the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codec.errors import Corrupt, Unsupported

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from codec.model import Frame

Planes = tuple[npt.NDArray[np.uint8], ...]
"""Luma (H, W) and two chromas (H / 2, W / 2), H and W even."""


class Bitstream(IntEnum):
    """What a stream is, as stored."""

    H264 = 1
    AV1 = 2

    @classmethod
    def known(cls, number: int) -> Bitstream:
        """Return the bitstream of a stored number.

        Raises:
            Unsupported: this build does not know it.
        """
        try:
            return cls(number)
        except ValueError as error:
            raise Unsupported(f"a video bitstream of kind {number}: upgrade the reader") from error


_ENCODERS: dict[Bitstream, tuple[str, dict[str, str]]] = {
    # zerolatency: no look-ahead, so no dozens of pictures in memory.
    Bitstream.H264: (
        "libx264",
        {"preset": "veryfast", "tune": "zerolatency", "x264-params": "keyint=infinite:scenecut=0"},
    ),
    # scm 0: what comes here is photographs; lp 1: one thread.
    Bitstream.AV1: (
        "libsvtav1",
        {"preset": "8", "svtav1-params": "lp=1:scm=0:keyint=-1:scd=0:pred-struct=2"},
    ),
}
_DECODERS = {Bitstream.H264: "h264", Bitstream.AV1: "libdav1d"}
_TICK = Fraction(1, 1000)


def pyav() -> ModuleType:
    """Return PyAV, silenced.

    Raises:
        Unsupported: it is not installed.
    """
    os.environ.setdefault("SVT_LOG", "0")  # or SVT-AV1 writes its banner to stderr
    try:
        import av
    except ImportError as error:
        raise Unsupported("photographs in screenshots need PyAV: install modicum[agent] or modicum[export]") from error
    av.logging.set_level(None)
    return av


class VideoEncoder:
    """One stream of pictures of one size, in order; their times are not the stream's business."""

    def __init__(self, bitstream: Bitstream, width_px: int, height_px: int, *, crf: int) -> None:
        name, options = _ENCODERS[bitstream]
        context = pyav().CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = width_px, height_px, "yuv420p"
        context.time_base = _TICK
        context.framerate = Fraction(2, 1)  # SVT-AV1 refuses more than 240, which it would take from the time base
        context.thread_count = 1
        context.color_range, context.colorspace = 2, 1  # full range, BT.709
        context.options = {**options, "crf": str(crf)}
        self._context = context
        self._count = 0

    def encode(self, planes: Planes) -> list[bytes]:
        """Encode a picture; return the packets that are ready, which may be of earlier pictures.

        Args:
            planes: luma uint8 (H, W), two chromas (H / 2, W / 2).
        """
        height_px, width_px = planes[0].shape
        stacked = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(height_px * 3 // 2, width_px)
        picture = pyav().VideoFrame.from_ndarray(stacked, format="yuv420p")
        picture.pts, picture.time_base = self._count * 500, _TICK
        self._count += 1
        return [bytes(packet) for packet in self._context.encode(picture)]

    def finish(self) -> list[bytes]:
        """Return the packets that were still under way. The encoder is used up."""
        return [bytes(packet) for packet in self._context.encode(None)]


class VideoDecoder:
    """Decodes a stream whose size is known beforehand."""

    def __init__(self, bitstream: Bitstream, width_px: int, height_px: int) -> None:
        self._size = (width_px, height_px)
        context = pyav().CodecContext.create(_DECODERS[bitstream], "r")
        context.thread_count = 1
        # FFmpeg refuses more before it allocates; it counts with its strides' alignment.
        context.options = {"max_pixels": str((width_px + 128) * (height_px + 128))}
        self._context = context

    def decode(self, packets: Iterable[bytes]) -> Iterator[Planes]:
        """Decode picture by picture.

        Yields:
            luma uint8 (H, W), two chromas (H / 2, W / 2).

        Raises:
            Corrupt: FFmpeg cannot make pictures of the stated size from the packets.
        """
        av = pyav()
        width_px, height_px = self._size
        try:
            for data in [*packets, None]:
                for picture in self._context.decode(None if data is None else av.Packet(data)):
                    if (picture.width, picture.height) != self._size:
                        stated = f"{width_px}x{height_px}"
                        raise Corrupt(f"a picture of the video is of {picture.width}x{picture.height} px, not {stated}")
                    if picture.format.name not in {"yuv420p", "yuvj420p"}:
                        raise Corrupt(f"a picture of the video is {picture.format.name}, not yuv420p")
                    stacked = picture.to_ndarray().reshape(-1)
                    luma, chroma = width_px * height_px, width_px * height_px // 4
                    yield (
                        stacked[:luma].reshape(height_px, width_px),
                        stacked[luma : luma + chroma].reshape(height_px // 2, width_px // 2),
                        stacked[luma + chroma :].reshape(height_px // 2, width_px // 2),
                    )
        except (av.FFmpegError, ValueError) as error:
            raise Corrupt(f"the video does not decode: {error}") from error


def write_mp4(path: Path, frames: Iterable[Frame], *, last_ms: int = 1000) -> int:
    """Write frames as H.264 in MP4, each shown from its own time to the next one's.

    Args:
        path: the file, which is replaced.
        frames: in order of time, of one screen. An odd last row or column is cut off; those of another size than the
        first are
            scaled to it.
        last_ms: how long the last one is shown.

    Returns:
        How many frames were written. With none, no file is made.
    """
    av = pyav()
    count = first_ms = latest_ms = 0
    container: Any = None
    stream: Any = None
    packets: list[Any] = []
    try:
        for frame in frames:
            if container is None:
                container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
                stream = _mp4_stream(container, frame)
                first_ms = latest_ms = frame.t_ms
            height_px, width_px = frame.pixels.shape[:2]
            even = frame.pixels[: max(1, height_px & ~1), : max(1, width_px & ~1)]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="bgra").reformat(
                width=stream.width,
                height=stream.height,
                format="yuv420p",
                dst_colorspace="ITU709",
                dst_color_range="MPEG",
            )
            latest_ms = max(latest_ms + (count > 0), frame.t_ms)  # a player needs times that grow
            picture.pts, picture.time_base = latest_ms - first_ms, _TICK
            packets += stream.encode(picture)
            _mux(container, packets, None)
            count += 1
        if count:
            packets += stream.encode(None)
            _mux(container, packets, last_ms)
    finally:
        if container is not None:
            container.close()
    return count


def _mp4_stream(container: Any, frame: Frame) -> Any:
    height_px, width_px = frame.pixels.shape[:2]
    stream = container.add_stream("libx264", rate=1000, options={"preset": "veryfast", "crf": "20", "bf": "0"})
    stream.width, stream.height, stream.pix_fmt = max(2, width_px & ~1), max(2, height_px & ~1), "yuv420p"
    stream.time_base = stream.codec_context.time_base = _TICK
    stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1  # BT.709, as players assume
    return stream


def _mux(container: Any, packets: list[Any], last_ms: int | None) -> None:
    """Write packets whose duration is known: none is reordered, so the next one tells it. The last waits for
    `last_ms`."""
    while len(packets) > (last_ms is None):
        packet = packets.pop(0)
        packet.duration = packets[0].pts - packet.pts if packets else last_ms
        container.mux(packet)


def read_frames(path: Path, *, interval_ms: int) -> Iterator[Frame]:
    """Yield pictures of any video file that FFmpeg reads, at least `interval_ms` apart, each with its own time.

    Args:
        path: the file. interval_ms: >= 0; 0 yields every picture.

    Raises:
        Corrupt: FFmpeg cannot read it.
    """
    from codec.model import Frame

    av = pyav()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise Corrupt(f"{path.name} has no video stream")
            due_ms = 0
            for picture in container.decode(video=0):
                t_ms = round((picture.time or 0) * 1000)
                if t_ms >= due_ms:
                    due_ms = t_ms + interval_ms
                    yield Frame(t_ms, picture.to_ndarray(format="bgra"))
    except (av.FFmpegError, ValueError) as error:
        raise Corrupt(f"{path.name} does not decode: {error}") from error
