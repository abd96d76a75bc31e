"""Shell: a recording as MCAP: every event as JSON on a channel of its kind, frames by reference to the MP4 beside it.

Channels: /pointer, /key, /row/<kind> (as in JSON lines), /action, and /frame, whose messages say at which second of
`screens.mp4` a frame stands. Log time is the wall clock. Loses what MP4 loses of pixels, nothing of events. Purposes, consent and
expiry are the metadata record "modicum". The only module that imports mcap.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from transport.exports.plain import to_plain

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from codec.actions import Action
    from transport.exports.terms import Terms

PROFILE = "modicum"
ANY_OBJECT = json.dumps({"type": "object"}).encode()
"""JSON Schema of a row: its fields depend on its kind (docs/format.md)."""

_NUMBER, _TEXT = {"type": "integer"}, {"type": "string"}
SCHEMAS = {
    "pointer": {"t_ms": _NUMBER, "wall_ns": _NUMBER, "kind": _TEXT, "x": _NUMBER, "y": _NUMBER},
    "key": {"t_ms": _NUMBER, "wall_ns": _NUMBER, "kind": _TEXT, "class": _TEXT, "slot": _NUMBER},
    "frame": {"t_ms": _NUMBER, "wall_ns": _NUMBER, "video": _TEXT, "video_ms": _NUMBER},
}


class McapFile:
    """A file that is being written; a context manager.

    Raises:
        ImportError: mcap is not installed: it comes with modicum[export].
    """

    def __init__(self, path: Path) -> None:
        from mcap.writer import Writer

        self._file = path.open("xb")
        path.chmod(0o600)
        self._writer = Writer(self._file)
        self._writer.start(PROFILE, library="modicum")
        self._channels: dict[str, int] = {}
        self._sequences: Counter[int] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.close()

    def event(self, line: dict[str, Any], group: str) -> None:
        """Add an event as transport.exports.lines gives it.

        Args:
            line: with "wall_ns" and "kind". group: "pointer", "key" or "row".
        """
        self._add(f"/row/{line['kind']}" if group == "row" else f"/{group}", group, line["wall_ns"], line)

    def frame(self, t_ms: int, wall_ns: int, video_ms: int) -> None:
        """Add a frame's place in the film."""
        line = {"t_ms": t_ms, "wall_ns": wall_ns, "video": "screens.mp4", "video_ms": video_ms}
        self._add("/frame", "frame", wall_ns, line)

    def action(self, action: Action) -> None:
        """Add an action."""
        self._add("/action", "action", action.wall_ns, to_plain(action))

    def terms(self, terms: Terms) -> None:
        """Add what people agreed to."""
        self._writer.add_metadata("modicum", terms.to_texts())

    def _add(self, topic: str, group: str, wall_ns: int, line: dict[str, Any]) -> None:
        channel = self._channels.get(topic)
        if channel is None:
            known = SCHEMAS.get(group)
            data = json.dumps({"type": "object", "properties": known}).encode() if known else ANY_OBJECT
            schema = self._writer.register_schema(f"modicum.{group}", "jsonschema", data)
            channel = self._channels[topic] = self._writer.register_channel(topic, "json", schema)
        sequence = self._sequences[channel]
        self._sequences[channel] += 1
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()
        self._writer.add_message(channel, max(0, wall_ns), data, max(0, wall_ns), sequence)
