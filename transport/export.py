"""Shell: an archive's recordings as files that other programs open, in the formats of transport/exports, a folder a device.

Guarantees: only what the stated purpose, the expiry and the key permit is written, and what was left out is counted by
reason; purposes, consents and expiry stand in each folder's `about.json`, with what its format loses; memory stays within some
chunks, whatever the archive's size. The recording is read once for each kind of file: events, frames, actions.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from codec.model import Row
from codec.reader import KeyEvent
from transport.exports.film import Place, write_film
from transport.exports.lines import to_line
from transport.exports.plain import to_plain
from transport.exports.terms import Terms

if TYPE_CHECKING:
    from codec.actions import Action
    from transport.reading import Archive, Observed, Picture


class Format(StrEnum):
    """What an export writes."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    MCAP = "mcap"
    WEBDATASET = "webdataset"
    AGENTNET = "agentnet"
    HTML = "html"


MP4_LOSES = "the pixels' exactness (they are encoded again, as H.264), and all screens but the first"
LOSES = {
    Format.JSONL: MP4_LOSES,
    Format.PARQUET: f"the pointer's path between actions; {MP4_LOSES}",
    Format.MCAP: MP4_LOSES,
    Format.WEBDATASET: "the pointer's path between actions; frames that belong to no action",
    Format.AGENTNET: "which keys were typed (they are not recorded), frames after steps, steps without a frame before them, "
    "times within a step",
    Format.HTML: f"the order of events within a millisecond; {MP4_LOSES}",
}
"""Each format's loss, as it stands in `about.json`."""


@dataclass(slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: where. devices: how many folders in it.
        events, rows, frames, actions: how many were written.
        left_out: chunks, steps or pictures that were not permitted, not there or did not decode, by reason.
    """

    folder: str
    devices: int = 0
    events: int = 0
    rows: int = 0
    frames: int = 0
    actions: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def to_answer(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Selection:
    """What of an archive is exported. Attributes: as the arguments of transport.reading.Archive.actions."""

    since: datetime | None = None
    until: datetime | None = None
    application: str | None = None


Progress = Callable[[str, int, int], None]
"""Called with what is being read ("events", "frames", "actions"), chunks done and chunks in all."""


def export(
    archive: Archive,
    folder: Path,
    *,
    to: Format = Format.JSONL,
    devices: tuple[str, ...] = (),
    selection: Selection | None = None,
    progress: Progress = lambda what, done, of: None,
) -> Exported:
    """Write each device's recording into a folder of its own.

    Args:
        archive: opened for the purpose that the files are for.
        folder: is made; a device's folder in it must not exist yet.
        to: see Format. devices: only these; empty: all. selection: see there. progress: see there.

    Raises:
        FileExistsError: the export would overwrite an earlier one. ImportError: the format's library is not installed.
    """
    done = Exported(str(folder))
    for device in devices or archive.devices():
        target = folder / device
        target.mkdir(mode=0o700, parents=True)
        source = _Source(archive, device, selection or Selection(), done, progress)
        _WRITERS[to](target, source)
        about = {"format": str(to), "loses": LOSES[to], "device": device} | source.terms.to_answer()
        with _private(target / "about.json") as file:
            json.dump(about, file, indent=1)
        done.devices += 1
    return done


class _Source:
    """One device's recording, as often as a format reads it; what is left out is counted once."""

    def __init__(self, archive: Archive, device: str, selection: Selection, done: Exported, progress: Progress) -> None:
        self.terms = Terms(archive.purpose)
        self.done = done
        self._archive = archive
        self._device = device
        self._selection = selection
        self._progress = progress
        self._read = False

    def _opened(self) -> Archive:
        counts = Counter[str]() if self._read else self.done.left_out
        self._read = True
        return replace(self._archive, left_out=counts)

    def _step(self, what: str) -> Callable[[int, int], None]:
        return lambda done, of: self._progress(what, done, of)

    def events(self) -> Iterator[Observed]:
        """Yield events and rows."""
        chosen = self._selection
        for observed in self._opened().events(
            device=self._device,
            since=chosen.since,
            until=chosen.until,
            application=chosen.application,
            progress=self._step("events"),
        ):
            self.terms.add(observed.origin)
            is_row = isinstance(observed.event, Row)
            self.done.rows += is_row
            self.done.events += not is_row
            yield observed

    def actions(self) -> Iterator[Action]:
        """Yield actions."""
        chosen = self._selection
        for action in self._opened().actions(
            device=self._device,
            since=chosen.since,
            until=chosen.until,
            application=chosen.application,
            progress=self._step("actions"),
        ):
            self.terms.add(action.origin)
            self.done.actions += 1
            yield action

    def pictures(self) -> Iterator[Picture]:
        """Yield frames."""
        chosen = self._selection
        for picture in self._opened().frames(
            device=self._device, since=chosen.since, until=chosen.until, progress=self._step("frames")
        ):
            self.terms.add(picture.origin)
            self.done.frames += 1
            yield picture


def _jsonl(folder: Path, source: _Source) -> None:
    with _private(folder / "events.jsonl") as lines:
        for observed in source.events():
            _line(lines, to_line(observed.t_ms, observed.wall_ns, observed.event))
    with _private(folder / "frames.jsonl") as lines:
        write_film(
            folder / "screens.mp4",
            source.pictures(),
            lambda place, _: _line(lines, {"t_ms": place.t_ms, "wall_ns": place.wall_ns, "video_ms": place.video_ms}),
        )
    with _private(folder / "actions.jsonl") as lines:
        for action in source.actions():
            _line(lines, to_plain(action))


def _parquet(folder: Path, source: _Source) -> None:
    from transport.exports.parquet import write_frames, write_parquet

    places: list[Place] = []
    write_parquet(folder / "actions.parquet", source.actions(), terms=source.terms)
    write_film(folder / "screens.mp4", source.pictures(), lambda place, _: places.append(place))
    write_frames(folder / "frames.parquet", places, terms=source.terms)


def _mcap(folder: Path, source: _Source) -> None:
    from transport.exports.mcap import McapFile

    with McapFile(folder / "recording.mcap") as file:
        for observed in source.events():
            group = (
                "row"
                if isinstance(observed.event, Row)
                else "key"
                if isinstance(observed.event, KeyEvent)
                else "pointer"
            )
            file.event(to_line(observed.t_ms, observed.wall_ns, observed.event), group)
        write_film(
            folder / "screens.mp4",
            source.pictures(),
            lambda place, _: file.frame(place.t_ms, place.wall_ns, place.video_ms),
        )
        for action in source.actions():
            file.action(action)
        file.terms(source.terms)


def _webdataset(folder: Path, source: _Source) -> None:
    from transport.exports.webdataset import write_webdataset

    source.done.left_out.update(_unwritten(write_webdataset(folder, source.actions())))


def _agentnet(folder: Path, source: _Source) -> None:
    from transport.exports.agentnet import write_agentnet

    source.done.left_out.update(_unwritten(write_agentnet(folder, source.actions(), purpose=source.terms.purpose)))


def _html(folder: Path, source: _Source) -> None:
    from transport.exports.replay import write_replay

    write_replay(folder / "replay.html", source.events(), source.pictures(), source.actions(), terms=source.terms)


_WRITERS: dict[Format, Callable[[Path, _Source], None]] = {
    Format.JSONL: _jsonl,
    Format.PARQUET: _parquet,
    Format.MCAP: _mcap,
    Format.WEBDATASET: _webdataset,
    Format.AGENTNET: _agentnet,
    Format.HTML: _html,
}

_WRITTEN = frozenset({"actions", "pictures", "shards", "steps", "images", "trajectories"})


def _unwritten(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name not in _WRITTEN}


def _line(file: IO[str], values: dict[str, Any]) -> None:
    file.write(json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n")


def _private(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")


def describe_export(done: Exported) -> str:
    """Return an export's outcome as lines for a person."""
    written = {
        "device": done.devices,
        "event": done.events,
        "row": done.rows,
        "frame": done.frames,
        "action": done.actions,
    }
    told = ", ".join(f"{count:,} {name}{'s' * (count != 1)}" for name, count in written.items() if count)
    if not done.events + done.rows + done.frames + done.actions:
        told = "nothing was written: no chunk is permitted for this purpose, time and device"
    lines = [f"{done.folder}: {told}"]
    lines += [f"left out: {count:,} × {reason}" for reason, count in done.left_out.items()]
    return "\n".join(lines)
