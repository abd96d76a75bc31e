"""docs/format-events.md against the code: a second, slow reader, written from the page alone, reads what the codec writes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from benches.persons import Typist, invent_rows, move_hand
from codec import columns, motion_reader, rhythm, rows
from codec.events import Method, decode_events, encode_events
from codec.model import KeyEvents, PointerEvents
from codec.rows import decode_rows, encode_rows
from tests.slow_events import slow_events, slow_rows

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "codec" / "data"
PAGE = (ROOT / "docs" / "format-events.md").read_text(encoding="utf-8")


def fast_events(section: bytes) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, bool, int, int]]]:
    p, k = decode_events(section)
    return (
        list(zip(p.t_ms.tolist(), p.kind.tolist(), p.x.tolist(), p.y.tolist(), strict=True)),
        list(zip(k.t_ms.tolist(), k.down.tolist(), k.code.tolist(), k.slot.tolist(), strict=True)),
    )


def wild(seed: int) -> PointerEvents:
    """Every branch: escapes, time going back, jumps, unusual kinds."""
    rng = np.random.default_rng(seed)
    n = 500
    gap = rng.choice([0, 1, 8, 16, 17, 71, 72, 300, 5000, 2_000_000, -40], n)
    step = rng.choice([0, 0, 1, -1, 3, -17, 200, -1791, 1792, 60_000, -60_000], (2, n))
    kind = rng.choice([0, 0, 0, 0, 1, 2, 3, 8, 10, 17, 30, 31, 255], n)
    x, y = np.cumsum(step, axis=1)
    return PointerEvents(np.cumsum(gap), kind.astype(np.uint8), x.astype(np.int32), y.astype(np.int32))


POINTERS = {
    "at 60 Hz": lambda: move_hand(3, 20_000, rate_hz=60),
    "at 1 kHz": lambda: move_hand(4, 2_000, rate_hz=1000),
    "wild": lambda: wild(5),
    "none": PointerEvents.empty,
}


def odd_typing() -> KeyEvents:
    """Lone releases, a held slot, ties against the canonical order, codes that escape."""
    rows_ = [
        (-5, False, 1, 255),
        (0, True, 400, 2),
        (0, False, 3, 0),
        (7, True, 5, 0),
        (7, False, 400, 2),
        (300_000, True, 15, 2),
    ]
    t, down, code, slot = zip(*rows_, strict=True)
    return KeyEvents(np.array(t, np.int64), np.array(down), np.array(code, np.uint16), np.array(slot, np.uint8))


KEYS = {
    "a typist": lambda: Typist(5).type_for(60_000),
    "a polled typist": lambda: next(t for t in map(Typist, range(99)) if t._poll_ms == 8).type_for(60_000),
    "odd": odd_typing,
    "none": KeyEvents.empty,
}


@pytest.mark.parametrize(
    ("pointer", "keys"), [*((pointer, "a typist") for pointer in POINTERS), *(("none", keys) for keys in KEYS)]
)
@pytest.mark.parametrize("method", [Method.COLUMNS, Method.CONTEXT])
def test_the_slow_reader_reads_what_the_codec_writes(pointer: str, keys: str, method: Method) -> None:
    section = encode_events(POINTERS[pointer](), KEYS[keys](), methods={method})
    assert slow_events(section) == fast_events(section)


def test_the_slow_reader_reads_unpaired_keys() -> None:
    keys = KeyEvents(
        np.array([5, 3], np.int64), np.array([True, True]), np.array([1, 2], np.uint16), np.array([9, 9], np.uint8)
    )
    section = encode_events(PointerEvents.empty(), keys)
    assert section[0] >> 4 == Method.PLAIN
    assert slow_events(section) == fast_events(section)


def test_the_slow_reader_reads_rows() -> None:
    every = rows.Row(
        9, "every", {"s": "s", "i": -(1 << 40), "f": 0.5, "b": True, "c": False, "r": b"raw", "n": None, "z": 1 << 70}
    )
    section = encode_rows([*invent_rows(1, 300_000), every, every])
    assert slow_rows(section) == [(row.t_ms, row.kind, dict(row.fields)) for row in decode_rows(section)]


def dumps() -> list[bytes]:
    """Return the page's hex dumps, one for each block of dump lines."""
    blocks = re.findall(r"(?:^    (?:[0-9a-f]{2} ?){1,16}(?: .*)?\n)+", PAGE, re.MULTILINE)
    return [
        b"".join(bytes.fromhex("".join(re.findall(r"[0-9a-f]{2} ", line[4:52] + " "))) for line in block.splitlines())
        for block in blocks
    ]


def test_the_pages_dumps_are_what_the_codec_reads_and_writes() -> None:
    by_columns, by_contexts, some_rows, content = dumps()
    assert fast_events(by_columns) == fast_events(by_contexts)
    pointer, keys = decode_events(by_columns)
    assert encode_events(pointer, keys, methods={Method.CONTEXT}) == by_contexts
    assert len(decode_rows(some_rows)) == 2
    assert rows.row_content(decode_rows(some_rows)) == content


def test_the_page_names_the_shipped_files_as_they_are() -> None:
    named = dict(re.findall(r"\| `([\w.-]+)` \| \d+ \| `([0-9a-f]{64})` \|", PAGE))
    assert named == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in DATA.iterdir()}


def test_the_pages_limits_are_the_codes() -> None:
    for limit in (
        columns.MAX_POINTER_EVENTS,
        columns.MAX_KEY_EVENTS,
        motion_reader.MAX_ROWS,
        rhythm.MAX_ROWS,
        rows.MAX_CONTENT_BYTES,
    ):
        assert f"| {limit}" in PAGE
    for limit in (rows.MAX_ROWS, rows.MAX_STRINGS, rows.MAX_VALUES):
        assert str(limit) in PAGE
