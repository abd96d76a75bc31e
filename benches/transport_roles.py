"""Shell: the processes of benches/transport.py: a collector, and the bare subscriber that it is compared with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from codec.chunk import seal_chunk
from codec.model import ChunkId
from codec.seal import ArchivePrivateKey, DeviceSigningKey
from transport import erasing, expiry
from transport.archive import FolderStore
from transport.cli import SYNCERS
from transport.collector import Collector, CollectorEvent, CollectorSettings
from transport.devices import Device, SigningKey
from transport.fs import RealFiles
from transport.messages import up_filter, up_topic
from transport.mqtt import Broker, Dialer
from transport.registry import Registry

KEY = DeviceSigningKey.generate()
ARCHIVE = ArchivePrivateKey.generate().public
WINDOW = 64
CONNECTIONS = 4
AHEAD = 600
"""Less than the 1,000 messages that mosquitto queues for a subscriber before it drops them, acknowledged as they are."""


def sealed(chunk_id: ChunkId, size_bytes: int) -> bytes:
    """Return a sealed and signed chunk that holds noise."""
    return seal_chunk(chunk_id, os.urandom(size_bytes), recipient=ARCHIVE, signer=KEY, expires_s=0, value=100)


def sealed_chunks(registry: Path, count: int, size_bytes: int, devices: int) -> list[tuple[str, bytes]]:
    """Enrol devices, and return their chunks with the topics they go to."""
    enrolled = Registry(RealFiles(), registry)
    names = [f"bench-{number:04d}" for number in range(devices)]
    for name in names:
        enrolled.change(name, lambda _, name=name: Device(name, 1, (SigningKey(KEY.public, 1),)))  # type: ignore[misc]
    return [
        (up_topic(names[number % devices]), sealed(ChunkId(names[number % devices], 1, number // devices), size_bytes))
        for number in range(count)
    ]


async def publish(port: int, messages: list[tuple[str, bytes]], stored: Callable[[], int] | None = None) -> None:
    """Publish with QoS 1, as fast as the broker takes it.

    Args:
        stored: how many have been stored; no more than AHEAD are published beyond, since a broker drops what it cannot queue.
    """
    started = 0

    async def share(number: int) -> None:
        nonlocal started
        broker = Broker("127.0.0.1", port, f"feeder-{number}", in_flight=WINDOW, answer_timeout_s=120.0)
        async with Dialer(broker).connect() as connection:
            for start in range(number * WINDOW, len(messages), CONNECTIONS * WINDOW):
                batch = messages[start : start + WINDOW]
                started += len(batch)
                while stored is not None and started - stored() > AHEAD:  # noqa: ASYNC110 - other processes store
                    await asyncio.sleep(0.02)
                await asyncio.gather(*(connection.publish(topic, payload) for topic, payload in batch))

    await asyncio.gather(*(share(number) for number in range(CONNECTIONS)))


def now_s() -> int:
    return int(time.time())


async def collect(port: int, archive: Path, number: int) -> None:
    """Be a collector, as `modicum collect` assembles one."""
    registry = Registry(RealFiles(), archive / ".devices")
    store = FolderStore(RealFiles(), archive, syncers=ThreadPoolExecutor(SYNCERS))

    def show(event: CollectorEvent) -> None:
        if event.kind == "connected":
            (archive / f".ready-{number}").touch()

    collector = Collector(
        CollectorSettings(Broker("127.0.0.1", port, f"collector-{number}")),
        store,
        show,
        check=expiry.before(registry.check, now_s),
        handlers=erasing.handlers(store, registry, now_s),
    )
    await collector.run()


async def subscribe(port: int, archive: Path, *, sync: bool) -> None:
    """Be what one writes in an afternoon: every message into a file, acknowledged by the library before it is there."""
    import aiomqtt

    async with aiomqtt.Client("127.0.0.1", port, max_queued_incoming_messages=0) as client:
        await client.subscribe(up_filter(group=None), qos=1)
        (archive / ".ready-0").touch()
        number = 0
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            with (archive / f"{number}.chunk").open("wb") as file:
                file.write(message.payload)
                if sync:
                    file.flush()
                    os.fdatasync(file.fileno())
            number += 1


def main() -> None:
    role, port, archive, number = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    archive.mkdir(exist_ok=True)

    async def until_told() -> None:
        work = collect(port, archive, number) if role == "collector" else subscribe(port, archive, sync=role != "bare")
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(until_told())


if __name__ == "__main__":
    main()
