"""Shell: actions as WebDataset shards: tar files whose members `<key>.json`, `.before.png` and `.after.png` are one sample.

Loses the pointer's path between actions; pixels are exact. Purposes, consent and expiry stand in every sample's JSON. An
action whose before-frame is missing is written without pictures, not left out.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from codec.errors import CodecError
from transport.exports.pictures import to_png
from transport.exports.plain import to_plain

if TYPE_CHECKING:
    from pathlib import Path

    from codec.actions import Action, Shot

SHARD_BYTES = 256 << 20
"""A shard is closed when it has grown beyond: WebDataset's authors advise 100 MB to 1 GB."""


def write_webdataset(folder: Path, actions: Iterable[Action], *, shard_bytes: int = SHARD_BYTES) -> Counter[str]:
    """Write shards `actions-000000.tar`, ….

    Args:
        folder: exists and has no shard of that name. actions: read once. shard_bytes: see SHARD_BYTES.

    Returns:
        Counts: "actions", "pictures", "shards", and what could not be written, by reason.
    """
    counts: Counter[str] = Counter()
    shard: tarfile.TarFile | None = None
    try:
        for action in actions:
            if shard is None or shard.offset >= shard_bytes:
                if shard is not None:
                    shard.close()
                shard = _open(folder / f"actions-{counts['shards']:06d}.tar")
                counts["shards"] += 1
            origin = action.origin
            # A dot would begin the extension; the number tells apart what happened in the same millisecond.
            key = f"{origin.device}-{origin.epoch:08x}-{action.t_ms:015d}-{counts['actions']:09d}"
            _add(shard, f"{key}.json", json.dumps(to_plain(action), ensure_ascii=False).encode())
            for name, shot in (("before", action.before), ("after", action.after)):
                if shot is not None:
                    _add_picture(shard, f"{key}.{name}.png", shot, counts)
            counts["actions"] += 1
    finally:
        if shard is not None:
            shard.close()
    return counts


def _open(path: Path) -> tarfile.TarFile:
    shard = tarfile.open(path, "x", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by the caller
    path.chmod(0o600)
    return shard


def _add_picture(shard: tarfile.TarFile, name: str, shot: Shot, counts: Counter[str]) -> None:
    try:
        _add(shard, name, to_png(shot.pixels()))
    except (LookupError, CodecError):
        counts["pictures that the archive no longer has"] += 1
    else:
        counts["pictures"] += 1


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    shard.addfile(member, io.BytesIO(data))
