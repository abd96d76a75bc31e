"""Enrolment's messages and the registrar's decisions, without a broker: what counts, and what does not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.seal import ArchivePrivateKey, DeviceSigningKey
from transport.authority import Authority, BadCertificate, Purpose, new_key, requested_key, signing_request, verifies
from transport.devices import Device
from transport.enrolment import (
    MAX_MESSAGE_BYTES,
    BadEnrolment,
    Reply,
    Request,
    Token,
    from_armor,
    pack_request,
    parse_request,
    to_armor,
)
from transport.errors import TransportError
from transport.fs import RealFiles
from transport.joining import check_reply
from transport.registrar import BURST, Decided, Offer, Rate, Registrar
from transport.registry import Registry

ARCHIVE = ArchivePrivateKey.generate()
AUTHORITY = Authority.make("fleet", 1_700_000_000)
TLS_KEY, _ = new_key()
CSR = signing_request(TLS_KEY)


class Clock:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.s = 1_700_000_000

    def __call__(self) -> int:
        return self.s


class Scene:
    """A registrar over a folder, and devices that ask it."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.registry = Registry(RealFiles(), folder / "devices", now_s=self.clock)
        offer = Offer("broker.example.org", 8883, True, "the lab", None)
        self.registrar = Registrar(RealFiles(), self.registry, AUTHORITY, offer, now_s=self.clock)

    def token(self) -> Token:
        return self.registrar.make_token(ARCHIVE.public)

    def ask(
        self,
        signer: DeviceSigningKey,
        right: DeviceSigningKey,
        *,
        device: str = "dev-1",
        key: DeviceSigningKey | None = None,
    ) -> bytes:
        """Return a request at the clock's time. key: to be enrolled, by default the signer's own."""
        asked = key or signer
        request = Request(device, asked.public, self.clock.s, os.urandom(16), CSR, right.key_id)
        return pack_request(request, asked, right)

    def record(self, device: str = "dev-1") -> Device:
        record = self.registry.get(device)
        assert record is not None
        return record


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def granted(data: bytes, decided: Decided) -> Reply:
    assert decided.kind in {"enrolled", "renewed", "repeated"}, decided
    return check_reply(data, decided.reply, authority=AUTHORITY.certificate)


def refused(data: bytes, decided: Decided) -> str:
    assert decided.kind == "refused"
    with pytest.raises(BadEnrolment, match="not enrolled") as caught:
        check_reply(data, decided.reply, authority=AUTHORITY.certificate)
    return str(caught.value)


def test_a_token_enrols_and_the_same_question_gets_the_same_answer(scene: Scene) -> None:
    token, signer = scene.token(), DeviceSigningKey.generate()
    data = scene.ask(signer, token.key)
    first = scene.registrar.answer(data)
    reply = granted(data, first)
    assert reply.archive_key == ARCHIVE.public
    assert check_reply(data, first.reply, pin=token.pin) == reply
    again = scene.registrar.answer(data)
    assert (again.kind, again.reply) == ("repeated", first.reply)
    assert len(scene.record().certificates) == 1


def test_after_a_crash_between_record_and_token_the_device_gets_in(scene: Scene) -> None:
    token, signer = scene.token(), DeviceSigningKey.generate()
    path = scene.registry.folder / ".tokens" / f"{token.token_id.hex()}.json"
    unused = path.read_bytes()
    data = scene.ask(signer, token.key)
    granted(data, scene.registrar.answer(data))
    path.write_bytes(unused)  # the record was written, the token's was not
    granted(data, scene.registrar.answer(data))
    assert [entry.key for entry in scene.record().keys] == [signer.public]


def test_a_token_is_worth_nothing_the_second_time_and_in_other_hands(scene: Scene) -> None:
    token, signer = scene.token(), DeviceSigningKey.generate()
    granted(first := scene.ask(signer, token.key), scene.registrar.answer(first))
    before = scene.record()
    other = scene.ask(DeviceSigningKey.generate(), token.key, device="dev-2")
    assert "used already" in refused(other, scene.registrar.answer(other))
    stranger = DeviceSigningKey.generate()
    guessed = scene.ask(stranger, stranger)
    assert scene.registrar.answer(guessed).reply == b""
    assert scene.registry.get("dev-2") is None
    assert scene.record() == before


def test_a_token_cannot_take_over_an_enrolled_device(scene: Scene) -> None:
    one, two = scene.token(), scene.token()
    granted(data := scene.ask(DeviceSigningKey.generate(), one.key), scene.registrar.answer(data))
    before = scene.record()
    attack = scene.ask(DeviceSigningKey.generate(), two.key)
    assert "enrolled already" in refused(attack, scene.registrar.answer(attack))
    assert scene.record() == before


def test_a_token_expires(scene: Scene) -> None:
    token = scene.token()
    scene.clock.s += 73 * 3600
    data = scene.ask(DeviceSigningKey.generate(), token.key)
    assert "expired" in refused(data, scene.registrar.answer(data))


def enrolled(scene: Scene) -> DeviceSigningKey:
    signer, token = DeviceSigningKey.generate(), scene.token()
    granted(data := scene.ask(signer, token.key), scene.registrar.answer(data))
    return signer


def test_a_replayed_renewal_is_refused(scene: Scene) -> None:
    signer, coming = enrolled(scene), DeviceSigningKey.generate()
    scene.clock.s += 10
    old = scene.ask(signer, signer)
    granted(old, scene.registrar.answer(old))
    scene.clock.s += 10
    change = scene.ask(signer, signer, key=coming)
    granted(change, scene.registrar.answer(change))
    before = scene.record()
    for replay in (old, change):
        assert "newer request" in refused(replay, scene.registrar.answer(replay))
    assert scene.record() == before
    assert before.keys[1].key == coming.public


def test_a_clock_that_runs_ahead_does_not_shut_its_device_out(scene: Scene) -> None:
    signer = enrolled(scene)
    right_s = scene.clock.s + 60
    scene.clock.s += 10 * 365 * 86_400
    ahead = scene.ask(signer, signer)
    scene.clock.s = right_s
    assert "clock" in refused(ahead, scene.registrar.answer(ahead))
    granted(data := scene.ask(signer, signer), scene.registrar.answer(data))


def test_tokens_that_ended_long_ago_are_forgotten(scene: Scene) -> None:
    scene.token()
    scene.clock.s += 40 * 86_400
    scene.token()
    assert len(list((scene.registry.folder / ".tokens").iterdir())) == 1


def test_a_key_that_has_ended_renews_nothing(scene: Scene) -> None:
    signer, coming = enrolled(scene), DeviceSigningKey.generate()
    scene.clock.s += 10
    granted(data := scene.ask(signer, signer, key=coming), scene.registrar.answer(data))
    scene.registry.change("dev-1", lambda record: record.without(signer.key_id, 1))  # type: ignore[union-attr]
    scene.clock.s += 10
    thief = scene.ask(signer, signer, key=DeviceSigningKey.generate())
    assert "revoked" in refused(thief, scene.registrar.answer(thief))
    back = scene.ask(coming, coming, key=signer)  # the device itself may not take up an ended key again
    assert "ended already" in refused(back, scene.registrar.answer(back))


def test_by_hand_another_key_for_an_enrolled_device_is_refused(scene: Scene) -> None:
    enrolled(scene)
    other = DeviceSigningKey.generate()
    request = pack_request(Request("dev-1", other.public, 5, bytes(16)), other, None)
    with pytest.raises(BadEnrolment, match="another key"):
        scene.registrar.accept(request, ARCHIVE.public)


def test_without_a_right_nothing_is_answered_over_the_broker(scene: Scene) -> None:
    signer = DeviceSigningKey.generate()
    decided = scene.registrar.answer(pack_request(Request("dev-1", signer.public, 5, bytes(16)), signer, None))
    assert (decided.kind, decided.reply) == ("dropped", b"")
    assert scene.registry.get("dev-1") is None


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_change_of_a_request_gets_in(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    scene = Scene(tmp_path_factory.mktemp("scene"))
    token, signer = scene.token(), DeviceSigningKey.generate()
    asked = bytearray(scene.ask(signer, token.key))
    asked[data.draw(st.integers(0, len(asked) - 1))] ^= data.draw(st.integers(1, 255))
    assert scene.registrar.answer(bytes(asked)).kind in {"dropped", "refused"}
    assert scene.registry.get("dev-1") is None


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_change_of_a_reply_is_believed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    scene = Scene(tmp_path_factory.mktemp("scene"))
    token, signer = scene.token(), DeviceSigningKey.generate()
    asked = scene.ask(signer, token.key)
    reply = bytearray(scene.registrar.answer(asked).reply)
    place = data.draw(st.integers(0, 1 << 16)) % len(reply)  # signatures in DER differ in length
    reply[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadEnrolment):
        check_reply(asked, bytes(reply), pin=token.pin)


def test_a_reply_to_another_request_is_not_believed(scene: Scene) -> None:
    one, two = (scene.ask(DeviceSigningKey.generate(), scene.token().key, device=name) for name in ("dev-1", "dev-2"))
    reply = scene.registrar.answer(one).reply
    with pytest.raises(BadEnrolment, match="another request"):
        check_reply(two, reply, authority=AUTHORITY.certificate)


def test_a_reply_of_another_authority_is_not_believed(scene: Scene) -> None:
    stranger = Authority.make("fleet", scene.clock.s)
    token = scene.token()
    data = scene.ask(DeviceSigningKey.generate(), token.key)
    forged = Registrar(RealFiles(), scene.registry, stranger, Offer(), now_s=scene.clock).answer(data).reply
    for trust in ({"pin": token.pin}, {"authority": AUTHORITY.certificate}, {"pin": b""}):
        with pytest.raises(BadEnrolment, match="somebody else"):
            check_reply(data, forged, **trust)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_an_error(data: bytes) -> None:
    with pytest.raises(BadEnrolment):
        parse_request(b"\x8dMDQ" + data)


def test_what_is_far_too_long_is_not_parsed() -> None:
    with pytest.raises(BadEnrolment, match="far more"):
        parse_request(b"\x8dMDQ" + bytes(MAX_MESSAGE_BYTES))


@pytest.mark.parametrize("device", ["../x", "modicum.collector", "", "UPPER", "a" * 33, "a+b#"])
def test_a_name_that_is_no_pseudonym_is_not_enrolled(scene: Scene, device: str) -> None:
    """Above all no role's: a certificate in a role's name would open the broker."""
    data = scene.ask(DeviceSigningKey.generate(), scene.token().key, device=device)
    assert scene.registrar.answer(data).kind == "dropped"
    assert list(scene.registry.devices()) == []


def test_a_flood_of_requests_is_dropped_unread(scene: Scene) -> None:
    kinds = [scene.registrar.answer(b"x").text for _ in range(int(BURST) + 20)]
    assert kinds.count("more enrolment requests than are looked at") >= 19


def test_the_rate_fills_again() -> None:
    rate = Rate(per_s=2.0, burst=4.0, left=4.0)
    assert [rate.take(0.0) for _ in range(5)] == [True] * 4 + [False]
    assert rate.take(0.5)
    assert not rate.take(0.5)
    assert [rate.take(1000.0) for _ in range(5)] == [True] * 4 + [False]


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_a_token_comes_back_from_its_text(seed: bytes, pin: bytes) -> None:
    token = Token(seed, pin)
    assert Token.from_text(f"  {token.to_text().upper()}\n") == token
    assert seed.hex() not in repr(token)


@given(st.integers(0, 200), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_mistyped_token_is_noticed(place: int, letter: str) -> None:
    text = Token(bytes(range(16)), bytes(16)).to_text()
    place = len("modicum-token-") + place % (len(text) - len("modicum-token-"))
    wrong = text[:place] + letter + text[place + 1 :]
    if wrong != text:
        with pytest.raises(BadEnrolment):
            Token.from_text(wrong)


def test_armor_survives_a_mail() -> None:
    data = os.urandom(500)
    text = f"Dear ops,\r\n\r\n{to_armor(data, 'request')}\r\nKind regards\r\n".replace("\n", "\r\n")
    assert from_armor(text, "request") == data
    with pytest.raises(BadEnrolment):
        from_armor(text, "reply")


def test_a_certificate_says_whose_it_is_and_nothing_more() -> None:
    from cryptography import x509

    issued = AUTHORITY.issue("dev-1", requested_key(CSR), Purpose.CLIENT, 1_700_000_000)
    certificate = x509.load_pem_x509_certificate(issued.pem)
    assert certificate.subject.rfc4514_string() == "CN=dev-1"
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(AUTHORITY.certificate))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


BAD_REQUESTS: list[Callable[[bytes], bytes]] = [
    lambda csr: b"",
    lambda csr: csr[:-1],
    lambda csr: csr[:-5] + bytes([csr[-5] ^ 1]) + csr[-4:],
    lambda csr: bytes(5000),
]


@pytest.mark.parametrize("spoil", BAD_REQUESTS)
def test_a_signing_request_that_is_not_signed_by_its_key_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadCertificate):
        requested_key(spoil(CSR))


def test_the_authority_signs_and_nobody_else() -> None:
    signature = AUTHORITY.sign(b"text")
    assert verifies(AUTHORITY.certificate, signature, b"text")
    assert not verifies(AUTHORITY.certificate, signature, b"other")
    assert not verifies(Authority.make("fleet", 1).certificate, signature, b"text")
    assert not verifies(AUTHORITY.certificate, b"", b"text")


def test_without_an_authority_nothing_is_promised(scene: Scene) -> None:
    registrar = Registrar(RealFiles(), scene.registry, None, Offer(), now_s=scene.clock)
    with pytest.raises(TransportError, match="modicum keys ca"):
        registrar.make_token(ARCHIVE.public)
    signer = DeviceSigningKey.generate()
    data = pack_request(Request("dev-1", signer.public, 5, hashlib.sha256(b"n").digest()[:16]), signer, None)
    assert registrar.accept(data, None).kind == "enrolled"
    assert replace(scene.record(), sealing=()) == scene.record()
