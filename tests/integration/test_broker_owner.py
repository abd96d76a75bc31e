"""What the owner of a broker can see, by docs/privacy.md: everything on every topic is taken apart, and nothing else is in it.

The owner listens to `#` while a device enrols, sends what it recorded, is answered, and has something erased. Each payload is
read byte by byte as the formats say. What then remains is ciphertext: it is compared with what was recorded, and tried to be
compressed.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from codec.chunk import Body, encode_body, open_chunk, parse_header, seal_chunk
from codec.model import ChunkId, KeyEvents, Meta, PointerEvents, Row
from codec.seal import SIGNATURE_BYTES, SUITE_SIZES, ArchivePrivateKey, DeviceSigningKey, Suite
from codec.tombstone import MAGIC as TOMBSTONE_MAGIC
from codec.tombstone import Range, parse_tombstone, sign_tombstone
from tests.transport.kit import MemoryLedger, mosquitto, until
from transport import erasing
from transport.archive import FolderStore
from transport.asking import MAGIC as QUESTION_MAGIC
from transport.asking import parse_question
from transport.authority import Authority, new_key, signing_request
from transport.collector import Collector, CollectorSettings
from transport.desk import Desk
from transport.endpoint import Message
from transport.enrolment import REPLY_MAGIC, REQUEST_MAGIC, Request, pack_request, parse_request, split_reply
from transport.exchange import Permit
from transport.fs import RealFiles
from transport.joining import ask, check_reply
from transport.limits import Link
from transport.messages import SIGNED_MAGIC, parse_answer, up_topic
from transport.mqtt import Broker, Dialer
from transport.publisher import Publisher, PublisherSettings
from transport.registrar import Offer, Registrar
from transport.registry import Registry
from transport.spool import Spool

pytestmark = pytest.mark.broker

DEVICE = "k3wq7dmn5xazyp2r"
SECRETS = {
    "title": "Letter to Dr Hohenstein about the diagnosis",
    "app": "org.example.diary",
    "site": "hospital.example.org",
    "region": "Liechtenstein",
    "purpose": "computer-use-training",
    "reader": "The Laboratory of Somebody",
}
CONSENT = bytes(range(200, 232))
T0_MS, WALL_T0_NS = 987_654_321, 1_790_123_456_789_000_000


def recorded(chunk_id: ChunkId, archive: ArchivePrivateKey, signer: DeviceSigningKey) -> bytes:
    """Return a chunk of a person's minutes."""
    wall_s = WALL_T0_NS // 1_000_000_000
    meta = Meta(T0_MS, WALL_T0_NS, 300_000, (SECRETS["purpose"],), CONSENT, wall_s + 86_400 * 365, SECRETS["region"])
    rows = [
        Row(step, "focus", {"app": SECRETS["app"], "title": SECRETS["title"], "site": SECRETS["site"]})
        for step in range(200)
    ]
    body = encode_body(Body(meta, PointerEvents.empty(), KeyEvents.empty(), rows, b""))
    return seal_chunk(
        chunk_id,
        body,
        recipient=archive.public,
        signer=signer,
        expires_s=meta.expires_s,
        value=200,
    )


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[list[Message]]:
    """Hear every message on every topic."""
    heard: list[Message] = []
    async with Dialer(Broker("127.0.0.1", port, "owner")).connect() as owner:
        await owner.subscribe("#", qos=1)

        async def listen() -> None:
            async for message in owner.messages():
                heard.append(message)

        task = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            task.cancel()


def take_apart(message: Message) -> tuple[str, bytes]:
    """Return what kind of message it is, and the part that is neither listed in docs/privacy.md nor a signature."""
    topic, payload = message.topic, message.payload
    if topic == f"modicum/v1/{DEVICE}/up" and payload[:4] == TOMBSTONE_MAGIC:
        parse_tombstone(payload)
        return "tombstone", b""
    if topic == f"modicum/v1/{DEVICE}/up" and payload[:4] == QUESTION_MAGIC:
        parse_question(DEVICE, payload)
        return "question", b""
    if topic == f"modicum/v1/{DEVICE}/up":
        header = parse_header(payload)
        assert header.pack() == payload[: header.header_bytes]  # the header is the fields that are listed, and no more
        sealed = payload[header.header_bytes : -SIGNATURE_BYTES - 4]
        return "chunk", sealed[SUITE_SIZES[Suite(header.suite)].enc :]
    if topic == f"modicum/v1/{DEVICE}/ack":
        assert payload[:4] == SIGNED_MAGIC
        parse_answer(payload)
        return "answer", b""
    assert topic.startswith("modicum/v1/enrol/"), f"a topic that is not listed: {topic}"
    if payload[:4] == REQUEST_MAGIC:
        assert parse_request(payload).request.device == DEVICE
        return "request", b""
    assert payload[:4] == REPLY_MAGIC
    reply, _, _ = split_reply(payload)
    assert not reply.refusal
    return "reply", b""


async def test_the_brokers_owner_hears_what_is_listed_and_nothing_else(tmp_path: Path) -> None:
    files, archive_key = RealFiles(), ArchivePrivateKey.generate()
    authority, answer_key = Authority.make("fleet", int(time.time())), DeviceSigningKey.generate()
    signer, (tls_key, _) = DeviceSigningKey.generate(), new_key()
    registry = Registry(files, tmp_path / "devices")
    registrar = Registrar(
        files, registry, authority, Offer("broker.example.org", 8883, True, SECRETS["reader"], answer_key.public)
    )
    token = registrar.make_token(archive_key.public)
    store = FolderStore(files, tmp_path / "archive")
    (tmp_path / "broker").mkdir()
    spool = Spool.open(files, tmp_path / "spool", device=DEVICE, limit_bytes=64 << 20)
    with mosquitto(tmp_path / "broker", "allow_anonymous true\nmax_packet_size 9000000\n") as port:
        async with listening(port) as heard:
            events: list[str] = []
            collector = Collector(
                CollectorSettings(Broker("127.0.0.1", port, "col"), answer_delay_s=0.05, answer_key=answer_key),
                store,
                lambda event: events.append(event.kind),
                check=registry.check,
                handlers=erasing.handlers(store, registry, lambda: int(time.time())),
            )
            desk = Desk(Broker("127.0.0.1", port, "desk"), registrar, lambda event: events.append(event.kind))
            publisher = Publisher(
                PublisherSettings(Broker("127.0.0.1", port, DEVICE), linger_s=0.2, answer_keys=(answer_key.public,)),
                spool,
                MemoryLedger(),
                conditions=lambda: Permit(Link.UNMETERED),
            )
            tasks = [asyncio.create_task(collector.run()), asyncio.create_task(desk.run())]
            await until(lambda: events.count("connected") == 2)
            request = pack_request(
                Request(
                    DEVICE, signer.public, int(time.time()), secrets.token_bytes(16), signing_request(tls_key),
                    token.token_id,
                ),
                signer,
                token.key,
            )  # fmt: skip
            answer = await ask(Broker("127.0.0.1", port, ""), request)
            reply = check_reply(request, answer, pin=token.pin)
            assert reply.archive_key == archive_key.public
            chunks = []
            for _ in range(5):
                chunk_id = spool.next_id()
                chunks.append(recorded(chunk_id, archive_key, signer))
                spool.put(chunk_id, chunks[-1], value=200, ready_wall_ns=0)
            tasks.append(asyncio.create_task(publisher.run()))
            await until(lambda: publisher.totals.archived_chunks == len(chunks))
            tombstone = sign_tombstone(DEVICE, [Range(chunk_id.epoch, 0, 0)], wall_s=1, signer=signer)
            async with Dialer(Broker("127.0.0.1", port, "erasing")).connect() as device:
                await device.publish(up_topic(DEVICE), tombstone)
            await until(lambda: "erased" in events)
            await until(lambda: any(message.payload == tombstone for message in heard))
            carried_out = [message.payload for message in heard].index(tombstone)
            await until(lambda: any(message.topic.endswith("/ack") for message in heard[carried_out:]))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    spool.close()

    taken = [take_apart(message) for message in heard]
    kinds = [kind for kind, _ in taken]
    assert {*kinds} - {"question"} == {"request", "reply", "chunk", "answer", "tombstone"}
    assert kinds.count("chunk") >= len(chunks)

    # Nothing that was recorded, agreed to or kept secret is on the wire, in any spelling or byte order.
    everything = b"\0".join(message.topic.encode() + b"\0" + message.payload for message in heard)
    hidden = {name: text.encode() for name, text in SECRETS.items() if name != "reader"}
    hidden |= {f"{name} in UTF-16": text.encode("utf-16-le") for name, text in SECRETS.items()}
    hidden |= {"consent": CONSENT, "the device's key": signer.raw, "the archive's key": archive_key.raw}
    hidden |= {"the token": token.seed, "the certificate's key": tls_key, "the collectors' key": answer_key.raw}
    for order in "<>":
        hidden[f"the time of recording {order}"] = struct.pack(f"{order}Q", WALL_T0_NS)
        hidden[f"its second {order}"] = struct.pack(f"{order}I", WALL_T0_NS // 1_000_000_000)
        hidden[f"the source's clock {order}"] = struct.pack(f"{order}I", T0_MS)
    for name, text in hidden.items():
        assert text not in everything, name
    assert SECRETS["reader"].encode() in everything  # the search finds what is there: the notice's reader, at enrolment

    # What remains is noise: five chunks of the same minutes have nothing in common, and nothing in them compresses.
    sealed = [rest for kind, rest in taken if kind == "chunk"]
    assert len(zlib.compress(b"".join(sealed), 9)) > sum(map(len, sealed))
    bodies = [open_chunk(chunk, archive_key)[1] for chunk in chunks]
    assert len({*bodies}) == 1
    assert len({rest[:16] for rest in sealed}) == len({*sealed})
