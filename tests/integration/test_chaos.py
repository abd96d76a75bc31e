"""Everything at once: kill -9 of device, broker and collectors, partitions, a slow link, full disks, clocks that jump.

The device lives in one network namespace, broker and collectors in another (tests/integration/link.py); spool and archive lie on
small disks of their own, which are filled up and freed again. What the spool confirmed is in the archive in the end, once, byte for
byte, and little was sent twice. MODICUM_KILLS sets the number of kills.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration import link as links
from tests.integration.link import AWAY, Link, Weather
from tests.integration.stack import ROOT
from transport.archive import FolderStore
from transport.broker import find_mosquitto
from transport.fs import RealFiles

pytestmark = pytest.mark.broker

KILLS = int(os.environ.get("MODICUM_KILLS", "16"))
CHUNKS_PER_KILL = 12
MOST_SENT_AGAIN = 0.15
ENOUGH_KILLS = 100
"""Of fewer, the share that was sent again says little: it is shown, not judged."""
PORT, LOCAL_PORT = 1883, 1884  # of the namespace
DISK_BYTES = 48 << 20

BROKER = f"""\
allow_anonymous true
max_packet_size 9000000
persistence false
user root
max_queued_messages 20
max_inflight_messages 20
listener {PORT} {AWAY}
listener {LOCAL_PORT} 127.0.0.1
"""
"""A queue that is full soon."""


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Two small disks."""
    mounted: dict[str, Path] = {}
    try:
        for name in ("home", "away"):
            folder = tmp_path / name
            folder.mkdir()
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "modicum-test", str(folder)], capture_output=True
            )
            if done.returncode:
                pytest.skip(f"no small disk can be mounted here: {done.stderr.decode().strip()}")
            mounted[name] = folder
        yield mounted
    finally:
        for folder in mounted.values():
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


class World:
    """The processes, the link and the disks of a run."""

    def __init__(self, disks: dict[str, Path], seed: int, link: Link, chunks: int) -> None:
        self.disks, self.link, self.chunks = disks, link, chunks
        self.rng = random.Random(seed)
        self.starts = seed * 10_000
        self.happened: Counter[str] = Counter()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.names = ["broker", "col-0", "col-1", "dev-0"]
        self.notes = disks["home"].parent
        self.clock = self.notes / "clock"
        self.clock.write_text("0")
        (self.notes / "mosquitto.conf").write_text(BROKER)

    def start(self, name: str) -> None:
        self.starts += 1
        if name == "broker":
            command = self.link.away([find_mosquitto() or "", "-c", str(self.notes / "mosquitto.conf")])
        else:
            role = "publisher" if name.startswith("dev-") else "collector"
            command = [sys.executable, "-m", "tests.integration.transport_roles", role]
            command += ["--name", name, "--seed", str(self.starts)]
            if role == "publisher":
                command += ["--folder", str(self.disks["home"]), "--host", AWAY, "--port", str(PORT)]
                command += ["--chunks", str(self.chunks), "--clock", str(self.clock), "--spool-bytes", str(64 << 20)]
                command += ["--pause", "0.1", "--notes", str(self.notes)]
                command = self.link.at_home(command)
            else:
                command += ["--folder", str(self.disks["away"]), "--port", str(LOCAL_PORT)]
                command = self.link.away(command)
        with (self.notes / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        name = self.rng.choice(self.names)
        if name == "dev-0" and self.finished():
            name = "broker"
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()
        self.happened[f"kill {name.split('-')[0]}"] += 1
        time.sleep(self.rng.choice([0.0, 0.0, self.rng.uniform(0, 1.0)]))
        self.start(name)

    def part(self) -> None:
        self.happened["partition"] += 1
        with self.link.parted():
            time.sleep(self.rng.uniform(0.2, 2.5))

    def slow(self) -> None:
        self.happened["slow link"] += 1
        before = self.link.weather.rate_bytes_s
        self.link.weather.rate_bytes_s = 20_000
        time.sleep(self.rng.uniform(0.5, 2.0))
        self.link.weather.rate_bytes_s = before

    def fill(self, name: str) -> None:
        """Let somebody else take all that a disk has left, for a while."""
        self.happened[f"disk full {name}"] += 1
        ballast = self.disks[name] / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
        time.sleep(self.rng.uniform(0.5, 2.0))
        ballast.unlink()

    def jump(self) -> None:
        """Set the device's wall clock."""
        self.happened["clock jump"] += 1
        self.clock.write_text(str(self.rng.choice([-1, 1]) * self.rng.uniform(60, 86_400 * 400)))
        if self.running["dev-0"].poll() is None:
            self.running["dev-0"].send_signal(signal.SIGUSR1)

    def restart_the_dead(self) -> None:
        """Start what ended by itself, as a supervisor would."""
        for name, process in list(self.running.items()):
            if process.poll() is not None and not (name == "dev-0" and self.finished()):
                self.happened[f"restart {name.split('-')[0]}"] += 1
                self.start(name)

    def finished(self) -> bool:
        return (self.notes / "finished").exists()

    def end(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.mark.timeout(120 + 8 * KILLS)
def test_whatever_happens_every_closed_chunk_is_archived_once_and_little_is_sent_twice(
    tmp_path: Path, disks: dict[str, Path]
) -> None:
    if (missing := links.why_not()) is not None:
        pytest.skip(missing)
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    seed = int(os.environ.get("MODICUM_CHAOS_SEED", "1"))
    with ExitStack() as stack:
        link = stack.enter_context(Link(seed, Weather(delay_s=0.01, loss_ratio=0.01, rate_bytes_s=2_000_000)))
        world = World(disks, seed, link, CHUNKS_PER_KILL * KILLS)
        stack.callback(world.end)
        for name in world.names:
            world.start(name)
        troubles = [world.kill] * KILLS
        for other in (world.part, world.slow, lambda: world.fill("home"), lambda: world.fill("away"), world.jump):
            troubles += [other] * max(1, KILLS // 8)
        world.rng.shuffle(troubles)
        for trouble in troubles:
            time.sleep(world.rng.uniform(0.1, 0.8))
            trouble()
            world.restart_the_dead()
        deadline = time.monotonic() + 90
        while not world.finished():
            assert time.monotonic() < deadline, (
                "the spool does not empty: " + (tmp_path / "dev-0.log").read_text()[-2000:]
            )
            world.restart_the_dead()
            time.sleep(0.1)
        world.end()
        judge(world, disks["away"] / "archive", KILLS)


def judge(world: World, folder: Path, kills: int) -> None:
    """Compare the archive with what the spool confirmed."""
    archive = FolderStore(RealFiles(), folder)
    archived = {str(chunk_id): hashlib.sha256(archive.get(chunk_id)).hexdigest() for chunk_id in archive.iterate()}
    lines = (world.notes / "confirmed").read_text().splitlines()
    confirmed = dict(line.split() for line in lines)
    assert len(lines) == len(confirmed) == world.chunks, "a chunk's id was given out twice"
    assert {chunk_id: archived.get(chunk_id) for chunk_id in confirmed} == confirmed
    # Killed between the spool's word and the line in the log: archived, and rightly so.
    assert len(archived.keys() - confirmed.keys()) <= world.happened["kill dev"]
    assert len(set(archived.values())) == len(archived), "a chunk is archived under two ids"
    assert (world.notes / "lost").read_text() == "", "a chunk was given up"
    assert not list((folder / ".quarantine").iterdir())
    sent: dict[str, int] = {}
    for line in (world.notes / "totals").read_text().splitlines():
        pid, count, _ = line.split()
        sent[pid] = int(count)
    again = sum(sent.values()) / len(archived) - 1
    print(f"chaos: {dict(world.happened)}, chunks {len(archived)}, sent again {again:.1%}")
    assert kills < ENOUGH_KILLS or again < MOST_SENT_AGAIN
