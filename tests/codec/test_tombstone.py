"""Tombstones: one spelling for a set of chunks, nothing that is cut or changed passes, and the document is the code."""

from __future__ import annotations

import json
import re
import struct
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from codec import tombstone as tombstones
from codec.chunk import parse_header
from codec.errors import CodecError, Corrupt, Denied, TooLarge, Truncated, Unsupported
from codec.model import ChunkId
from codec.seal import DeviceSigningKey, DeviceVerifyKey
from codec.tombstone import (
    Authority,
    Range,
    Scope,
    Tombstone,
    merged,
    parse_tombstone,
    ranges_of,
    sign_tombstone,
    verify_tombstone,
)
from tests.golden.dump import BEGIN, END
from tests.golden.tombstones import DOCUMENT, FOLDER, example, plain_of, vectors
from tests.golden.write import sums

KEY = DeviceSigningKey.from_raw(bytes(range(32)))
DEVICE = "dev-0123"
ONE = sign_tombstone(DEVICE, [Range(7, 3, 5), Range(7, 9, 9)], wall_s=1_790_000_000, signer=KEY)

small = st.integers(0, 40)
ids = st.sets(st.tuples(st.integers(0, 2), small), min_size=1, max_size=60)


def with_crc(data: bytes) -> bytes:
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")


@given(chosen=ids, wall_s=st.integers(0, 2**64 - 1), authority=st.sampled_from(Authority))
def test_it_covers_just_the_chunks_that_it_was_made_of(
    chosen: set[tuple[int, int]], wall_s: int, authority: Authority
) -> None:
    named = [ChunkId(DEVICE, *pair) for pair in chosen]
    data = sign_tombstone(DEVICE, ranges_of(named), wall_s=wall_s, signer=KEY, authority=authority)
    found = verify_tombstone(data, KEY.public)
    assert (found.device, found.wall_s, found.authority, found.scope) == (DEVICE, wall_s, authority, Scope.RANGES)
    for epoch in range(3):
        for seq in range(42):
            assert found.covers(ChunkId(DEVICE, epoch, seq)) == ((epoch, seq) in chosen)
    assert not found.covers(ChunkId("dev-9999", *min(chosen)))


@given(one=ids, other=ids)
def test_one_covers_all_of_another_just_when_its_chunks_do(
    one: set[tuple[int, int]], other: set[tuple[int, int]]
) -> None:
    def made(pairs: set[tuple[int, int]]) -> Tombstone:
        return Tombstone(
            DEVICE, Scope.RANGES, ranges_of(ChunkId(DEVICE, *pair) for pair in pairs), 0, Authority.DEVICE, bytes(8)
        )

    everything = Tombstone(DEVICE, Scope.DEVICE, (), 0, Authority.DEVICE, bytes(8))
    assert made(one).covers_all_of(made(other)) == (other <= one)
    assert everything.covers_all_of(made(one))
    assert not made(one).covers_all_of(everything)
    assert not made(one).covers_all_of(Tombstone("dev-9999", Scope.RANGES, made(one).ranges, 0, Authority.DEVICE, b""))


@given(pairs=st.lists(st.tuples(st.integers(0, 1), small, small), max_size=20))
def test_merging_ranges_changes_nothing_but_their_number(pairs: list[tuple[int, int, int]]) -> None:
    ranges = [Range(epoch, min(a, b), max(a, b)) for epoch, a, b in pairs]
    found = merged(ranges)
    assert merged(found) == found
    for epoch in (0, 1):
        for seq in range(42):
            inside = any(r.epoch == epoch and r.first <= seq <= r.last for r in ranges)
            assert inside == any(r.epoch == epoch and r.first <= seq <= r.last for r in found)


def test_a_whole_device_is_everything_of_it_for_ever() -> None:
    found = parse_tombstone(sign_tombstone(DEVICE, None, wall_s=1, signer=KEY))
    assert found.scope is Scope.DEVICE
    assert found.covers(ChunkId(DEVICE, 2**32 - 1, 2**32 - 1))
    assert not found.covers(ChunkId("dev-9999", 0, 0))


@pytest.mark.parametrize("name", vectors())
def test_every_prefix_is_truncated_and_every_changed_byte_raises(name: str) -> None:
    whole = (FOLDER / f"{name}.tombstone").read_bytes()
    key = DeviceVerifyKey.from_text((FOLDER / "key.txt").read_text())
    for length in range(len(whole)):
        with pytest.raises(Truncated):
            parse_tombstone(whole[:length])
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            with pytest.raises(CodecError):
                parse_tombstone(bytes(changed))
            if place < len(whole) - 4:
                with pytest.raises(CodecError):  # whoever can renew the CRC has a false signature
                    verify_tombstone(with_crc(bytes(changed)), key)
    with pytest.raises(Corrupt, match="follow"):
        parse_tombstone(whole + b"\0")


def test_another_key_is_denied() -> None:
    other = DeviceSigningKey.generate()
    with pytest.raises(Denied, match=KEY.key_id.hex()):
        verify_tombstone(ONE, other.public)
    forged = sign_tombstone(DEVICE, [Range(7, 3, 5)], wall_s=1, signer=other)
    with pytest.raises(Corrupt, match="false"):
        verify_tombstone(with_crc(forged[:20] + KEY.key_id + forged[28:]), KEY.public)


def spelt(scope: int, ranges: list[tuple[int, int, int]], *, authority: int = 1, device: bytes = b"dev-0123") -> bytes:
    """Return a tombstone of any fields, with length and CRC that fit."""
    length = 30 + len(device) + 12 * len(ranges) + 68
    head = struct.pack("<4sBBBBIQ8sH", b"\x8dMDT", 1, scope, authority, len(device), length, 0, bytes(8), len(ranges))
    return with_crc(head + device + b"".join(struct.pack("<III", *r) for r in ranges) + bytes(68))


@pytest.mark.parametrize(
    "data",
    [
        spelt(1, []),
        spelt(2, [(1, 1, 1)]),
        spelt(3, []),
        spelt(0, []),
        spelt(2, [], authority=0),
        spelt(2, [], authority=3),
        spelt(1, [(1, 2, 1)]),
        spelt(1, [(1, 1, 1), (1, 1, 1)]),
        spelt(1, [(1, 1, 1), (1, 2, 3)]),
        spelt(1, [(1, 5, 9), (1, 7, 20)]),
        spelt(1, [(2, 1, 1), (1, 1, 1)]),
        spelt(2, [], device=b"dev"),
        spelt(2, [], device=b"Dev-0123"),
        spelt(2, [], device=b"dev-0123/"),
        spelt(2, [], device=b"d" * 33),
    ],
)
def test_what_is_not_spelt_as_the_format_says_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        parse_tombstone(data)


def test_lengths_are_checked_before_memory_is_taken() -> None:
    with pytest.raises(TooLarge):
        parse_tombstone(spelt(1, [(1, 2 * n, 2 * n) for n in range(1025)]))
    with pytest.raises(TooLarge):
        parse_tombstone(b"\x8dMDT\1\1\1\x08\xff\xff\xff\xff" + bytes(20))
    with pytest.raises(TooLarge):
        sign_tombstone(DEVICE, [Range(1, 2 * n, 2 * n) for n in range(1025)], wall_s=1, signer=KEY)
    most = [Range(1, 2 * n, 2 * n) for n in range(1024)]
    assert len(sign_tombstone("d" * 32, most, wall_s=1, signer=KEY)) == tombstones.MAX_TOMBSTONE_BYTES
    assert len(sign_tombstone("d" * 4, None, wall_s=1, signer=KEY)) == tombstones.MIN_TOMBSTONE_BYTES


def test_a_newer_version_is_named() -> None:
    with pytest.raises(Unsupported, match="upgrade"):
        parse_tombstone(with_crc(ONE[:4] + b"\2" + ONE[5:]))


@pytest.mark.parametrize(
    ("device", "ranges", "wall_s"),
    [
        ("Dev-0123", None, 0),
        (DEVICE, [], 0),
        (DEVICE, [Range(1, 2, 1)], 0),
        (DEVICE, [Range(1 << 32, 0, 0)], 0),
        (DEVICE, [Range(0, -1, 0)], 0),
        (DEVICE, None, -1),
    ],
)
def test_what_cannot_be_written_is_a_mistake_of_the_caller(
    device: str, ranges: list[Range] | None, wall_s: int
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        sign_tombstone(device, ranges, wall_s=wall_s, signer=KEY)


def test_a_tombstone_is_no_chunk_and_a_chunk_no_tombstone() -> None:
    with pytest.raises(Corrupt, match="no chunk"):
        parse_header(ONE)
    with pytest.raises(Corrupt, match="no tombstone"):
        parse_tombstone((FOLDER.parent / "v1" / "rows.chunk").read_bytes())


# -- the golden vectors and the document


def slow_tombstone(data: bytes, key: bytes) -> dict[str, object]:
    """Read a tombstone by docs/format-tombstone.md alone, without a line of `codec`."""
    assert data[:5] == b"\x8dMDT\1"
    assert int.from_bytes(data[8:12], "little") == len(data)
    assert int.from_bytes(data[-4:], "little") == zlib.crc32(data[:-4])
    Ed25519PublicKey.from_public_bytes(key).verify(data[-68:-4], data[:-68])
    start = 30 + data[7]
    numbers = [int.from_bytes(data[at : at + 4], "little") for at in range(start, len(data) - 68, 4)]
    assert len(numbers) == 3 * int.from_bytes(data[28:30], "little")
    return {
        "device": data[30:start].decode(),
        "scope": {1: "RANGES", 2: "DEVICE"}[data[5]],
        "authority": {1: "DEVICE", 2: "OWNER"}[data[6]],
        "wall_s": int.from_bytes(data[12:20], "little"),
        "signer_id": data[20:28].hex(),
        "ranges": [numbers[at : at + 3] for at in range(0, len(numbers), 3)],
    }


@pytest.mark.parametrize("name", vectors())
def test_golden_tombstones_are_still_read_as_what_they_were_made_from(name: str) -> None:
    data = (FOLDER / f"{name}.tombstone").read_bytes()
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    key = DeviceVerifyKey.from_text((FOLDER / "key.txt").read_text())
    assert plain_of(verify_tombstone(data, key)) == expected
    assert slow_tombstone(data, key.raw) == expected
    assert vectors()[name] == data  # Ed25519 is deterministic: what is written has not changed either


def test_no_golden_tombstone_is_missing_new_or_changed() -> None:
    assert {path.stem for path in FOLDER.glob("*.tombstone")} == set(vectors())
    stated = (FOLDER / "SHA256SUMS").read_text()
    assert stated == "".join(f"{digest}  {name}\n" for name, digest in sums(FOLDER).items())


def test_the_document_is_the_code() -> None:
    document = DOCUMENT.read_text()
    assert document.split(BEGIN)[1].split(END)[0] == example()
    assert f"`{tombstones.MAGIC.hex(' ').upper()}`" in document
    limits = dict(re.findall(r"^\| (M(?:AX|IN)_\w+) \| (\d+) \|", document, re.MULTILINE))
    code = {name: str(value) for name, value in vars(tombstones).items() if re.match("M(AX|IN)_", name)}
    assert limits == code
    table, ranges = document.split("## Tombstone\n")[1].split("A range:\n")
    rows = re.findall(r"^\| ([\d dn+]+) \| ([\ddn]+) \| \w+[\w ]* \| (\w+) \|", table, re.MULTILINE)
    sizes, end = {"d": 8, "12n": 24, "n": 2}, 0
    for offset, size, name in rows:
        assert sum(int(word) if word.isdigit() else sizes[word] for word in offset.split(" + ")) == end, name
        end += int(size) if size.isdigit() else sizes[size]
    assert end == len(ONE)
    assert len(rows) == 13
    fields = re.findall(r"^\| \d+ \| 4 \| u32 \| (\w+) \|", ranges.split("##")[0], re.MULTILINE)
    assert fields == list(Range.__slots__)
