"""Read recordings of input events that others made, for benches and for the training of priors.

Two layouts: CSV as of SapiMouse (`client timestamp,button,state,x,y`, times in ms) and JSON lines with `t` in
seconds and `e` one of move, click, scroll, press, release. A path may be such a file, a folder of them, or a tar
archive (also .tar.xz, .tar.gz).
"""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec.model import KeyClass, KeyEvents, PointerEvents

BUTTONS = {"NoButton": 0, "Left": 1, "Middle": 2, "Right": 3, "Other": 8}
SUFFIXES = (".csv", ".jsonl")


class LayoutError(ValueError):
    """A file that was named is in neither layout; the text says which file, line and what is wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One person's events in one go.

    Attributes: name: where it came from. person: who, as far as the path tells. pointer, keys: times in ms, as the
    source counts.
    """

    name: str
    person: str
    pointer: PointerEvents
    keys: KeyEvents

    def __len__(self) -> int:
        return len(self.pointer) + len(self.keys)


def read_recordings(paths: Iterable[str]) -> list[Recording]:
    """Read every recording under some paths, in the order of their names.

    Raises:
        LayoutError: a file is in neither layout, or nothing is there.
    """
    found = [record for path in paths for record in _of_path(Path(path))]
    if not found:
        raise LayoutError("there is no .csv or .jsonl recording under the given paths")
    return found


def _of_path(path: Path) -> Iterator[Recording]:
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES):
            yield read_recording(str(file), file.read_text(encoding="utf-8"))
    elif ".tar" in path.suffixes or path.suffix == ".tgz":
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                file_ = archive.extractfile(member) if member.isfile() else None
                if file_ is not None and Path(member.name).suffix in SUFFIXES:
                    yield read_recording(member.name, file_.read().decode("utf-8"))
    elif path.is_file():
        yield read_recording(str(path), path.read_text(encoding="utf-8"))
    else:
        raise LayoutError(f"{path} does not exist")


def read_recording(name: str, text: str) -> Recording:
    """Read one recording from its text."""
    person = next((part for part in reversed(Path(name).parts) if re.fullmatch(r"user\d+", part)), Path(name).stem)
    try:
        if name.endswith(".jsonl"):
            pointer, keys = _from_json_lines(text)
        else:
            pointer, keys = _from_csv(text), KeyEvents.empty()
    except (KeyError, ValueError) as error:
        raise LayoutError(f"{name}: {error!r} (see the module's layouts)") from error
    return Recording(name, person, pointer, keys)


def _from_csv(text: str) -> PointerEvents:
    rows = []
    for row in csv.DictReader(io.StringIO(text)):
        button, state = BUTTONS[row["button"]], row["state"]
        kind = {"Move": 0, "Drag": 1, "Pressed": 2 * button, "Released": 2 * button + 1}[state]
        rows.append((int(row["client timestamp"]), kind, int(float(row["x"])), int(float(row["y"]))))
    return _pointer(rows)


def _pointer(rows: Sequence[tuple[int, int, int, int]]) -> PointerEvents:
    table = np.array(rows, np.int64).reshape(-1, 4)
    return PointerEvents(
        table[:, 0].copy(), table[:, 1].astype(np.uint8), table[:, 2].astype(np.int32), table[:, 3].astype(np.int32)
    )


_NAMED = {
    KeyClass.EDIT: {"enter", "tab", "backspace", "delete", "insert", "return"},
    KeyClass.NAVIGATION: {"up", "down", "left", "right", "home", "end", "page_up", "page_down", "esc", "escape"},
    KeyClass.MODIFIER: {"shift", "ctrl", "alt", "cmd", "super", "alt_gr", "caps_lock", "menu"},
    KeyClass.SPACE: {"space"},
}


def key_class(name: str) -> KeyClass:
    """Return the class of a key by its name: `'a'`, `Key.enter`, …"""
    bare = name.removeprefix("Key.").removesuffix("_l").removesuffix("_r")
    for kind, names in _NAMED.items():
        if bare in names:
            return kind
    if re.fullmatch(r"f\d+|media_\w+", bare):
        return KeyClass.FUNCTION
    char = name[1:-1] if len(name) >= 3 and name[0] in "'\"" else name
    if len(char) != 1:
        return KeyClass.OTHER
    if char == " ":
        return KeyClass.SPACE
    return KeyClass.LETTER if char.isalpha() else KeyClass.DIGIT if char.isdigit() else KeyClass.PUNCTUATION


def _from_json_lines(text: str) -> tuple[PointerEvents, KeyEvents]:
    moves: list[tuple[int, int, int, int]] = []
    keys: list[tuple[int, bool, int, int]] = []
    held: dict[str, int] = {}
    for line in text.splitlines():
        event = json.loads(line)
        what, t = event["e"], round(event["t"] * 1000)
        if what == "move":
            moves.append((t, 0, event["x"], event["y"]))
        elif what == "click":
            button = {"left": 1, "middle": 2, "right": 3}.get(event["b"].removeprefix("Button."), 8)
            moves.append((t, 2 * button + (not event["p"]), event["x"], event["y"]))
        elif what == "scroll":
            wheel = 8 if event["dy"] > 0 else 10 if event["dy"] < 0 else 12 if event["dx"] < 0 else 14
            moves.append((t, wheel, event["x"], event["y"]))
        elif what == "press":
            slot = next(slot for slot in range(255) if slot not in held.values())
            slot = held.setdefault(event["k"], slot)
            keys.append((t, True, key_class(event["k"]), slot))
        elif what == "release":
            keys.append((t, False, key_class(event["k"]), held.pop(event["k"], 255)))
        else:
            raise ValueError(f"an event of kind {what!r}")
    table = np.array(keys, np.int64).reshape(-1, 4)
    typed = KeyEvents(
        table[:, 0].copy(), table[:, 1].astype(np.bool_), table[:, 2].astype(np.uint16), table[:, 3].astype(np.uint8)
    )
    return _pointer(moves), typed


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The events of one chunk, times counted from its t0."""

    pointer: PointerEvents
    keys: KeyEvents

    def __len__(self) -> int:
        return len(self.pointer) + len(self.keys)


def cut(recording: Recording, chunk_ms: int) -> list[Piece]:
    """Cut a recording into chunks of a duration, counted from its first event; empty ones are left out."""
    pointer, keys = recording.pointer, recording.keys
    starts = [int(times[0]) for times in (pointer.t_ms, keys.t_ms) if len(times)]
    if not starts:
        return []
    start = min(starts)
    lots = [(times - start) // chunk_ms for times in (pointer.t_ms, keys.t_ms)]
    pieces = []
    for number in np.unique(np.concatenate(lots)).tolist():
        a, b = (lot == number for lot in lots)
        t0 = start + number * chunk_ms
        pieces.append(
            Piece(
                PointerEvents(pointer.t_ms[a] - t0, pointer.kind[a], pointer.x[a], pointer.y[a]),
                KeyEvents(keys.t_ms[b] - t0, keys.down[b], keys.code[b], keys.slot[b]),
            )
        )
    return pieces
