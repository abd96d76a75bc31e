"""Pure: the shipped priors of method B, and their file format.

A prior is to the context coder what a dictionary is to Zstandard: trained once, frozen by its name, the same for
everybody. It holds no one's data: only how often, on average, a step of about this size follows one of about that size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import zstandard

from codec import lz
from codec.errors import Corrupt
from codec.mixing import INPUTS, PRIOR_COUNTS, SQUASH, Prior, build_field, voices

MAX_PRIOR_BYTES = 1 << 24
WEIGHT_UNIT = 16
"""A stored weight of 4096 is 1, which the mixer calls 65536."""
KNOWN_FROM = (6, 12, 30, 100)
"""How many decisions of the training give a cell the levels 1 to 4; fewer are not worth the bytes."""
CHANCE_STEP = 32
"""A stored chance q stands for the squash of 32 q."""


@cache
def load_prior(name: str, symbols: tuple[int, ...], sizes: tuple[tuple[int, ...], ...]) -> Prior:
    """Return a shipped prior.

    Args:
        name: of the data file.
        symbols: of each field. sizes: how many values each context of each field has.
    """
    return read_prior(lz.shipped(name), symbols, sizes)


def read_prior(data: bytes, symbols: Sequence[int], sizes: Sequence[Sequence[int]]) -> Prior:
    """Parse a prior's file.

    Raises:
        Corrupt: it is not one, or one for other fields.
    """
    try:
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_PRIOR_BYTES)
    except zstandard.ZstdError as error:
        raise Corrupt(f"a prior cannot be decompressed ({error})") from None
    place = 0
    parts = []
    for count in symbols:
        nodes = count - 1
        end = place + nodes + 2 * INPUTS * nodes
        if len(raw) < end:
            raise Corrupt("a prior ends within its weights", offset=len(raw))
        weights = np.frombuffer(raw[place + nodes : end], "<i2").astype(np.int64).reshape(INPUTS, nodes) * WEIGHT_UNIT
        parts.append((raw[place : place + nodes], weights))
        place = end
    cells = sum((count - 1) * sum(row) for count, row in zip(symbols, sizes, strict=True))
    levels = np.frombuffer(raw, np.uint8, cells, place) if len(raw) >= place + cells else np.empty(0, np.uint8)
    seen = np.flatnonzero(levels)
    if len(levels) != cells or len(raw) != place + cells + len(seen) or int(levels.max()) >= len(PRIOR_COUNTS):
        raise Corrupt("a prior's cells do not fit its fields", offset=place)
    bases, known = _known_first(levels, symbols, sizes)
    told = SQUASH[np.frombuffer(raw, np.int8, len(seen), place + cells).astype(np.int64) * CHANCE_STEP + 2048]
    counts = np.array(PRIOR_COUNTS)[levels[seen]]
    at = known[seen]
    size = int(at.max()) + 1 if len(at) else 0
    lean, counted, voice = np.zeros(size, np.int16), np.zeros(size, np.uint8), np.zeros(size, np.int16)
    lean[at], counted[at], voice[at] = told - 32768, counts, voices(told, counts)
    fields = [build_field(splits, weights, base) for (splits, weights), base in zip(parts, bases, strict=True)]
    return Prior(tuple(fields), cells, lean, counted, voice)


def _known_first(
    levels: npt.NDArray[np.uint8], symbols: Sequence[int], sizes: Sequence[Sequence[int]]
) -> tuple[list[tuple[npt.NDArray[np.int32], ...]], npt.NDArray[np.int32]]:
    """Give every context value its cells, those of which something is known first: a model copies only them.

    Args:
        levels: of every cell, in the file's order.

    Returns:
        Of each field and context, each value's first cell; and where each cell of the file's order went.
    """
    values = [sum(row) for row in sizes]
    widths = np.repeat([count - 1 for count in symbols], values)  # of each value's cells
    starts = np.cumsum(widths) - widths
    order = np.argsort(np.add.reduceat(levels != 0, starts) == 0, kind="stable")
    first = np.empty(len(widths), np.int64)
    first[order] = np.cumsum(widths[order]) - widths[order]
    went = (np.repeat(first - starts, widths) + np.arange(len(levels))).astype(np.int32)
    bases = []
    for row, of_field in zip(sizes, np.split(first.astype(np.int32), np.cumsum(values)[:-1]), strict=True):
        bases.append(tuple(np.split(of_field, np.cumsum(row)[:-1])))
    return bases, went


def write_prior(
    splits: Sequence[bytes],
    weights: Sequence[npt.NDArray[np.float64]],
    seen: npt.NDArray[np.float64],
    ones: npt.NDArray[np.float64],
) -> bytes:
    """Make a prior's file from what was counted.

    Args:
        splits: of each field's tree. weights: of each field, (INPUTS, nodes), 1.0 = 1.
        seen: of each cell, how many decisions. ones: how many of them were 1.
    """
    level = np.searchsorted(np.array(KNOWN_FROM), seen, side="right").astype(np.uint8)
    told = np.flatnonzero(level)
    chance = (ones[told] + 0.4) / (seen[told] + 0.8)
    stretched = np.log(chance / (1 - chance)) * 256 / CHANCE_STEP
    raw = b"".join(
        tree + np.clip(np.round(weight * 4096), -32768, 32767).astype("<i2").tobytes()
        for tree, weight in zip(splits, weights, strict=True)
    )
    raw += level.tobytes() + np.clip(np.round(stretched), -64, 63).astype(np.int8).tobytes()
    return zstandard.ZstdCompressor(level=22).compress(raw)
