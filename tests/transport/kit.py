"""What the transport's tests share: a tiny chunk format, a ledger in memory, and waiting for a condition."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import getpass
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from codec import errors
from codec.model import ChunkId
from tests.places import free_port
from transport.broker import find_mosquitto
from transport.limits import Lease, Link, Refusal


@dataclass(frozen=True)
class TinyHeader:
    chunk_id: ChunkId


def tiny_chunk(chunk_id: ChunkId, body: bytes) -> bytes:
    """Return a chunk of the tests' own format: id, body, CRC."""
    data = b"tiny" + struct.pack("<32sII", chunk_id.device.encode(), chunk_id.epoch, chunk_id.seq) + body
    return data + zlib.crc32(data).to_bytes(4, "little")


def parse_tiny(data: bytes) -> TinyHeader:
    """Return the header of a tiny chunk, or raise as codec.chunk.parse_header does."""
    if data[:4] != b"tiny":
        raise errors.Corrupt("no chunk", offset=0)
    if len(data) < 48:
        raise errors.Truncated("a chunk", offset=len(data))
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise errors.Corrupt("the checksum does not match")
    device, epoch, seq = struct.unpack_from("<32sII", data, 4)
    return TinyHeader(ChunkId(device.rstrip(b"\0").decode(), epoch, seq))


class MemoryLedger:
    """A ledger with one limit, in memory: it checks that nothing is used that was not reserved."""

    def __init__(self, limit_bytes: int = 1 << 40) -> None:
        self.limit_bytes = limit_bytes
        self.open: dict[int, int] = {}
        self.spent = 0
        self.kinds: dict[str, int] = {}
        self.overdrawn = 0
        self._next = 1

    def refusal(
        self, size_bytes: int, *, link: Link, wall_ns: int, mono_ns: int, events_only: bool = False
    ) -> Refusal | None:
        left = self.left_bytes(link)
        return Refusal(("the test's budget is spent",), wall_ns + 3_600_000_000_000) if size_bytes > left else None

    def left_bytes(self, link: Link) -> int:
        return max(0, self.limit_bytes - self.spent - sum(self.open.values()))

    def reserve(
        self, size_bytes: int, *, link: Link, wall_ns: int, mono_ns: int, events_only: bool = False
    ) -> Lease | Refusal:
        refusal = self.refusal(size_bytes, link=link, wall_ns=wall_ns, mono_ns=mono_ns)
        if refusal is not None:
            return refusal
        lease = Lease(self._next, size_bytes, link)
        self._next += 1
        self.open[lease.id] = size_bytes
        return lease

    def settle(
        self, lease_id: int, used_bytes: int, *, wall_ns: int, mono_ns: int, kinds: Mapping[str, int] | None = None
    ) -> None:
        reserved = self.open.pop(lease_id)
        self.overdrawn += max(0, used_bytes - reserved)
        self.spent += used_bytes
        for kind, size in (kinds or {}).items():
            self.kinds[kind] = self.kinds.get(kind, 0) + size


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


@contextlib.contextmanager
def mosquitto(folder: Path, config: str = "allow_anonymous true\n") -> Iterator[int]:
    """Run mosquitto with a configuration; yield the port that "{port}" in it stands for."""
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    file = folder / "mosquitto.conf"
    if "listener" not in config:
        config = f"listener {port} 127.0.0.1\n{config}"
    file.write_text(config.replace("{port}", str(port)) + f"user {getpass.getuser()}\n")
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(file)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while True:
            assert process.poll() is None, (folder / "mosquitto.log").read_text()
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._sign(self.name, self.key, ca=True).public_bytes(serialization.Encoding.PEM))

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool, address: str = ""
    ) -> x509.Certificate:
        names: list[x509.GeneralName] = [x509.DNSName("localhost")]
        if address.replace(".", "").isdigit():
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), key, ca=False, address=name
        )
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files[1].write_bytes(private)
        files[1].chmod(0o600)
        return files


class Proxy:
    """A TCP proxy that can be told to fail: what passes, how fast, and whether connections are cut.

    Attributes:
        port: where it listens. passing: False = bytes vanish, as on a dead link. rate_bytes_s: of each direction.
        carried: bytes that passed, both directions.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.passing = True
        self.rate_bytes_s: float | None = None
        self.carried = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()

    def cut(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, onward_writer}
        await asyncio.gather(self._pump(reader, onward_writer), self._pump(onward_reader, writer))
        self._writers -= {writer, onward_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                if self.rate_bytes_s:
                    await asyncio.sleep(len(data) / self.rate_bytes_s)
                if self.passing:
                    self.carried += len(data)
                    writer.write(data)
                    await writer.drain()
        writer.close()


@contextlib.contextmanager
def nats(folder: Path) -> Iterator[int]:
    """Run a NATS server, which speaks MQTT 3.1.1 only; yield its MQTT port."""
    program = shutil.which("nats-server", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if program is None:
        pytest.skip("nats-server is not installed")
    ports = free_port(), free_port()
    file = folder / "nats.conf"
    file.write_text(
        f'server_name: one\nlisten: "127.0.0.1:{ports[0]}"\nmax_payload: 8MB\njetstream {{ store_dir: "{folder}/js" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{ports[1]}" }}\n'
    )
    with (folder / "nats.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(file)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None, (folder / "nats.log").read_text()
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ports[1]), 1):
                break
            time.sleep(0.05)
        yield ports[1]
    finally:
        process.kill()
        process.wait()
