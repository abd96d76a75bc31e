"""Real broker, real processes, kill -9 at seeded moments: what the spool confirmed is archived, once, byte for byte."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.places import free_port
from transport import broker as embedded_broker
from transport.archive import FolderStore
from transport.fs import RealFiles

pytestmark = pytest.mark.broker

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("MODICUM_KILLS", "28"))
"""`make soak` sets a higher one."""

MOST_SENT_AGAIN = 0.15


class Cast:
    """The processes of one run; each can be killed and started again at any time."""

    def __init__(self, folder: Path, kind: str, protocol: str, *, devices: int, collectors: int, chunks: int) -> None:
        self.folder = folder
        self.kind = kind
        self.protocol = protocol
        self.chunks = chunks
        self.port = free_port()
        self.starts = 0
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.names = ["broker", *(f"col-{n}" for n in range(collectors)), *(f"dev-{n}" for n in range(devices))]
        for device in self.devices:
            (folder / device).mkdir()

    @property
    def devices(self) -> list[str]:
        return [name for name in self.names if name.startswith("dev-")]

    def start(self, name: str) -> None:
        self.starts += 1
        if name == "broker":
            self.running[name] = embedded_broker._start(self.folder, self.port, self.kind).process
            return
        role = "publisher" if name.startswith("dev-") else "collector"
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "tests.integration.transport_roles", role, "--folder", str(self.folder), "--name", name),
                    *("--port", str(self.port), "--protocol", self.protocol, "--seed", str(self.starts)),
                    *("--chunks", str(self.chunks)),
                ],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()
        if self.running[name].stdin:
            self.running[name].stdin.close()

    def finished(self) -> bool:
        return all((self.folder / device / "finished").exists() for device in self.devices)

    def end(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("kind", "protocol", "collectors"),
    [("mosquitto", "5", 2), ("mosquitto", "3.1.1", 1), ("iotcore", "5", 2)],
)
@pytest.mark.timeout(60 + 6 * KILLS)
def test_no_closed_chunk_is_lost_or_doubled_when_processes_are_killed(
    tmp_path: Path, kind: str, protocol: str, collectors: int
) -> None:
    if kind not in embedded_broker.available():
        pytest.skip(f"{kind} is not installed")
    rng = random.Random(f"{kind} {protocol}")
    cast = Cast(tmp_path, kind, protocol, devices=2, collectors=collectors, chunks=4 * KILLS)
    kills = dict.fromkeys(("broker", "col", "dev"), 0)
    try:
        for name in cast.names:
            cast.start(name)
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.05, 0.8))
            name = rng.choice(cast.names)
            if name in cast.devices and (tmp_path / name / "finished").exists():
                continue
            cast.kill(name)
            kills[name.split("-")[0]] += 1
            time.sleep(rng.choice([0.0, 0.0, rng.uniform(0, 1.5)]))
            cast.start(name)
        deadline = time.monotonic() + 60
        while not cast.finished():
            assert time.monotonic() < deadline, (
                "the spools do not empty: " + (tmp_path / "dev-0.log").read_text()[-2000:]
            )
            time.sleep(0.1)
    finally:
        cast.end()

    archive = FolderStore(RealFiles(), tmp_path / "archive")
    archived = {str(chunk_id): hashlib.sha256(archive.get(chunk_id)).hexdigest() for chunk_id in archive.iterate()}
    confirmed: dict[str, str] = {}
    for device in cast.devices:
        lines = (tmp_path / device / "confirmed").read_text().splitlines()
        confirmed |= dict(line.split() for line in lines)
        assert len(lines) == cast.chunks, "a chunk's id was given out twice"
    assert {chunk_id: archived.get(chunk_id) for chunk_id in confirmed} == confirmed
    unconfirmed = archived.keys() - confirmed.keys()  # killed between the spool's word and the line in the log
    assert len(unconfirmed) <= kills["dev"]
    assert len(set(archived.values())) == len(archived), "a chunk is archived under two ids"
    assert not list((tmp_path / "archive" / ".quarantine").iterdir())
    sent = {}
    for device in cast.devices:
        for line in (tmp_path / device / "totals").read_text().splitlines():
            pid, count, _ = line.split()
            sent[pid] = int(count)
    again = sum(sent.values()) / len(archived) - 1
    print(f"{kind} {protocol}: kills {kills}, chunks {len(archived)}, sent again {again:.1%}")
    assert again < MOST_SENT_AGAIN
