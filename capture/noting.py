"""Shell: notes of each new chunk which minutes it covers, so that it can be erased by time long after it was sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from codec.meta import decode_meta
from codec.model import ChunkId
from codec.sections import SectionFlag, SectionKind, decode_sections

if TYPE_CHECKING:
    from capture.packer import Packed


class Index(Protocol):
    """Where it is noted (transport/chunk_index.py)."""

    def add(self, chunk_id: ChunkId, *, t0_wall_ms: int, duration_ms: int, screens: bool) -> None: ...


def noting(index: Index, then: Callable[[Packed], None]) -> Callable[[Packed], None]:
    """Return what notes a chunk in the index, and then does the rest.

    What the disk refuses is left out: the index knows that a chunk is missing, and takes it for wider than it was.
    """

    def keep(packed: Packed) -> None:
        sections = decode_sections(packed.body)
        meta = decode_meta(sections[0].content, is_zstd=SectionFlag.ZSTD in sections[0].flags)
        with contextlib.suppress(OSError):
            index.add(
                packed.chunk_id,
                t0_wall_ms=meta.wall_t0_ns // 1_000_000,
                duration_ms=meta.duration_ms,
                screens=any(section.kind == SectionKind.SCREEN for section in sections),
            )
        then(packed)

    return keep
