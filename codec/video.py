"""Shell: video bitstreams by FFmpeg; the only module that imports PyAV, and only on first use.

Guarantees: one thread; every picture that goes into an encoder comes out of its decoder, in order; FFmpeg's errors leave
as `Corrupt`. Does not guarantee equal bytes across FFmpeg's versions: a section is decoded by any of them, encoded by one.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codec.errors import Corrupt, Unsupported

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from av.video.codeccontext import VideoCodecContext

    from codec.model import Frame


class Bitstream(IntEnum):
    """What a stream is, as stored."""

    H264 = 1
    AV1 = 2


DECODERS = {Bitstream.H264: "h264", Bitstream.AV1: "libdav1d"}

X264 = {"preset": "veryfast", "tune": "zerolatency", "crf": "27", "bf": "0", "keyint": "infinite", "scenecut": "0"}
SVT = {"preset": "8", "crf": "45", "svtav1-params": "lp=1:scm=1:pred-struct=2:keyint=-1:scd=0"}


def pyav() -> ModuleType:
    """Return PyAV, silenced.

    Raises:
        Unsupported: it is not installed.
    """
    os.environ.setdefault("SVT_LOG", "0")  # or SVT-AV1 writes its banner to stderr
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise Unsupported("screenshots need PyAV: install modicum[agent] or modicum[export]") from error
    av.logging.set_level(None)
    return av


class VideoEncoder:
    """One stream of pictures of one size, timed by their number."""

    def __init__(self, bitstream: Bitstream, width_px: int, height_px: int) -> None:
        av = pyav()
        name, options = {Bitstream.H264: ("libx264", X264), Bitstream.AV1: ("libsvtav1", SVT)}[bitstream]
        context = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = width_px, height_px, "yuv420p"
        context.time_base = Fraction(1, 1000)
        context.framerate = Fraction(2, 1)  # SVT-AV1 refuses more than 240, which it would take from the time base
        context.thread_count = 1
        context.color_range = 2
        context.colorspace = 1
        context.options = options
        self._context: VideoCodecContext = context
        self._count = 0

    def encode(self, pixels: npt.NDArray[np.uint8]) -> list[bytes]:
        """Encode a picture; return the packets that are ready, which may be of earlier pictures.

        Args:
            pixels: uint8 BGRA (H, W, 4).
        """
        av = pyav()
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="bgra").reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="JPEG"
        )
        picture.pts = self._count * 500
        picture.time_base = Fraction(1, 1000)
        self._count += 1
        return [bytes(packet) for packet in self._context.encode(picture)]

    def finish(self) -> list[bytes]:
        """Return the packets that were still under way. The encoder is used up."""
        return [bytes(packet) for packet in self._context.encode(None)]


def decode_stream(
    bitstream: Bitstream, packets: Iterable[bytes], width_px: int, height_px: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode a stream picture by picture.

    Yields:
        uint8 BGRA (height_px, width_px, 4), to be read before the next is asked for.

    Raises:
        Corrupt: FFmpeg cannot make pictures of the stated size from the packets.
    """
    av = pyav()
    context = av.CodecContext.create(DECODERS[bitstream], "r")
    context.thread_count = 1
    try:
        for data in [*packets, None]:
            for picture in context.decode(None if data is None else av.Packet(data)):
                if (picture.width, picture.height) != (width_px, height_px):
                    raise Corrupt(f"a picture is of {picture.width}x{picture.height} px, not {width_px}x{height_px}")
                yield picture.reformat(
                    format="bgra", src_colorspace="ITU709", src_color_range="JPEG", dst_color_range="JPEG"
                ).to_ndarray()
    except (av.FFmpegError, ValueError) as error:
        raise Corrupt(f"the video stream does not decode: {error}") from error


def write_mp4(path: Path, frames: Iterable[Frame], *, last_ms: int = 1000) -> int:
    """Write frames of one size as H.264 in MP4, each shown from its own time to the next one's.

    Args:
        path: the file, which is replaced.
        frames: in order of time; those of another size than the first are scaled to it.
        last_ms: how long the last one is shown.

    Returns:
        How many frames were written. With none, no file is made.
    """
    av = pyav()
    count = 0
    first_ms = latest_ms = 0
    container = stream = None
    try:
        for frame in frames:
            height_px, width_px = frame.pixels.shape[:2]
            if container is None or stream is None:
                container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
                stream = container.add_stream("libx264", rate=1000)
                stream.width, stream.height, stream.pix_fmt = width_px & ~1 or 2, height_px & ~1 or 2, "yuv420p"
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
                stream.options = {"preset": "veryfast", "crf": "20", "bf": "0"}
                first_ms = latest_ms = frame.t_ms
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.pixels), format="bgra")
            picture = picture.reformat(width=stream.width, height=stream.height, format="yuv420p")
            latest_ms = max(latest_ms + (count > 0), frame.t_ms)
            picture.pts, picture.time_base = latest_ms - first_ms, Fraction(1, 1000)
            picture.duration = last_ms
            container.mux(stream.encode(picture))
            count += 1
        if container is not None and stream is not None:
            container.mux(stream.encode(None))
    finally:
        if container is not None:
            container.close()
    return count
