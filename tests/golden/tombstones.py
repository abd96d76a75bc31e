"""Write the golden tombstones, and their example in docs/format-tombstone.md: `python -m tests.golden.tombstones`.

They are written once per format version and then only read. One that is there is kept, unless `--replace` is given, which
is right only before a version's release.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codec import tombstone as tombstones
from codec.tombstone import Authority, Range, Tombstone, sign_tombstone
from tests.golden.dump import BEGIN, END, _placed, lines
from tests.golden.write import DEVICE, sums

HERE = Path(__file__).resolve().parent
FOLDER = HERE / f"tombstone-v{tombstones.VERSION}"
DOCUMENT = HERE.parent.parent / "docs" / "format-tombstone.md"
NAME, WALL_S = "golden-device-01", 1_790_000_123


def vectors() -> Mapping[str, bytes]:
    """Return what there is, by name."""
    ranges = [Range(0xC0FFEE01, 12, 12), Range(0xC0FFEE01, 14, 40), Range(0xC0FFEE02, 0, 2**32 - 1)]
    return {
        "chunk": sign_tombstone(NAME, ranges[:1], wall_s=WALL_S, signer=DEVICE),
        "ranges": sign_tombstone(NAME, ranges, wall_s=WALL_S, signer=DEVICE),
        "device": sign_tombstone(NAME, None, wall_s=WALL_S, signer=DEVICE),
        "owner": sign_tombstone(NAME, ranges[1:], wall_s=0, signer=DEVICE, authority=Authority.OWNER),
    }


def plain_of(tombstone: Tombstone) -> dict[str, Any]:
    """Return a tombstone as JSON can hold it."""
    return {
        "device": tombstone.device,
        "scope": tombstone.scope.name,
        "authority": tombstone.authority.name,
        "wall_s": tombstone.wall_s,
        "signer_id": tombstone.signer_id.hex(),
        "ranges": [[range_.epoch, range_.first, range_.last] for range_ in tombstone.ranges],
    }


def example() -> str:
    """Return the annotated dump of `ranges.tombstone`."""
    data = (FOLDER / "ranges.tombstone").read_bytes()
    return "\n".join([f"{len(data)} bytes:\n\n```", *lines(data, _parts(tombstones.parse_tombstone(data))), "```\n"])


def _parts(tombstone: Tombstone) -> Iterator[tuple[int, int, str]]:
    fixed = [
        (4, "magic"),
        (1, f"version {tombstones.VERSION}"),
        (1, f"scope {tombstone.scope}: {tombstone.scope.name}"),
        (1, f"authority {tombstone.authority}: {tombstone.authority.name}"),
        (1, f"device_bytes {len(tombstone.device)}"),
        (4, "whole_bytes"),
        (8, f"wall_s {tombstone.wall_s}"),
        (8, "signer_id"),
        (2, f"count {len(tombstone.ranges)}"),
        (len(tombstone.device), f"device {tombstone.device}"),
    ]
    for range_ in tombstone.ranges:
        fixed += [(4, f"epoch {range_.epoch:#010x}"), (4, f"first {range_.first}"), (4, f"last {range_.last}")]
    yield from _placed((*fixed, (64, "signature"), (4, "crc")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replace", action="store_true", help="overwrite vectors that are there")
    args = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "key.txt").write_text(DEVICE.public.to_text())
    for name, data in vectors().items():
        if args.replace or not (FOLDER / f"{name}.tombstone").exists():
            (FOLDER / f"{name}.tombstone").write_bytes(data)
            plain = plain_of(tombstones.parse_tombstone(data))
            (FOLDER / f"{name}.json").write_text(json.dumps(plain) + "\n")
            print(f"{name}: {len(data)} bytes")
    (FOLDER / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums(FOLDER).items()))
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + example() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
