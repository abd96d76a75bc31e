"""The embedded broker: a real server on loopback that ends with its parent."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from transport import broker as embedded_broker
from transport.broker import embedded
from transport.errors import NoBroker
from transport.mqtt import NO_SUBSCRIBER, Broker, Dialer

pytestmark = pytest.mark.broker
kinds = pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])


def needs(kind: str) -> None:
    if kind not in embedded_broker.available():
        pytest.skip(f"{kind} is not installed")


@kinds
async def test_it_serves_on_loopback_only_with_private_files(tmp_path: Path, kind: str) -> None:
    needs(kind)
    before = os.umask(0)
    try:
        with embedded(tmp_path / "b", kind=kind) as broker:
            assert broker.alive
            listening = [
                connection.laddr
                for process in [psutil.Process(broker.process.pid), *psutil.Process(broker.process.pid).children(True)]
                for connection in process.net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN
            ]
            assert [tuple(address) for address in listening] == [("127.0.0.1", broker.port)]
            async with Dialer(Broker(broker.host, broker.port, "me")).connect() as connection:
                assert connection.mqtt5
                assert await connection.publish("x", b"y") in (0, NO_SUBSCRIBER)
            for path in (tmp_path / "b").rglob("*"):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert not broker.alive


@kinds
def test_it_ends_when_its_parent_is_killed(tmp_path: Path, kind: str) -> None:
    needs(kind)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom transport.broker import embedded\n"
        f"with embedded(Path(sys.argv[1]), kind={kind!r}) as b:\n    print(b.process.pid, flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "b")], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the broker outlives its parent"
        time.sleep(0.02)


@kinds
def test_a_port_that_is_taken_is_said(tmp_path: Path, kind: str) -> None:
    needs(kind)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with (
            pytest.raises(NoBroker, match="does not start on 127"),
            embedded(tmp_path, port=other.getsockname()[1], kind=kind),
        ):
            raise AssertionError


def test_without_any_broker_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_broker, "available", list)
    with pytest.raises(NoBroker, match="install mosquitto"), embedded(tmp_path):
        raise AssertionError
