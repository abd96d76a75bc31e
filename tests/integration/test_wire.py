"""The budget's promise where a contract counts: on the interface, over a bad link, through kill -9 of both ends.

The person's machine and the broker stand in two network namespaces (tests/integration/link.py). In every run, whatever is lost,
parted, killed and restarted, all bytes on the home's interface are at most the day's budget, and at least 85 % of it
are used, since there is always more to send. MODICUM_WIRE_RUNS sets the number of runs.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.integration import link as links
from tests.integration.link import AWAY, Link, Weather
from tests.integration.stack import ROOT
from tests.transport.kit import Authority
from transport.broker import find_mosquitto
from transport.fs import RealFiles
from transport.ledger import Ledger
from transport.limits import Limits

pytestmark = pytest.mark.broker

RUNS = int(os.environ.get("MODICUM_WIRE_RUNS", "6"))
AT_ONCE = int(os.environ.get("MODICUM_WIRE_AT_ONCE", "6"))
LOSSES = (0.0, 0.05, 0.15)
LEAST_USED = 0.85
PORT, LOCAL_PORT = 1883, 1884  # of the namespace: nobody else has ports there
T = TypeVar("T")

MIXES = {
    "events": "2000,5000,12000",
    "mixed": "2000,12000,20000,40000",
    "screens": "20000,40000,60000",
}
"""Sizes of chunks, in bytes."""


@dataclass(frozen=True)
class Outcome:
    """What a run led to. counted: by the ledger, at its end. rest: what happened in it, in words."""

    seed: int
    loss: float
    budget: int
    used: int
    counted: int
    seconds: float
    rest: str

    @property
    def share(self) -> float:
        """Return the used part of the budget."""
        return self.used / self.budget

    def __str__(self) -> str:
        return (
            f"seed {self.seed} loss {self.loss:4.0%} used {self.share:6.1%} of {self.budget:>9,} "
            f"(counted {self.counted / self.budget:6.1%}, {self.seconds:.0f} s): {self.rest}"
        )


class Household:
    """The processes of one run, and the link between them."""

    def __init__(self, folder: Path, seed: int, loss: float) -> None:
        self.folder, self.seed = folder, seed
        self.rng = rng = random.Random(seed)
        self.mix = rng.choice(list(MIXES))
        largest = max(int(size) for size in MIXES[self.mix].split(","))
        self.budget = max(500_000, largest * rng.choice([20, 30, 40]))  # a chunk is a twentieth of a day at most
        self.security = rng.choice(["plain", "tls", "mtls"])
        self.protocol = rng.choice(["5", "5", "3.1.1"])
        self.weather = Weather(loss_ratio=loss, rate_bytes_s=rng.choice([100_000, 400_000]))
        self.kills = {"publisher": 0, "broker": 0, "collector": 0}
        self.partings = 0
        self.starts = 0
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.stack = ExitStack()
        folder.mkdir()
        self.configure_broker()

    def configure_broker(self) -> None:
        plain = f"listener {LOCAL_PORT} 127.0.0.1\n"
        text = (
            "per_listener_settings false\nallow_anonymous true\nmax_packet_size 9000000\npersistence false\nuser root\n"
        )
        text += plain + f"listener {PORT} {AWAY}\n"
        self.tls: list[str] = []
        if self.security != "plain":
            authority = Authority(self.folder, "authority")
            certificate, key = authority.issue(AWAY)
            text += f"cafile {authority.file}\ncertfile {certificate}\nkeyfile {key}\ntls_version tlsv1.3\n"
            self.tls = ["--ca", str(authority.file)]
            if self.security == "mtls":
                text += "require_certificate true\n"
                certificate, key = authority.issue("dev-0")
                self.tls += ["--certificate", str(certificate), "--key", str(key)]
        (self.folder / "mosquitto.conf").write_text(text)

    def __enter__(self) -> Household:
        self.began = time.monotonic()
        self.link = self.stack.enter_context(Link(self.seed, self.weather))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.stack.close()

    def start(self, name: str) -> None:
        self.starts += 1
        if name == "broker":
            command = self.link.away([find_mosquitto() or "mosquitto", "-c", str(self.folder / "mosquitto.conf")])
        else:
            role = [sys.executable, "-m", "tests.integration.transport_roles", name, "--folder", str(self.folder)]
            role += ["--protocol", self.protocol, "--seed", str(self.seed * 1000 + self.starts)]
            if name == "publisher":
                role += ["--name", "dev-0", "--host", AWAY, "--port", str(PORT), *self.tls]
                role += ["--day-bytes", str(self.budget), "--time-zone", noon_zone()]
                role += ["--chunks", str(3 * self.budget // 2000), "--sizes", MIXES[self.mix], "--pause", "0.002"]
                role += ["--spool-bytes", str(64 << 20), "--answer-min", "3", "--answer-cap", "20"]
                command = self.link.at_home(role)
            else:
                role += [
                    "--name",
                    "collector",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(LOCAL_PORT),
                    "--answer-delay",
                    "0.5",
                ]
                command = self.link.away(role)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()
        self.kills[name] += 1

    def over_budget(self) -> bool:
        """Tell whether the running publisher says that nothing more may be sent."""
        pid = str(self.running["publisher"].pid)
        path = self.folder / "dev-0" / "states"
        states = [line.split(maxsplit=1) for line in path.read_text().splitlines()] if path.exists() else []
        return bool(states) and states[-1][0] == pid and states[-1][1].startswith("over budget")

    def check_alive(self) -> None:
        for name in ("publisher", "collector"):
            log = (self.folder / f"{name}.log").read_text()
            assert self.running[name].poll() is None, f"seed {self.seed}: the {name} ended: {log[-2000:]}"

    def trouble(self) -> None:
        """Let something happen."""
        what = self.rng.choice(["publisher", "publisher", "broker", "broker", "collector", "parted"])
        if what == "parted":
            self.partings += 1
            with self.link.parted():
                time.sleep(self.rng.uniform(0.2, 3.0))
            return
        self.kill(what)
        time.sleep(self.rng.choice([0.0, self.rng.uniform(0.0, 1.0)]))
        self.start(what)

    def use_up(self, deadline: float) -> None:
        """Let troubles come while the budget is being used, until it is used up."""
        troubles = sorted(self.rng.uniform(0.02, 0.9) * self.budget for _ in range(self.rng.randint(2, 5)))
        while not self.over_budget() or troubles:
            if troubles and (self.link.bytes_at_home() >= troubles[0] or self.over_budget()):
                troubles.pop(0)
                self.trouble()
            self.check_alive()
            assert time.monotonic() < deadline, (
                f"seed {self.seed}: not used up: {self.link.bytes_at_home()} of {self.budget}"
            )
            time.sleep(0.05)

    def outcome(self) -> Outcome:
        assert self.link.bytes_at_home() == self.link.bytes_by_the_kernel(), "the link miscounts"
        rest = f"{self.mix} {self.security} MQTT {self.protocol}, kills {self.kills}, parted {self.partings}x"
        wall_ns, mono_ns = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        limits = Limits(day_bytes=self.budget, time_zone=noon_zone())
        ledger = Ledger(RealFiles(), self.folder / "dev-0" / "ledger", limits, wall_ns=wall_ns, mono_ns=mono_ns)
        counted = ledger.usage(wall_ns, mono_ns).day_used
        seconds = time.monotonic() - self.began
        used = self.link.bytes_at_home()
        return Outcome(self.seed, self.weather.loss_ratio, self.budget, used, counted, seconds, rest)


def noon_zone() -> str:
    """Return a time zone where it is about noon, so that no day ends in the test."""
    hours = 12 - time.gmtime().tm_hour
    return f"Etc/GMT{-hours:+d}" if hours else "Etc/GMT"


def until(probe: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)


def quiet(link: Link) -> bool:
    before = link.bytes_at_home()
    time.sleep(1.0)
    return link.bytes_at_home() == before


def run(folder: Path, seed: int, loss: float) -> Outcome:
    """Use a budget up under troubles, then start once more, and look at what the interface counted."""
    with Household(folder / f"{seed}-{loss}", seed, loss) as household:
        for name in ("broker", "collector", "publisher"):
            household.start(name)
        household.use_up(time.monotonic() + 240)
        household.kill("publisher")
        household.start("publisher")
        until(household.over_budget, "the budget to be used up", 60)
        household.kill("publisher")
        until(lambda: quiet(household.link), "the last packet", 20)
        return household.outcome()


@pytest.mark.timeout(60 + 60 * RUNS)
def test_no_byte_over_the_budget_crosses_the_interface_and_little_is_left(tmp_path: Path) -> None:
    if (missing := links.why_not()) is not None:
        pytest.skip(missing)
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    first = int(os.environ.get("MODICUM_WIRE_SEED", "1"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(run, tmp_path, first + n, LOSSES[(first + n - 1) % len(LOSSES)]) for n in range(RUNS)]
        outcomes = [each.result() for each in runs]
    for outcome in outcomes:
        print(outcome)
    for loss in LOSSES:
        shares = [outcome.share for outcome in outcomes if outcome.loss == loss]
        if shares:
            print(
                f"loss {loss:4.0%}: {len(shares)} runs, used of the budget: least {min(shares):.1%}, "
                f"median {statistics.median(shares):.1%}, most {max(shares):.1%}"
            )
    over = [str(outcome) for outcome in outcomes if outcome.used > outcome.budget]
    assert not over, "the budget was exceeded:\n" + "\n".join(over)
    blind = [str(outcome) for outcome in outcomes if outcome.used > outcome.counted]
    assert not blind, "the ledger counted less than the interface:\n" + "\n".join(blind)
    under = [str(outcome) for outcome in outcomes if outcome.share < LEAST_USED]
    assert not under, "the budget was not used:\n" + "\n".join(under)


def test_the_link_counts_what_the_kernel_counts_and_loses_what_it_is_told_to(tmp_path: Path) -> None:
    if (missing := links.why_not()) is not None:
        pytest.skip(missing)
    echo = (
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 7))\nprint('bound', flush=True)\n"
        "while True: s.sendto(*s.recvfrom(2000))"
    )
    ask = (
        "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(0.2); got = 0\n"
        f"s.connect(('{AWAY}', 7))\n"
        "for _ in range(200): s.send(bytes(72))\n"
        "try:\n    while True: got += bool(s.recv(2000))\nexcept TimeoutError: print(got)"
    )
    with Link(1, Weather(loss_ratio=0.15)) as link:
        server = subprocess.Popen(link.away([sys.executable, "-c", echo]), stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            server.stdout.readline()
            asked = subprocess.run(
                link.at_home([sys.executable, "-c", ask]), capture_output=True, text=True, check=True
            )
            got = int(asked.stdout)
            assert 200 * 0.85**2 - 30 < got < 200 * 0.85**2 + 30
            assert link.bytes_at_home() == link.bytes_by_the_kernel() == (200 + got) * 100
            with link.parted():
                asked = subprocess.run(
                    link.at_home([sys.executable, "-c", ask]), capture_output=True, text=True, check=True
                )
                assert int(asked.stdout) == 0
        finally:
            server.kill()
            server.wait()
