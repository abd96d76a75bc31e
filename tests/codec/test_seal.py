"""Keys as values and text, sealing and signing, and HPKE's own published vector."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import seal
from codec.errors import CodecError, Corrupt, Denied, TooLarge, Unsupported
from codec.seal import ArchivePrivateKey, ArchivePublicKey, DeviceSigningKey, DeviceVerifyKey, Suite

SUITES = [suite for suite in Suite if seal.is_available(suite)]
ARCHIVE = {suite: ArchivePrivateKey.generate(suite) for suite in SUITES}
DEVICE = DeviceSigningKey.generate()
KEYS = [DEVICE, DEVICE.public, *ARCHIVE.values(), *(key.public for key in ARCHIVE.values())]


def test_the_library_has_both_suites() -> None:
    assert SUITES == [Suite.X25519, Suite.MLKEM768_X25519], "upgrade `cryptography`, or skip this with a reason"


@pytest.mark.parametrize("suite", SUITES)
@given(plain=st.binary(max_size=500), info=st.binary(max_size=60))
def test_what_is_sealed_opens(suite: Suite, plain: bytes, info: bytes) -> None:
    private = ARCHIVE[suite]
    sealed = seal.encrypt(plain, private.public, info=info)
    assert len(sealed) == seal.sealed_bytes(suite, len(plain))
    assert seal.decrypt(sealed, private, info=info) == plain
    with pytest.raises(Corrupt):
        seal.decrypt(sealed, private, info=info + b"x")


@pytest.mark.parametrize("suite", SUITES)
def test_every_changed_or_missing_byte_of_a_sealed_text_is_noticed(suite: Suite) -> None:
    sealed = seal.encrypt(b"some text", ARCHIVE[suite].public, info=b"")
    for place in range(0, len(sealed), 1 if suite is Suite.X25519 else 7):
        changed = bytearray(sealed)
        changed[place] ^= 0x04
        for bad in (bytes(changed), sealed[:place]):
            with pytest.raises(Corrupt):
                seal.decrypt(bad, ARCHIVE[suite], info=b"")


def test_sealing_twice_gives_different_texts() -> None:
    public = ARCHIVE[Suite.X25519].public
    assert seal.encrypt(b"x", public, info=b"") != seal.encrypt(b"x", public, info=b"")


def test_opening_is_hpke_as_published() -> None:
    """RFC 9180, appendix A.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode, sequence number 0.

    The RFC's vectors all carry an aad, which the library's one-shot form leaves empty; so the vector's key and nonce
    seal its plaintext here with an empty aad, and our `decrypt` must open that from the vector's private key and enc.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    info = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    enc = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
    recipient = bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    key, nonce = bytes.fromhex("4531685d41d65f03dc48f6b8302c05b0"), bytes.fromhex("56d890e5accaaf011cff4b7d")
    plain = bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479")
    sealed = enc + AESGCM(key).encrypt(nonce, plain, b"")
    assert seal.decrypt(sealed, ArchivePrivateKey.from_raw(Suite.X25519, recipient), info=info) == plain


def test_signing_is_ed25519_as_published() -> None:
    """RFC 8032, 7.1, test 2."""
    key = DeviceSigningKey.from_raw(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.public.raw.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = key.sign(b"\x72")
    assert signature.hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert key.public.verifies(signature, b"\x72")
    assert not key.public.verifies(signature, b"\x73")
    assert not key.public.verifies(signature[:-1], b"\x72")
    assert not DeviceVerifyKey(bytes(32)).verifies(signature, b"\x72")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_keys_round_trip_as_one_line_of_text(key: DeviceSigningKey) -> None:
    text = key.to_text()
    assert text.count("\n") == 1
    assert type(key).from_text(text) == key
    assert type(key).from_text(f"# the archive of the west wing\n\n  {text}\n") == key


@pytest.mark.parametrize("key", [DEVICE, *ARCHIVE.values()], ids=lambda key: type(key).__name__)
def test_private_keys_stay_out_of_repr(key: DeviceSigningKey) -> None:
    assert key.raw.hex() not in repr(key)
    assert repr(key.raw) not in repr(key)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_a_mistyped_or_cut_key_line_is_noticed(key: DeviceSigningKey) -> None:
    text = key.to_text()
    start = len(text) - 17 - 24
    for place in range(start, len(text) - 1):
        for replacement in ("A" if text[place] != "A" else "B", ""):
            try:
                read = type(key).from_text(text[:place] + replacement + text[place + 1 :])
            except CodecError:
                continue
            # X25519 itself ignores five bits of a private key (RFC 7748, clamping): those may be mistyped.
            assert isinstance(read, ArchivePrivateKey)
            assert read.public == key.public


def test_a_key_of_another_kind_is_denied_by_name() -> None:
    with pytest.raises(Denied, match=r"'modicum-archive-private' key, and a 'modicum-archive-public' is needed"):
        ArchivePublicKey.from_text(ARCHIVE[Suite.X25519].to_text())
    with pytest.raises(Denied, match="modicum-device-public"):
        DeviceSigningKey.from_text(DEVICE.public.to_text())


def test_key_lines_of_a_newer_version_or_algorithm_are_unsupported() -> None:
    text = DEVICE.to_text()
    with pytest.raises(Unsupported, match="version"):
        DeviceSigningKey.from_text(text.replace(" 1 ", " 2 "))
    with pytest.raises(Unsupported, match="ed448"):
        DeviceSigningKey.from_text(text.replace("ed25519", "ed448"))
    with pytest.raises(Unsupported, match="x448"):
        ArchivePublicKey.from_text(ARCHIVE[Suite.X25519].public.to_text().replace("x25519", "x448"))


@pytest.mark.parametrize(
    "text", ["", "\n#\n", "hello", "ssh-ed25519 AAAA x", DEVICE.to_text() * 2, "modicum-device-private 1 ed25519 ! 00"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Corrupt):
        DeviceSigningKey.from_text(text)


def test_a_long_text_is_not_looked_at() -> None:
    with pytest.raises(TooLarge):
        ArchivePublicKey.from_text("#" * 5000)


def test_keys_of_wrong_length_are_refused() -> None:
    for make in (
        lambda: ArchivePublicKey(Suite.X25519, bytes(31)),
        lambda: ArchivePrivateKey.from_raw(Suite.X25519, bytes(96)),
        lambda: DeviceVerifyKey(bytes(33)),
        lambda: DeviceSigningKey.from_raw(b""),
    ):
        with pytest.raises(Corrupt, match="are needed"):
            make()


def test_sealing_for_a_point_of_low_order_is_refused() -> None:
    with pytest.raises(Corrupt, match="unusable"):
        seal.encrypt(b"x", ArchivePublicKey(Suite.X25519, bytes(32)), info=b"")
