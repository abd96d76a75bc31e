"""The agent's figures: as Prometheus reads them, on the loopback only, and none of the person's doings."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from capture.errors import CaptureError
from capture.metrics import Metrics
from capture.status import Status

pytest.importorskip("prometheus_client")
ROOT = Path(__file__).resolve().parent.parent.parent

STATUS = Status(
    state="recording",
    state_reasons=("Secret Title",),
    plan="all",
    plan_reasons=("on mains",),
    recorded={"pointer": 12, "keys": 3, "rows": 1, "frames": 2},
    bytes={"raw": 100, "encoded": 50, "sealed": 60, "wire": 70},
    chunks={"open": 1, "closed": 4, "sent": 3, "waiting": 1},
    spool_bytes=1000,
    spool_limit_bytes=2000,
    budget={"day_used": 5, "day_limit": None, "month_used": 7, "month_limit": 9},
    refused={"the grab failed": 2},
    certificate="holds until Secret Day",
    certificate_ends_s=1_800_000_000.0,
)


async def served(request: bytes) -> str:
    metrics = Metrics(lambda: STATUS, lambda: 5)
    await metrics.start("127.0.0.1:0")
    assert metrics._server is not None
    port = metrics._server.sockets[0].getsockname()[1]
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        return (await asyncio.wait_for(reader.read(), 10)).decode()
    finally:
        writer.close()
        await metrics.stop()


async def test_a_scrape_shows_counts_bytes_and_budget_and_no_title() -> None:
    text = await served(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9466\r\n\r\n")
    assert 'modicum_agent_recorded_total{kind="keys"} 3.0' in text
    assert 'modicum_agent_bytes_total{stage="wire"} 70.0' in text
    assert 'modicum_agent_budget_limit_bytes{span="month"} 9.0' in text
    assert 'span="day"} 5.0' in text
    assert 'modicum_agent_state{state="recording"} 1.0' in text
    assert "modicum_agent_certificate_end_time_seconds 1.8e+09" in text
    assert "process_resident_memory_bytes" in text
    assert "Secret" not in text


async def test_other_paths_and_other_names_for_this_machine_are_refused() -> None:
    assert (await served(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")).startswith("HTTP/1.1 404")
    assert (await served(b"GET /metrics HTTP/1.1\r\nHost: evil.example:9466\r\n\r\n")).startswith("HTTP/1.1 403")
    assert (await served(b"GET /metrics HTTP/1.1\r\n" + b"x" * 20_000)) == ""


async def test_a_taken_port_is_said_with_the_key() -> None:
    first = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = first.sockets[0].getsockname()[1]
    with pytest.raises(CaptureError, match=r"metrics\.listen"):
        await Metrics(lambda: STATUS, lambda: 5).start(f"127.0.0.1:{port}")
    first.close()


async def test_the_dashboards_queries_ask_for_what_is_exposed() -> None:
    exposed = set(re.findall(r"^# TYPE (\S+)", await served(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), re.M))
    board = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked = {name for query in queries for name in re.findall(r"modicum_agent_\w+", query)}
    assert asked, "the dashboard shows nothing of the agent"
    assert asked <= exposed, asked - exposed
