"""Everybody who should not get in, at a real broker with the files of deploy/ and a real collector: each is refused, told, and
changes nothing.

Before and after each attack the archive and the registry are hashed, and afterwards an honest device is still served.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from codec.chunk import MAX_CHUNK_BYTES, parse_header, seal_chunk
from codec.model import ChunkId
from codec.seal import ArchivePrivateKey, ArchivePublicKey, DeviceSigningKey
from codec.tombstone import Authority as TombstoneAuthority
from codec.tombstone import Range, sign_tombstone
from tests.integration.fleet import Fleet, fleet, handshake
from tests.integration.stack import COMMAND, wait_for
from tests.transport.kit import mosquitto, until
from transport.authority import Authority, Purpose, new_key
from transport.errors import Refused, TooLarge, TransportError, Unavailable
from transport.messages import (
    Answer,
    Nack,
    NackCode,
    ack_topic,
    digest_of,
    pack_answer,
    parse_answer,
    up_topic,
)
from transport.mqtt import Broker, Connection, Dialer, Tls

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]


@dataclass
class Person:
    """A device that is enrolled: what it has."""

    name: str
    fleet: Fleet
    device: str
    key: DeviceSigningKey
    sealing: ArchivePublicKey
    seq: int = 0

    @property
    def tls(self) -> Tls:
        folder = self.fleet.folder / self.name / "state" / "enrolled"
        return Tls(folder / "ca.pem", folder / "client.pem", folder / "client.key")

    def broker(self, client_id: str = "") -> Broker:
        return Broker(
            "localhost", self.fleet.port, client_id or f"{self.device}-x", tls=self.tls, connect_timeout_s=5.0
        )

    def chunk(self, device: str = "", *, key: DeviceSigningKey | None = None, body: bytes = b"body") -> bytes:
        self.seq += 1
        chunk_id = ChunkId(device or self.device, 1, self.seq)
        return seal_chunk(chunk_id, body, recipient=self.sealing, signer=key or self.key, expires_s=0, value=200)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        made.run("keys", "answers", "--out", str(made.folder / "answers"))
        made.start_broker()
        made.start_desk("--answer-key", str(made.folder / "answers" / "answers.pub"))
        made.start_collector("--answer-key", str(made.folder / "answers" / "answers.key"))
        yield made


def enrolled(running: Fleet, name: str) -> Person:
    running.enrol(name)
    state = running.folder / name / "state"
    return Person(
        name,
        running,
        (state / "device").read_text().strip(),
        DeviceSigningKey.from_text((state / "device.key").read_text()),
        ArchivePublicKey.from_text((state / "enrolled" / "archive.pub").read_text()),
    )


@pytest.fixture(scope="module")
def people(running: Fleet) -> tuple[Person, Person]:
    """Eve attacks, Ada is the honest one."""
    return enrolled(running, "eve"), enrolled(running, "ada")


@pytest.fixture(scope="module")
def known(people: tuple[Person, Person]) -> bytes:
    """A chunk of Ada's that is archived already."""
    ada = people[1]
    chunk = ada.chunk()
    assert asyncio.run(told(ada, chunk)).acks
    return chunk


@pytest.fixture
def unchanged(running: Fleet, people: tuple[Person, Person], known: bytes) -> Iterator[None]:
    """Whatever happens meanwhile changes nothing, and Ada is served as before."""
    before = running.digest()
    yield
    answer = asyncio.run(told(people[1], known))
    assert [digest for _, digest in answer.acks] == [digest_of(known)]
    assert running.digest() == before


async def told(person: Person, *payloads: bytes) -> Answer:
    """Publish on the person's own topic; return what the collector says of all of it, joined."""
    wanted = {digest_of(payload) for payload in payloads}
    acks, nacks, done = [], [], []
    async with asyncio.timeout(30), Dialer(person.broker()).connect() as connection:
        await connection.subscribe(ack_topic(person.device), qos=0)
        for payload in payloads:
            await connection.publish(up_topic(person.device), payload)
        async for message in connection.messages():
            answer = parse_answer(message.payload)
            acks += [ack for ack in answer.acks if ack[1] in wanted]
            nacks += [nack for nack in answer.nacks if nack.digest in wanted]
            done += [digest for digest in answer.done if digest in wanted]
            if {*(d for _, d in acks), *(nack.digest for nack in nacks), *done} == wanted:
                return Answer(answer.epoch, tuple(acks), tuple(nacks), tuple(done))
    raise AssertionError("unreachable")


def refusals(running: Fleet) -> list[dict[str, object]]:
    """Return what the collector has refused so far, from its log."""
    lines = [json.loads(line) for line in running.processes.log("collector").splitlines() if line.startswith("{")]
    return [line for line in lines if line["kind"] == "refused"]


def client_context(running: Fleet, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(running.authority / "ca.pem")
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def certificate_of(folder: Path, authority: Authority, name: str, *, days: int = 1) -> tuple[Path, Path]:
    private, public = new_key()
    issued = authority.issue(name, public, Purpose.CLIENT, int(time.time()), days=days)
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(issued.pem)
    paths[1].write_bytes(private)
    return paths


def logged(running: Fleet, pattern: str) -> None:
    wait_for(
        lambda: re.search(pattern, running.processes.log("mosquitto")), f"mosquitto to log {pattern!r}", seconds=10
    )


async def is_refused(broker: Broker) -> str:
    """Try to connect and to stay; return why not."""
    try:
        async with Dialer(broker).connect() as connection:  # TLS 1.3 tells a client only after the handshake
            await connection.subscribe("modicum/v1/nobody/ack", qos=0)
    except (Refused, Unavailable) as error:
        return str(error)
    raise AssertionError("it was let in")


# -- who comes in


@pytest.mark.usefixtures("unchanged")
def test_without_a_certificate_there_is_no_session(running: Fleet) -> None:
    broker = Broker("localhost", running.port, "nobody", tls=Tls(running.authority / "ca.pem"), connect_timeout_s=5.0)
    assert asyncio.run(is_refused(broker))
    logged(running, r"peer did not return a certificate|certificate required")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("kind", ["expired", "foreign", "self-made"])
def test_with_a_wrong_certificate_there_is_no_session(
    running: Fleet, people: tuple[Person, Person], tmp_path: Path, kind: str
) -> None:
    """An ended one of Ada's; one for Ada's name of another authority; one that Ada's own certificate signs."""
    ada = people[1]
    assert ada.tls.certificate_file is not None
    assert ada.tls.key_file is not None
    authority = {
        "expired": Authority((running.authority / "ca.pem").read_bytes(), (running.authority / "ca.key").read_bytes()),
        "foreign": Authority.make("modicum fleet", int(time.time())),
        "self-made": Authority(ada.tls.certificate_file.read_bytes(), ada.tls.key_file.read_bytes()),
    }[kind]
    pem, key = certificate_of(tmp_path, authority, ada.device, days=-1 if kind == "expired" else 1)
    tls = Tls(running.authority / "ca.pem", pem, key)
    broker = Broker("localhost", running.port, "nobody", tls=tls, connect_timeout_s=5.0)
    before = running.processes.log("mosquitto")
    assert asyncio.run(is_refused(broker))
    wait_for(lambda: "certificate verify failed" in running.processes.log("mosquitto")[len(before) :], "a log line")


def test_a_revoked_certificate_opens_no_session_and_a_revoked_device_is_told(
    running: Fleet, people: tuple[Person, Person], known: bytes
) -> None:
    gone = enrolled(running, "gone")
    assert asyncio.run(told(gone, gone.chunk())).acks
    resuming = Dialer(gone.broker())  # keeps the TLS session, which the broker could go on with without a look

    async def connect() -> None:
        async with resuming.connect() as connection:
            await connection.subscribe(ack_topic(gone.device), qos=0)

    asyncio.run(connect())
    running.run("keys", "revoke", gone.device, "--devices", str(running.devices), "--authority", str(running.authority))
    before = running.digest()
    answer = asyncio.run(told(gone, gone.chunk()))  # the broker has not read the list yet: the collector knows at once
    assert [nack.code for nack in answer.nacks] == [NackCode.REVOKED]
    (running.etc / "crl.pem").write_bytes((running.authority / "crl.pem").read_bytes())
    running.reload_broker()

    def shut_out() -> bool:
        try:
            asyncio.run(told(gone, gone.chunk()))
        except (TransportError, TimeoutError, ExceptionGroup):
            return True
        return False

    wait_for(shut_out, "the broker to refuse the certificate", seconds=30)
    logged(running, "certificate revoked|certificate verify failed")
    with pytest.raises((Refused, Unavailable)):
        asyncio.run(connect())
    assert asyncio.run(told(people[1], known)).acks
    assert running.digest() == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("listener", ["devices", "enrolment"])
def test_plaintext_gets_no_answer(running: Fleet, listener: str) -> None:
    connect = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04evil"
    port = running.port if listener == "devices" else running.enrol_port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(connect)
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := raw.recv(4096):
                received += data
    assert b"\x20\x02" not in received  # no CONNACK
    assert not received or received[0] == 0x15  # a TLS alert at most


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("listener", ["devices", "enrolment"])
def test_tls_1_2_is_refused_by_the_broker(running: Fleet, people: tuple[Person, Person], listener: str) -> None:
    eve = people[0]
    context = client_context(running, eve.tls.certificate_file, eve.tls.key_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    port = running.port if listener == "devices" else running.enrol_port
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol|alert"):
        handshake(port, context)


@contextlib.contextmanager
def pretender(
    folder: Path, authority: Authority, serve: Callable[[ssl.SSLContext, socket.socket], None]
) -> Iterator[int]:
    """Run a server that pretends to be the broker on a port of its own, with a certificate for "localhost"."""
    private, public = new_key()
    issued = authority.issue("localhost", public, Purpose.BROKER, int(time.time()), hosts=("localhost",))
    (folder / "server.pem").write_bytes(issued.pem)
    (folder / "server.key").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    with peer, contextlib.suppress(OSError):
                        peer.settimeout(5)
                        serve(context, peer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.mark.parametrize("trick", ["another authority", "TLS 1.2", "plaintext"])
def test_a_device_tells_nothing_to_a_pretended_broker(
    running: Fleet, people: tuple[Person, Person], tmp_path: Path, trick: str
) -> None:
    """The device's side of a downgrade: what arrives at the pretender holds neither a topic nor the pseudonym."""
    heard: list[bytes] = []

    def serve(context: ssl.SSLContext, peer: socket.socket) -> None:
        if trick == "plaintext":
            heard.append(peer.recv(65536))
            peer.sendall(b"\x20\x03\x00\x00\x00")
            heard.append(peer.recv(65536))
            return
        if trick == "TLS 1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        with context.wrap_socket(peer, server_side=True) as secured:
            heard.append(b"session" + secured.recv(65536))

    fleets = Authority((running.authority / "ca.pem").read_bytes(), (running.authority / "ca.key").read_bytes())
    authority = fleets if trick == "TLS 1.2" else Authority.make("modicum fleet", int(time.time()))
    ada = people[1]
    with pretender(tmp_path, authority, serve) as port:
        broker = Broker("localhost", port, ada.device, tls=ada.tls, connect_timeout_s=3.0)
        assert asyncio.run(is_refused(broker))
    everything = b"".join(heard)
    assert b"modicum" not in everything
    assert ada.device.encode() not in everything
    assert b"MQTT" not in everything


# -- what an enrolled device may not


@pytest.fixture
async def eve(people: tuple[Person, Person]) -> AsyncIterator[Connection]:
    async with Dialer(people[0].broker()).connect() as connection:
        yield connection


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("topic", ["{ada}/up", "{ada}/ack", "{eve}/ack", "enrol/0123456789abcdef/told", "{eve}/up/x"])
async def test_a_device_cannot_publish_elsewhere(eve: Connection, people: tuple[Person, Person], topic: str) -> None:
    """Another's chunks, and forged acknowledgements, even to itself."""
    forged = pack_answer(Answer(1, ((1, bytes(8)),)))
    with pytest.raises(Refused) as caught:
        await eve.publish(f"modicum/v1/{topic.format(eve=people[0].device, ada=people[1].device)}", forged)
    assert caught.value.reason_code == 0x87


@pytest.mark.usefixtures("unchanged")
async def test_a_last_will_reaches_no_other_topic_either(running: Fleet, people: tuple[Person, Person]) -> None:
    """The broker publishes a will by itself when the connection dies."""
    person, ada = people
    context = client_context(running, person.tls.certificate_file, person.tls.key_file)
    topic, payload = ack_topic(ada.device).encode(), pack_answer(Answer(1, (), (Nack(bytes(8), NackCode.MALFORMED),)))
    body = b"\x00\x04MQTT\x05\x06\x00\x3c\x00" + field(b"eve-will") + b"\x00" + field(topic) + field(payload)
    async with Dialer(ada.broker()).connect() as listening:
        await listening.subscribe(ack_topic(ada.device), qos=1)
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"\x10" + varint(len(body)) + body)
            assert secured.recv(4096)[:1] == b"\x20"
        # What comes next on Ada's topic is the collector's answer, and not the will.
        await listening.publish(up_topic(ada.device), b"anything")
        async for message in listening.messages():
            assert parse_answer(message.payload).nacks[0].digest == digest_of(b"anything")
            break


@pytest.mark.usefixtures("unchanged")
async def test_a_device_hears_nothing_but_its_own_answers(
    eve: Connection, people: tuple[Person, Person], known: bytes
) -> None:
    person, ada = people
    for topic in ("#", "$SYS/#", "modicum/v1/+/up", "modicum/v1/+/ack", ack_topic(ada.device), up_topic(ada.device)):
        with contextlib.suppress(Refused):  # mosquitto grants everything, and filters what it delivers
            await eve.subscribe(topic, qos=1)
    assert (await told(ada, known)).acks
    await eve.publish(up_topic(person.device), b"mine")
    heard = []
    async for message in eve.messages():
        heard.append(message)
        if message.topic == ack_topic(person.device):
            break
    assert [message.topic for message in heard] == [ack_topic(person.device)]


@pytest.mark.usefixtures("unchanged")
async def test_nothing_is_retained(eve: Connection, people: tuple[Person, Person]) -> None:
    """A retained message would greet whoever subscribes next: this broker takes none."""
    eve._client.paho.publish(up_topic(people[0].device), b"left behind", 0, True)
    eve_gone = eve._client.gone
    async with asyncio.timeout(10):  # MQTT 5: a client that retains where that is not available is disconnected
        await asyncio.shield(eve_gone)


@pytest.mark.usefixtures("unchanged")
async def test_the_unenrolled_may_ask_and_nothing_else(running: Fleet, people: tuple[Person, Person]) -> None:
    ada = people[1]
    tls = Tls(running.authority / "ca.pem")
    async with Dialer(Broker("localhost", running.enrol_port, "0123456789abcdef", tls=tls)).connect() as stranger:
        for topic in (up_topic(ada.device), ack_topic(ada.device), "modicum/v1/enrol/fedcba9876543210/ask", "$SYS/x"):
            with pytest.raises(Refused):
                await stranger.publish(topic, b"x")
        for topic in ("#", "modicum/v1/+/up", "modicum/v1/enrol/+/told", ack_topic(ada.device)):
            with contextlib.suppress(Refused):
                await stranger.subscribe(topic, qos=1)
        assert (await told(ada, ada.chunk(key=people[0].key))).nacks
        await stranger.publish("modicum/v1/enrol/0123456789abcdef/ask", b"not a request")
        await until(lambda: "request on a topic that is not its own" in running.processes.log("desk"))
        assert stranger.waiting() == 0


# -- what the collector refuses


def changed(chunk: bytes, place: int = 60) -> bytes:
    """Return a chunk (or a tombstone) with a byte changed, and with the CRC of that."""
    other = bytearray(chunk)
    other[place] ^= 1
    other[-4:] = zlib.crc32(other[:-4]).to_bytes(4, "little")
    return bytes(other)


def refused_with(answer: Answer) -> list[NackCode]:
    assert not answer.acks
    return [nack.code for nack in answer.nacks]


@pytest.mark.usefixtures("unchanged")
def test_anothers_chunk_on_the_own_topic_is_refused(
    people: tuple[Person, Person], known: bytes, running: Fleet
) -> None:
    """Replayed by Eve, made by Eve in Ada's name, and Ada's own words under Eve's id."""
    person, ada = people
    relabelled = bytearray(known)
    start = known.index(ada.device.encode())
    relabelled[start : start + len(person.device)] = person.device.encode()
    relabelled[-4:] = zlib.crc32(relabelled[:-4]).to_bytes(4, "little")
    before = len(refusals(running))
    payloads = [known, person.chunk(ada.device), bytes(relabelled)]
    answer = asyncio.run(told(person, *payloads))
    by_digest = {nack.digest: nack.code for nack in answer.nacks}
    assert [by_digest[digest_of(payload)] for payload in payloads] == [
        NackCode.WRONG_DEVICE,
        NackCode.WRONG_DEVICE,
        NackCode.UNKNOWN_KEY,  # Ada's signature: no key of Eve's
    ]
    wait_for(lambda: len(refusals(running)) == before + 3, "three lines in the log")
    assert all(line["device"] == person.device for line in refusals(running)[before:])


@pytest.mark.usefixtures("unchanged")
def test_a_replayed_chunk_is_archived_once(people: tuple[Person, Person], known: bytes) -> None:
    for _ in range(3):
        assert asyncio.run(told(people[1], known)).acks


@pytest.mark.usefixtures("unchanged")
def test_an_archived_chunk_cannot_be_replaced(people: tuple[Person, Person], known: bytes) -> None:
    ada = people[1]
    chunk_id = parse_header(known).chunk_id
    other = seal_chunk(chunk_id, b"other", recipient=ada.sealing, signer=ada.key, expires_s=0, value=200)
    assert refused_with(asyncio.run(told(ada, other))) == [NackCode.CONFLICT]


@pytest.mark.usefixtures("unchanged")
def test_a_chunk_that_was_changed_or_signed_by_nobody_we_know_is_refused(people: tuple[Person, Person]) -> None:
    ada = people[1]
    chunk = ada.chunk()
    answers = [
        (chunk[:60] + bytes([chunk[60] ^ 1]) + chunk[61:], NackCode.MALFORMED),
        (changed(chunk), NackCode.BAD_SIGNATURE),
        (ada.chunk(key=DeviceSigningKey.generate()), NackCode.UNKNOWN_KEY),
        (ada.chunk(key=people[0].key), NackCode.UNKNOWN_KEY),
    ]
    for payload, code in answers:
        assert refused_with(asyncio.run(told(ada, payload))) == [code]


def redirected(tombstone: bytes, old: str, new: str) -> bytes:
    """Return a tombstone for another device, with the CRC of that."""
    other = tombstone[:-4].replace(old.encode(), new.encode())
    return other + zlib.crc32(other).to_bytes(4, "little")


@pytest.mark.usefixtures("unchanged")
def test_a_forged_tombstone_erases_nothing(people: tuple[Person, Person], known: bytes) -> None:
    """For Ada's chunks by Eve; in the owner's name; a true one of Eve's that is made to point at Ada."""
    person, ada = people
    chunk_id = parse_header(known).chunk_id
    ranges = [Range(chunk_id.epoch, chunk_id.seq, chunk_id.seq)]
    eves = sign_tombstone(person.device, ranges, wall_s=1, signer=person.key)
    attempts = [
        (person, sign_tombstone(ada.device, ranges, wall_s=1, signer=person.key), NackCode.WRONG_DEVICE),
        (person, sign_tombstone(ada.device, None, wall_s=1, signer=person.key), NackCode.WRONG_DEVICE),
        (person, redirected(eves, person.device, ada.device), NackCode.WRONG_DEVICE),
        (
            person,
            sign_tombstone(person.device, None, wall_s=1, signer=person.key, authority=TombstoneAuthority.OWNER),
            NackCode.UNKNOWN_KEY,
        ),
        # As if it came past the broker's permissions, on Ada's own topic:
        (ada, sign_tombstone(ada.device, None, wall_s=1, signer=person.key), NackCode.UNKNOWN_KEY),
        (ada, redirected(eves, person.device, ada.device), NackCode.UNKNOWN_KEY),
        (ada, changed(sign_tombstone(ada.device, ranges, wall_s=1, signer=ada.key), 55), NackCode.BAD_SIGNATURE),
    ]
    for sender, payload, code in attempts:
        assert refused_with(asyncio.run(told(sender, payload))) == [code]


def test_a_true_tombstone_erases(running: Fleet) -> None:
    """The forged ones fail for being forged, and for nothing else."""
    bea = enrolled(running, "bea")
    chunk = bea.chunk()
    assert asyncio.run(told(bea, chunk)).acks
    tombstone = sign_tombstone(bea.device, None, wall_s=int(time.time()), signer=bea.key)
    assert asyncio.run(told(bea, tombstone)).done == (digest_of(tombstone),)
    assert not any(bea.device in name and name.endswith(".chunk") for name in running.digest())
    assert refused_with(asyncio.run(told(bea, chunk))) == [NackCode.ERASED]


@pytest.mark.usefixtures("unchanged")
def test_garbage_is_refused_piece_by_piece(people: tuple[Person, Person], running: Fleet) -> None:
    """Cut, stretched, with lengths that lie, and of kinds that nobody knows."""
    person = people[0]
    chunk, rng = person.chunk(), random.Random(5)
    payloads = [
        b"",
        b"\x8d",
        b"\x8dMDC",
        b"\x8dMDT" + bytes(40),
        b"\x8dMDQ" + bytes(40),
        b"\x8dMDA" + bytes(80),
        chunk[:-1],
        chunk + b"x",
        chunk[:8] + b"\xff\xff\xff\xff" + chunk[12:],
        bytes(100_000),
        rng.randbytes(100_000),
        b"\xdf\xff\xff\xff\xff" * 100,
        bytes(MAX_CHUNK_BYTES),
    ]
    before = len(refusals(running))
    answer = asyncio.run(told(person, *payloads))
    assert not answer.acks
    assert not answer.done
    assert {nack.code for nack in answer.nacks} <= {NackCode.MALFORMED, NackCode.TOO_LARGE}
    wait_for(lambda: len(refusals(running)) >= before + len(payloads), "a line for each in the log")


@pytest.mark.usefixtures("unchanged")
async def test_more_than_a_chunk_does_not_leave_the_device(eve: Connection, people: tuple[Person, Person]) -> None:
    with pytest.raises(TooLarge):
        await eve.publish(up_topic(people[0].device), bytes(MAX_CHUNK_BYTES + 2048))


def varint(number: int) -> bytes:
    out = b""
    while True:
        number, low = number >> 7, number & 127
        out += bytes([low | (128 if number else 0)])
        if not number:
            return out


def field(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


CONNECT_BODY = b"\x00\x04MQTT\x05\x02\x00\x3c\x00" + field(b"eve-raw")
CONNECT = b"\x10" + varint(len(CONNECT_BODY)) + CONNECT_BODY


def publish_packet(topic: bytes, payload: bytes, *, first: int = 0x30, properties: bytes = b"\x00") -> bytes:
    body = field(topic) + (b"\x00\x01" if first & 6 else b"") + properties + payload
    return bytes([first]) + varint(len(body)) + body


EVIL = {
    "publish before connect": publish_packet(b"modicum/v1/x/up", b"x"),
    "connect twice": CONNECT + CONNECT,
    "reserved packet type": CONNECT + b"\xf0\x00\x00",
    "a length that does not end": CONNECT + b"\x30\xff\xff\xff\xff\xff",
    "200 MB announced": CONNECT + b"\x30" + varint(200 << 20) + field(b"modicum/v1/{eve}/up") + bytes(65536),
    "a wildcard in the topic": CONNECT + publish_packet(b"modicum/v1/+/up", b"x"),
    "a topic that is no UTF-8": CONNECT + publish_packet(b"modicum/v1/\xff\xfe/up", b"x"),
    "a topic with NUL": CONNECT + publish_packet(b"modicum/v1/a\x00b/up", b"x"),
    "no topic": CONNECT + publish_packet(b"", b"x"),
    "an alias that nobody set": CONNECT + publish_packet(b"", b"x", properties=b"\x03\x23\x00\x09"),
    "QoS 3": CONNECT + publish_packet(b"modicum/v1/{eve}/up", b"x", first=0x36),
    "a property twice": CONNECT + publish_packet(b"modicum/v1/{eve}/up", b"x", properties=b"\x04\x01\x01\x01\x01"),
    "a topic longer than its packet": CONNECT + b"\x30\x04\xff\xffab",
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", EVIL)
def test_malformed_mqtt_ends_that_connection_only(running: Fleet, people: tuple[Person, Person], name: str) -> None:
    person = people[0]
    context = client_context(running, person.tls.certificate_file, person.tls.key_file)
    # A placeholder of the pseudonym's length keeps the packets' lengths right.
    payload = EVIL[name].replace(b"{eve}", person.device.encode()[:5])
    started = time.monotonic()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        handshake(running.port, context, payload)
    assert time.monotonic() - started < 5, "the broker keeps the connection"
    assert running.broker is not None
    assert running.broker.poll() is None


# -- when the broker itself is hostile: one without any permissions, run by the attacker


def test_a_hostile_broker_gets_nothing_into_the_archive(
    running: Fleet, people: tuple[Person, Person], known: bytes, tmp_path: Path
) -> None:
    """It may publish anything on any topic. The collector takes what is signed, and nothing else."""
    person, ada = people
    (tmp_path / "broker").mkdir()
    with mosquitto(tmp_path / "broker", "allow_anonymous true\nmax_packet_size 9000000\n") as port:
        running.processes.start(
            "collector-of-a-hostile-broker",
            [*COMMAND, "collect", "--json", "--archive", str(running.archive), "--devices", str(running.devices),
             "--broker", f"mqtt://127.0.0.1:{port}"],
            running.environment,
        )  # fmt: skip
        log = lambda: running.processes.log("collector-of-a-hostile-broker")  # noqa: E731 - a word for it
        wait_for(lambda: '"connected"' in log(), "the collector to connect")
        before = running.digest()
        unknown = ArchivePrivateKey.generate()
        stranger = Person("nobody", running, "stranger", DeviceSigningKey.generate(), unknown.public)
        forged = [
            (ada.device, ada.chunk(key=DeviceSigningKey.generate())),
            (ada.device, ada.chunk(key=person.key)),
            (ada.device, changed(ada.chunk())),
            (ada.device, sign_tombstone(ada.device, None, wall_s=1, signer=person.key)),
            (ada.device, changed(sign_tombstone(ada.device, [Range(1, 0, 7)], wall_s=1, signer=ada.key), 55)),
            (person.device, known),
            ("stranger", stranger.chunk()),
            ("..", known),
            (f"{ada.device}/../x", known),
        ]

        async def attack() -> None:
            async with Dialer(Broker("127.0.0.1", port, "owner")).connect() as owner:
                for device, payload in forged:
                    await owner.publish(f"modicum/v1/{device}/up", payload)
                await owner.publish(up_topic(ada.device), known)  # a replay

        asyncio.run(attack())
        wait_for(lambda: '"duplicate"' in log(), "the replay to be answered")
        assert log().count('"refused"') == len(forged) - 1  # the topic with a slash more is nobody's subscription
        assert running.digest() == before


# -- a flood

BURST = 800
"""Messages at once: mosquitto queues 1,000 for a subscriber and lets the others fall, unrefused."""


def memory_mib(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.usefixtures("unchanged")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_flood_takes_a_bounded_memory_and_others_are_served(
    running: Fleet, people: tuple[Person, Person], known: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eve sends large chunks that are whole and falsely signed, and small garbage, as fast as the broker takes them."""
    collector = running.start_collector("--name", "flooded", name="flooded")
    at_first, before = memory_mib(collector.pid), len(refusals_of(running))
    person = people[0]
    large = person.chunk(key=DeviceSigningKey.generate(), body=bytes(1_000_000))
    payloads = [large] * 120 + [b"small and senseless " * 5] * 3000
    served_s = []

    def all_refused(count: int) -> None:
        wait_for(lambda: len(refusals_of(running)) >= before + count, f"{count} messages to be refused")

    async def flood() -> None:
        broker = replace(person.broker("eve-floods"), in_flight=64)
        async with Dialer(broker).connect() as connection:
            for first in range(0, len(payloads), BURST):
                burst = payloads[first : first + BURST]
                async with asyncio.TaskGroup() as tasks:
                    for payload in burst:
                        tasks.create_task(connection.publish(up_topic(person.device), payload, timeout_s=100))
                await asyncio.to_thread(all_refused, first + len(burst))

    async def honest(flooding: asyncio.Task[None]) -> None:
        while not flooding.done():
            started = time.monotonic()
            assert (await told(people[1], known)).acks
            served_s.append(time.monotonic() - started)

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            await honest(tasks.create_task(flood()))

    started = time.monotonic()
    asyncio.run(both())
    took_s = time.monotonic() - started
    most = memory_mib(collector.pid)
    collector.terminate()
    size_mb = sum(map(len, payloads)) / 1e6
    with capsys.disabled():
        print(
            f"\nflood of {len(payloads):,} messages, {size_mb:.0f} MB, in {took_s:.1f} s: collector {at_first:.0f} -> "
            f"{most:.0f} MiB at most; an honest chunk was answered {len(served_s)} times, in {max(served_s):.1f} s at most"
        )
    assert most - at_first < 96
    assert max(served_s) < 20
    kept = list((running.archive / ".quarantine").iterdir())
    assert sum(path.stat().st_size for path in kept) <= 64 << 20


def refusals_of(running: Fleet) -> list[dict[str, object]]:
    """Return what any collector has refused."""
    lines = (running.processes.log("collector") + running.processes.log("flooded")).splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in events if event["kind"] == "refused"]
