"""Shell: a lossless film of the virtual desktop, made outside of the recorder, to compare its frames with."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from benches.desktop import VirtualDesktop


class Film:
    """Films until the `with` block ends.

    Pictures that equal the one before are left out; timestamps are CLOCK_MONOTONIC in ms since the first picture, whose own time
    is in the container's metadata (`first_ms`).

    Args:
        desktop: what to film.
        path: a Matroska file (H.264 RGB, lossless).
        fps: grabs a second.
    """

    def __init__(self, desktop: VirtualDesktop, path: Path, *, fps: float) -> None:
        self._desktop = desktop
        self._path = path
        self._every_s = 1 / fps
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="film")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._film()
        except Exception as failure:  # told by __exit__
            self._failure = failure

    def _film(self) -> None:
        import av
        import mss

        os.environ["XAUTHORITY"] = str(self._desktop.authority)  # mss takes it from nowhere else
        with contextlib.ExitStack() as stack:
            grabber: Any = stack.enter_context(mss.MSS(display=self._desktop.name))
            container = stack.enter_context(av.open(str(self._path), "w", format="matroska"))
            stream: Any = container.add_stream("libx264rgb", options={"qp": "0", "preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = self._desktop.width_px, self._desktop.height_px, "rgb24"
            stream.codec_context.time_base = Fraction(1, 1000)
            first = time.monotonic_ns() // 1_000_000
            container.metadata["first_ms"] = str(first)
            before = b""
            while not self._stop.wait(self._every_s):
                picture = bytes(grabber.grab(grabber.monitors[0]).bgra)
                if picture == before:
                    continue
                before = picture
                pixels = np.frombuffer(picture, np.uint8).reshape(stream.height, stream.width, 4)
                frame = av.VideoFrame.from_ndarray(pixels, format="bgra").reformat(format="rgb24")
                frame.pts = time.monotonic_ns() // 1_000_000 - first
                frame.time_base = Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
