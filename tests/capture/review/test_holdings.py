"""Asking the agent, or doing without one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from capture.control import ControlServer
from capture.errors import CaptureError
from capture.review.holdings import Holder
from capture.review.requests import ids_of


def nowhere(*, states: bool) -> dict[str, Any]:
    raise CaptureError("the spool cannot be read")


async def test_a_month_is_deleted_in_as_many_requests_as_it_takes(tmp_path: Path) -> None:
    asked: list[tuple[set[tuple[int, int]], bool]] = []

    async def delete(request: Mapping[str, Any]) -> dict[str, Any]:
        asked.append((ids_of(request), request["open"]))
        return {"here": len(request["ids"]), "ordered": 1, "already": 0}

    server = ControlServer(tmp_path / "control", {"delete": delete})
    await server.start()
    try:
        holder = Holder(tmp_path / "control", look=nowhere, erase=lambda ids: {})
        ids = {(0xFFFFFFFF, 0xFFFFFFFF - seq) for seq in range(4000)}
        told = await holder.delete(ids, open_too=True)
        assert told == {"here": 4000, "ordered": 2, "already": 0, "now": True}
        assert set().union(*(named for named, _ in asked)) == ids
        assert [opened for _, opened in asked] == [True, False]
        asked.clear()
        await holder.delete(set(), open_too=True)
        assert asked == [(set(), True)], "what is open can be all there is"
    finally:
        await server.stop()


async def test_without_an_agent_the_disk_is_asked(tmp_path: Path) -> None:
    erased: list[frozenset[tuple[int, int]]] = []

    def erase(ids: frozenset[tuple[int, int]]) -> dict[str, Any]:
        erased.append(ids)
        return {"here": 1}

    holder = Holder(tmp_path / "nobody", look=nowhere, erase=erase)
    assert await holder.delete({(7, 1)}, open_too=False) == {"here": 1, "now": False}
    assert erased == [frozenset({(7, 1)})]
    holdings = await holder.look()
    assert (holdings.agent, holdings.known, holdings.waiting) == (None, False, {})


@pytest.mark.parametrize(
    "ids", [None, "7", [[7]], [[7, 1, 2]], [[7, -1]], [[7, 1 << 32]], [[True, 1]], [["7", 1]], [7]]
)
def test_what_names_no_chunk_is_refused(ids: Any) -> None:
    with pytest.raises(CaptureError):
        ids_of({"ids": ids})
