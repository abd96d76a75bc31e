"""Pure: the adaptive model behind method B: small context tables, mixed in the logistic domain, all in integers.

A *symbol* is coded as a path of yes/no decisions down its field's tree. For each decision every context of the field
has a *cell*: a probability and how often it was seen. The cells' stretched probabilities are weighed by fixed weights,
summed and squashed. Cells learn between blocks, not within: so an encoder computes a block at once with numpy, and a
decoder, which must go decision by decision, never pays for learning there. No floating point is involved: the same bits
everywhere. `docs/format-events.md` has the arithmetic, the block lengths and the prior's file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.errors import Corrupt

Ints = npt.NDArray[np.int64]

INPUTS = 6
"""Contexts of each field."""
COUNT_LIMIT = 250
"""A cell's count stops here, so that its newest decisions never weigh nothing."""
FLOOR = 32
"""No decision is more certain than 65504 / 65536."""
BLOCK = 192
"""The model learns after rows 32, 64 and 128, and then after every 192nd: a cell sees less than 256 decisions in
between."""
FIRST_BLOCKS = (32, 64, 128)
PRIOR_COUNTS = (0, 1, 2, 5, 8)
"""The counts that a shipped prior can state: it knows the average person well, this person not yet."""

_KNOTS = (
    *(22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911),
    *(53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514),
)
"""65536 / (1 + exp(-x / 256)) at x = -2048, -1920 … 2048, rounded."""


def _squash_table() -> Ints:
    """Return, at x + 2048 for x = -2048 .. 2047, a probability in 1/65536: linear between the knots."""
    x = np.arange(4096)
    knots = np.array(_KNOTS)
    table = (knots[x >> 7] * (128 - (x & 127)) + knots[(x >> 7) + 1] * (x & 127) + 64) >> 7
    clipped: Ints = np.clip(table, FLOOR, 65536 - FLOOR)
    return clipped


SQUASH = _squash_table()
STRETCH = np.searchsorted(SQUASH, np.arange(4096) * 16 + 8).astype(np.int64) - 2048
"""At p >> 4: the first x whose squash is at least the middle of the sixteen p it stands for."""
TRUST = (256 * (2 * np.arange(256) + 1)) // (2 * np.arange(256) + 3)
"""How much of its stretched probability a cell seen n times may say, in 1/256."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field's tree, contexts and weights.

    Attributes:
        bases: of each context, int32 by its value: its first cell.
        nodes: inner nodes of the tree = cells per context value.
        path, bits: int32 (symbols, depth), the decisions that lead to a symbol. lengths: how many they are, and at the
            end a 0 for symbol -1, which is not coded.
        go: for a decoder, per node: (next if 0, next if 1); a negative one is the complement of a symbol.
        weights: int64 (INPUTS, nodes), 65536 = 1. rows: the same by node, as tuples, for a decoder.
    """

    bases: tuple[npt.NDArray[np.int32], ...]
    nodes: int
    path: npt.NDArray[np.int32]
    bits: npt.NDArray[np.int32]
    lengths: Ints
    go: tuple[tuple[int, int], ...]
    weights: Ints
    rows: tuple[tuple[int, ...], ...]


def build_field(splits: bytes, weights: Ints, bases: tuple[npt.NDArray[np.int32], ...]) -> Field:
    """Make a field from its tree's splits.

    Args:
        splits: one byte for each inner node, in pre-order: how many of the node's symbols lie on its 0 side.
        weights: (INPUTS, nodes).
        bases: of each context.

    Raises:
        Corrupt: the splits make no tree.
    """
    symbols = len(splits) + 1
    paths: list[list[tuple[int, int]]] = [[] for _ in range(symbols)]
    go: list[list[int]] = []
    stack: list[tuple[int, int, list[tuple[int, int]], int]] = [(0, symbols, [], 0)]
    while stack:
        low, high, path, parent = stack.pop()
        if path:
            go[parent][path[-1][1]] = len(go) if high - low > 1 else ~low
        if high - low == 1:
            paths[low] = path
            continue
        node = len(go)
        if not 0 < splits[node] < high - low:
            raise Corrupt("a prior's tree has an empty side")
        go.append([0, 0])
        middle = low + splits[node]
        stack.append((middle, high, [*path, (node, 1)], node))
        stack.append((low, middle, [*path, (node, 0)], node))
    lengths = np.array([*map(len, paths), 0], np.int64)
    depth = int(lengths.max())
    padded = np.array([path + [(0, 0)] * (depth - len(path)) for path in paths], np.int32)
    return Field(
        bases=bases,
        nodes=len(go),
        path=padded[:, :, 0],
        bits=padded[:, :, 1],
        lengths=lengths,
        go=tuple((zero, one) for zero, one in go),
        weights=weights,
        rows=tuple(tuple(row) for row in weights.T.tolist()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """What a model knows before the first event. Shared: never written to.

    Attributes:
        fields: in the order they are coded in.
        cells: how many there are. Those of which something is known come first, and only they are in the columns.
        lean: int16, a cell's chance of a 1, in 1/65536, less 32768. count: uint8, how often it was seen. voice: int16,
            what it says, see `voices`. All three are 0 for a cell of which nothing is known.
    """

    fields: tuple[Field, ...]
    cells: int
    lean: npt.NDArray[np.int16]
    count: npt.NDArray[np.uint8]
    voice: npt.NDArray[np.int16]


def voices(chance: Ints, count: Ints) -> Ints:
    """Return what cells say: their chance of a 1, stretched, held back while they have seen little."""
    said: Ints = STRETCH[chance >> 4] * TRUST[count] >> 8
    return said


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """Decisions of some symbols of one field, in order; D of them.

    Attributes:
        row: int64 (D,), which of the symbols. node, bit: int32 (D,). cells: int32 (INPUTS, D).
    """

    row: Ints
    node: npt.NDArray[np.int32]
    bit: npt.NDArray[np.int32]
    cells: npt.NDArray[np.int32]


def expand(field: Field, symbols: Ints, contexts: Ints) -> Decisions:
    """Lay out the decisions of symbols.

    Args:
        field: theirs.
        symbols: (n,), -1 for none.
        contexts: (INPUTS, n), each below its context's size.
    """
    return expand_at(
        field, symbols, np.stack([base[values] for base, values in zip(field.bases, contexts, strict=True)])
    )


def expand_at(field: Field, symbols: Ints, bases: npt.NDArray[np.int32]) -> Decisions:
    """Lay out the decisions of symbols, given the first cell of each context's value, (INPUTS, n)."""
    lengths = field.lengths[symbols]
    row = np.repeat(np.arange(len(symbols)), lengths)
    depth = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    symbol = symbols[row]
    node = field.path[symbol, depth]
    cells = bases[:, row] + node
    return Decisions(row, node, field.bits[symbol, depth], cells)


class Model:
    """Cells that learn.

    State: lean, count and voice of every cell (see `Prior`), and a scratch array that is all zero between calls.
    """

    __slots__ = ("_scratch", "count", "fields", "lean", "voice")

    def __init__(self, prior: Prior) -> None:
        self.fields = prior.fields
        # Zeros cost no memory until they are written to: most cells of which nothing is known never are.
        self.lean, self.count = np.zeros(prior.cells, np.int16), np.zeros(prior.cells, np.uint8)
        self.voice, self._scratch = np.zeros(prior.cells, np.int16), np.zeros(prior.cells, np.uint16)
        known = len(prior.lean)
        self.lean[:known], self.count[:known], self.voice[:known] = prior.lean, prior.count, prior.voice

    def ones(self, field: Field, node: npt.NDArray[np.int32], cells: npt.NDArray[np.int32]) -> Ints:
        """Return each decision's probability of a 1, in 1/65536.

        Args:
            field: theirs.
            node: (D,).
            cells: (INPUTS, D).
        """
        said = np.zeros(len(node), np.int64)
        for weights, column in zip(field.weights, cells, strict=True):
            said += weights[node] * self.voice[column]
        chances: Ints = SQUASH[np.clip(said >> 16, -2048, 2047) + 2048]
        return chances

    def learn(self, cells: npt.NDArray[np.int32], bits: npt.NDArray[np.int32]) -> None:
        """Teach cells what was decided.

        Args:
            cells: (m,), with repetitions.
            bits: (m,), what each saw.
        """
        np.add.at(self._scratch, cells, (bits << 8 | 1).astype(np.uint16))
        seen = self._scratch[cells].astype(np.int64)
        self._scratch[cells] = 0
        news, ones = seen & 0xFF, seen >> 8
        old = self.count[cells].astype(np.int64)
        chance = self.lean[cells].astype(np.int64) + 32768
        chance += ((ones << 16) - news * chance) * 2 // (2 * (old + news) + 1)
        chance = np.clip(chance, FLOOR, 65536 - FLOOR)
        count = np.minimum(old + news, COUNT_LIMIT)
        self.lean[cells] = chance - 32768
        self.count[cells] = count
        self.voice[cells] = voices(chance, count)


def block_ends(rows: int) -> list[int]:
    """Return after which rows the model learns; the last is `rows`."""
    return [*(end for end in FIRST_BLOCKS if end < rows), *range(BLOCK, rows, BLOCK), rows]
