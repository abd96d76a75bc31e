"""docs/format-enrolment.md says what the code does: a device is written from the page alone, and is let in."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import time
import zlib
from pathlib import Path

import msgpack
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from codec.seal import ArchivePrivateKey, DeviceSigningKey
from transport.authority import Authority
from transport.enrolment import MAX_MESSAGE_BYTES
from transport.fs import RealFiles
from transport.messages import MAX_ANSWER_BYTES, MAX_ANSWERED, Answer, Nack, NackCode, pack_answer, sign_answer
from transport.registrar import Offer, Registrar
from transport.registry import Registry

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "format-enrolment.md").read_text()


def test_every_code_and_limit_stands_in_the_page() -> None:
    codes = {int(code): name for code, name in re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", PAGE, re.MULTILINE)}
    assert codes == {code.value: code.name for code in NackCode}
    for limit in (MAX_MESSAGE_BYTES, MAX_ANSWER_BYTES, MAX_ANSWERED):
        assert str(limit) in PAGE


def test_an_answer_is_read_by_the_page() -> None:
    signer = DeviceSigningKey.generate()
    payload = sign_answer(
        pack_answer(Answer(7, ((1, b"8 bytes!"),), (Nack(b"others!!", NackCode.LATER, 60),), (b"done it!",))),
        "dev-1",
        signer,
    )
    assert payload[:4] == bytes.fromhex("8D4D4441")
    signature, packed = payload[4:68], payload[68:]
    key = ed25519.Ed25519PublicKey.from_public_bytes(signer.public.raw)
    key.verify(signature, b"modicum answer\0" + b"dev-1" + b"\0" + packed)
    assert msgpack.unpackb(packed) == {
        "v": 1, "e": 7, "a": [[1, b"8 bytes!"]], "n": [[b"others!!", 5, 60]], "d": [b"done it!"],
    }  # fmt: skip


def test_a_device_that_is_written_from_the_page_is_let_in(tmp_path: Path) -> None:
    authority, archive = Authority.make("fleet", int(time.time())), ArchivePrivateKey.generate()
    registry = Registry(RealFiles(), tmp_path / "devices")
    registrar = Registrar(RealFiles(), registry, authority, Offer("broker.example.org", 8883, True, "the lab"))
    text = registrar.make_token(archive.public).to_text()

    # The device: nothing of ours from here on.
    letters = text.removeprefix("modicum-token-").upper()
    raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    seed, pin, crc = raw[:16], raw[16:32], raw[32:]
    assert struct.unpack(">I", crc)[0] == zlib.crc32(raw[:32])
    right = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"modicum token\0" + seed).digest())
    own, tls = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    body = msgpack.packb(
        {
            "v": 1,
            "d": "from-the-page",
            "k": own.public_key().public_bytes_raw(),
            "t": int(time.time()),
            "n": bytes(16),
            "c": builder.sign(tls, hashes.SHA256()).public_bytes(Encoding.DER),
            "r": hashlib.sha256(right.public_key().public_bytes_raw()).digest()[:8],
        }
    )
    by_device = own.sign(b"modicum enrolment, the device's key\0" + body)
    by_right = right.sign(b"modicum enrolment, what gives the right\0" + body)
    request = bytes.fromhex("8D4D4451") + msgpack.packb([body, by_device, by_right])

    reply = registrar.answer(request).reply
    assert reply[:4] == bytes.fromhex("8D4D4450")
    told, signature = msgpack.unpackb(reply[4:])
    fields = msgpack.unpackb(told)
    certificate = x509.load_pem_x509_certificate(fields["ca"])
    assert hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()[:16] == pin
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, b"modicum enrolment, the authority\0" + told, ec.ECDSA(hashes.SHA256()))
    assert fields["q"] == hashlib.sha256(request).digest()
    assert fields["x"] == ""
    assert fields["a"] == [1, archive.public.raw]
    assert (fields["h"], fields["p"], fields["s"], fields["w"], fields["k"]) == (
        "broker.example.org", 8883, True, "the lab", b"",
    )  # fmt: skip
    assert x509.load_pem_x509_certificate(fields["ce"]).public_key() == tls.public_key()
    record = registry.get("from-the-page")
    assert record is not None
    assert record.keys[0].key.raw == own.public_key().public_bytes_raw()
