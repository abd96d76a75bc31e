"""The collector's figures: scraped from the real command, and no series for any device."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from benches import transport_roles
from codec.tombstone import sign_tombstone
from tests.places import free_port
from tests.transport.kit import mosquitto
from transport.errors import TransportError
from transport.intake import CollectorEvent
from transport.messages import up_topic
from transport.metrics import CollectorMetrics

ROOT = Path(__file__).resolve().parent.parent.parent


def scrape(port: int) -> dict[str, float]:
    """Return every series' value by its name with labels."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}


def scraped(port: int, name: str, least: float) -> dict[str, float]:
    deadline = time.monotonic() + 60
    while True:
        found = scrape(port)
        if found.get(name, -1) >= least:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.broker
def test_the_command_serves_what_it_does(tmp_path: Path) -> None:
    port, archive = free_port(), tmp_path / "archive"
    sealed = transport_roles.sealed_chunks(archive / ".devices", 40, 2000, devices=5)
    poison = [(up_topic("bench-0000"), b"no chunk"), (up_topic("stranger"), sealed[0][1])]
    order = sign_tombstone("bench-0004", None, wall_s=1, signer=transport_roles.KEY)
    with mosquitto(tmp_path) as broker:
        command = [sys.executable, "-m", "capture.cli", "collect", "--broker", f"mqtt://127.0.0.1:{broker}"]
        command += ["--archive", str(archive), "--metrics", f"127.0.0.1:{port}"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ})
        try:
            scraped(port, "modicum_collector_connected", 1)
            asyncio.run(transport_roles.publish(broker, [*sealed, *sealed[:3], *poison]))
            scraped(port, 'modicum_collector_messages_total{outcome="archived"}', 40)
            asyncio.run(transport_roles.publish(broker, [(up_topic("bench-0004"), order)]))
            found = scraped(port, 'modicum_collector_messages_total{outcome="erased"}', 1)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    assert found['modicum_collector_messages_total{outcome="duplicate"}'] == 3
    assert found['modicum_collector_refused_total{reason="malformed"}'] == 1
    assert found['modicum_collector_refused_total{reason="wrong-device"}'] == 1
    assert found["modicum_collector_archived_bytes_total"] == sum(len(payload) for _, payload in sealed)
    assert found['modicum_collector_devices{within="5m"}'] == 5
    assert found["modicum_collector_queued_messages"] == 0
    assert found["modicum_archive_store_seconds_count"] >= 1
    assert found['modicum_collector_batch_messages_bucket{le="+Inf"}'] == found["modicum_collector_batch_seconds_count"]
    assert found["process_resident_memory_bytes"] > 0
    assert not [name for name in found if "bench-" in name or "stranger" in name]


def test_devices_are_counted_by_how_long_they_are_silent_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.metrics.DEVICES_IN_MEMORY", 3)
    now = [0.0]
    metrics = CollectorMetrics(lambda: now[0])
    for number in range(5):
        now[0] = number * 1000.0
        metrics.note(CollectorEvent("archived", device=f"dev-{number}", size_bytes=10))
    values = {
        sample.labels["within"]: sample.value
        for family in metrics.collect()
        if family.name == "modicum_collector_devices"
        for sample in family.samples
    }
    assert values == {"5m": 1, "1h": 3, "24h": 3, "7d": 3}


def test_the_dashboards_queries_ask_for_what_a_collector_exposes() -> None:
    from prometheus_client import generate_latest

    exposed = set(
        re.findall(r"^([a-z_]+)(?:\{| )", generate_latest(CollectorMetrics().registry).decode(), re.MULTILINE)
    )
    exposed |= {"modicum_collector_refused_total"}  # has no series before something was refused
    board = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked = {name for query in queries for name in re.findall(r"modicum_(?:collector|archive)_\w+", query)}
    assert len(asked) >= 8, "the dashboard shows little of the collectors"
    assert asked <= exposed, asked - exposed


@pytest.mark.parametrize("listen", ["9108", "localhost:", "127.0.0.1:99999", "192.0.2.1:9108"])
def test_an_address_that_cannot_be_served_is_named(listen: str) -> None:
    with pytest.raises(TransportError, match="--metrics"):
        CollectorMetrics().serve(listen)
