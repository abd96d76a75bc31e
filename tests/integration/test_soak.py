"""Hours of work: memory, descriptors and threads stay where they are.

`make soak` runs an hour (MODICUM_SOAK_S=3600); continuous integration 24 s, which finds what leaks with every chunk or
with every frame, since the chunks are of ten seconds there.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from benches.cost import Sample, look
from tests.integration.stack import Stack, display, wait_for
from tests.integration.test_reload import text
from tests.x11_injector import Injector, Truth

pytestmark = [pytest.mark.x11, pytest.mark.broker, pytest.mark.timeout(8 * 3600)]

SOAK_S = float(os.environ.get("MODICUM_SOAK_S", "24"))
WARM_S = 16.0 if SOAK_S < 600 else 300.0
STEP_S = 1.0
NOISE_BYTES = 4 << 20
"""Of resident memory, from one moment to the next: a chunk that is being made, a page of the interpreter's heap."""
GROWTH_BYTES_H = 1 << 20


def test_memory_descriptors_and_threads_stay_flat(tmp_path: Path) -> None:
    with display(tmp_path, size="1280x800") as environment:
        stack = Stack(tmp_path, environment)
        stop = threading.Event()
        try:
            stack.configure(text(stack))
            scroll = "while :; do date +%N; sleep 0.7; done"  # something to take pictures of
            stack.processes.start("canvas", ["xterm", "-fullscreen", "-e", "sh", "-c", scroll], environment)
            stack.start_broker()
            stack.start_collector()
            stack.start_agent()
            wait_for(lambda: (stack.status() or {})["state"] == "recording", "it to record")
            worker = threading.Thread(target=_work, args=(environment["DISPLAY"], stop))
            worker.start()
            try:
                samples = _watch(stack)
            finally:
                stop.set()
                worker.join()
            status = stack.status()
            assert status is not None
            assert status["recorded"]["frames"] >= 0.2 * SOAK_S
            assert status["recorded"]["pointer"] > 10 * SOAK_S
            assert status["chunks"]["closed"] >= 3
            stack.stop_agent()
        finally:
            stop.set()
            stack.end()
    half = len(samples) // 2
    # The lowest of each half: what is taken for a moment is in neither.
    growth = min(one.rss_bytes for one in samples[half:]) - min(one.rss_bytes for one in samples[:half])
    hours = SOAK_S / 3600
    quarters = [samples[n * len(samples) // 4 : (n + 1) * len(samples) // 4] for n in range(4)]
    lowest = ", ".join(f"{min(one.rss_bytes for one in part) / (1 << 20):.1f}" for part in quarters)
    print(
        f"{SOAK_S:.0f} s: {growth / 1024:+.0f} KiB from half to half (lowest of each quarter: {lowest} MiB), "
        f"{samples[-1].threads} threads, {samples[-1].files} descriptors"
    )
    assert growth <= NOISE_BYTES + GROWTH_BYTES_H * hours
    for name in ("threads", "files"):
        before, after = (max(getattr(one, name) for one in part) for part in (samples[:half], samples[half:]))
        assert after <= before + 1, f"{name}: {before}, later {after}"  # + 1: a connection to the broker, a question


def _work(name: str, stop: threading.Event) -> None:
    injector, turn = Injector(name), 0
    while not stop.is_set():
        turn += 1
        injector.truth = Truth()  # `work` goes on until there is so much in it
        injector.move_to(400, 300)
        injector.work(250, 125, random.Random(turn))
        stop.wait(0.5)
    injector.close()


def _watch(stack: Stack) -> list[Sample]:
    assert stack.agent is not None
    time.sleep(WARM_S)
    samples: list[Sample] = []
    end = time.monotonic() + SOAK_S
    while time.monotonic() < end:
        sample = look(stack.agent.pid)
        assert sample is not None, stack.processes.log("agent")
        samples.append(sample)
        time.sleep(STEP_S)
    return samples
