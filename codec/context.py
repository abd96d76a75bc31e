"""Pure: method B's coder: rows of symbols through the model of `codec.mixing` and the range coder.

What the symbols and contexts mean is up to `codec.motion` and `codec.typing`; here a row is one symbol of each field,
in order, each followed by its plain bits. An encoder does a block at a time; a decoder decides by decision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.mixing import INPUTS, SQUASH, Model, Prior, block_ends, expand, expand_at
from codec.rangecoder import PLAIN_BITS, SMALL, StepDecoder, encode_steps

Ints = npt.NDArray[np.int64]

ROWS_PER_BYTE = 16
"""A stream that says more is better off with method A, and a tiny one cannot claim much work."""
SPARE_ROWS = 64
BYTES_PER_ROW = 12
"""A stream that needs more is noise, better off with method A, and its long numbers cost a decoder most."""
SPARE_BYTES = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """n rows to be coded.

    Attributes:
        symbols: of each field, int64 (n,); -1 where it is not coded, because it is known otherwise.
        extra: the plain bits after each symbol, as a number; extra_bits: how many.
        contexts: of each field, int64 (INPUTS, n).
    """

    symbols: tuple[Ints, ...]
    extra: tuple[Ints, ...]
    extra_bits: tuple[Ints, ...]
    contexts: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.symbols[0])


def admits(rows: int, code_bytes: int) -> bool:
    """Tell whether a stream of so many rows may have a code of so many bytes: neither too few nor too many."""
    return rows <= ROWS_PER_BYTE * code_bytes + SPARE_ROWS and code_bytes <= BYTES_PER_ROW * rows + SPARE_BYTES


def encode_table(prior: Prior, table: Table) -> bytes:
    """Encode rows; deterministic, integers only. See `admits` for how many."""
    model = Model(prior)
    made = [
        expand(field, symbols, contexts)
        for field, symbols, contexts in zip(prior.fields, table.symbols, table.contexts, strict=True)
    ]
    keys, steps, ones = [], [], []
    for index, decisions in enumerate(made):
        keys.append(decisions.row * (2 * len(made)) + 2 * index)
        steps.append(decisions.bit.astype(np.int64))
        ones.append(np.zeros(len(decisions.bit), np.int32))
    low = 0
    for end in block_ends(len(table)):
        cells, seen = [], []
        for field, decisions, chances in zip(prior.fields, made, ones, strict=True):
            a, b = np.searchsorted(decisions.row, (low, end))
            chances[a:b] = model.ones(field, decisions.node[a:b], decisions.cells[:, a:b])
            cells.append(decisions.cells[:, a:b].ravel())
            seen.append(np.tile(decisions.bit[a:b], INPUTS))
        if end < len(table):
            model.learn(np.concatenate(cells), np.concatenate(seen))
        low = end
    for index, (values, width) in enumerate(zip(table.extra, table.extra_bits, strict=True)):
        pieces = -(-width // PLAIN_BITS)
        row = np.repeat(np.arange(len(width)), pieces)
        left = width[row] - (np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * PLAIN_BITS
        some = np.minimum(left, PLAIN_BITS)
        keys.append(row * (2 * len(made)) + 2 * index + 1)
        steps.append((values[row] >> left - some & (1 << some) - 1) << 5 | some)
        ones.append(np.zeros(len(row), np.int32))
    order = np.argsort(np.concatenate(keys), kind="stable")
    return encode_steps(np.concatenate(steps)[order].tolist(), np.concatenate(ones)[order].tolist())


class TableReader:
    """Decodes rows one symbol at a time.

    State: the model, the range decoder, and the present block's symbols and cells, from which the model learns at its
    end.
    """

    __slots__ = ("_bases", "_decoder", "_ends", "_row", "_symbols", "_voice", "fields", "model")

    def __init__(self, prior: Prior, code: bytes, rows: int) -> None:
        self.model = Model(prior)
        self.fields = prior.fields
        self._decoder = StepDecoder(code)
        self._voice = memoryview(self.model.voice.data)
        self._symbols: list[list[int]] = [[] for _ in prior.fields]
        self._bases: list[list[tuple[int, ...]]] = [[] for _ in prior.fields]
        self._ends = iter(block_ends(rows)[:-1])
        self._row = next(self._ends, -1)

    def symbol(self, number: int, bases: tuple[int, int, int, int, int, int]) -> int:
        """Decode one symbol: the scalar twin of `expand`, `Model.ones` and the range coder, written out for speed.

        Args:
            number: of the field.
            bases: the first cell of each of its contexts' present values.
        """
        field = self.fields[number]
        voice, rows, go = self._voice, field.rows, field.go
        decoder = self._decoder
        width, code = decoder.width, decoder.code
        b0, b1, b2, b3, b4, b5 = bases
        node = 0
        while node >= 0:
            w0, w1, w2, w3, w4, w5 = rows[node]
            said = (
                w0 * voice[b0 + node]
                + w1 * voice[b1 + node]
                + w2 * voice[b2 + node]
                + w3 * voice[b3 + node]
                + w4 * voice[b4 + node]
                + w5 * voice[b5 + node]
            ) >> 16
            if said > 2047:
                said = 2047
            elif said < -2048:
                said = -2048
            share = (width >> 16) * _SQUASH[said]
            if code < share:
                width = share
                node = go[node][1]
            else:
                code -= share
                width -= share
                node = go[node][0]
            while width < SMALL:
                width <<= 8
                code = code << 8 | decoder.next_byte()
        decoder.width, decoder.code = width, code
        self._symbols[number].append(~node)
        self._bases[number].append(bases)
        return ~node

    def plain(self, bits: int) -> int:
        """Decode an integer of so many plain bits."""
        return self._decoder.plain(bits) if bits else 0

    def row_done(self, rows: int) -> None:
        """Say that so many rows are decoded; at a block's end the model learns."""
        if rows != self._row:
            return
        self._row = next(self._ends, -1)
        cells, seen = [], []
        for field, symbols, bases in zip(self.fields, self._symbols, self._bases, strict=True):
            if symbols:
                made = expand_at(field, np.array(symbols, np.int64), np.array(bases, np.int32).T)
                cells.append(made.cells.ravel())
                seen.append(np.tile(made.bit, INPUTS))
                symbols.clear()
                bases.clear()
        self.model.learn(np.concatenate(cells), np.concatenate(seen))


_SQUASH: list[int] = [*SQUASH[2048:].tolist(), *SQUASH[:2048].tolist()]
"""By x itself: Python's negative indices reach the second half."""
