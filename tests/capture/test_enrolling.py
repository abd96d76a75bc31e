"""What a device keeps of an answer, at which moment; the whole way over a broker is in tests/integration/test_enrolment.py."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from capture import certificates
from capture.enrolling import TLS_NEW, Enrolling
from capture.errors import CaptureError, ConfigError
from capture.home import Home
from capture.keyfiles import write_private
from codec.seal import ArchivePrivateKey, DeviceSigningKey
from transport.authority import Authority, fingerprint
from transport.enrolment import BadEnrolment, from_armor, to_armor
from transport.fs import RealFiles
from transport.registrar import Offer, Registrar
from transport.registry import Registry

AUTHORITY = Authority.make("fleet", int(time.time()))
ARCHIVE, OTHER = ArchivePrivateKey.generate().public, ArchivePrivateKey.generate().public


class Scene:
    """A device that was let in by hand, and the archive's side."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "state", folder / "run")
        self.home.prepare()
        self.registry = Registry(RealFiles(), folder / "devices")
        self.answers = DeviceSigningKey.generate().public
        offer = Offer("broker.example.org", 8883, True, "the lab", self.answers)
        self.registrar = Registrar(RealFiles(), self.registry, AUTHORITY, offer)
        self.enrolling = Enrolling(self.home)
        request, reply = folder / "request", folder / "reply"
        self.enrolling.write_request(request)
        decided = self.registrar.accept(from_armor(request.read_text(), "request"), ARCHIVE)
        reply.write_text(to_armor(decided.reply, "reply"))
        self.enrolling.take_reply(reply, pin=fingerprint(AUTHORITY.certificate).hex())

    def know_the_address(self) -> None:
        write_private(self.home.enrolment, json.dumps({"address": "mqtts://localhost:8884", "ca": ""}).encode())

    def rotate(self) -> None:
        self.registry.change(self.home.device(), lambda record: record.with_sealing(OTHER, 5))  # type: ignore[union-attr]

    def asked(self) -> tuple[bytes, bytes]:
        """Return the agent's own request, and the answer to it."""
        _, request = self.enrolling.ask_by_itself()
        return request, self.registrar.answer(request).reply

    def files(self) -> dict[str, bytes]:
        paths = [*self.home.enrolled.iterdir(), self.home.signing_key_file]
        return {path.name: path.read_bytes() for path in paths}

    def fits(self) -> None:
        """Check that certificate and key belong together, as a connection would."""
        folder = self.home.enrolled
        certificates.check(folder / "ca.pem", folder / "client.pem", folder / "client.key")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_of_an_answer_to_the_agent_itself_only_what_lets_it_in_is_taken(scene: Scene) -> None:
    scene.know_the_address()
    scene.rotate()
    before, (request, answer) = scene.files(), scene.asked()
    reply = scene.enrolling.take_by_itself(request, answer)
    assert reply.archive_key == OTHER
    after = scene.files()
    assert {name for name in after if after[name] != before.get(name)} == {"client.pem", "client.key", "asked"}
    assert TLS_NEW not in after
    scene.fits()


def test_the_collectors_new_key_is_believed_beside_the_one_before(scene: Scene) -> None:
    scene.know_the_address()
    coming = DeviceSigningKey.generate().public
    scene.registrar = Registrar(RealFiles(), scene.registry, AUTHORITY, Offer(answer_key=coming))
    scene.enrolling.take_by_itself(*scene.asked())
    lines = (scene.home.enrolled / "answers.pub").read_text().splitlines()
    assert lines == [coming.to_text().strip(), scene.answers.to_text().strip()]


def test_an_answer_that_is_not_the_fleets_or_a_refusal_changes_nothing(scene: Scene, tmp_path: Path) -> None:
    scene.know_the_address()
    request, answer = scene.asked()
    before = scene.files()
    shutil.copytree(scene.registry.folder, tmp_path / "theirs")
    theirs = Registry(RealFiles(), tmp_path / "theirs")
    theirs.change(scene.home.device(), lambda record: replace(record, renewed_s=0))  # type: ignore[type-var]
    forged = Registrar(RealFiles(), theirs, Authority.make("fleet", 1), Offer()).answer(request)
    assert forged.kind == "renewed"
    scene.registry.change(scene.home.device(), lambda record: record.without(None, 5))  # type: ignore[union-attr]
    refused = scene.asked()
    for asked, answered in (
        (request, forged.reply),
        (request, answer[:-1] + bytes([answer[-1] ^ 1])),
        (request, b""),
        refused,
        (refused[0], answer),
    ):
        with pytest.raises(BadEnrolment):
            scene.enrolling.take_by_itself(asked, answered)
        assert scene.files() == before


def test_a_crash_between_certificate_and_key_is_mended_at_the_next_start(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.know_the_address()
    request, answer = scene.asked()
    rename = os.replace

    def dies(source: Path, target: Path) -> None:
        if Path(target).name == "client.key":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr("os.replace", dies)
    with pytest.raises(KeyboardInterrupt):
        scene.enrolling.take_by_itself(request, answer)
    monkeypatch.undo()
    with pytest.raises(ConfigError):
        scene.fits()
    scene.enrolling.finish()
    scene.fits()


def test_an_open_request_leaves_the_key_in_force_alone(scene: Scene) -> None:
    scene.know_the_address()
    scene.asked()
    scene.enrolling.finish()
    scene.fits()
    assert (scene.home.enrolled / TLS_NEW).exists()


def test_a_key_that_a_power_cut_damaged_is_made_anew(scene: Scene) -> None:
    scene.know_the_address()
    write_private(scene.home.enrolled / TLS_NEW, b"")
    scene.enrolling.finish()
    scene.enrolling.take_by_itself(*scene.asked())
    scene.fits()


def test_a_device_that_knows_no_address_asks_nobody(scene: Scene) -> None:
    with pytest.raises(CaptureError, match="enrolled by file"):
        scene.enrolling.ask_by_itself()
