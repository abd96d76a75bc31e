"""The collector's container takes a real agent's chunk from a real broker. Needs podman and the image: `make container`."""

from __future__ import annotations

import os
import shlex
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fleet import fleet
from tests.integration.stack import Stack, display, wait_for

pytestmark = [
    pytest.mark.x11,
    pytest.mark.broker,
    pytest.mark.skipif("MODICUM_CONTAINER" not in os.environ, reason="builds nothing by itself: `make container`"),
]
PODMAN = shlex.split(os.environ.get("MODICUM_CONTAINER", "podman"))
IMAGE = "modicum-collector"
MODICUM = "/opt/modicum/bin/modicum"
USER = "modicum.collector"

CONFIG = """\
[scope]
allow = ["xterm"]

[capture]
hold_back = "0 s"

[budget.metered]
send = "all"

[broker]
host = "localhost"
port = {port}
tls = true
ca = "{folder}/fleet/etc/ca.pem"
username = "{device}"
password_file = "{folder}/password"

[archive]
public_key = "{folder}/keys/archive.pub"
"""


def podman(*words: str, check: bool = True) -> bytes:
    """Run one command of podman to its end; return what it printed."""
    done = subprocess.run([*PODMAN, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert not check or done.returncode == 0, f"podman {' '.join(words)}: {done.stderr.decode()}"
    return done.stdout


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A display with an agent's folders and keys; nothing of it runs yet."""
    with display(tmp_path) as environment:
        stack = Stack(tmp_path, environment)
        try:
            yield stack
        finally:
            stack.end()


@pytest.fixture
def name(tmp_path: Path) -> Iterator[str]:
    """The name of a container, its volume and its secret, which are gone after the test."""
    name = f"modicum-test-{os.getpid()}"
    try:
        yield name
    finally:
        podman("rm", "--force", name, check=False)
        podman("volume", "rm", "--force", name, check=False)
        podman("secret", "rm", name, check=False)


def test_the_container_archives_what_an_agent_sends_and_stops_when_told(
    stack: Stack, name: str, tmp_path: Path
) -> None:
    """As deploy/collector/Containerfile says to run it: read-only, as nobody, with a volume and a secret."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    once = ["run", "--rm", "--read-only", "--volume", f"{name}:/archive"]
    with fleet(folder, passwords=True) as made:
        device = (tmp_path / "agent" / "state" / "device").read_text().strip()
        passwords = made.etc / "passwords"
        passwords.touch(mode=0o600)
        for user in (USER, device):
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, f"secret of {user}"], check=True)
        (tmp_path / "password").touch(mode=0o600)
        (tmp_path / "password").write_text(f"secret of {device}")
        (tmp_path / "secret").write_text(f"secret of {USER}")
        made.start_broker()

        podman("secret", "create", name, str(tmp_path / "secret"))
        (tmp_path / "request.txt").chmod(0o644)
        podman(
            *once, "--volume", f"{tmp_path}/request.txt:/run/request.txt:ro", "--entrypoint", MODICUM, IMAGE,
            "keys", "accept", "/run/request.txt", "--devices", "/archive/.devices",
        )  # fmt: skip
        collector = stack.processes.start(
            "collector",
            [*PODMAN, *once, "--name", name, "--network", "host", "--secret", f"{name},target=/run/password,uid=65534,mode=0400",
             "--volume", f"{made.etc}/ca.pem:/run/ca.pem:ro", IMAGE, "--broker", f"mqtts://{USER}@localhost:{made.port}",
             "--ca", "/run/ca.pem", "--password-file", "/run/password"],
            os.environ,
        )  # fmt: skip
        wait_for(lambda: '"connected"' in stack.processes.log("collector"), "the collector to connect")

        stack.configure(CONFIG.format(port=made.port, folder=tmp_path, device=device))
        stack.processes.start("xterm", ["xterm"], stack.environment)
        stack.start_agent()
        stack.ask("flush")
        wait_for(lambda: '"archived"' in stack.processes.log("collector"), "the collector to archive a chunk")
        wait_for(lambda: (stack.status() or {})["chunks"]["waiting"] == 0, "the agent to hear of it")
        stack.stop_agent()

        podman("stop", name)
        assert collector.wait(30) == 0, stack.processes.log("collector")

    (tmp_path / "archive.tar").write_bytes(podman(*once, "--entrypoint", "tar", IMAGE, "-C", "/archive", "-c", "."))
    copy = tmp_path / "copy"
    with tarfile.open(tmp_path / "archive.tar") as packed:
        packed.extractall(copy, filter="data")
    assert list(copy.rglob("*.chunk"))
    done = stack.set_up("archive", "verify", str(copy), "--key", str(stack.private_key))
    assert not done.stdout.startswith("0 chunks"), done.stdout
    assert done.stdout.rstrip().endswith("\nsound"), done.stdout
