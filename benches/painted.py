"""A desktop that never was: seeded pictures of windows with text, grids, a photograph and a dark terminal, at work.

It needs no display and no fonts, so that anyone can measure the screen codec on the spot. Text is of invented glyphs
with grey edges in words of an invented language, which repeat as words do; windows open, scroll, are typed into,
dragged and switched.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from codec.model import Frame

Pixels = npt.NDArray[np.uint8]

LINE_PX = 19
GLYPH_PX = 14
ALPHABET = 52
VOCABULARY = 400


class _Font:
    """Invented glyphs: coverage 0-1 (14, width)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.glyphs = [self._glyph(rng) for _ in range(ALPHABET)]
        lengths = rng.integers(2, 10, VOCABULARY)
        self.words = [np.concatenate([self.glyphs[g] for g in rng.integers(0, ALPHABET, n)], axis=1) for n in lengths]
        self.space = np.zeros((GLYPH_PX, 5), np.float32)

    @staticmethod
    def _glyph(rng: np.random.Generator) -> npt.NDArray[np.float32]:
        fine = 4
        width_px = int(rng.integers(5, 10))
        ink = np.zeros((GLYPH_PX * fine, width_px * fine), np.float32)
        for _ in range(int(rng.integers(2, 4))):  # strokes: lines from edge to edge of the glyph's box
            y0, y1 = rng.integers(3 * fine, 12 * fine, 2)
            x0, x1 = rng.integers(fine, (width_px - 1) * fine, 2)
            for t in np.linspace(0, 1, 80):
                y, x = int(y0 + (y1 - y0) * t), int(x0 + (x1 - x0) * t)
                ink[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = 1
        coverage = ink.reshape(GLYPH_PX, fine, width_px, fine).mean(axis=(1, 3))
        rounded: npt.NDArray[np.float32] = (coverage * 16).round() / 16
        return rounded

    def line(self, rng: np.random.Generator, width_px: int) -> npt.NDArray[np.float32]:
        """Return a line of words, cut to the width."""
        parts: list[npt.NDArray[np.float32]] = []
        while sum(part.shape[1] for part in parts) < width_px:
            word = int(VOCABULARY * rng.random() ** 2.5)  # a few words are most of a text
            parts += [self.words[word], self.space]
        return np.concatenate(parts, axis=1)[:, :width_px]


def _write(page: Pixels, y: int, x: int, coverage: npt.NDArray[np.float32], ink: tuple[int, int, int]) -> None:
    height_px, width_px = coverage.shape
    place = page[y : y + height_px, x : x + width_px, :3]
    share = coverage[: place.shape[0], : place.shape[1], None]
    place[...] = (place * (1 - share) + np.array(ink, np.float32) * share).round().astype(np.uint8)


def photograph(rng: np.random.Generator, height_px: int, width_px: int) -> Pixels:
    """Return smooth noise with edges: uint8 BGR (H, W, 3), with many colours in every tile."""
    down, across = np.fft.fftfreq(height_px)[:, None], np.fft.rfftfreq(width_px)[None]
    falloff = (np.hypot(down, across) + 1 / max(height_px, width_px)) ** 1.7
    planes = []
    for _ in range(3):
        spectrum = (rng.normal(size=falloff.shape) + 1j * rng.normal(size=falloff.shape)) / falloff
        plane = np.fft.irfft2(spectrum, s=(height_px, width_px))
        planes.append(plane / plane.std())
    picture = np.stack([planes[0], 0.8 * planes[0] + 0.4 * planes[1], 0.8 * planes[0] + 0.4 * planes[2]], axis=-1)
    return (120 + 45 * picture + rng.normal(size=(height_px, width_px, 1))).clip(0, 255).astype(np.uint8)


class _Window:
    """A page, and the part of it that a frame shows."""

    def __init__(self, rng: np.random.Generator, font: _Font, kind: str, rect: tuple[int, int, int, int]) -> None:
        self.top, self.left, self.height_px, self.width_px = rect
        self.rng, self.font, self.kind = rng, font, kind
        self.scroll_px = 0
        self.typed = 0
        paper, self.ink = ((24, 18, 16), (180, 220, 190)) if kind == "terminal" else ((255, 255, 255), (40, 34, 32))
        self.page = np.empty((3 * self.height_px, self.width_px, 4), np.uint8)
        self.page[...] = (*paper, 255)
        if kind == "sheet":
            self.page[::20, :, :3] = 214
            self.page[:, ::88, :3] = 214
        for row in range(8, len(self.page) - LINE_PX, LINE_PX if kind != "sheet" else 20):
            if kind == "sheet":
                for column in range(6, self.width_px - 60, 88):
                    if rng.random() < 0.3:
                        _write(self.page, row, column, font.line(rng, 60), self.ink)
            elif rng.random() < 0.85 and not (kind == "terminal" and row > self.height_px // 3):
                _write(self.page, row, 12, font.line(rng, int(self.width_px * rng.uniform(0.3, 0.9))), self.ink)
        if kind == "article":
            high, wide = self.height_px // 2, self.width_px // 2
            self.page[self.height_px : self.height_px + high, 40 : 40 + wide, :3] = photograph(rng, high, wide)

    def type(self) -> None:
        """Add a word below what is there."""
        per_line = max(1, self.width_px // 90)
        row = self.scroll_px + self.height_px // 2 + self.typed // per_line * LINE_PX
        column = 12 + self.typed % per_line * 88
        _write(self.page, min(row, len(self.page) - LINE_PX), column, self.font.line(self.rng, 80), self.ink)
        self.typed += 1

    def scroll(self) -> None:
        """Move on by some lines, or back to the top."""
        on = self.scroll_px + int(self.rng.integers(1, 12)) * LINE_PX
        self.scroll_px = on if on < len(self.page) - self.height_px else 0

    def draw(self, desktop: Pixels, *, active: bool) -> None:
        """Draw the window: a title bar with a gradient, a frame, the page."""
        height_px, width_px = desktop.shape[:2]
        bottom, right = min(height_px, self.top + self.height_px), min(width_px, self.left + self.width_px)
        view = desktop[self.top : bottom, self.left : right]
        view[...] = self.page[self.scroll_px : self.scroll_px + self.height_px][: len(view), : view.shape[1]]
        bar = view[:24]
        shade = np.linspace(210, 180, 24)[: len(bar), None, None] - (0 if active else 25)
        bar[..., :3] = shade.astype(np.uint8)
        view[:, 0, :3] = view[:, -1, :3] = view[-1, :, :3] = 120


def paint(*, width_px: int = 1920, height_px: int = 1080, frames: int = 90, seed: int = 7) -> Iterator[Frame]:
    """Paint a session, a frame every 2 to 6 s.

    Yields:
        `frames` frames; the same ones for the same arguments.
    """
    rng = np.random.default_rng(seed)
    font = _Font(rng)
    high, wide = height_px * 3 // 4, width_px * 3 // 5
    windows = [
        _Window(rng, font, kind, (height_px * n // 24, width_px * n // 12, high, wide))
        for n, kind in enumerate(("mail", "sheet", "terminal", "article"))
    ]
    wall = np.full((height_px, width_px, 4), 255, np.uint8)
    wall[..., :3] = np.linspace((96, 60, 40), (150, 110, 90), height_px)[:, None].astype(np.uint8)
    t_ms = 0
    for _ in range(frames):
        desktop = wall.copy()
        for window in windows:
            window.draw(desktop, active=window is windows[-1])
        yield Frame(t_ms, desktop)
        t_ms += int(rng.integers(2000, 6000))
        act = rng.random()
        if act < 0.5:
            windows[-1].type()
        elif act < 0.75:
            windows[-1].scroll()
        elif act < 0.92:
            windows.append(windows.pop(int(rng.integers(0, len(windows)))))
        else:
            windows[-1].top = int(rng.integers(0, height_px // 4))
            windows[-1].left = int(rng.integers(0, width_px // 3))
