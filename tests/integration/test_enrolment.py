"""A device is let in by a one-time token over a real broker, with the real commands; and by nothing less."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture.config import parse_config
from codec.chunk import Body, encode_body, seal_chunk
from codec.model import ChunkId, KeyEvents, Meta, PointerEvents
from codec.seal import ArchivePrivateKey, ArchivePublicKey, DeviceSigningKey
from tests.integration.fleet import Fleet, fleet
from tests.integration.stack import COMMAND, wait_for
from transport.authority import fingerprint
from transport.devices import Device
from transport.enrolment import Token
from transport.errors import Refused
from transport.fs import RealFiles
from transport.messages import NackCode, ack_topic, parse_answer, up_topic
from transport.mqtt import Broker, Dialer, Tls
from transport.registry import Registry

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        made.start_broker()
        made.start_desk()
        yield made


def record_of(running: Fleet, name: str) -> Device:
    device = (running.folder / name / "state" / "device").read_text().strip()
    record = Registry(RealFiles(), running.devices).get(device)
    assert record is not None
    return record


def test_a_token_makes_a_device_that_can_seal_sign_and_connect(running: Fleet) -> None:
    done = running.enrol("one")
    assert "is enrolled" in done.stdout
    home = running.folder / "one" / "state"
    record = record_of(running, "one")
    signer = DeviceSigningKey.from_text((home / "device.key").read_text())
    assert [entry.key for entry in record.keys] == [signer.public]
    config = parse_config((running.folder / "one.toml").read_text())
    assert (config.broker.host, config.broker.port, config.broker.tls) == ("localhost", running.port, True)
    assert config.archive.reader == "the fleet"
    sealing = ArchivePublicKey.from_text(Path(config.archive.public_key).read_text())
    assert record.sealing[-1].key == sealing
    assert (running.vault / f"{sealing.key_id.hex()}.key").stat().st_mode & 0o077 == 0
    for path in (home / "enrolled").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
        assert not path.name.endswith(".new")
    shown = running.run("keys", "ls", "--devices", str(running.devices)).stdout
    assert record.device in shown
    # No private key of the device is anywhere on the archive's side, nor the token on either.
    secret = (home / "device.key").read_text().split()[3]
    for root in (running.devices, running.vault, running.archive):
        for path in root.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes()


def test_a_token_serves_once_and_its_holder_is_told(running: Fleet) -> None:
    token = running.token()
    running.enrol("two", token=token)
    before = running.digest()
    again = running.enrol("three", token=token, check=False)
    assert again.returncode == 1
    assert "used already" in again.stderr
    assert not (running.folder / "three.toml").exists()
    assert running.digest() == before


def test_an_expired_token_is_refused(running: Fleet) -> None:
    token = running.token("--hours", "0.01")
    folder = running.devices / ".tokens"
    newest = max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    stored = json.loads(newest.read_text())
    newest.write_text(json.dumps(stored | {"until_s": 1}))
    done = running.enrol("late", token=token, check=False)
    assert "has expired" in done.stderr


def test_the_registry_holds_no_token(running: Fleet) -> None:
    """Whoever reads the registry cannot enrol: what is stored is a public key."""
    token = running.token()
    for path in running.devices.rglob("*"):
        assert not path.is_file() or token.removeprefix("modicum-token-").encode() not in path.read_bytes().lower()


def test_a_mistyped_token_is_found_before_anything_is_sent(running: Fleet) -> None:
    token = running.token()
    wrong = token[:-3] + ("a" if token[-3] != "a" else "b") + token[-2:]
    assert "mistyped" in running.enrol("typo", token=wrong, check=False).stderr


def test_a_token_of_another_fleet_gets_no_answer_that_counts(running: Fleet, tmp_path: Path) -> None:
    """The right seed with the pin of another authority: the desk answers, and the device does not believe it."""
    token = Token.from_text(running.token())
    done = running.enrol("astray", token=Token(token.seed, bytes(16)).to_text(), check=False)
    assert "somebody else has answered" in done.stderr
    assert not (running.folder / "astray.toml").exists()


def test_a_device_renews_changes_its_key_and_gets_a_new_archive_key(running: Fleet) -> None:
    running.enrol("four")
    home, config = running.folder / "four", str(running.folder / "four.toml")
    before = record_of(running, "four")
    old_key = (home / "state" / "device.key").read_text()
    running.run("keys", "rotate", before.device, "--devices", str(running.devices), "--vault", str(running.vault))
    done = running.run("enrol", "--renew", "--new-key", "--config", config, home=home)
    assert "new signing key" in done.stdout
    after = record_of(running, "four")
    assert [entry.key for entry in after.keys][:1] == [entry.key for entry in before.keys]
    assert after.keys[0].until_s > 0
    assert after.keys[1].until_s == 0
    new_key = (home / "state" / "device.key").read_text()
    assert new_key != old_key
    assert DeviceSigningKey.from_text(new_key).public == after.keys[1].key
    sealing = ArchivePublicKey.from_text((home / "state" / "enrolled" / "archive.pub").read_text())
    assert sealing == after.sealing[-1].key != before.sealing[-1].key
    assert len(after.certificates) == 2


def test_renewals_within_a_second_or_after_the_clock_was_set_back_are_each_newer(
    running: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.enrol("hasty")
    home, config = running.folder / "hasty", str(running.folder / "hasty.toml")
    now_s = time.time()
    for set_back_s in (0, 0, 3600):
        monkeypatch.setattr("capture.enrolling.time.time", lambda set_back_s=set_back_s: now_s - set_back_s)
        running.run("enrol", "--renew", "--config", config, home=home)
    assert len(record_of(running, "hasty").certificates) == 4
    monkeypatch.setattr("capture.enrolling.time.time", lambda: now_s + 40 * 86_400)
    assert "ahead" in running.run("enrol", "--renew", "--config", config, home=home, check=False).stderr
    monkeypatch.setattr("capture.enrolling.time.time", lambda: now_s)
    running.run("enrol", "--renew", "--config", config, home=home)  # the clock is right again, and that is enough


def test_chunks_of_old_and_new_keys_are_archived_and_verify(running: Fleet) -> None:
    """A device changes its signing key and its archive key while a chunk of the old ones still waits to be sent."""
    running.start_collector()
    running.enrol("nine")
    home, config = running.folder / "nine", str(running.folder / "nine.toml")
    device = (home / "state" / "device").read_text().strip()

    def made(seq: int) -> bytes:
        state = home / "state"
        meta = Meta(1, time.time_ns(), 1000, ("computer-use-training",))
        return seal_chunk(
            ChunkId(device, 1, seq),
            encode_body(Body(meta, PointerEvents.empty(), KeyEvents.empty(), [])),
            recipient=ArchivePublicKey.from_text((state / "enrolled" / "archive.pub").read_text()),
            signer=DeviceSigningKey.from_text((state / "device.key").read_text()),
            expires_s=0,
            value=200,
        )

    async def send(*chunks: bytes) -> list[NackCode]:
        folder = home / "state" / "enrolled"
        tls = Tls(folder / "ca.pem", folder / "client.pem", folder / "client.key")
        nacks: list[NackCode] = []
        answered = 0
        async with Dialer(Broker("localhost", running.port, device, tls=tls)).connect() as connection:
            await connection.subscribe(ack_topic(device), qos=0)
            for chunk in chunks:
                await connection.publish(up_topic(device), chunk)
            async for message in connection.messages():
                answer = parse_answer(message.payload)
                nacks += [nack.code for nack in answer.nacks]
                answered += len(answer.acks) + len(answer.nacks)
                if answered >= len(chunks):
                    break
        return nacks

    before, waiting = made(0), made(1)
    assert asyncio.run(send(before)) == []
    running.run("keys", "rotate", device, "--devices", str(running.devices), "--vault", str(running.vault))
    running.run("enrol", "--renew", "--new-key", "--config", config, home=home)
    assert asyncio.run(send(waiting, made(2))) == []
    verify = ("archive", "verify", str(running.archive), "--devices", str(running.devices), "--key", str(running.vault))
    done = running.run(*verify)
    assert "3 chunks decoded" in done.stdout
    assert "\nsound" in done.stdout
    first = record_of(running, "nine").keys[0].key.key_id.hex()
    running.run("keys", "revoke", device, "--key", first, "--devices", str(running.devices))
    late = seal_chunk(
        ChunkId(device, 1, 3), b"x", recipient=ArchivePrivateKey.generate().public,
        signer=DeviceSigningKey.generate(), expires_s=0, value=0,
    )  # fmt: skip
    assert asyncio.run(send(late)) == [NackCode.UNKNOWN_KEY]
    assert "\nsound" in running.run(*verify).stdout  # what was archived under it stays what it was


def test_a_revoked_device_cannot_renew(running: Fleet) -> None:
    running.enrol("five")
    device = record_of(running, "five").device
    running.run("keys", "revoke", device, "--devices", str(running.devices))
    before = running.digest()
    done = running.run(
        "enrol", "--renew", "--config", str(running.folder / "five.toml"), home=running.folder / "five", check=False
    )
    assert "revoked" in done.stderr
    assert running.digest() == before


def test_by_files_where_there_is_no_way_through(running: Fleet) -> None:
    home, request, reply = (running.folder / name for name in ("six", "six.request", "six.reply"))
    running.run("enrol", "--request", str(request), home=home)
    accept = (
        "keys", "accept", str(request), "--devices", str(running.devices), "--authority", str(running.authority),
        "--vault", str(running.vault), "--offer", f"mqtts://localhost:{running.port}", "--reply", str(reply),
    )  # fmt: skip
    running.run(*accept)
    config = ("--config", str(running.folder / "six.toml"))
    wrong = running.run("enrol", "--reply", str(reply), "--fingerprint", "00" * 32, *config, home=home, check=False)
    assert "somebody else" in wrong.stderr
    missing = running.run("enrol", "--reply", str(reply), *config, home=home, check=False)
    assert "--fingerprint" in missing.stderr
    shown = running.run("keys", "ca", "--out", str(running.folder / "other")).stdout
    assert re.search(r"fingerprint \(SHA-256\): [0-9a-f]{64}", shown)
    right = fingerprint((running.authority / "ca.pem").read_bytes()).hex()
    running.run("enrol", "--reply", str(reply), "--fingerprint", right, *config, home=home)
    assert parse_config((running.folder / "six.toml").read_text()).broker.port == running.port
    # It does not know where to renew, until it was told once.
    assert "--broker" in running.run("enrol", "--renew", *config, home=home, check=False).stderr
    assert "renews itself" not in running.run("doctor", *config, home=home, check=False).stdout
    running.run("enrol", "--renew", "--broker", f"mqtts://localhost:{running.enrol_port}", *config, home=home)
    running.run("enrol", "--renew", *config, home=home)
    assert "renews itself" in running.run("doctor", *config, home=home, check=False).stdout


def test_an_existing_configuration_keeps_everything_else(running: Fleet) -> None:
    config = running.folder / "seven.toml"
    config.write_text(
        '# mine\n[scope]\nallow = ["code"]  # work\n\n[broker]\nhost = "old.example.org"\ntls = true\nport = 1 # old\n'
    )
    running.enrol("seven")
    text = config.read_text()
    assert '# mine\n[scope]\nallow = ["code"]  # work\n' in text
    assert f"port = {running.port} # old" in text
    assert "old.example.org" not in text
    assert "old.example.org" in (running.folder / "seven.toml.before-enrolment").read_text()


def test_strangers_are_dropped_and_counted(running: Fleet) -> None:
    """A request with a token that nobody made costs no answer, and the desk goes on."""
    stranger = Token(os.urandom(16), bytes(16)).to_text()
    process = running.processes.start(
        "stranger",
        [*COMMAND, "enrol", stranger, "--broker", f"mqtts://localhost:{running.enrol_port}"],
        running.environment | {"MODICUM_HOME": str(running.folder / "stranger")},
    )
    wait_for(lambda: "a key or token that is not known" in running.processes.log("desk"), "the desk to drop it")
    process.terminate()
    running.enrol("eight")


def test_names_and_passwords_instead_of_certificates(tmp_path: Path) -> None:
    """deploy/mosquitto-passwords.conf: TLS 1.3 as well, and everybody on their own topics."""
    with fleet(tmp_path, passwords=True) as made:
        passwords = made.etc / "passwords"
        passwords.touch(mode=0o600)
        for name in ("modicum.collector", "dev-one", "dev-two"):
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), name, f"secret of {name}"], check=True)
        made.start_broker()
        tls = Tls(made.authority / "ca.pem")

        def broker(name: str, password: str) -> Broker:
            return Broker("localhost", made.port, f"{name}-x", name, password, tls=tls, connect_timeout_s=5.0)

        async def look() -> None:
            async with (
                Dialer(broker("modicum.collector", "secret of modicum.collector")).connect() as collector,
                Dialer(broker("dev-one", "secret of dev-one")).connect() as one,
            ):
                await collector.subscribe("modicum/v1/+/up", qos=1)
                await one.publish(up_topic("dev-one"), b"mine")
                with pytest.raises(Refused):
                    await one.publish(up_topic("dev-two"), b"not mine")
                async for message in collector.messages():
                    assert (message.topic, message.payload) == (up_topic("dev-one"), b"mine")
                    break
            for name, password in (("dev-two", "secret of dev-one"), ("nobody", "x"), ("dev-two", "")):
                with pytest.raises(Refused):
                    async with Dialer(broker(name, password)).connect():
                        pass

        asyncio.run(look())
