"""MCAP, read back by the mcap library."""

from __future__ import annotations

import json
from pathlib import Path

from mcap.reader import make_reader

from tests.transport.exports.samples import ORIGIN, actions
from transport.exports.mcap import McapFile
from transport.exports.plain import to_plain
from transport.exports.terms import terms_of


def test_events_frames_and_actions_come_back_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "recording.mcap"
    pointer = [{"t_ms": t, "wall_ns": t * 1_000_000, "kind": "move", "x": t, "y": 1} for t in range(500)]
    with McapFile(path) as file:
        for line in pointer:
            file.event(line, "pointer")
        file.event({"t_ms": 5, "wall_ns": 5_000_000, "kind": "focus", "app": "editor"}, "row")
        file.frame(7, 7_000_000, 0)
        for action in actions():
            file.action(action)
        file.terms(terms_of(actions(), "computer-use-training"))
    with path.open("rb") as stream:
        reader = make_reader(stream)
        found: dict[str, list[object]] = {}
        times = []
        for _schema, channel, message in reader.iter_messages():
            found.setdefault(channel.topic, []).append(json.loads(message.data))
            times.append(message.log_time)
        (metadata,) = reader.iter_metadata()
    assert found["/pointer"] == pointer
    assert found["/row/focus"] == [{"t_ms": 5, "wall_ns": 5_000_000, "kind": "focus", "app": "editor"}]
    assert found["/frame"] == [{"t_ms": 7, "wall_ns": 7_000_000, "video": "screens.mp4", "video_ms": 0}]
    assert found["/action"] == [to_plain(action) for action in actions()]
    assert times == sorted(times)
    assert metadata.name == "modicum"
    assert metadata.metadata["consents"] == ORIGIN.consent.hex()
    assert metadata.metadata["expires_s"] == str(ORIGIN.expires_s)
    assert path.stat().st_mode & 0o777 == 0o600
