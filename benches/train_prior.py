"""Train the priors that method B of the events codec ships: `python -m benches.train_prior pointer|keys PATH… -o FILE`.

Any recording in the layouts that `benches.events` reads will do. A new prior needs a new name and a new method number
(see `docs/format-events.md`): chunks written with the old one stay readable only with the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec import mixing
from codec.mixing import INPUTS, Decisions, Model, Prior, block_ends, expand
from codec.prior import read_prior, write_prior

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """What is coded of one chunk, field by field: symbols and contexts; `first` rows of a field are left out."""

    symbols: tuple[Ints, ...]
    contexts: tuple[Ints, ...]
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.symbols[0])


def balanced_splits(weights: Floats) -> bytes:
    """Return the pre-order splits of a tree over ordered symbols whose sides weigh about the same."""
    total = np.concatenate(([0.0], np.cumsum(weights + 1e-6)))
    splits = bytearray()
    stack = [(0, len(weights))]
    while stack:
        low, high = stack.pop()
        if high - low == 1:
            continue
        half = (total[low] + total[high]) / 2
        guess = int(np.searchsorted(total, half))
        middle = min(
            (m for m in (guess - 1, guess, guess + 1, low + 1) if low < m < high), key=lambda m: abs(total[m] - half)
        )
        splits.append(middle - low)
        stack.append((middle, high))
        stack.append((low, middle))
    return bytes(splits)


def count_cells(prior: Prior, chunks: Iterable[Rows]) -> tuple[Floats, Floats]:
    """Count, for every cell, the decisions it saw and the ones among them."""
    cells = len(prior.chance)
    seen, ones = np.zeros(cells), np.zeros(cells)
    for chunk in chunks:
        for field, symbols, contexts in zip(prior.fields, chunk.symbols, chunk.contexts, strict=True):
            made = expand(field, symbols, contexts)
            flat = made.cells.ravel()
            seen += np.bincount(flat, minlength=cells) * chunk.weight
            ones += np.bincount(flat, np.tile(made.bit, INPUTS), minlength=cells) * chunk.weight
    return seen, ones


def replay(prior: Prior, chunk: Rows) -> list[tuple[Decisions, Ints]]:
    """Return, for each field, its decisions and what the cells said to each (INPUTS, D), learning as a codec does."""
    model = Model(prior)
    made = [expand(f, s, c) for f, s, c in zip(prior.fields, chunk.symbols, chunk.contexts, strict=True)]
    said = [np.zeros(m.cells.shape, np.int64) for m in made]
    low = 0
    for end in block_ends(len(chunk)):
        flats, bits = [], []
        for decisions, voice in zip(made, said, strict=True):
            a, b = np.searchsorted(decisions.row, (low, end))
            voice[:, a:b] = model.voice[decisions.cells[:, a:b]]
            flats.append(decisions.cells[:, a:b].ravel())
            bits.append(np.tile(decisions.bit[a:b], INPUTS))
        model.learn(np.concatenate(flats), np.concatenate(bits))
        low = end
    return list(zip(made, said, strict=True))


def fit_weights(said: Ints, node: Ints, bit: Ints, nodes: int, start: Floats) -> Floats:
    """Fit each node's weights: logistic regression by Newton's steps, pulled towards `start` (INPUTS,)."""
    weights = np.tile(start[:, None], nodes)
    order = np.argsort(node, kind="stable")
    bounds = np.searchsorted(node[order], np.arange(nodes + 1))
    for index in range(nodes):
        rows = order[bounds[index] : bounds[index + 1]]
        if len(rows) < 30:
            continue
        x, y, w = said[:, rows].T / 256.0, bit[rows], start.copy()
        for _ in range(12):
            p = 1 / (1 + np.exp(-np.clip(x @ w, -8, 8)))
            gradient = x.T @ (y - p) - 20.0 * (w - start)
            hessian = (x * (p * (1 - p))[:, None]).T @ x + 20.0 * np.eye(INPUTS)
            step = np.linalg.solve(hessian, gradient)
            w = w + step
            if np.abs(step).max() < 1e-4:
                break
        weights[:, index] = np.clip(w, -7.9, 7.9)
    return weights


def train(
    folds: Sequence[Sequence[Rows]], symbols: Sequence[int], sizes: Sequence[Sequence[int]], tell: Callable[[str], None]
) -> bytes:
    """Train a prior.

    Args:
        folds: chunks, so divided that no person is in two folds: weights are fitted on cells that did not see the fold.
        symbols, sizes: of the fields.
        tell: is given lines of progress.
    """
    everything = [chunk for fold in folds for chunk in fold]
    splits = []
    for index, count in enumerate(symbols):
        use = np.zeros(count)
        for chunk in everything:
            use += np.bincount(chunk.symbols[index], minlength=count) * chunk.weight
        splits.append(balanced_splits(use))
    starts = [np.full((INPUTS, count - 1), 0.25) for count in symbols]
    bare = read_prior(write_prior(splits, starts, *(np.zeros(_cells(symbols, sizes)),) * 2), symbols, sizes)
    counts = [count_cells(bare, fold) for fold in folds]
    seen, ones = (np.sum([c[i] for c in counts], axis=0) for i in (0, 1))
    gathered: list[list[tuple[Decisions, Ints]]] = [[] for _ in symbols]
    for fold, (fold_seen, fold_ones) in zip(folds, counts, strict=True):
        others = read_prior(write_prior(splits, starts, seen - fold_seen, ones - fold_ones), symbols, sizes)
        for chunk in fold:
            for held, result in zip(gathered, replay(others, chunk), strict=True):
                held.append(result)
    weights = []
    for count, results in zip(symbols, gathered, strict=True):
        node, bit = (np.concatenate([getattr(d, name) for d, _ in results]) for name in ("node", "bit"))
        said = np.concatenate([voice for _, voice in results], axis=1)
        # One set for the whole field first; then each node departs from it as far as its evidence goes.
        whole = fit_weights(said[:, ::7], node[::7] * 0, bit[::7], 1, np.full(INPUTS, 0.25))[:, 0]
        weights.append(fit_weights(said, node, bit, count - 1, whole))
        tell(f"{count} symbols: mean weights {np.round(whole, 2)}")
    data = write_prior(splits, weights, seen, ones)
    tell(f"{np.count_nonzero(seen >= 2):,} of {len(seen):,} cells known, {len(data):,} bytes")
    return data


def _cells(symbols: Sequence[int], sizes: Sequence[Sequence[int]]) -> int:
    return sum((count - 1) * sum(row) for count, row in zip(symbols, sizes, strict=True))


def cost_bits(prior: Prior, chunk: Rows) -> list[float]:
    """Return the ideal cost of each field in bits."""
    costs = []
    for field, (decisions, said) in zip(prior.fields, replay(prior, chunk), strict=True):
        total = (field.weights[:, decisions.node] * said).sum(0) >> 16
        p = mixing.SQUASH[np.clip(total, -2048, 2047) + 2048] / 65536
        costs.append(float(-np.log2(np.where(decisions.bit, p, 1 - p)).sum()))
    return costs
