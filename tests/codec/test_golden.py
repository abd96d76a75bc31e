"""The golden vectors: all there, unchanged, and still read as what they were made from."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from codec import reader
from codec.chunk import decode_body, open_chunk, verify_chunk
from codec.model import KeyEvents, Meta, PointerEvents
from codec.seal import ArchivePrivateKey, DeviceVerifyKey
from tests.golden.write import FOLDER, HERE, bgr_sha256, block_means, sums, value_of, vectors

NAMES = list(vectors())
MAX_COLOUR_ERROR, MEAN_COLOUR_ERROR = 32, 3
"""Of the blocks' means: screenshots are lossy."""


@cache
def keys() -> tuple[dict[bytes, ArchivePrivateKey], DeviceVerifyKey]:
    *archives, device = (FOLDER / "keys.txt").read_text().splitlines()
    private = [ArchivePrivateKey.from_text(line) for line in archives]
    return {key.key_id: key for key in private}, DeviceVerifyKey.from_text(device)


def test_no_vector_is_missing_or_new() -> None:
    assert {path.stem for path in FOLDER.glob("*.chunk")} == set(NAMES)
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES)


@pytest.mark.parametrize("folder", sorted(HERE.glob("v*")), ids=lambda path: path.name)
def test_no_vector_has_changed(folder: object) -> None:
    stated = (folder / "SHA256SUMS").read_text()  # type: ignore[operator]
    assert stated == "".join(f"{digest}  {name}\n" for name, digest in sums(folder).items())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_is_read_as_what_it_was_made_from(name: str) -> None:
    chunk = (FOLDER / f"{name}.chunk").read_bytes()
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    archives, device = keys()
    header = verify_chunk(chunk, device)
    header, data = open_chunk(chunk, archives[header.key_id])
    body = decode_body(data)
    assert header.chunk_id.seq == NAMES.index(name)
    assert {name: value_of(getattr(body.meta, name)) for name in Meta.__slots__} == expected["meta"]
    assert {name: getattr(body.pointer, name).tolist() for name in PointerEvents.__slots__} == expected["pointer"]
    assert {name: getattr(body.keys, name).tolist() for name in KeyEvents.__slots__} == expected["keys"]
    rows = [[row.t_ms, row.kind, {name: value_of(value) for name, value in row.fields.items()}] for row in body.rows]
    assert rows == expected["rows"]
    frames = list(reader.Recording(header, body).frames())
    assert len(frames) == len(expected["frames"])
    for frame, wanted in zip(frames, expected["frames"], strict=True):
        assert (frame.t_ms, frame.screen) == (wanted["t_ms"], wanted["screen"])
        assert frame.pixels.shape == (wanted["height_px"], wanted["width_px"], 4)
        assert bgr_sha256(frame) == wanted["decoded_bgr_sha256"]
        error = np.abs(np.array(block_means(frame.pixels)) - np.array(wanted["block_means_bgr"]))
        assert error.max() <= MAX_COLOUR_ERROR
        assert error.mean() <= MEAN_COLOUR_ERROR
