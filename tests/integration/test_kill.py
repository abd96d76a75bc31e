"""kill -9 of each process in mid-stream: what was closed reaches the archive, and nothing is there twice."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codec.chunk import parse_header
from tests.integration.stack import Stack, display, wait_for
from tests.integration.test_flow import CONFIG

pytestmark = [pytest.mark.x11, pytest.mark.broker]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A running stack with a terminal to type into, whose chunks are closed after at most a second."""
    with display(tmp_path) as environment:
        stack = Stack(tmp_path, environment)
        try:
            config = CONFIG.format(allow='"xterm"', port=stack.port, folder=tmp_path, effort="fast")
            stack.configure(config)
            stack.processes.start("xterm", ["xterm", "-fullscreen", "-e", "cat"], environment)
            stack.start_broker()
            stack.start_collector()
            stack.start_agent()
            yield stack
        finally:
            stack.end()


def work(stack: Stack, chunks: int) -> None:
    """Type, and close a chunk after each word."""
    for _ in range(chunks):
        subprocess.run(["xdotool", "type", "--delay", "5", "word "], env=stack.environment, check=True)
        stack.ask("flush")


def spooled(stack: Stack) -> int:
    status = stack.status()
    return -1 if status is None else int(status["chunks"]["waiting"])


def archived_numbers(stack: Stack) -> list[int]:
    """Return the sequence numbers in the archive; every chunk there is whole, and lies under its own name once."""
    headers = [parse_header(path.read_bytes()) for path in stack.archived()]
    ids = [header.chunk_id for header in headers]
    assert len(set(ids)) == len(ids)
    assert len({(chunk_id.device, chunk_id.epoch) for chunk_id in ids}) <= 1, "no kill begins a new epoch"
    return sorted(chunk_id.seq for chunk_id in ids)


@pytest.mark.parametrize("victim", ["agent", "broker", "collector"])
def test_what_was_closed_is_in_the_archive_once_whoever_is_killed(stack: Stack, victim: str) -> None:
    rng = random.Random(victim)
    closed = 0
    for _ in range(3):
        count = rng.randint(2, 5)
        work(stack, count)
        closed += count
        time.sleep(rng.uniform(0, 0.5))  # somewhere between the spool and the acknowledgement
        if victim == "agent":
            stack.kill(stack.agent)
            stack.start_agent()
        elif victim == "broker":
            stack.kill(stack.broker)
            stack.start_broker()
        else:
            stack.kill(stack.collector)
            stack.start_collector()
    # Whatever was closed before a kill has a number below this one.
    work(stack, 1)
    closed += 1
    wait_for(lambda: spooled(stack) == 0, "the spool to empty", seconds=150)
    numbers = archived_numbers(stack)
    assert numbers == list(range(len(numbers))), "a hole: a closed chunk is missing"
    assert len(numbers) >= closed


def test_without_broker_everything_waits_and_arrives_later(stack: Stack) -> None:
    work(stack, 2)
    wait_for(lambda: spooled(stack) == 0, "the spool to empty")
    stack.kill(stack.broker)
    work(stack, 4)
    status = stack.status()
    assert status is not None
    assert status["chunks"]["waiting"] >= 4
    wait_for(lambda: (stack.status() or {"warnings": ()})["warnings"], "the agent to say that the broker is down")
    stack.start_broker()
    wait_for(lambda: spooled(stack) == 0, "the spool to empty", seconds=150)
    numbers = archived_numbers(stack)
    assert numbers == list(range(len(numbers)))
