"""Pure: a body's list of sections, each a kind, flags, a length and that many bytes. docs/format.md, "Body".

Guaranteed: every proper prefix of a body raises Truncated (the count stands first, so that even a cut between two
sections shows); a section that a newer writer added is skipped, unless it says that it must not be.
Not guaranteed: that changed content is noticed. The seal sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from codec.errors import Corrupt, TooLarge, Truncated, Unsupported

BODY_VERSION = 1
MAX_SECTIONS = 32
"""4 kinds exist; a body of millions of empty sections must not keep a reader busy."""
MAX_SECTION_BYTES = 8 << 20
"""No section can be longer than a chunk."""
MAX_LENGTH_BYTES = 4
"""Of a section's length: 28 bits, of which MAX_SECTION_BYTES needs 24."""


class SectionKind(IntEnum):
    """What a section holds. A number is never used again for another meaning."""

    META = 1  # always there, first: see codec.meta
    EVENTS = 2  # pointer and keys: see codec.events
    ROWS = 3  # see codec.rows
    SCREEN = 4  # see codec.screen


class SectionFlag(IntFlag):
    """How a section is to be treated."""

    NONE = 0
    CRITICAL = 1  # a reader that doesn't know the kind must refuse the chunk; without it, skips the section
    ZSTD = 2  # the content is one zstd frame (META only: the other codecs compress for themselves)


_KNOWN_FLAGS = {
    SectionKind.META: SectionFlag.CRITICAL | SectionFlag.ZSTD,
    SectionKind.EVENTS: SectionFlag.CRITICAL,
    SectionKind.ROWS: SectionFlag.CRITICAL,
    SectionKind.SCREEN: SectionFlag.CRITICAL,
}


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a body. Attributes: kind (1-255), flags, and the content's bytes."""

    kind: int
    content: bytes
    flags: SectionFlag = SectionFlag.NONE


def encode_sections(sections: Iterable[Section]) -> bytes:
    """Return a body of these sections."""
    sections = list(sections)
    parts = [bytes((BODY_VERSION, len(sections)))]
    for section in sections:
        parts += (bytes((section.kind, section.flags)), _varint(len(section.content)), section.content)
    return b"".join(parts)


def decode_sections(data: bytes) -> list[Section]:
    """Return the sections of a body that this build knows; those that it doesn't and that aren't critical are left out.

    Raises:
        Truncated: the body ends too early. Corrupt: it contradicts itself. TooLarge: it has over MAX_SECTIONS.
        Unsupported: of a newer version, or with an unknown critical section or flag.
    """
    if len(data) < 2:
        raise Truncated("a chunk's body", offset=len(data), wanted_bytes=2 - len(data))
    if data[0] != BODY_VERSION:
        raise Unsupported(
            f"the body is of version {data[0]}, this build reads version {BODY_VERSION}: upgrade the reader"
        )
    if data[1] > MAX_SECTIONS:
        raise TooLarge("the count of a body's sections", actual=data[1], limit=MAX_SECTIONS)
    known: list[Section] = []
    offset = 2
    for _ in range(data[1]):
        start = offset
        if len(data) < start + 2:
            raise Truncated("a section's head", offset=len(data), wanted_bytes=start + 2 - len(data))
        kind, flags = data[start], data[start + 1]
        content_bytes, offset = _read_varint(data, start + 2)
        if len(data) - offset < content_bytes:
            raise Truncated("a section", offset=len(data), wanted_bytes=content_bytes - (len(data) - offset))
        content = data[offset : offset + content_bytes]
        offset += content_bytes
        if kind not in _KNOWN_FLAGS:
            if flags & SectionFlag.CRITICAL:
                raise Unsupported(f"the body has a critical section of kind {kind}: upgrade the reader")
            continue
        # As plain integers: `~` of a flag is of its class and forgets the bits that have no name.
        if flags & ~int(_KNOWN_FLAGS[SectionKind(kind)]):
            raise Unsupported(f"a section of kind {kind} has the flags {flags:#04x}: upgrade the reader")
        if any(section.kind == kind for section in known):
            raise Corrupt(f"the body has two sections of kind {kind}", offset=start)
        known.append(Section(SectionKind(kind), content, SectionFlag(flags)))
    if offset != len(data):
        raise Corrupt(f"{len(data) - offset} bytes follow the last section", offset=offset)
    return known


def _varint(value: int) -> bytes:
    """LEB128: 7 bits a byte, the lowest first, the top bit set on all but the last."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return a section's length and where its content begins. One length has one spelling."""
    value = 0
    for index in range(MAX_LENGTH_BYTES):
        if offset + index >= len(data):
            raise Truncated("a section's length", offset=len(data), wanted_bytes=1)
        byte = data[offset + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if byte == 0 and index:
                raise Corrupt("a section's length is spelt longer than it need be", offset=offset)
            if value > MAX_SECTION_BYTES:
                raise TooLarge("a section's length in bytes", actual=value, limit=MAX_SECTION_BYTES)
            return value, offset + index + 1
    raise Corrupt(f"a section's length takes more than {MAX_LENGTH_BYTES} bytes", offset=offset)
