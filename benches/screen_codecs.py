"""The screen codec and its peers, behind one interface: frames in, bytes out, frames again."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from codec.model import ChunkId, Frame, KeyEvents, Meta, PointerEvents
from codec.screen import Effort, ScreenEncoder, decode_frames
from codec.video import pyav

Pixels = npt.NDArray[np.uint8]


class Encoding(Protocol):
    """A chunk under way."""

    def add(self, frame: Frame) -> None:
        """Take a frame that differs from the one before."""

    def finish(self) -> None:
        """Encode what waits."""

    @property
    def total_bytes(self) -> int:
        """What the chunk takes, with everything around it."""

    def decode(self) -> Iterator[Pixels]:
        """Give the frames back."""


class ScreenCodec(Protocol):
    """A way to store screenshots.

    Attributes:
        name: for the table. missing: why it cannot run here, or "".
    """

    name: str
    missing: str

    def start(self) -> Encoding:
        """Begin a chunk."""


class Modicum:
    """This project: whole sealed chunks."""

    missing = ""

    def __init__(self, effort: Effort) -> None:
        self.name = f"modicum {effort.name.lower()}"
        self._effort = effort

    def start(self) -> Encoding:
        """Begin a chunk."""
        return _Chunk(self._effort)


class _Chunk:
    def __init__(self, effort: Effort) -> None:
        self._encoder = ScreenEncoder(effort=effort)
        self._section = b""
        self.total_bytes = 0

    def add(self, frame: Frame) -> None:
        self._encoder.add(frame)

    def finish(self) -> None:
        from codec.chunk import Body, encode_body, seal_chunk
        from codec.seal import ArchivePrivateKey, DeviceSigningKey

        self._section = self._encoder.finish()
        meta = Meta(
            t0_ms=0, wall_t0_ns=1_800_000_000 * 10**9, duration_ms=900_000, purposes=("bench",), consent=bytes(32)
        )
        body = encode_body(Body(meta, PointerEvents.empty(), KeyEvents.empty(), [], self._section))
        chunk = seal_chunk(
            ChunkId("bench-screens", 1, 0),
            body,
            recipient=ArchivePrivateKey.generate().public,
            signer=DeviceSigningKey.generate(),
            expires_s=0,
            value=0,
        )
        self.total_bytes = len(chunk)

    def decode(self) -> Iterator[Pixels]:
        return (frame.pixels for frame in decode_frames(self._section))


class Stills:
    """A picture file a frame, as most recorders do, by Pillow."""

    def __init__(self, name: str, suffix: str, **options: Any) -> None:
        self.name = name
        self.missing = "" if find_spec("PIL") else "Pillow is not installed"
        self._suffix, self._options = suffix, options

    def start(self) -> Encoding:
        """Begin a chunk."""
        return _Files(self._suffix, self._options)


class _Files:
    def __init__(self, suffix: str, options: dict[str, Any]) -> None:
        self._suffix, self._options = suffix, options
        self._files: list[bytes] = []

    def add(self, frame: Frame) -> None:
        from PIL import Image

        height_px, width_px = frame.pixels.shape[:2]
        image = Image.frombuffer("RGB", (width_px, height_px), np.ascontiguousarray(frame.pixels), "raw", "BGRX", 0, 1)
        out = io.BytesIO()
        image.save(out, self._suffix, **self._options)
        self._files.append(out.getvalue())

    def finish(self) -> None:
        return

    @property
    def total_bytes(self) -> int:
        return sum(map(len, self._files))

    def decode(self) -> Iterator[Pixels]:
        from PIL import Image

        for data in self._files:
            yield np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[..., ::-1]


class Video:
    """Whole frames into a video encoder, one group of pictures a chunk; only its packets count, no container."""

    def __init__(
        self, name: str, encoder: str, decoder: str, options: dict[str, str], *, pix_fmt: str = "yuv420p"
    ) -> None:
        self.name = name
        self.missing = "" if encoder in pyav().codecs_available else f"this FFmpeg has no {encoder}"
        self._settings = encoder, decoder, options, pix_fmt

    def start(self) -> Encoding:
        """Begin a chunk."""
        return _Stream(*self._settings)


class _Stream:
    def __init__(self, encoder: str, decoder: str, options: dict[str, str], pix_fmt: str) -> None:
        os.environ["SVT_LOG"] = "0"
        self._encoder, self._decoder, self._options, self._pix_fmt = encoder, decoder, options, pix_fmt
        self._context: Any = None
        self._size = 0, 0
        self._packets: list[bytes] = []
        self._count = 0

    def add(self, frame: Frame) -> None:
        av = pyav()
        if self._context is None:
            height_px, width_px = frame.pixels.shape[:2]
            self._size = width_px & ~1, height_px & ~1
            self._context = av.CodecContext.create(self._encoder, "w")
            self._context.width, self._context.height = self._size
            self._context.pix_fmt, self._context.thread_count = self._pix_fmt, 1
            self._context.time_base, self._context.framerate = Fraction(1, 1000), Fraction(2, 1)
            self._context.options = self._options
        width_px, height_px = self._size
        even = np.ascontiguousarray(frame.pixels[:height_px, :width_px])
        picture = av.VideoFrame.from_ndarray(even, format="bgra").reformat(
            format=self._pix_fmt, dst_colorspace="ITU709"
        )
        picture.pts, picture.time_base = self._count * 500, Fraction(1, 1000)
        self._count += 1
        self._packets += [bytes(packet) for packet in self._context.encode(picture)]

    def finish(self) -> None:
        self._packets += [bytes(packet) for packet in self._context.encode(None)]
        self._context = None

    @property
    def total_bytes(self) -> int:
        return sum(map(len, self._packets))

    def decode(self) -> Iterator[Pixels]:
        av = pyav()
        context = av.CodecContext.create(self._decoder, "r")
        context.thread_count = 1
        for data in [*self._packets, None]:
            for picture in context.decode(None if data is None else av.Packet(data)):
                yield picture.reformat(format="bgra", src_colorspace="ITU709").to_ndarray()


def screen_codecs() -> list[ScreenCodec]:
    """Return this project's rungs and their peers."""
    svt = "lp=1:scm=1:keyint=-1:pred-struct=2"
    codecs: list[ScreenCodec] = [
        Modicum(Effort.SMALL),
        Modicum(Effort.FAST),
        Stills("PNG (level 6)", "PNG", compress_level=6),
        Stills("JPEG q75", "JPEG", quality=75),
        Stills("JPEG q85", "JPEG", quality=85),
        Stills("WebP q80", "WEBP", quality=80, method=4),
        Video("x264 veryfast crf 28", "libx264", "h264", {"preset": "veryfast", "crf": "28", "g": "9999"}),
        Video("SVT-AV1 p8 crf 35", "libsvtav1", "libdav1d", {"preset": "8", "crf": "35", "svtav1-params": svt}),
        Video("SVT-AV1 p5 crf 40", "libsvtav1", "libdav1d", {"preset": "5", "crf": "40", "svtav1-params": svt}),
    ]
    # openadapt-capture 1.3, video.py: DEFAULT_CRF, DEFAULT_PRESET, DEFAULT_PIXEL_FORMAT. Minutes of CPU: only where it
    # is installed.
    openadapt = Video(
        "openadapt-capture's x264", "libx264", "h264", {"preset": "veryslow", "crf": "0"}, pix_fmt="yuv444p"
    )
    if not find_spec("openadapt_capture"):
        openadapt.missing = "openadapt-capture is not installed"
    return [*codecs, openadapt]
