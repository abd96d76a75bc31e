"""Parquet, read back by pyarrow."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.transport.exports.samples import ORIGIN, START_NS, actions
from transport.exports import parquet
from transport.exports.terms import terms_of


def test_every_field_comes_back_typed(tmp_path: Path) -> None:
    path = tmp_path / "actions.parquet"
    assert parquet.write_parquet(path, actions(), terms=terms_of(actions(), "computer-use-training")) == 12
    table = pq.read_table(path)
    rows = table.to_pylist()
    assert [row["kind"] for row in rows] == [str(action.kind) for action in actions()]
    assert [row["t_ms"] for row in rows] == [action.t_ms for action in actions()]
    assert table.column("wall").cast("int64").to_pylist()[1] == START_NS + 100 * 1_000_000
    save, drag, scroll, typed, select = rows[1], rows[4], rows[5], rows[6], rows[9]
    assert save["element"] == {
        "role": "push button",
        "name": "Save",
        "digest": b"",
        "index": None,
        "count": None,
        "bounds": [40, 20, 30, 12],
    }
    assert save["before"] == {"t_ms": 95, "exact": True}
    assert (drag["to_x"], drag["to_y"]) == (120, 60)
    assert (scroll["scroll_x"], scroll["scroll_y"]) == (2, -3)
    assert dict(typed["keys"]) == {"letter": 5, "space": 1}
    assert select["committed"] is True
    assert select["element"]["digest"] == b"\x01" * 16
    assert rows[0]["before"] is None
    assert rows[0]["title"] == "ünïcode"
    assert rows[0]["x"] is None
    assert all(row["consent"] == ORIGIN.consent and row["epoch"] == ORIGIN.epoch for row in rows)


def test_the_terms_stand_in_the_files_metadata(tmp_path: Path) -> None:
    path = tmp_path / "actions.parquet"
    parquet.write_parquet(path, actions(), terms=terms_of(actions(), "computer-use-training"))
    terms = json.loads(pq.read_metadata(path).metadata[b"modicum"])
    assert terms == {
        "purpose": "computer-use-training",
        "purposes": ["computer-use-evaluation", "computer-use-training"],
        "consents": [ORIGIN.consent.hex()],
        "regions": ["EU"],
        "expires_s": ORIGIN.expires_s,
        "lossy": ["move-per-8ms"],
    }


def test_many_actions_come_in_groups(tmp_path: Path) -> None:
    path = tmp_path / "actions.parquet"
    many = actions() * (parquet.ROWS_PER_GROUP // 12 + 1)
    assert parquet.write_parquet(path, many, terms=terms_of(actions(), "computer-use-training")) == len(many)
    assert pq.ParquetFile(path).num_row_groups == 2
    assert pq.read_table(path).num_rows == len(many)


def test_no_actions_make_a_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "actions.parquet"
    assert parquet.write_parquet(path, [], terms=terms_of(actions(), "computer-use-training")) == 0
    assert pq.read_table(path).num_rows == 0
