"""The annotated hex dump of a golden chunk in docs/format.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codec import chunk as chunks
from codec import sections
from codec.seal import ArchivePrivateKey

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "format.md"
BEGIN, END = "<!-- dump begins -->\n", "<!-- dump ends -->\n"
ROW_BYTES = 16
Part = tuple[int, int, str]
"""Offset, size, and what it is."""


def example(folder: Path) -> str:
    """Return the dump of `rows.chunk` in a version's folder."""
    chunk = (folder / "rows.chunk").read_bytes()
    private = ArchivePrivateKey.from_text((folder / "keys.txt").read_text().splitlines()[0])
    header, body = chunks.open_chunk(chunk, private)
    dump = [f"Chunk, {len(chunk)} bytes:\n\n```", *lines(chunk, chunk_parts(header)), "```\n"]
    dump += [f"Body, {len(body)} bytes:\n\n```", *lines(body, body_parts(body)), "```\n"]
    return "\n".join(dump)


def renew_example(folder: Path) -> None:
    """Write the dump into the document."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + example(folder) + END + rest.split(END)[1])


def lines(data: bytes, parts: Iterator[Part]) -> Iterator[str]:
    """Yield the dump's lines, 16 bytes each; the first of a part says what it is."""
    for offset, size, what in parts:
        for at in range(offset, offset + size, ROW_BYTES):
            digits = data[at : min(at + ROW_BYTES, offset + size)].hex(" ")
            yield f"{at:04x}  {digits:<49}{what if at == offset else ''}".rstrip()


def chunk_parts(header: chunks.Header) -> Iterator[Part]:
    chunk_id = header.chunk_id
    fixed = (
        (4, "magic"),
        (1, f"version {header.version}"),
        (1, f"suite {header.suite}"),
        (1, f"value {header.value}"),
        (1, f"device_bytes {len(chunk_id.device)}"),
        (4, f"chunk_bytes {header.chunk_bytes}"),
        (4, f"epoch {chunk_id.epoch:#010x}"),
        (4, f"seq {chunk_id.seq}"),
        (2, f"expires_day {header.expires_day}"),
        (8, "key_id"),
        (8, "signer_id"),
        (len(chunk_id.device), f"device {chunk_id.device}"),
        (32, "sealed: enc"),
        (header.sealed_bytes - 48, "sealed: ciphertext"),
        (16, "sealed: tag"),
        (64, "signature"),
        (4, "crc"),
    )
    yield from _placed(fixed, 0)


def body_parts(body: bytes) -> Iterator[Part]:
    yield from _placed(((1, "version 1"), (1, f"count {body[1]}")), 0)
    offset = 2
    for section in sections.decode_sections(body):
        kind = sections.SectionKind(section.kind)
        length_bytes = body.index(section.content, offset) - offset - 2
        yield from _placed(
            (
                (1, f"kind {kind:d}: {kind.name}"),
                (1, f"flags {section.flags:d}"),
                (length_bytes, f"length {len(section.content)}"),
                (len(section.content), "content"),
            ),
            offset,
        )
        offset += 2 + length_bytes + len(section.content)


def _placed(parts: tuple[tuple[int, str], ...], offset: int) -> Iterator[Part]:
    for size, what in parts:
        yield offset, size, what
        offset += size
