"""A fleet for tests: a real mosquitto with exactly the files of deploy/, an authority, a registry, a collector, a desk."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import run_here
from tests.integration.stack import COMMAND, ROOT, Processes, wait_for
from tests.places import free_port
from transport.broker import find_mosquitto

DEPLOY = ROOT / "deploy"


class Fleet:
    """See the module. Everything lies in `folder`; broker, collector and desk are processes.

    Attributes:
        port: of the broker's listener for devices. enrol_port: of the one for machines that are not enrolled yet.
    """

    def __init__(self, folder: Path, *, passwords: bool = False) -> None:
        self.folder = folder
        self.port, self.enrol_port = free_port(), free_port()
        self.processes = Processes(folder)
        self.etc = folder / "etc"
        self.authority = folder / "authority"
        self.archive = folder / "archive"
        self.devices = folder / "devices"
        self.vault = folder / "vault"
        self.broker: subprocess.Popen[bytes] | None = None
        self.etc.mkdir()
        self.run("keys", "ca", "--out", str(self.authority))
        self.run(
            "keys", "cert", "broker", "--authority", str(self.authority), "--host", "localhost", "--host", "127.0.0.1",
            "--out", str(self.etc),
        )  # fmt: skip
        for role in ("collector", "enrolment"):
            self.run("keys", "cert", role, "--authority", str(self.authority), "--out", str(folder / "tls"))
        for name in ("ca.pem", "crl.pem"):
            (self.etc / name).write_bytes((self.authority / name).read_bytes())
        for name in ("acl", "acl.enrol"):
            (self.etc / name).write_text((DEPLOY / name).read_text())
        config = (DEPLOY / "mosquitto.conf").read_text()
        if passwords:
            first = re.compile(r"^listener 8883\n(?:.+\n)+", re.MULTILINE)
            instead = (DEPLOY / "mosquitto-passwords.conf").read_text()
            config, changed = first.subn(instead[instead.index("listener 8883") :], config)
            assert changed == 1
        for old, new in (("/etc/modicum", self.etc), ("listener 8883", f"listener {self.port} 127.0.0.1"),
                         ("listener 8884", f"listener {self.enrol_port} 127.0.0.1")):  # fmt: skip
            assert old in config
            config = config.replace(old, str(new))
        # As root mosquitto would become another user, who may not read this folder.
        (self.etc / "mosquitto.conf").write_text(f"{config}\nuser {getpass.getuser()}\n")

    @property
    def environment(self) -> dict[str, str]:
        """For commands of the archive's side."""
        return {**os.environ, "MODICUM_HOME": str(self.folder / "nobody"), "PYTHONPATH": str(ROOT)}

    def run(
        self, *words: str, home: Path | None = None, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one command of modicum to its end, in this process.

        Args:
            words: the command. home: of the device whose command it is. check: it has to succeed. stdin: what it reads.
        """
        environment = self.environment | ({"MODICUM_HOME": str(home)} if home is not None else {})
        return run_here(words, environment, check=check, stdin=stdin)

    def start_broker(self) -> None:
        """Start mosquitto, and wait until it listens."""
        program = find_mosquitto()
        if program is None:
            pytest.skip("mosquitto is not installed")
        self.broker = self.processes.start("mosquitto", [program, "-c", str(self.etc / "mosquitto.conf")], os.environ)
        wait_for(lambda: listens(self.port) and listens(self.enrol_port), "mosquitto to listen")

    def reload_broker(self) -> None:
        """Have mosquitto read its files again."""
        assert self.broker is not None
        self.broker.send_signal(signal.SIGHUP)

    def start_collector(self, *more: str, name: str = "collector") -> subprocess.Popen[bytes]:
        """Start a collector, and wait until it is connected."""
        process = self.processes.start(
            name,
            [*COMMAND, "collect", "--json", "--archive", str(self.archive), "--devices", str(self.devices),
             *self._as("collector"), *more],
            self.environment,
        )  # fmt: skip
        wait_for(lambda: '"connected"' in self.processes.log(name), "the collector to connect")
        return process

    def start_desk(self, *more: str, name: str = "desk") -> subprocess.Popen[bytes]:
        """Start the enrolment desk, and wait until it is connected."""
        process = self.processes.start(
            name,
            [*COMMAND, "enrolment", "--json", "--devices", str(self.devices), "--authority", str(self.authority),
             "--offer", f"mqtts://localhost:{self.port}", "--reader", "the fleet", *self._as("enrolment"), *more],
            self.environment,
        )  # fmt: skip
        wait_for(lambda: '"connected"' in self.processes.log(name), "the desk to connect")
        return process

    def _as(self, role: str) -> list[str]:
        tls = self.folder / "tls"
        return [
            "--broker", f"mqtts://localhost:{self.port}", "--ca", str(self.authority / "ca.pem"),
            "--cert", str(tls / f"{role}.pem"), "--key", str(tls / f"{role}.key"),
        ]  # fmt: skip

    def token(self, *more: str) -> str:
        """Return a new one-time token."""
        done = self.run(
            "keys", "token", "--devices", str(self.devices), "--authority", str(self.authority),
            "--vault", str(self.vault), *more,
        )  # fmt: skip
        return done.stdout.strip()

    def enrol(self, name: str, *, token: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Enrol a device, whose home is the folder's `name`, over the broker."""
        return self.run(
            "enrol", "--broker", f"mqtts://localhost:{self.enrol_port}", "--config", str(self.folder / f"{name}.toml"),
            home=self.folder / name, check=check, stdin=(token or self.token()) + "\n",
        )  # fmt: skip

    def digest(self) -> dict[str, str]:
        """Return the SHA-256 of every file of the archive and the registry, locks and writers' scratch left out."""
        found = {}
        for root in (self.archive, self.devices):
            for path in sorted(root.rglob("*")):
                inside = path.relative_to(root)
                if path.is_file() and not {".incoming", ".quarantine", ".lock"} & {*inside.parts}:
                    found[f"{root.name}/{inside}"] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def end(self) -> None:
        """End what still runs."""
        self.processes.end()


@contextlib.contextmanager
def fleet(folder: Path, *, passwords: bool = False) -> Iterator[Fleet]:
    """Make a fleet for the length of a `with` block."""
    made = Fleet(folder, passwords=passwords)
    try:
        yield made
    finally:
        made.end()


def handshake(port: int, context: ssl.SSLContext, payload: bytes = b"") -> bytes:
    """Connect by TLS, send bytes, return what comes until the other side closes (at most 5 s); raises SSLError or OSError."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secured,
    ):
        secured.sendall(payload)
        received = b""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and (data := secured.recv(65536)):
            received += data
        return received


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
