"""Erasing for real: an agent, a broker and a collector, each a process; what the person takes back is gone and stays gone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codec.chunk import parse_header
from codec.model import ChunkId
from codec.tombstone import Scope, parse_tombstone
from tests.integration.stack import Stack, display, wait_for
from tests.integration.test_flow import CONFIG
from tests.integration.test_kill import spooled, work
from transport.messages import NackCode, ack_topic, parse_answer, up_topic
from transport.mqtt import Broker, Dialer

pytestmark = [pytest.mark.x11, pytest.mark.broker]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A running stack with a terminal to type into."""
    with display(tmp_path) as environment:
        stack = Stack(tmp_path, environment)
        try:
            stack.configure(CONFIG.format(allow='"xterm"', port=stack.port, folder=tmp_path, effort="fast"))
            stack.processes.start("xterm", ["xterm", "-fullscreen", "-e", "cat"], environment)
            stack.start_broker()
            stack.start_collector()
            stack.start_agent()
            yield stack
        finally:
            stack.end()


def ids(stack: Stack) -> list[ChunkId]:
    return sorted(parse_header(path.read_bytes()).chunk_id for path in stack.archived())


def filled(stack: Stack, chunks: int) -> list[ChunkId]:
    """Record so many chunks, and have them archived."""
    before = len(stack.archived())
    work(stack, chunks)
    wait_for(lambda: spooled(stack) == 0 and len(stack.archived()) >= before + chunks, "the chunks to be archived")
    return ids(stack)


def orders(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(stack.run("erase", "--status", "--json").stdout)
    return found


def tombstones(stack: Stack) -> list[Path]:
    return sorted((stack.archive / ".tombstones").rglob("*.tombstone"))


def left_of_the_device(stack: Stack) -> set[str]:
    """Return every file below the state folder that is more than the budget's account and the journal."""
    state = stack.folder / "agent" / "state"
    names = {path.relative_to(state).parts[0] for path in state.rglob("*") if path.is_file()}
    return names - {"ledger", "journal.jsonl"}


def connections(stack: Stack) -> int:
    return sum(line.startswith("connected:") for line in stack.processes.log("collector").splitlines())


async def send_again(stack: Stack, device: str, chunk: bytes) -> NackCode:
    """Publish a chunk as its device did, and return why the collector refuses it."""
    async with Dialer(Broker("127.0.0.1", stack.port, device)).connect() as connection:
        await connection.subscribe(ack_topic(device), qos=0)
        await connection.publish(up_topic(device), chunk)
        async for message in connection.messages():
            for nack in parse_answer(message.payload).nacks:
                return nack.code
    raise AssertionError("no answer")


def test_what_was_sent_is_erased_in_the_archive_and_recording_goes_on(stack: Stack) -> None:
    first = filled(stack, 4)
    chunk = next(path for path in stack.archived() if parse_header(path.read_bytes()).chunk_id == first[1]).read_bytes()
    said = stack.run("erase", "--chunk", f"{first[1].epoch:08x}/{first[1].seq}", "--wait").stdout
    assert "1 are to be erased in the archive" in said
    assert "erased in the archive on" in said
    assert ids(stack) == [chunk_id for chunk_id in first if chunk_id != first[1]]
    assert asyncio.run(send_again(stack, first[1].device, chunk)) is NackCode.ERASED
    verified = json.loads(
        stack.run("archive", "verify", str(stack.archive), "--key", str(stack.private_key), "--json").stdout
    )
    assert verified["is_sound"], verified
    stack.run("erase", "--since", "1 h", "--wait")
    assert ids(stack) == []
    later = filled(stack, 2)
    assert min(later) > max(first)
    assert [order["answer"] for order in orders(stack)] == ["erased", "erased"]


def test_an_order_outlives_kills_of_everybody(stack: Stack) -> None:
    """Ordered while there is no broker; agent and collector are killed at once, and again while it is carried out."""
    first = filled(stack, 3)
    stack.kill(stack.broker)
    stack.run("erase", "--all")
    stack.kill(stack.agent)
    stack.kill(stack.collector)
    assert [order["answer"] for order in orders(stack)] == [""]
    assert ids(stack) == first
    stack.start_broker()
    stack.start_collector()
    stack.start_agent()
    wait_for(lambda: tombstones(stack), "the order to arrive", seconds=120)
    stack.kill(stack.collector)
    stack.start_collector()
    wait_for(lambda: orders(stack)[0]["answer"] == "erased", "the archive to answer", seconds=150)
    assert not set(ids(stack)) & set(first)


def test_without_an_agent_orders_are_kept_or_sent_at_once(stack: Stack) -> None:
    first = filled(stack, 2)
    stack.stop_agent()
    stack.run("erase", "--since", "1 h", "--config", str(stack.config))
    assert [order["answer"] for order in orders(stack)] == [""]
    assert set(ids(stack)) >= set(first)
    said = stack.run("erase", "--all", "--wait", "--config", str(stack.config)).stdout
    assert said.count("erased in the archive on") == 2
    assert ids(stack) == []


def test_after_a_withdrawal_the_archive_holds_only_a_tombstone_and_this_machine_nothing(stack: Stack) -> None:
    first = filled(stack, 3)
    chunk = stack.archived()[0].read_bytes()
    said = stack.run("withdraw", "--config", str(stack.config)).stdout
    assert "The archive has erased what was sent" in said
    assert stack.agent is not None
    stack.agent.wait(30)
    assert ids(stack) == []
    (tombstone,) = tombstones(stack)
    assert parse_tombstone(tombstone.read_bytes()).scope is Scope.DEVICE
    assert not (stack.archive / first[0].device).exists()
    assert left_of_the_device(stack) == set()
    assert asyncio.run(send_again(stack, first[0].device, chunk)) is NackCode.ERASED
    assert ids(stack) == []
    again = stack.run("withdraw", "--config", str(stack.config))
    assert "Nothing is left to be told" in again.stdout


def test_a_withdrawal_without_network_is_told_later(stack: Stack) -> None:
    first = filled(stack, 2)
    stack.kill(stack.broker)
    stack.kill(stack.agent)  # it cannot even be asked
    started = time.monotonic()
    said = stack.run("withdraw", "--config", str(stack.config)).stdout
    assert "The archive does not know yet" in said
    assert time.monotonic() - started < 60
    assert left_of_the_device(stack) == {"enrolled", "farewell"}  # what the last order takes, and no more
    assert set(ids(stack)) >= set(first)
    stack.start_broker()
    wait_for(lambda: connections(stack) == 2, "the collector to come back")
    refused = stack.run("run", "--config", str(stack.config), check=False)  # as at the next login: without consent
    assert refused.returncode == 3, refused.stderr
    wait_for(lambda: ids(stack) == [], "the archive to erase")
    assert left_of_the_device(stack) == set()
    assert len(tombstones(stack)) == 1


def test_a_withdrawal_may_leave_in_the_archive_what_was_sent(stack: Stack) -> None:
    first = filled(stack, 2)
    said = stack.run("withdraw", "--keep-sent", "--config", str(stack.config)).stdout
    assert "What was sent stays" in said
    assert set(ids(stack)) >= set(first)
    assert left_of_the_device(stack) == set()
