"""Shell: an MQTT broker of our own, as a child process on loopback, for the demo and for a single machine.

mosquitto is taken when it is installed, else rumqttd from the wheel `iotcore`. Guarantees: it listens on 127.0.0.1 only; its
configuration lies in a private folder; it speaks MQTT 5 with shared subscriptions and takes chunks of the largest size; it
ends with its parent, even when that is killed (Linux; elsewhere when the parent ends in order). It keeps nothing on disk:
durability is the spool's and the archive's, and a broker's promise would not be believed anyway.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codec.chunk import MAX_CHUNK_BYTES
from transport.errors import NoBroker

HOST = "127.0.0.1"
MAX_PACKET_BYTES = MAX_CHUNK_BYTES + 1024
"""A chunk and its topic."""

QUEUED_MESSAGES = 1000
QUEUED_BYTES = 64 << 20
"""What the broker may hold for a collector that is slow."""

START_S = 10.0
STOP_S = 3.0
PORT_ATTEMPTS = 5
PR_SET_PDEATHSIG = 1
SBIN = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where mosquitto lies on systems whose PATH leaves these out."""

_MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
persistence false
user {user}
log_dest stderr
log_type error
log_type warning
connection_messages false
max_packet_size {max_packet_bytes}
message_size_limit {max_packet_bytes}
max_queued_messages {queued_messages}
max_queued_bytes {queued_bytes}
max_inflight_messages 64
"""

_RUMQTTD = """\
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 4

[v5.1]
name = "loopback"
listen = "{host}:{port}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = {max_packet_bytes}
    max_inflight_count = 64
"""

_RUMQTTD_CHILD = (
    "import sys; sys.path[:] = [p for p in sys.path if p not in ('', '.')]; from iotcore._serve import main; main()"
)


@dataclass(frozen=True, slots=True)
class Embedded:
    """A broker that runs. host, port: where. name: what it is. process: the child."""

    host: str
    port: int
    name: str
    process: subprocess.Popen[bytes]

    @property
    def alive(self) -> bool:
        """Tell whether it still runs."""
        return self.process.poll() is None


def find_mosquitto() -> str | None:
    """Return the path of mosquitto, or None where it is not installed."""
    return shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SBIN)))


def available() -> list[str]:
    """Return the brokers that could be started here, the preferred one first."""
    found = ["mosquitto"] if find_mosquitto() else []
    return found + (["iotcore"] if importlib.util.find_spec("iotcore") else [])


@contextlib.contextmanager
def embedded(directory: Path, port: int = 0, *, kind: str | None = None) -> Iterator[Embedded]:
    """Run a broker for the length of a `with` block. To be entered in a thread that outlives it (the main one, usually).

    Args:
        directory: a private folder for its configuration and log; made when there is none.
        port: where to listen on 127.0.0.1; 0 = any free one.
        kind: "mosquitto" or "iotcore"; by default the first that is available.

    Raises:
        NoBroker: there is none here, or it does not start; the text says what to install or what its log says.
    """
    kinds = available()
    if kind is None:
        kind = kinds[0] if kinds else ""
    if kind not in kinds:
        raise NoBroker(
            f"no MQTT broker {kind and repr(kind) + ' '}is installed here: install mosquitto with the system's package "
            "manager, or `pip install 'modicum[broker]'`, or name a broker that runs elsewhere"
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    broker = _start(directory, port, kind)
    try:
        yield broker
    finally:
        _stop(broker.process)


def _start(directory: Path, port: int, kind: str) -> Embedded:
    for attempt in range(1, PORT_ATTEMPTS + 1):
        chosen = _port(port)
        command = _mosquitto(directory, chosen) if kind == "mosquitto" else _rumqttd(directory, chosen)
        with _private(directory / "broker.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # rumqttd's child ends when it closes
                stdout=log,
                stderr=log,
                cwd=directory,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        if _listens(process, chosen):
            return Embedded(HOST, chosen, kind, process)
        _stop(process)
        if port or attempt == PORT_ATTEMPTS:  # else somebody may have taken the port meanwhile
            break
    text = (directory / "broker.log").read_text(errors="replace")[-400:].strip()
    raise NoBroker(
        f"{kind} does not start on {HOST}:{chosen}: {text or 'it says nothing'} (see {directory}/broker.log)"
    )


def _mosquitto(directory: Path, port: int) -> list[str]:
    config = _private(directory / "mosquitto.conf")
    config.write_text(
        _MOSQUITTO.format(
            host=HOST,
            port=port,
            user=_own_name(),  # started as root it would become another user, who may not read our folder
            max_packet_bytes=MAX_PACKET_BYTES,
            queued_messages=QUEUED_MESSAGES,
            queued_bytes=QUEUED_BYTES,
        )
    )
    return [find_mosquitto() or "mosquitto", "-c", str(config)]


def _rumqttd(directory: Path, port: int) -> list[str]:
    config = _private(directory / "rumqttd.toml")
    config.write_text(_RUMQTTD.format(host=HOST, port=port, max_packet_bytes=MAX_PACKET_BYTES))
    return [sys.executable, "-c", _RUMQTTD_CHILD, json.dumps({"config_path": str(config)})]


def _own_name() -> str:
    """Return the name of the user that this process runs as; the environment's USER may say something else."""
    import pwd  # not on Windows, which has no such question

    return pwd.getpwuid(os.getuid()).pw_name


def _private(path: Path) -> Path:
    """Make a file, empty it, and let nobody else read it."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600))
    path.chmod(0o600)
    return path


def _port(wanted: int) -> int:
    """Return the port, or a free one for 0. rumqttd would not say that it is taken, so it is tried here.

    Raises:
        NoBroker: it is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what an ended broker leaves in TIME_WAIT is free
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise NoBroker(
                f"the broker does not start on {HOST}:{wanted} ({error.strerror}): name another port, or end what has it"
            ) from error
        port: int = probe.getsockname()[1]
        return port


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection((HOST, port), timeout=1.0):
                time.sleep(0.05)  # a child that could not bind dies now: then it was another who answered
                return process.poll() is None
        except OSError:
            time.sleep(0.02)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return what the child does before it becomes the broker: ask the kernel to end it when its parent dies."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: after the fork only plain calls are safe

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
