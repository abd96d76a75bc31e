"""docs/format.md against the code: tables, limits, suites, keys of Meta, and the example."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest

from codec import chunk as chunks
from codec import meta, seal, sections
from codec.model import ChunkId, Meta
from codec.seal import ArchivePrivateKey, DeviceSigningKey, Suite
from tests.golden.dump import BEGIN, END, example
from tests.golden.write import FOLDER

DOCUMENT = (Path(__file__).resolve().parent.parent.parent / "docs" / "format.md").read_text(encoding="utf-8")
ARCHIVE = ArchivePrivateKey.from_raw(Suite.X25519, bytes(range(32)))
DEVICE = DeviceSigningKey.from_raw(bytes(range(32)))
ID = ChunkId("d-0123456789abcdef", 0x01020304, 0x05060708)
CHUNK = chunks.seal_chunk(ID, b"body", recipient=ARCHIVE.public, signer=DEVICE, expires_s=20_000 * 86_400, value=77)


def tables(heading: str) -> list[list[dict[str, str]]]:
    """Return the tables below a heading, up to the next heading, as rows of named cells."""
    section = re.split(r"^##+ ", DOCUMENT.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def value_at(offset: int, size: int, type_: str) -> object:
    """Read a field of CHUNK as its row of the table says."""
    raw = CHUNK[offset : offset + size]
    formats = {"u8": "<B", "u16": "<H", "u32": "<I"}
    if type_ in formats:
        assert struct.calcsize(formats[type_]) == size
        return struct.unpack(formats[type_], raw)[0]
    assert type_.split()[0] in {"bytes", "ascii"}
    return raw.decode() if type_.startswith("ascii") else raw


def test_the_chunks_table_leads_to_every_field() -> None:
    (table,) = tables("Chunk")
    header = chunks.parse_header(CHUNK)
    sizes = {"d": len(ID.device), "s": header.sealed_bytes}
    found = {}
    end = 0
    for row in table:
        offset = sum(int(word) if word.isdigit() else sizes[word] for word in row["offset"].split(" + "))
        size = sizes.get(row["size"]) or int(row["size"])
        assert offset == end, f"{row['name']} doesn't follow the field before it"
        end = offset + size
        found[row["name"]] = value_at(offset, size, row["type"])
    assert end == len(CHUNK)
    signed = CHUNK[: -chunks.TRAILER_BYTES]
    assert found.pop("sealed") == signed[header.header_bytes :]
    assert DEVICE.public.verifies(found.pop("signature"), signed)  # type: ignore[arg-type]
    assert found == {
        "magic": chunks.MAGIC,
        "version": chunks.VERSION,
        "suite": header.suite,
        "value": 77,
        "device_bytes": len(ID.device),
        "chunk_bytes": len(CHUNK),
        "epoch": ID.epoch,
        "seq": ID.seq,
        "expires_day": 20_000,
        "key_id": ARCHIVE.key_id,
        "signer_id": DEVICE.key_id,
        "device": ID.device,
        "crc": zlib.crc32(CHUNK[:-4]),
    }


def test_constants_in_the_text_are_the_codes() -> None:
    assert f"`{chunks.MAGIC.hex(' ').upper()}`" in DOCUMENT
    assert f"\nVersion {chunks.VERSION}. " in DOCUMENT
    assert f"s = chunk_bytes − {chunks.FIXED_BYTES} − d − {chunks.TRAILER_BYTES}" in DOCUMENT
    assert chunks.INFO_PREFIX == b"modicum chunk v1\0"
    assert 'info   = "modicum chunk v1" ‖ 00 ‖ header' in DOCUMENT
    assert "at least 16 (Corrupt)" in DOCUMENT
    assert "4 to 32 characters of `[a-z0-9-]`" in DOCUMENT


def test_the_suites_are_the_codes() -> None:
    (table,) = tables("Sealing")
    stated = {
        Suite(int(row["suite"])): (row["name"], int(row["enc"]), int(row["public key"]), int(row["private key"]))
        for row in table
    }
    assert stated == {suite: (suite.name, *seal.SUITE_SIZES[suite]) for suite in Suite}


def test_the_bodys_tables_lead_to_its_sections() -> None:
    head, section, kinds, flags = tables("Body")
    assert [(row["offset"], row["name"]) for row in head] == [("0", "version"), ("1", "count"), ("2", "sections")]
    assert [row["name"] for row in section] == ["kind", "flags", "length", "content"]
    body = sections.encode_sections([sections.Section(9, b"\x01" * 300, sections.SectionFlag.NONE)])
    assert body == bytes((sections.BODY_VERSION, 1, 9, 0, 300 & 127 | 128, 300 >> 7)) + b"\x01" * 300
    assert {int(row["kind"]): row["name"] for row in kinds} == {kind.value: kind.name for kind in sections.SectionKind}
    assert {int(row["flag"]): row["name"] for row in flags} == {
        flag.value: flag.name for flag in sections.SectionFlag if flag
    }


def test_metas_keys_and_defaults_are_the_codes() -> None:
    (table,) = tables("Meta")
    assert {int(row["key"]): row["name"] for row in table} == meta._KEYS
    assert set(meta._KEYS.values()) == set(Meta.__slots__)
    defaults = {"[]": (), "{}": {}, "empty": b"", "0": 0, '""': "", '"class"': "class", '"modicum"': "modicum"}
    for row in table:
        if row["default"] != "–":
            assert getattr(Meta(0, 0, 0), row["name"]) == defaults[row["default"]], row["name"]
        else:
            assert int(row["key"]) in meta._REQUIRED


def test_the_limits_are_the_codes() -> None:
    (table,) = tables("Limits")
    code = {
        name: value
        for module in (sections, meta, chunks)
        for name, value in vars(module).items()
        if re.match("M(AX|IN)_", name)
    }
    derived = {"MIN_CHUNK_BYTES", "MAX_SECTION_BYTES", "MAX_EXPIRES_DAY"}
    """From the table of the chunk: the sum of its sizes; a chunk's limit again; what 16 bits hold."""
    assert code["MAX_SECTION_BYTES"] == code["MAX_CHUNK_BYTES"]
    assert code["MAX_EXPIRES_DAY"] == (1 << 16) - 1
    assert {row["name"]: int(row["value"]) for row in table} == {
        name: value for name, value in code.items() if name not in derived
    }


def test_the_stated_overhead_is_the_real_one() -> None:
    stated = re.search(
        r"device's name of 16 bytes is at most (\d+)\s+bytes longer than its sections' contents", DOCUMENT
    )
    assert stated
    contents = [sections.Section(kind, bytes(500_000)) for kind in sections.SectionKind]
    chunk = chunks.seal_chunk(
        ChunkId("d-0123456789abcd", 1, 1),
        sections.encode_sections(contents),
        recipient=ARCHIVE.public,
        signer=DEVICE,
        expires_s=0,
        value=0,
    )
    assert len(chunk) - 4 * 500_000 == int(stated[1]) <= 200


@pytest.mark.parametrize("key", [ARCHIVE, ARCHIVE.public, DEVICE, DEVICE.public], ids=lambda key: type(key).__name__)
def test_keys_are_written_as_the_text_says(key: ArchivePrivateKey) -> None:
    kind, version, algorithm, _, key_id = key.to_text().split()
    assert version == "1"
    assert f"`{kind.removeprefix('modicum-')}`" in DOCUMENT
    assert f"`{algorithm}`" in DOCUMENT
    assert key_id == key.key_id.hex()


def test_the_example_is_the_golden_chunk() -> None:
    assert DOCUMENT.split(BEGIN)[1].split(END)[0] == example(FOLDER)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\(([\w-]+\.md)\)", DOCUMENT))))
def test_the_documents_that_it_leads_to_exist(name: str) -> None:
    assert (Path(__file__).resolve().parent.parent.parent / "docs" / name).exists()
