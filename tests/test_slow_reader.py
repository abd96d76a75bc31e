"""The documents suffice: a reader written from them alone reads every golden vector."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
from functools import cache
from pathlib import Path

import pytest

from tests.slow_reader import read

ROOT = Path(__file__).resolve().parent
FOLDERS = sorted((ROOT / "golden").glob("v*"))
CHUNKS = [path for folder in FOLDERS for path in sorted(folder.glob("*.chunk"))]


@cache
def keys(folder: Path) -> tuple[dict[bytes, bytes], bytes]:
    """Return the archives' private keys by id, and the device's public key."""
    *archives, device = (line.split() for line in (folder / "keys.txt").read_text().splitlines())
    return {bytes.fromhex(words[4]): base64.b64decode(words[3]) for words in archives}, base64.b64decode(device[3])


def test_the_slow_reader_uses_nothing_of_the_codec() -> None:
    for path in ROOT.glob("slow_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", [])] + [getattr(node, "module", None) or ""]
            assert not {name.split(".")[0] for name in names} & {"codec", "capture", "transport"}, path.name


def test_there_are_vectors() -> None:
    assert len(CHUNKS) >= 10


@pytest.mark.parametrize("path", CHUNKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_slow_reader_reads_every_golden_vector(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    found = read(path.read_bytes(), *keys(path.parent))
    frames, wanted_frames = found.pop("frames"), expected.pop("frames")
    assert found == expected
    assert len(frames) == len(wanted_frames)
    for (t_ms, screen, pixels), wanted in zip(frames, wanted_frames, strict=True):
        assert (t_ms, screen) == (wanted["t_ms"], wanted["screen"])
        assert pixels.shape == (wanted["height_px"], wanted["width_px"], 3)
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == wanted["decoded_bgr_sha256"]
