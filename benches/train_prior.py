"""Train the priors and dictionaries that the events codec ships: `python -m benches.train_prior PATH… --into
codec/data`.

Pointer recordings in any layout that `benches.recordings` reads; every fourth is also replayed at 125 Hz to 1 kHz,
as a mouse reports where no browser coalesces. Keystrokes are invented (`benches.persons`), unless recordings hold
some: nobody's typing is needed. New files need new names and a new method number (docs/format-events.md): what was
written with the old ones needs the old ones.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

from benches.persons import Typist, invent_rows, move_hand
from benches.recordings import Recording, cut, read_recordings
from codec import columns, mixing, motion, motion_reader, rhythm, rows
from codec.beat import choose_period
from codec.context import Table
from codec.mixing import INPUTS, Decisions, Model, Prior, block_ends, expand
from codec.model import KeyEvents, PointerEvents, Row
from codec.prior import KNOWN_FROM, read_prior, write_prior
from codec.strokes import pair

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """What is coded of one chunk, field by field: symbols (-1: none) and contexts."""

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
    cells = prior.cells
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
            here = chunk.symbols[index]
            use += np.bincount(here[here >= 0], minlength=count) * chunk.weight
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
    tell(f"{np.count_nonzero(seen >= KNOWN_FROM[0]):,} of {len(seen):,} cells known, {len(data):,} bytes")
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


FOLDS = 4
RATES_HZ = (125, 250, 500, 1000)
REPLAYED_WEIGHT = 0.25
DICTIONARY_BYTES = 1 << 14


def faster(pointer: PointerEvents, rate_hz: int) -> PointerEvents:
    """Return a motion as a source of a higher rate would have reported it: smooth between its points, zero moves
    left out."""
    t, x, y = (c.astype(np.float64) for c in (pointer.t_ms, pointer.x, pointer.y))
    rows: list[tuple[int, int, int, int]] = []
    period = 1000 / rate_hz
    for i in range(1, len(t) - 2):
        rows.append((int(t[i]), int(pointer.kind[i]), int(x[i]), int(y[i])))
        span = t[i + 1] - t[i]
        if pointer.kind[i + 1] > 1 or not period < span < 60:
            continue
        for s in np.arange(period, span, period) / span:
            # Catmull-Rom through the four points around.
            place = [
                0.5
                * (
                    2 * c[i]
                    + (c[i + 1] - c[i - 1]) * s
                    + (2 * c[i - 1] - 5 * c[i] + 4 * c[i + 1] - c[i + 2]) * s**2
                    + (3 * c[i] - c[i - 1] - 3 * c[i + 1] + c[i + 2]) * s**3
                )
                for c in (x, y)
            ]
            row = (int(t[i] + s * span), int(pointer.kind[i + 1]), round(place[0]), round(place[1]))
            if row[2:] != rows[-1][2:]:
                rows.append(row)
    table = np.array(rows, np.int64).reshape(-1, 4)
    return PointerEvents(
        table[:, 0].copy(), table[:, 1].astype(np.uint8), table[:, 2].astype(np.int32), table[:, 3].astype(np.int32)
    )


def _rows(table: Table, weight: float) -> Rows:
    return Rows(table.symbols, table.contexts, weight)


def pointer_folds(recordings: Sequence[Recording]) -> list[list[tuple[PointerEvents, float]]]:
    """Return chunks of a minute with their weights, one person in one fold only."""
    folds: list[list[tuple[PointerEvents, float]]] = [[] for _ in range(FOLDS)]
    persons = sorted({recording.person for recording in recordings})
    for number, recording in enumerate(recordings):
        fold = folds[zlib.crc32(recording.person.encode()) % FOLDS]
        fold += [(piece.pointer, 1.0) for piece in cut(recording, 60_000) if len(piece.pointer)]
        if number % 4 == 0:
            quick = faster(recording.pointer, RATES_HZ[number // 4 % len(RATES_HZ)])
            for piece in cut(Recording("", "", quick, KeyEvents.empty()), 60_000):
                fold.append((piece.pointer, REPLAYED_WEIGHT))
    for seed in range(max(8, len(persons) // 3)):
        made = move_hand(seed, 60_000, rate_hz=(60, *RATES_HZ)[seed % 5])
        folds[seed % FOLDS].append((made, REPLAYED_WEIGHT))
    return folds


def train_pointer(folds: Sequence[Sequence[tuple[PointerEvents, float]]], tell: Callable[[str], None]) -> bytes:
    """Train the pointer's prior."""
    tables: list[list[Rows]] = []
    for fold in folds:
        tables.append([])
        for p, weight in fold:
            t, kind, x, y = (c.astype(np.int64) for c in (p.t_ms, p.kind, p.x, p.y))
            tables[-1].append(_rows(motion.describe(t, kind, x, y, choose_period(t)), weight))
    return train(tables, motion.SYMBOLS, motion.CONTEXT_SIZES, tell)


def key_pieces(recordings: Sequence[Recording], persons: int) -> list[KeyEvents]:
    """Return chunks of typing: those recorded, and two minutes of each of some invented persons."""
    pieces = [piece.keys for recording in recordings for piece in cut(recording, 60_000) if len(piece.keys)]
    return [*pieces, *(Typist(seed).type_for(120_000) for seed in range(persons))]


def train_keys(pieces: Sequence[KeyEvents], tell: Callable[[str], None]) -> bytes:
    """Train the keys' prior."""
    strokes = [made for made in map(pair, pieces) if made is not None and len(made)]
    folds = [[_rows(rhythm.describe(s), 1.0) for s in strokes[fold::FOLDS]] for fold in range(FOLDS)]
    return train(folds, rhythm.SYMBOLS, rhythm.CONTEXT_SIZES, tell)


def row_dictionary() -> bytes:
    """Train the rows' dictionary: on what any desktop's rows are full of, but on nobody's titles."""
    contents = []
    for seed in range(60):
        invented = invent_rows(seed, 3_600_000, gibberish=True)
        for begin in range(0, 3_600_000, 300_000):
            part = [Row(r.t_ms - begin, r.kind, r.fields) for r in invented if begin <= r.t_ms < begin + 300_000]
            contents.append(rows.row_content(part) + ROW_WORDS.encode())
    return train_dictionary(contents, DICTIONARY_BYTES // 2)


ROW_WORDS = (
    "New TabUntitled DocumentUntitled 1LoginSign inSettingsPreferencesInboxDraftsSentCalendarSearchDownloadsHome"
    "Save AsOpen FilePrintConfirmErrorWarningReportMeetingInvoiceOrderCustomerProjectBudgetSummaryDashboardWelcome to "
    " - Google Search - Google Docs - Google Sheets - Gmail - Outlook - YouTube - Wikipedia - GitHub - Stack Overflow"
    " | Jira | Confluence | Salesforce | LinkedIn - Microsoft Teams - Microsoft Edge - Microsoft Excel - Word - Slack"
    " - Google Chrome - Chromium - Visual Studio Code — Mozilla Firefox — LibreOffice Calc — LibreOffice Writer"
    " - Mozilla Thunderbird — Konsole — Dolphin — Okular — Kategooglechromechromiumfirefoxthunderbirdslackcode"
    "libreofficelibreoffice-calclibreoffice-writersofficegnome-terminalxtermkonsolenautilusevinceteamsoutlookexcel"
    "image/pngtext/htmltext/uri-listUTF8_STRINGtext/plainCLIPBOARDPRIMARYmenu itemlist itemcheck box menu item"
    "combo boxpage tabradio buttonpush buttonrolenamecheckedwithdrawnsleeplow-batterylockpausescopeseqscausemsgap"
    "resumereasonsrungplandigestsourcebytestypeclipboardselectmonitorsdisplayhwyxtitleappfocus"
)
"""Words of desktops, and the vocabulary of docs/format.md."""


def train_dictionary(contents: Sequence[bytes], size_bytes: int) -> bytes:
    """Train a dictionary for method A on what it would compress."""
    return zstandard.train_dictionary(size_bytes, list(contents), level=19).as_bytes()


def main() -> None:
    """Train everything and write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="+", help="recordings: files, folders, archives")
    parser.add_argument("--into", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--persons", type=int, default=160, help="how many invented typists")
    parser.add_argument("--only", choices=("pointer", "keys", "dictionaries"))
    args = parser.parse_args()
    recordings = read_recordings(args.paths)
    folds = pointer_folds(recordings)
    pieces = key_pieces(recordings, args.persons)
    made: dict[str, Callable[[], bytes]] = {}
    if args.only in (None, "pointer"):
        made[motion_reader.PRIOR] = lambda: train_pointer(folds, print)
    if args.only in (None, "keys"):
        made[rhythm.PRIOR] = lambda: train_keys(pieces, print)
    if args.only in (None, "dictionaries"):
        strokes = [s for s in map(pair, pieces) if s is not None and len(s)]
        motions = [columns.pointer_content(p) for fold in folds for p, _ in fold]
        made[rows.DICTIONARY] = row_dictionary
        made[columns.POINTER_DICTIONARY] = lambda: train_dictionary(motions, DICTIONARY_BYTES)
        made[columns.KEY_DICTIONARY] = lambda: train_dictionary(
            [columns.stroke_content(s) for s in strokes], DICTIONARY_BYTES // 2
        )
    for name, make in made.items():
        data = make()
        (args.into / name).write_bytes(data)
        print(f"{name}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
