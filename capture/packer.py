"""Pure: a draft or a reel of screenshots becomes a sealed chunk.

Encoding and sealing happen in one step and in memory, so that nothing readable is ever written to the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from capture.recorder import Draft
from codec.chunk import Body, encode_body, seal_chunk
from codec.model import ChunkId, KeyEvents, Meta, PointerEvents
from codec.seal import ArchivePublicKey, DeviceSigningKey
from codec.thin import lossy_names, thin_pointer

VALUE_SCREENS = 0
VALUE_MOTION = 100
VALUE_ACTIONS = 200
"""What the spool drops first when it is full: screenshots, then pure motion, last what has clicks, keys or rows."""


@dataclass(frozen=True, slots=True)
class Thinning:
    """A plan's lossy steps for the pointer's path (codec.thin); without arguments, none."""

    move_interval_ms: int = 0
    tolerance_px: int = 0

    @property
    def thins(self) -> bool:
        """Whether anything is left out; then motion to where the pointer already was is left out too."""
        return self.move_interval_ms > 1 or self.tolerance_px > 0


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every chunk of this agent says: under which consent, for what, until when, for whom.

    Attributes:
        consent: SHA-256 of the accepted notice. purposes, region: see codec.model.Meta.
        retention_s: seconds after its recording until the archive must have deleted a chunk.
        recipient: the archive's key. signer: the device's.
        agent: name and version of the writer.
    """

    consent: bytes
    purposes: tuple[str, ...]
    region: str
    retention_s: int
    recipient: ArchivePublicKey
    signer: DeviceSigningKey
    agent: str


@dataclass(frozen=True, slots=True)
class Packed:
    """A chunk that is ready for the spool.

    Attributes:
        chunk: the sealed bytes. value: see VALUE_ACTIONS.
        body: its content, encoded and not yet sealed, for the person's own copy.
        raw_bytes: its content in memory.
    """

    chunk_id: ChunkId
    chunk: bytes
    value: int
    raw_bytes: int
    body: bytes = field(repr=False)

    @property
    def encoded_bytes(self) -> int:
        """The length of the body."""
        return len(self.body)


def pack_draft(draft: Draft, chunk_id: ChunkId, *, wall_t0_ns: int, thinning: Thinning, stamp: Stamp) -> Packed:
    """Encode and seal events and rows.

    Args:
        draft: what was recorded.
        chunk_id: from the spool.
        wall_t0_ns: the wall clock at the draft's t0.
        thinning: the plan's lossy steps for the pointer's path; they are named in the chunk.
        stamp: see there.
    """
    pointer = thin_pointer(
        draft.pointer,
        move_interval_ms=thinning.move_interval_ms,
        drop_zero_moves=thinning.thins,
        tolerance_px=thinning.tolerance_px,
    )
    lossy = lossy_names(
        move_interval_ms=thinning.move_interval_ms,
        drop_zero_moves=thinning.thins,
        tolerance_px=thinning.tolerance_px,
    )
    body = Body(
        meta=_meta(draft.t0_ms, wall_t0_ns, draft.duration_ms, stamp, lossy=lossy, counters=draft.counters),
        pointer=pointer,
        keys=draft.keys,
        rows=list(draft.rows),
        screen=b"",
    )
    acts = bool(len(draft.keys) or draft.rows or (draft.pointer.kind > 1).any())
    return _seal(body, chunk_id, VALUE_ACTIONS if acts else VALUE_MOTION, draft.raw_bytes, stamp)


def pack_screens(
    screen: bytes, chunk_id: ChunkId, *, t0_ms: int, wall_t0_ns: int, duration_ms: int, raw_bytes: int, stamp: Stamp
) -> Packed:
    """Seal an encoded screen section.

    Args:
        screen: from codec.screen.ScreenEncoder.finish.
        chunk_id: from the spool.
        t0_ms: the source clock that the frames' times count from. wall_t0_ns: the wall clock then.
        duration_ms: from there to the last frame.
        raw_bytes: the frames' pixels in memory.
        stamp: see there.
    """
    body = Body(
        meta=_meta(t0_ms, wall_t0_ns, duration_ms, stamp),
        pointer=PointerEvents.empty(),
        keys=KeyEvents.empty(),
        rows=[],
        screen=screen,
    )
    return _seal(body, chunk_id, VALUE_SCREENS, raw_bytes, stamp)


def _meta(
    t0_ms: int,
    wall_t0_ns: int,
    duration_ms: int,
    stamp: Stamp,
    *,
    lossy: tuple[str, ...] = (),
    counters: Mapping[str, int] | None = None,
) -> Meta:
    return Meta(
        t0_ms=t0_ms,
        wall_t0_ns=wall_t0_ns,
        duration_ms=duration_ms,
        purposes=stamp.purposes,
        consent=stamp.consent,
        expires_s=wall_t0_ns // 1_000_000_000 + stamp.retention_s,
        region=stamp.region,
        agent=stamp.agent,
        lossy=lossy,
        counters=counters or {},
    )


def _seal(body: Body, chunk_id: ChunkId, value: int, raw_bytes: int, stamp: Stamp) -> Packed:
    encoded = encode_body(body)
    chunk = seal_chunk(
        chunk_id,
        encoded,
        recipient=stamp.recipient,
        signer=stamp.signer,
        expires_s=body.meta.expires_s,
        value=value,
    )
    return Packed(chunk_id, chunk, value, raw_bytes, encoded)
