"""Actions, events and frames as who learns from them reads them, out of a real archive in a folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from codec.actions import Action, ActionKind
from codec.chunk import Body, encode_body, seal_chunk
from codec.model import ChunkId, Frame, KeyEvents, Meta, PointerEvents, Row
from codec.screen import Effort, ScreenEncoder
from codec.seal import ArchivePrivateKey, DeviceSigningKey, Suite
from transport.archive import FolderStore
from transport.fs import RealFiles
from transport.reading import Archive, open_archive

KEY = ArchivePrivateKey.from_raw(Suite.X25519, bytes(range(32)))
SIGNER = DeviceSigningKey.from_raw(bytes(range(32)))
BEGAN_S = 1_700_000_000
ZERO_NS = BEGAN_S * 10**9
PURPOSE = "computer-use-training"
CLOCK_MS = 50_000
MINUTE_MS = 60_000


def grey(level: int) -> np.ndarray:
    return np.full((48, 64, 4), level, np.uint8)


class Writer:
    """Writes chunks as a device does; times are the source clock's, ms."""

    def __init__(self, folder: Path, device: str = "d-one", epoch: int = 7, zero_ns: int = ZERO_NS) -> None:
        self.store = FolderStore(RealFiles(), folder)
        self.device, self.epoch, self.zero_ns = device, epoch, zero_ns
        self._seqs = itertools.count()

    def put(
        self,
        t0_ms: int,
        end_ms: int,
        *,
        pointer: Sequence[tuple[int, int, int, int]] = (),
        keys: Sequence[tuple[int, int]] = (),
        rows: Sequence[Row] = (),
        frames: Sequence[tuple[int, int]] = (),
        purposes: tuple[str, ...] = (PURPOSE,),
    ) -> None:
        columns = np.array(pointer, np.int64).reshape(-1, 4)
        pressed = np.array(keys, np.int64).reshape(-1, 2)
        encoder = ScreenEncoder(effort=Effort.FAST)
        for t_ms, level in frames:
            encoder.add(Frame(t_ms - t0_ms, grey(level)))
        meta = Meta(t0_ms, self.zero_ns + t0_ms * 10**6, end_ms - t0_ms, purposes=purposes, consent=bytes(32))
        body = Body(
            meta,
            PointerEvents(
                columns[:, 0] - t0_ms, columns[:, 1].astype(np.uint8), *columns[:, 2:].astype(np.int32).T.copy()
            ),
            KeyEvents(
                pressed[:, 0] - t0_ms,
                np.ones(len(pressed), np.bool_),
                pressed[:, 1].astype(np.uint16),
                np.arange(len(pressed), dtype=np.uint8) % 4,
            ),
            [Row(row.t_ms - t0_ms, row.kind, row.fields) for row in rows],
            encoder.finish(),
        )
        chunk_id = ChunkId(self.device, self.epoch, next(self._seqs))
        chunk = seal_chunk(chunk_id, encode_body(body), recipient=KEY.public, signer=SIGNER, expires_s=0, value=0)
        self.store.put([(chunk_id, chunk)])


def opened(folder: Path, purpose: str = PURPOSE) -> Archive:
    return open_archive(folder, KEY, purpose=purpose, now_s=BEGAN_S)


def click(t_ms: int, x: int = 10, y: int = 20) -> list[tuple[int, int, int, int]]:
    return [(t_ms, 2, x, y), (t_ms + 80, 3, x, y)]


def at(t_ms: int) -> datetime:
    return datetime.fromtimestamp((ZERO_NS + t_ms * 10**6) / 1e9, UTC)


def minutes(writer: Writer, count: int) -> Iterator[int]:
    """Write a click a minute in a chunk of its own, each painting a frame; every third minute the frames' chunk."""
    shown: list[tuple[int, int]] = [(CLOCK_MS, 0)]
    for number in range(count):
        t0_ms = CLOCK_MS + number * MINUTE_MS
        t_ms = t0_ms + 5000
        frame_ms = t_ms + 400
        pair = {
            "ago": 600,
            "span": 80,
            "before": frame_ms + 200 - shown[-1][0],
            "fresh": True,
            "after": 200,
            "settled": True,
        }
        focus = Row(t0_ms, "focus", {"app": "xterm" if number % 2 else "geany", "title": "t"})
        writer.put(t0_ms, t0_ms + 59_000, pointer=click(t_ms), rows=[focus, Row(t_ms + 600, "pair", pair)])
        shown.append((frame_ms, (number + 1) % 251))
        if number % 3 == 2 or number == count - 1:
            writer.put(shown[0][0], shown[-1][0], frames=shown)
            shown = shown[-1:]
            shown = [(shown[0][0] + 1000, shown[0][1])]  # a new reel begins with what is to be seen then
        yield t_ms


def clicks(actions: Iterator[Action]) -> list[Action]:
    return [action for action in actions if action.kind is ActionKind.CLICK]


def test_each_click_has_the_frames_before_and_after_it_even_from_other_chunks(tmp_path: Path) -> None:
    times = list(minutes(Writer(tmp_path), 10))
    found = clicks(opened(tmp_path).actions())
    assert [action.t_ms for action in found] == times
    for number, action in enumerate(found):
        assert action.before is not None
        assert action.after is not None
        assert (action.before.exact, action.after.exact) == (True, True)
        assert action.before.pixels()[0, 0, 0] == number
        assert action.after.pixels()[0, 0, 0] == number + 1
        assert (action.x, action.y, action.button) == (10, 20, 1)
        assert action.wall_ns == ZERO_NS + action.t_ms * 10**6
        assert action.origin.consent == bytes(32)


def test_frames_can_be_asked_for_late_and_in_any_order(tmp_path: Path) -> None:
    list(minutes(Writer(tmp_path), 20))
    found = clicks(opened(tmp_path).actions())
    for number, action in reversed(list(enumerate(found))):
        assert action.after is not None
        assert action.after.pixels()[0, 0, 0] == number + 1


def test_filters_by_device_time_and_application(tmp_path: Path) -> None:
    times = list(minutes(Writer(tmp_path, "d-one"), 9))
    list(minutes(Writer(tmp_path, "d-two", epoch=9), 4))
    archive = opened(tmp_path)
    assert archive.devices() == ["d-one", "d-two"]
    assert len(clicks(archive.actions())) == 13
    assert len(clicks(archive.actions(device="d-two"))) == 4
    some = clicks(archive.actions(device="d-one", since=at(times[3]), until=at(times[6])))
    assert [action.t_ms for action in some] == times[3:6]
    assert some[0].before is not None
    assert some[0].before.pixels()[0, 0, 0] == 3
    assert {action.application for action in archive.actions(application="gea*")} == {"geany"}
    assert len(clicks(archive.actions(device="d-one", application="gea*"))) == 5


def test_a_seek_opens_few_chunks_of_a_long_recording(tmp_path: Path) -> None:
    times = list(minutes(Writer(tmp_path), 300))
    archive = opened(tmp_path)
    opens = 0
    get = archive.store.get

    def counted(chunk_id: ChunkId) -> bytes:
        nonlocal opens
        opens += 1
        return get(chunk_id)

    archive.store.get = counted  # type: ignore[method-assign]
    (found,) = clicks(archive.actions(since=at(times[200]), until=at(times[201])))
    assert found.t_ms == times[200]
    assert opens < 40, "of 400"


def test_another_purpose_gets_nothing_and_is_told_how_much_it_did_not_get(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.put(CLOCK_MS, CLOCK_MS + 1000, pointer=click(CLOCK_MS))
    writer.put(CLOCK_MS + 9000, CLOCK_MS + 9900, pointer=click(CLOCK_MS + 9000), purposes=("accessibility-research",))
    archive = opened(tmp_path)
    assert len(clicks(archive.actions())) == 1
    assert sum(archive.left_out.values()) == 1
    assert list(opened(tmp_path, purpose="assessment").actions()) == []


def test_a_missing_chunk_of_screenshots_leaves_actions_without_frames(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    list(minutes(writer, 3))
    screens = sorted(writer.store.iterate())[-1]
    writer.store.path_of(screens).unlink()
    found = clicks(opened(tmp_path).actions())
    assert len(found) == 3
    assert all(action.before is None and action.after is None for action in found)


def test_after_a_reboot_the_clock_that_begins_anew_is_another(tmp_path: Path) -> None:
    list(minutes(Writer(tmp_path), 3))
    later = Writer(tmp_path, zero_ns=ZERO_NS + 86_400 * 10**9)
    later._seqs = itertools.count(4)
    list(minutes(later, 3))
    found = clicks(opened(tmp_path).actions())
    assert [action.wall_ns for action in found] == sorted(action.wall_ns for action in found)
    assert len(found) == 6
    assert [action.after.pixels()[0, 0, 0] for action in found if action.after] == [1, 2, 3, 1, 2, 3]


def test_events_and_frames_are_read_raw(tmp_path: Path) -> None:
    list(minutes(Writer(tmp_path), 6))
    archive = opened(tmp_path)
    events = list(archive.events())
    assert sum(not isinstance(one.event, Row) for one in events) == 12
    assert [one.t_ms for one in events] == sorted(one.t_ms for one in events)
    seen: list[tuple[int, int]] = []
    for picture in archive.frames(progress=lambda done, of: seen.append((done, of))):
        assert picture.pixels.shape == (48, 64, 4)
    assert seen[-1] == (8, 8)


def test_an_archive_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no archive"):
        open_archive(tmp_path / "none", KEY, purpose=PURPOSE)
