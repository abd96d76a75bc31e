"""Recordings of other tools in an archive: whole, once, and openable for what they were given for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from codec import reader
from codec.errors import Denied
from codec.model import Frame
from codec.seal import ArchivePrivateKey, DeviceSigningKey
from codec.video import write_mp4
from transport.archive import FolderStore
from transport.errors import Missing
from transport.fs import RealFiles
from transport.importing import Imported, Terms, import_recording
from transport.verify import verify

KEY = ArchivePrivateKey.generate()
SIGNER = DeviceSigningKey.generate()
TERMS = Terms(("computer-use-training",), b"\x07" * 32, 4_000_000_000, "EU")
STARTED = {"start_time": "2024-11-05 18:56:31", "video_start_timestamp": 30673.5}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A folder as AgentNetTool leaves it: events, a window change, a video of three pictures."""
    folder = tmp_path / "recording"
    folder.mkdir()
    moves = [{"time_stamp": 30674 + i / 100, "action": "move", "x": i, "y": 2 * i, "event_idx": i} for i in range(500)]
    (folder / "events.jsonl").write_text("".join(json.dumps(move) + "\n" for move in moves))
    (folder / "top_window.jsonl").write_text('{"time_stamp": 30675.5, "top_window_name": "explorer"}\n')
    (folder / "metadata.json").write_text(json.dumps(STARTED))
    pictures = [Frame(3000 * i, np.full((64, 96, 4), 40 + 80 * i, np.uint8)) for i in range(3)]
    write_mp4(folder / "2024-11-05 18-56-31.mp4", pictures)
    return folder


def import_into(store: FolderStore, folder: Path) -> Imported:
    return import_recording(folder, store, recipient=KEY.public, signer=SIGNER, terms=TERMS)


def test_events_windows_and_pictures_come_back(recording: Path, tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "archive")
    done = import_into(store, recording)
    assert (done.chunks, done.new, done.events, done.frames) == (2, 2, 500, 3)
    events, screens = [
        reader.open(store.get(chunk_id), KEY, purpose="computer-use-training", now_s=0) for chunk_id in store.iterate()
    ]
    assert events.body.pointer.x.tolist() == list(range(500))
    assert events.body.pointer.y.tolist() == list(range(0, 1000, 2))
    assert [(row.kind, row.t_ms, row.fields["app"]) for row in events.body.rows] == [("focus", 1500, "explorer")]
    # The wall clock at the first event: half a second after the video's start, of which the metadata tells the time.
    assert events.wall_ns(0) == 1_730_832_991_500_000_000
    levels = [int(frame.pixels[32, 48, 0]) for frame in screens.frames()]
    assert levels == pytest.approx([40, 120, 200], abs=4)
    assert screens.meta.t0_ms == 30_673_500
    assert events.meta.consent == TERMS.consent
    assert events.meta.lossy
    assert verify(store, KEY).is_sound


def test_importing_again_adds_nothing(recording: Path, tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "archive")
    import_into(store, recording)
    before = {chunk_id: store.get(chunk_id) for chunk_id in store.iterate()}
    again = import_into(store, recording)
    assert (again.chunks, again.new) == (2, 0)
    assert {chunk_id: store.get(chunk_id) for chunk_id in store.iterate()} == before


def test_it_opens_for_no_other_purpose(recording: Path, tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "archive")
    import_into(store, recording)
    with pytest.raises(Denied):
        reader.open(store.get(next(store.iterate())), KEY, purpose="accessibility-research", now_s=0)


def test_a_folder_without_events_says_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"events\.jsonl"):
        import_into(FolderStore(RealFiles(), tmp_path / "archive"), tmp_path)
