"""Write the golden vectors of the current format version: `python -m tests.golden.write`.

Each vector is a sealed chunk and, as JSON, what it was made from. They are written once per format version and then only
read: by the codec (tests/codec/test_golden.py) and by the slow reader. A vector that is already there is kept, unless
`--replace` is given, which is right only before a version's release. `--dump` renews the example in docs/format.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codec import chunk as chunks
from codec import reader
from codec.chunk import seal_chunk
from codec.events import Method, encode_events
from codec.meta import encode_meta
from codec.model import ChunkId, Frame, KeyEvents, Meta, PointerEvents, Row
from codec.rows import encode_rows
from codec.screen import Effort, ScreenEncoder
from codec.seal import ArchivePrivateKey, DeviceSigningKey, Suite
from codec.sections import Section, SectionFlag, SectionKind, encode_sections
from tests.golden.dump import renew_example

HERE = Path(__file__).resolve().parent
FOLDER = HERE / f"v{chunks.VERSION}"
BLOCK_PX = 8
"""Screenshots are lossy: expected are the mean colours of blocks of this side."""

ARCHIVES = {
    Suite.X25519: ArchivePrivateKey.from_raw(Suite.X25519, hashlib.sha256(b"golden archive").digest()),
    Suite.MLKEM768_X25519: ArchivePrivateKey.from_raw(
        Suite.MLKEM768_X25519, hashlib.shake_256(b"golden archive").digest(96)
    ),
}
DEVICE = DeviceSigningKey.from_raw(hashlib.sha256(b"golden device").digest())
"""Keys that everyone knows: nothing else may ever be sealed or signed with them."""

META = Meta(
    t0_ms=123_456_789,
    wall_t0_ns=1_790_000_000_123_000_000,
    duration_ms=300_000,
    purposes=("training",),
    consent=hashlib.sha256(b"the notice").digest(),
    expires_s=1_800_000_000,
    agent="modicum golden",
)


@dataclasses.dataclass
class Vector:
    """What a chunk is made of. Attributes: as Body; how its events are coded; what goes around it."""

    meta: Meta = META
    pointer: PointerEvents = dataclasses.field(default_factory=PointerEvents.empty)
    keys: KeyEvents = dataclasses.field(default_factory=KeyEvents.empty)
    rows: list[Row] = dataclasses.field(default_factory=list)
    frames: list[Frame] = dataclasses.field(default_factory=list)
    methods: frozenset[Method] = frozenset({Method.COLUMNS})
    effort: Effort = Effort.FAST
    suite: Suite = Suite.X25519
    extra: list[Section] = dataclasses.field(default_factory=list)


def walk(n: int = 150) -> PointerEvents:
    """Return a pointer's path with clicks and wheel."""
    i = np.arange(n)
    kind = np.zeros(n, np.uint8)
    kind[20], kind[24], kind[60:64], kind[90], kind[97] = 2, 3, 10, 6, 7
    x, y = 960 + 700 * np.sin(i / 17), 540 + 400 * np.cos(i / 11)
    return PointerEvents(np.cumsum(7 + i % 3).astype(np.int64), kind, x.astype(np.int32), y.astype(np.int32))


def typing(n: int = 40) -> KeyEvents:
    """Return keystrokes that overlap, by the slot rule of KeyEvents."""
    events = []
    for i in range(n):
        press = 100 + 140 * i
        events += [(press, True, 1 + i % 5, i % 2), (press + 90 + 100 * (i % 2), False, 1 + i % 5, i % 2)]
    events.sort(key=lambda event: event[0])
    t, down, code, _ = zip(*events, strict=True)
    slots, held = [], dict[int, int]()
    for _, pressed, what, _ in events:
        if pressed:
            slot = min(set(range(9)) - set(held))
            held[slot] = what
        else:
            slot = next(slot for slot, held_code in held.items() if held_code == what)
            del held[slot]
        slots.append(slot)
    return KeyEvents(np.array(t, np.int64), np.array(down), np.array(code, np.uint16), np.array(slots, np.uint8))


def odd_keys() -> KeyEvents:
    """Return key events that pairing can't express: a clock that goes back, slots that break the rule."""
    t = np.array([0, 5, 3, 9, 9, 20, -4], np.int64)
    down = np.array([1, 1, 0, 0, 1, 0, 1], np.bool_)
    return KeyEvents(t, down, np.array([1, 2, 3, 4, 500, 1, 8], np.uint16), np.array([3, 3, 255, 1, 0, 7, 2], np.uint8))


def lone_releases() -> KeyEvents:
    """Return keystrokes whose first keys were pressed before the chunk, with events at one millisecond."""
    t = np.array([3, 10, 10, 12, 30, 30, 41], np.int64)
    down = np.array([0, 1, 0, 1, 0, 0, 1], np.bool_)
    return KeyEvents(t, down, np.array([1, 2, 3, 1, 2, 1, 7], np.uint16), np.array([0, 0, 255, 2, 0, 2, 0], np.uint8))


def day() -> list[Row]:
    """Return rows of every kind of field."""
    return [
        Row(0, "focus", {"app": "editor", "title": "notes.txt — Editor", "x": 0, "y": 24, "w": 1280, "h": 696}),
        Row(1500, "focus", {"app": "terminal", "title": "~", "x": 40, "y": 60, "w": 900, "h": 500}),
        Row(1500, "clipboard", {"type": "text/plain", "bytes": 120, "digest": bytes(range(8)), "own": True}),
        Row(9000, "focus", {"app": "editor", "title": "notes.txt — Editor", "x": 0, "y": 24, "w": 1280, "h": 696}),
        Row(60_000, "gap", {"cause": "pause", "ms": 12_000}),
        Row(61_000, "odd", {"float": 0.1, "no": False, "none": None, "big": 2**70, "negative": -(2**70), "": ""}),
        Row(59_000, "plan", {"rung": 3, "reason": "on battery"}),
    ]


def desktop(width_px: int, height_px: int, count: int, *, screen: int = 0, start_ms: int = 0) -> list[Frame]:
    """Return pictures of a desktop.

    A window that moves over a plain background, lines of text that grow, and, where there is room, a photograph that
    changes twice and then comes back.
    """
    y, x = np.mgrid[0:height_px, 0:width_px]
    frames = []
    for number in range(count):
        pixels = np.full((height_px, width_px, 4), (140, 100, 60, 255), np.uint8)
        left, top = 8 + 8 * (number % 3), 8
        pixels[top : top + height_px // 2, left : left + width_px // 2] = (235, 235, 230, 255)
        for line in range(number % 4 + 1):
            at = top + 6 + 6 * line
            pixels[at : at + 3, left + 4 : left + 8 + 7 * (line + 2) : 2] = (30, 30, 40 + 40 * line, 255)
        if width_px >= 128:
            turn = number % 3
            photo = [128 + 100 * np.sin((x * a + y * b) / 37 + turn) for a, b in ((1, 2), (2, 1), (2, -1))]
            area = np.s_[height_px - 64 :, width_px - 96 :]
            pixels[(*area, slice(0, 3))] = np.stack(photo, 2)[area].astype(np.uint8)
        frames.append(Frame(start_ms + 2000 * number + 3 * (number % 2), pixels, screen))
    return frames


def vectors() -> Mapping[str, Callable[[], Vector]]:
    """Return what there is, by name."""
    everything = {
        "meta": dataclasses.replace(
            META, region="eu", lossy=("move-per-8ms",), counters={f"masked-window-{n}": n * n for n in range(40)}
        ),
        "pointer": walk(120),
        "keys": typing(6),
        "rows": day(),
        "frames": desktop(96, 80, 3),
        "extra": [Section(200, b"of a newer writer"), Section(9, b"")],
    }
    return {
        "empty": lambda: Vector(meta=Meta(0, 0, 0, purposes=("training",))),
        "rows": lambda: Vector(rows=day()[:3]),
        "rows-all": lambda: Vector(rows=day()),
        "columns": lambda: Vector(pointer=walk(), keys=typing()),
        "columns-wild": lambda: Vector(pointer=wild(), keys=odd_keys()),
        "columns-lone": lambda: Vector(keys=lone_releases()),
        "context": lambda: Vector(pointer=walk(600), keys=typing(300), methods=frozenset({Method.CONTEXT})),
        "context-wild": lambda: Vector(pointer=wild(), keys=lone_releases(), methods=frozenset({Method.CONTEXT})),
        "screen-fast": lambda: Vector(frames=desktop(192, 128, 6)),
        "screen-small": lambda: Vector(frames=desktop(192, 128, 6), effort=Effort.SMALL),
        "screen-sizes": lambda: Vector(
            frames=[
                *desktop(97, 83, 3),
                *desktop(40, 30, 2, screen=1, start_ms=7000),
                *desktop(130, 70, 3, start_ms=9000),
            ]
        ),
        "hybrid": lambda: Vector(**everything, suite=Suite.MLKEM768_X25519),  # type: ignore[arg-type]
    }


def wild() -> PointerEvents:
    """Return a path that no hand makes: far jumps, every kind, a clock that goes back."""
    rng = np.random.default_rng(7)
    n = 40
    return PointerEvents(
        rng.integers(-(2**39), 2**39, n),
        rng.integers(0, 256, n).astype(np.uint8),
        rng.integers(-(2**31), 2**31, n).astype(np.int32),
        rng.integers(-(2**31), 2**31, n).astype(np.int32),
    )


def chunk_of(vector: Vector, seq: int) -> bytes:
    """Return the sealed chunk of a vector."""
    content, is_zstd = encode_meta(vector.meta)
    parts = [Section(SectionKind.META, content, SectionFlag.ZSTD if is_zstd else SectionFlag.NONE), *vector.extra]
    if len(vector.pointer) or len(vector.keys):
        parts.append(Section(SectionKind.EVENTS, encode_events(vector.pointer, vector.keys, methods=vector.methods)))
    if vector.rows:
        parts.append(Section(SectionKind.ROWS, encode_rows(vector.rows)))
    if vector.frames:
        encoder = ScreenEncoder(effort=vector.effort)
        for frame in vector.frames:
            encoder.add(frame)
        parts.append(Section(SectionKind.SCREEN, encoder.finish()))
    return seal_chunk(
        ChunkId("golden-device-01", 0xC0FFEE01, seq),
        encode_sections(parts),
        recipient=ARCHIVES[vector.suite].public,
        signer=DEVICE,
        expires_s=vector.meta.expires_s,
        value=0 if vector.frames else 200,
    )


def plain_of(vector: Vector, chunk: bytes) -> dict[str, Any]:
    """Return a vector as JSON can hold it; bytes are {"bytes": hex}.

    Screenshots are lossy, so two things are kept of each: about what it showed, and exactly what a decoder makes of it.
    """
    return {
        "meta": {name: value_of(getattr(vector.meta, name)) for name in Meta.__slots__},
        "pointer": {name: getattr(vector.pointer, name).tolist() for name in PointerEvents.__slots__},
        "keys": {name: getattr(vector.keys, name).tolist() for name in KeyEvents.__slots__},
        "rows": [
            [row.t_ms, row.kind, {name: value_of(value) for name, value in row.fields.items()}] for row in vector.rows
        ],
        "frames": [
            {
                "t_ms": frame.t_ms,
                "screen": frame.screen,
                "width_px": frame.pixels.shape[1],
                "height_px": frame.pixels.shape[0],
                "block_means_bgr": block_means(frame.pixels),
                "decoded_bgr_sha256": bgr_sha256(decoded),
            }
            for frame, decoded in zip(vector.frames, decoded_frames(chunk), strict=True)
        ],
    }


def decoded_frames(chunk: bytes) -> Iterator[Frame]:
    """Return the frames of a chunk as the codec decodes them."""
    private = {key.key_id: key for key in ARCHIVES.values()}[chunks.parse_header(chunk).key_id]
    header, data = chunks.open_chunk(chunk, private)
    return reader.Recording(header, chunks.decode_body(data)).frames()


def bgr_sha256(frame: Frame) -> str:
    """Return the SHA-256 of a frame's pixels, row by row, three bytes each."""
    return hashlib.sha256(frame.pixels[..., :3].tobytes()).hexdigest()


def value_of(value: Any) -> Any:
    """Return a field's value as JSON can hold it."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def block_means(pixels: npt.NDArray[np.uint8]) -> list[list[list[int]]]:
    """Return the mean BGR of each whole block of a picture, row by row."""
    rows, columns = pixels.shape[0] // BLOCK_PX, pixels.shape[1] // BLOCK_PX
    blocks = pixels[: rows * BLOCK_PX, : columns * BLOCK_PX, :3].reshape(rows, BLOCK_PX, columns, BLOCK_PX, 3)
    means: list[list[list[int]]] = blocks.mean(axis=(1, 3)).round().astype(int).tolist()
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replace", action="store_true", help="overwrite vectors that are there")
    parser.add_argument("--dump", action="store_true", help="only renew the example in docs/format.md")
    args = parser.parse_args()
    if not args.dump:
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / "keys.txt").write_text("".join(key.to_text() for key in (*ARCHIVES.values(), DEVICE.public)))
        for seq, (name, make) in enumerate(vectors().items()):
            if args.replace or not (FOLDER / f"{name}.chunk").exists():
                vector = make()
                chunk = chunk_of(vector, seq)
                (FOLDER / f"{name}.chunk").write_bytes(chunk)
                (FOLDER / f"{name}.json").write_text(json.dumps(plain_of(vector, chunk)) + "\n")
                print(f"{name}: {len(chunk)} bytes")
        (FOLDER / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums(FOLDER).items()))
    renew_example(FOLDER)


def sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a version's folder, by name."""
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
