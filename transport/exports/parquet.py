"""Shell: actions as Parquet, one row each with typed columns; screenshots lie beside them as MP4.

Loses the pixels' exactness (MP4) and the pointer's path between actions. Purposes, consent and expiry stand in every row and,
for all of it, in the file's metadata under "modicum". The only module that imports pyarrow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from transport.exports.plain import plain_fields, plain_shot

if TYPE_CHECKING:
    from pathlib import Path

    from codec.actions import Action
    from transport.exports.film import Place
    from transport.exports.terms import Terms

ROWS_PER_GROUP = 10_000
"""Held in memory at once, and read back at once."""


def write_parquet(path: Path, actions: Iterable[Action], *, terms: Terms) -> int:
    """Write actions; return how many.

    Args:
        path: of the file. actions: read once. terms: what they permit, complete when the last has been read.

    Raises:
        ImportError: pyarrow is not installed: it comes with modicum[export].
    """
    import pyarrow.parquet as pq

    schema, count = _schema(), 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        path.chmod(0o600)
        for group in _groups(iter(actions)):
            columns: dict[str, list[Any]] = {name: [] for name in schema.names}
            for row in map(_row, group):
                for name, value in row.items():
                    columns[name].append(value)
            writer.write_batch(_batch(columns, schema))
            count += len(group)
        writer.add_key_value_metadata({"modicum": json.dumps(terms.to_answer())})
    return count


def write_frames(path: Path, places: Sequence[Place], *, terms: Terms) -> None:
    """Write where each frame stands in the film, so that an action's `before.t_ms` finds its picture."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "t_ms": pa.array([place.t_ms for place in places], pa.int64()),
            "wall": pa.array([place.wall_ns for place in places], pa.timestamp("ns", "UTC")),
            "video_ms": pa.array([place.video_ms for place in places], pa.int64()),
            "epoch": pa.array([place.epoch for place in places], pa.uint32()),
        }
    ).replace_schema_metadata({"modicum": json.dumps(terms.to_answer())})
    pq.write_table(table, path, compression="zstd")
    path.chmod(0o600)


def _groups(actions: Iterator[Action]) -> Iterator[list[Action]]:
    while group := list(islice(actions, ROWS_PER_GROUP)):
        yield group


def _schema() -> Any:
    import pyarrow as pa

    name = pa.dictionary(pa.int32(), pa.string())
    shot = [("t_ms", pa.int64()), ("exact", pa.bool_())]
    element = [
        ("role", pa.string()),
        ("name", pa.string()),
        ("digest", pa.binary()),
        ("index", pa.int32()),
        ("count", pa.int32()),
        ("bounds", pa.list_(pa.int32())),
    ]
    return pa.schema(
        [
            ("kind", name),
            ("t_ms", pa.int64()),
            ("wall", pa.timestamp("ns", "UTC")),
            ("duration_ms", pa.int64()),
            ("application", name),
            ("title", pa.string()),
            ("site", name),
            ("x", pa.int32()),
            ("y", pa.int32()),
            ("to_x", pa.int32()),
            ("to_y", pa.int32()),
            ("button", pa.int8()),
            ("scroll_x", pa.int32()),
            ("scroll_y", pa.int32()),
            ("keys", pa.map_(pa.string(), pa.int32())),
            ("name", pa.string()),
            ("element", pa.struct(element)),
            ("committed", pa.bool_()),
            ("checked", pa.bool_()),
            ("cause", name),
            ("fields", pa.string()),
            ("before", pa.struct(shot)),
            ("after", pa.struct(shot)),
            ("device", name),
            ("epoch", pa.uint32()),
            ("seq", pa.uint32()),
            ("purposes", pa.list_(pa.string())),
            ("consent", pa.binary()),
            ("expires", pa.timestamp("s", "UTC")),
            ("region", name),
            ("agent", name),
            ("lossy", pa.list_(pa.string())),
        ]
    )


def _batch(columns: dict[str, list[Any]], schema: Any) -> Any:
    import pyarrow as pa

    return pa.record_batch([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _row(action: Action) -> dict[str, Any]:
    origin, element = action.origin, action.element
    to_x, to_y = (None, None) if action.to is None else action.to
    return {
        "kind": str(action.kind),
        "t_ms": action.t_ms,
        "wall": action.wall_ns,
        "duration_ms": action.duration_ms,
        "application": action.application,
        "title": action.title,
        "site": action.site,
        "x": action.x,
        "y": action.y,
        "to_x": to_x,
        "to_y": to_y,
        "button": action.button,
        "scroll_x": action.scroll[0],
        "scroll_y": action.scroll[1],
        "keys": list(action.keys.items()),
        "name": action.name,
        "element": None
        if element is None
        else {
            "role": element.role,
            "name": element.name,
            "digest": element.digest,
            "index": element.index,
            "count": element.count,
            "bounds": None if element.bounds is None else list(element.bounds),
        },
        "committed": action.committed,
        "checked": action.checked,
        "cause": action.cause,
        "fields": json.dumps(plain_fields(action.fields), ensure_ascii=False),
        "before": plain_shot(action.before),
        "after": plain_shot(action.after),
        "device": origin.device,
        "epoch": origin.epoch,
        "seq": origin.seq,
        "purposes": list(origin.purposes),
        "consent": origin.consent,
        "expires": datetime.fromtimestamp(origin.expires_s, UTC) if origin.expires_s else None,
        "region": origin.region,
        "agent": origin.agent,
        "lossy": list(origin.lossy),
    }
