"""Opening for a purpose, and one order for all events."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import reader
from codec.chunk import Body, encode_body, seal_chunk
from codec.errors import CodecError, Corrupt, Denied
from codec.model import ChunkId, Frame, KeyEvents, Meta, PointerEvents, Row
from codec.reader import KeyEvent, PointerEvent, Recording
from codec.screen import Effort, ScreenEncoder
from codec.seal import ArchivePrivateKey, DeviceSigningKey, Suite

ARCHIVE = ArchivePrivateKey.from_raw(Suite.X25519, bytes(range(32)))
DEVICE = DeviceSigningKey.from_raw(bytes(range(32)))
ID = ChunkId("d-0123456789abcd", 7, 0)
DAY = 86_400
NOW_S = 20_000 * DAY
META = Meta(1000, 1_700_000_000_000_000_000, 5000, purposes=("training", "support"), expires_s=NOW_S + 30 * DAY + 99)


def pointer_of(times: list[int]) -> PointerEvents:
    n = len(times)
    return PointerEvents(
        np.array(times, np.int64), np.zeros(n, np.uint8), np.arange(n, dtype=np.int32), np.full(n, 7, np.int32)
    )


def keys_of(times: list[int]) -> KeyEvents:
    n = len(times)
    return KeyEvents(np.array(times, np.int64), np.arange(n) % 2 == 0, np.full(n, 1, np.uint16), np.zeros(n, np.uint8))


def chunk_of(
    *,
    meta: Meta = META,
    pointer: PointerEvents | None = None,
    keys: KeyEvents | None = None,
    rows: list[Row] | None = None,
    screen: bytes = b"",
    expires_s: int | None = None,
) -> bytes:
    body = Body(meta, pointer or PointerEvents.empty(), keys or KeyEvents.empty(), rows or [], screen)
    return seal_chunk(
        ID,
        encode_body(body),
        recipient=ARCHIVE.public,
        signer=DEVICE,
        expires_s=meta.expires_s if expires_s is None else expires_s,
        value=200,
    )


def open_(chunk: bytes, *, purpose: str = "training", now_s: int = NOW_S) -> Recording:
    return reader.open(chunk, ARCHIVE, purpose=purpose, now_s=now_s, device_key=DEVICE.public)


def test_at_one_millisecond_rows_come_before_keys_and_keys_before_pointer() -> None:
    rows = [Row(10, "focus", {"app": "editor"}), Row(30, "pause")]
    events = list(open_(chunk_of(pointer=pointer_of([0, 10, 30]), keys=keys_of([10, 30]), rows=rows)).events())
    assert events == [
        PointerEvent(0, 0, 0, 7),
        rows[0],
        KeyEvent(10, True, 1, 0),
        PointerEvent(10, 0, 1, 7),
        rows[1],
        KeyEvent(30, False, 1, 0),
        PointerEvent(30, 0, 2, 7),
    ]


times = st.lists(st.integers(0, 50), max_size=20)


@given(times, times.map(sorted), times)
def test_nothing_is_lost_and_each_stream_keeps_its_own_order(
    pointer: list[int], keys: list[int], rows: list[int]
) -> None:
    body = Body(META, pointer_of(pointer), keys_of(keys), [Row(t, "focus", {"n": n}) for n, t in enumerate(rows)])
    header = reader.open(chunk_of(), ARCHIVE, purpose="training", now_s=NOW_S).header
    events = list(Recording(header, body).events())
    assert len(events) == len(pointer) + len(keys) + len(rows)
    assert [event.x for event in events if isinstance(event, PointerEvent)] == list(range(len(pointer)))
    assert [event.fields["n"] for event in events if isinstance(event, Row)] == list(range(len(rows)))
    if pointer == sorted(pointer) and rows == sorted(rows):
        assert [event.t_ms for event in events] == sorted(pointer + keys + rows)


def test_times_map_to_the_wall_clock() -> None:
    assert open_(chunk_of()).wall_ns(1500) == META.wall_t0_ns + 1_500_000_000


def test_frames_are_decoded_while_they_are_iterated() -> None:
    encoder = ScreenEncoder(effort=Effort.FAST)
    pictures = [np.full((48, 64, 4), shade, np.uint8) for shade in (10, 100, 200)]
    for number, pixels in enumerate(pictures):
        encoder.add(Frame(number * 2000, pixels))
    frames = open_(chunk_of(screen=encoder.finish())).frames()
    assert isinstance(frames, Iterator)
    for number, frame in enumerate(frames):
        assert (frame.t_ms, frame.screen, frame.pixels.shape) == (number * 2000, 0, (48, 64, 4))
        assert abs(int(frame.pixels[20, 20, 0]) - int(pictures[number][0, 0, 0])) < 8
    assert number == 2


def test_a_chunk_without_screenshots_has_no_frames() -> None:
    assert list(open_(chunk_of()).frames()) == []


def test_a_broken_screen_section_raises_only_when_frames_are_asked_for() -> None:
    recording = open_(chunk_of(rows=[Row(0, "pause")], screen=b"\xff" * 40))
    assert len(list(recording.events())) == 1
    with pytest.raises(CodecError):
        list(recording.frames())


@pytest.mark.parametrize("purpose", ["advertising", "", "training,support", "Training"])
def test_a_purpose_that_was_not_agreed_to_is_denied(purpose: str) -> None:
    with pytest.raises(Denied, match="agreed to 'training', 'support'"):
        open_(chunk_of(), purpose=purpose)


def test_without_any_purpose_nothing_may_be_read() -> None:
    with pytest.raises(Denied, match="agreed to nothing"):
        open_(chunk_of(meta=Meta(0, 0, 0)), purpose="")


def test_an_expired_chunk_is_denied_from_its_day_on_without_its_key() -> None:
    chunk = chunk_of()
    open_(chunk, now_s=NOW_S + 30 * DAY - 1)
    with pytest.raises(Denied, match="expired"):
        reader.open(chunk, ArchivePrivateKey.generate(), purpose="training", now_s=NOW_S + 30 * DAY)


def test_the_sealed_expiry_counts_where_the_clear_one_is_later() -> None:
    chunk = chunk_of(expires_s=NOW_S + 60 * DAY)
    open_(chunk, now_s=META.expires_s - 1)
    with pytest.raises(Denied, match="expired"):
        open_(chunk, now_s=META.expires_s)


def test_another_signer_is_denied_and_a_false_signature_corrupt() -> None:
    chunk = chunk_of()
    with pytest.raises(Denied, match="signed by key"):
        reader.open(chunk, ARCHIVE, purpose="training", now_s=NOW_S, device_key=DeviceSigningKey.generate().public)
    forged = chunk[:-68] + bytes(64)
    with pytest.raises(Corrupt, match="signature"):
        open_(forged + struct.pack("<I", zlib.crc32(forged)))


def test_reading_events_loads_no_video_library() -> None:
    chunk = chunk_of(pointer=pointer_of([0, 8, 16]), screen=b"not looked at")
    code = (
        "import sys; from codec import reader; from codec.seal import *\n"
        f"private = ArchivePrivateKey.from_raw(Suite.X25519, bytes.fromhex({ARCHIVE.raw.hex()!r}))\n"
        f"recording = reader.open(bytes.fromhex({chunk.hex()!r}), private, purpose='training', now_s={NOW_S})\n"
        "assert len(list(recording.events())) == 3\n"
        "assert 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
