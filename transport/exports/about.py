"""Pure: what a chunk says of itself and holds, as lines for a person."""

from __future__ import annotations

from datetime import UTC, datetime

from codec.reader import Recording


def describe(recording: Recording) -> str:
    """Return what a chunk says of itself and holds, as lines for a person."""
    meta, body = recording.meta, recording.body
    wall = datetime.fromtimestamp(meta.wall_t0_ns / 1e9, UTC)
    frames = sum(1 for _ in recording.frames())
    facts = {
        "chunk": recording.header.chunk_id,
        "recorded": f"{wall:%Y-%m-%d %H:%M:%S} UTC, for {meta.duration_ms / 1000:.1f} s, by {meta.agent}",
        "purposes": ", ".join(meta.purposes) or "none",
        "consent": meta.consent.hex() or "none",
        "expires": f"{datetime.fromtimestamp(meta.expires_s, UTC):%Y-%m-%d}" if meta.expires_s else "never",
        "holds": f"{len(body.pointer):,} pointer events, {len(body.keys):,} key events, {len(body.rows):,} rows, "
        f"{frames:,} frames",
        "lossy steps": ", ".join(meta.lossy) or "none",
        "counters": ", ".join(f"{name}: {count:,}" for name, count in meta.counters.items()) or "none",
    }
    rows = [f"  {row.t_ms / 1000:9.3f} s  {row.kind}  {dict(row.fields)}" for row in body.rows]
    return "\n".join([*(f"{name:12}{value}" for name, value in facts.items()), *rows])
