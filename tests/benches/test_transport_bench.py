"""The bench of the archive's side measures what it says: everything is archived, and growth leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from benches.transport import grown, measure
from transport.archive import FolderStore
from transport.broker import embedded
from transport.fs import RealFiles


@pytest.mark.broker
@pytest.mark.parametrize(("role", "count"), [("collector", 2), ("bare-sync", 1)])
def test_an_arrangement_archives_all_and_its_cost_is_counted(tmp_path: Path, role: str, count: int) -> None:
    with embedded(tmp_path / "broker") as broker:
        figures = measure("tried", role, count, tmp_path, broker.port, 80, 2048, 4)
    stored = list((tmp_path / "archive").rglob("*.chunk"))
    assert len(stored) == figures.chunks == 80
    assert sum(path.stat().st_size for path in stored) == figures.payload_bytes
    assert figures.cpu_s > 0
    assert figures.rss_end_bytes > 1 << 20
    assert figures.row().count("|") == 7


def test_a_grown_archive_has_its_chunks_and_nothing_of_the_measuring(tmp_path: Path) -> None:
    for size in (100, 300):
        growth = grown(tmp_path / "archive", size, batches=2)
        assert growth.chunks == size
        assert min(growth.put_us, growth.contains_us, growth.list_us, growth.expire_us) > 0
    assert sum(1 for _ in FolderStore(RealFiles(), tmp_path / "archive").iterate()) == 300
