"""Canaries: strings that must, or must not, come through; how they are drawn, shown and looked for.

Each is far from every other (five letters differ), so that a reading with two wrong letters still names one of them.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from codec.model import Frame

LETTERS = "ACDEFHKLMNPRTUXY"
"""Those that no reader takes for another."""
LENGTH = 8
DISTANCE = 5
READ_WRONG = 2
"""So many letters may be read wrong."""


class Canaries:
    """Draws canaries and remembers where each was set free."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._drawn: list[str] = []
        self.forbidden: dict[str, str] = {}
        self.wanted: dict[str, str] = {}

    def _draw(self) -> str:
        while True:
            word = "".join(self._rng.choices(LETTERS, k=LENGTH))
            if all(sum(a != b for a, b in zip(word, other, strict=True)) >= DISTANCE for other in self._drawn):
                self._drawn.append(word)
                return word

    def keep_out(self, where: str, count: int) -> list[str]:
        """Return canaries that must come through nowhere."""
        words = [self._draw() for _ in range(count)]
        self.forbidden |= dict.fromkeys(words, where)
        return words

    def let_in(self, where: str, count: int) -> list[str]:
        """Return canaries that must come through."""
        words = [self._draw() for _ in range(count)]
        self.wanted |= dict.fromkeys(words, where)
        return words


def nearly(one: str, other: str, *, wrong: int = READ_WRONG) -> bool:
    """Tell whether a reading is a word with at most so many letters wrong, missing or too many."""
    if abs(len(one) - len(other)) > wrong:
        return False
    if sum(a == b for a, b in zip(one, other, strict=False)) >= len(other) - wrong and len(one) == len(other):
        return True
    if len(set(one) & set(other)) < len(set(other)) - wrong:
        return False
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
        if min(row) > wrong:
            return False
    return row[-1] <= wrong


def found_in(text: str, words: Iterable[str]) -> set[str]:
    """Return the canaries that stand in a text, or nearly do."""
    tokens = {token.strip(".,:;|'\"()[]{}<>-_=~*/\\").upper() for token in text.split()}
    tokens = {token for token in tokens if LENGTH - READ_WRONG <= len(token) <= LENGTH + READ_WRONG}
    return {word for word in words if word in text or any(nearly(token, word) for token in tokens)}


def read_frames(frames: Iterable[Frame], folder: Path) -> Iterator[str]:
    """Read the text of every frame that differs from the others, by tesseract, with what is black cut away."""
    pictures: dict[bytes, Path] = {}
    for number, frame in enumerate(frames):
        pixels = frame.pixels[:, :, 2::-1]
        digest = hashlib.sha256(pixels.tobytes()).digest()
        if digest in pictures:
            continue
        shown = pixels.any(axis=2)
        rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        if not rows.size:
            continue
        pixels = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        path = folder / f"frame-{number:03}.ppm"
        path.write_bytes(b"P6 %d %d 255\n" % (pixels.shape[1], pixels.shape[0]) + pixels.tobytes())
        pictures[digest] = path
    with ThreadPoolExecutor(2) as readers:
        yield from readers.map(_read, pictures.values())


def _read(path: Path) -> str:
    command = ["tesseract", str(path), "-", "--psm", "11", "-c", "load_system_dawg=0", "-c", "load_freq_dawg=0"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", "OMP_THREAD_LIMIT": "1"}
    )
    return done.stdout


def files_with(words: Iterable[str], folders: Iterable[Path]) -> dict[str, Path]:
    """Return in which files canaries stand in the clear, as UTF-8, UTF-16 or in lower case."""
    found = {}
    for folder in folders:
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            data = path.read_bytes()
            small = data.lower()
            for word in words:
                if word.lower().encode() in small or word.encode("utf-16-le") in data:
                    found[word] = path
    return found


def columns_of(words: list[str], wide: int) -> str:
    """Return canaries as lines of some words each."""
    return "\n".join("  ".join(words[i : i + wide]) for i in range(0, len(words), wide))
