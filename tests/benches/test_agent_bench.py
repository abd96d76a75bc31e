"""The bench of cost measures what it says: against a process whose cost is known, and in its sums."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benches.agent import PHASES, WORK, Phase, Result, hourly, table
from benches.cost import Meter, Sample, cost_of
from benches.desktop import VirtualDesktop
from benches.latency import measure
from tests.x11_display import need

BUSY = """
import os, sys, time
child = os.fork()
block = b"x" * 30_000_000
end = time.monotonic() + 60
while time.monotonic() < end:
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
    time.sleep(0.08)
"""


def test_the_meter_sees_processor_time_wakeups_and_memory_of_a_tree() -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    meter = Meter(process.pid)
    try:
        time.sleep(0.5)
        meter.start()
        began = time.monotonic()
        time.sleep(4)
        cost = meter.between(began, time.monotonic())
    finally:
        meter.stop()
        subprocess.run(["kill", *map(str, _children(process.pid)), str(process.pid)], check=False)
        process.wait()
    assert cost is not None
    # Two processes, each 20 ms of every 100 or, on a machine that lets them wait, more.
    assert 0.1 < cost.cpu_mean < 0.45
    assert 4 < cost.switches_s < 40
    assert cost.rss_steady > 60_000_000
    assert cost.threads == 2


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_stretches_are_summed_without_what_lies_between() -> None:
    def sample(at: float, cpu: float) -> Sample:
        return Sample(at, cpu, int(cpu * 10), 100, 0, 1, 1)

    work = [sample(at / 4, at / 40) for at in range(9)]
    later = [sample(100 + at / 4, 50 + at / 40) for at in range(9)]
    cost = cost_of([work, later, [sample(300, 90)]])
    assert cost is not None
    assert cost.seconds == pytest.approx(4)
    assert cost.cpu_mean == pytest.approx(0.1)
    assert cost_of([[sample(0, 0)]]) is None


def test_a_chunks_fixed_bytes_are_counted_as_often_as_chunks_are_closed() -> None:
    phases = {
        "idle": Phase(None, written={"events": 0, "screens": 30_000}),
        "typing": Phase(None, written={"events": 2_000, "screens": 50_000}),
    }
    hourly(phases, 60.0, {"events": 12, "screens": 4})
    assert phases["typing"].bytes_h == {"events": 120_000, "screens": 20_000 * 60 + 4 * 30_000}
    assert phases["idle"].bytes_h["screens"] == 120_000
    hourly(phases, 60.0, {})
    assert phases["typing"].bytes_h["screens"] == 50_000 * 60


def test_the_tables_show_every_recorder_also_one_that_ended() -> None:
    whole = cost_of([[Sample(at, at / 100, at, 2**20, 0, 1, 1) for at in range(10)]])
    good = Result("good", {name: Phase(whole, {"events": 1.0}) for name in PHASES}, whole, (210.0, 900.0), 0.5)
    bad = Result("bad", {"idle": Phase(None)}, None, None, None, ended=True)
    text = table([Result("nothing", latency_us=(200.0, 800.0)), good, bad])
    assert "| good | 1.00% / 1.0% |" in text
    assert "(+10)" in text
    assert "ended by itself" in text
    assert sum(WORK.values()) == pytest.approx(1)


@pytest.mark.x11
def test_the_latency_of_input_is_measured_on_a_real_display() -> None:
    need("Xvfb", "openbox")
    with VirtualDesktop(apps=(), panel=False) as desktop:
        found = measure(desktop.name, desktop.authority, count=50)
    assert found.count == 50
    assert 10 < found.median_us < 100_000
    assert found.p99_us >= found.median_us
