"""Shell: the commands by which the archive's owner removes: `modicum archive expire`, `erase` and `shred`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transport.errors import TransportError

if TYPE_CHECKING:
    from codec.tombstone import Range
    from transport.archive import FolderStore

ReadPrivate = Callable[[Path, str], bytes]
OpenArchive = Callable[[Path], "FolderStore"]

ArchiveArgument = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The archive's folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def mount(archive_app: typer.Typer, open_archive: OpenArchive, read_private: ReadPrivate) -> None:
    """Add the commands to `modicum archive`.

    Args:
        archive_app: where to. open_archive: opens an archive that exists. read_private: how keys are read.
    """
    global _open, _read_private
    _open, _read_private = open_archive, read_private
    if not any(command.callback is expire for command in archive_app.registered_commands):
        archive_app.command("expire")(expire)
        archive_app.command("erase")(erase)
        archive_app.command("shred")(shred)


_open: OpenArchive
_read_private: ReadPrivate


def expire(
    archive: ArchiveArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what may no longer be kept; make this a daily timer. The gaps are recorded."""
    from transport import expiry
    from transport.cli import ProgressLine

    line = ProgressLine("looked at")
    found = expiry.expire(_open(archive), int(time.time()), dry_run=dry_run, progress=line)
    line.end()
    typer.echo(json.dumps(found.to_answer()) if as_json else expiry.describe(found, dry_run=dry_run))
    if found.damaged:
        raise typer.Exit(7)  # capture.errors.Exit.DAMAGED; that layer is not imported here


def erase(
    archive: ArchiveArgument,
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="DEVICE, DEVICE/EPOCH, DEVICE/EPOCH/SEQ or …/FIRST-LAST.")
    ],
    owner_key: Annotated[
        Path,
        typer.Option("--owner-key", help="The owner's signing key, which only you can read; made if there is none."),
    ],
) -> None:
    """Erase at the owner's word: remove the chunks, and keep a signed tombstone in their place."""
    from codec.seal import DeviceSigningKey
    from codec.tombstone import Authority, parse_tombstone, sign_tombstone
    from transport.erasing import Eraser
    from transport.fs import RealFiles, replace_file
    from transport.messages import NackCode

    device, ranges = parse_target(what)
    store = _open(archive)
    if not owner_key.exists():
        files = RealFiles()
        files.make_dir(owner_key.parent)
        replace_file(files, owner_key, DeviceSigningKey.generate().to_text().encode())
        typer.echo(f"{owner_key}: the owner's signing key, made just now: keep it, it shows who ordered to erase")
    text = _read_private(owner_key, "the owner's signing key").decode("ascii", "replace")
    payload = sign_tombstone(
        device,
        ranges,
        wall_s=int(time.time()),
        signer=DeviceSigningKey.from_text(text),
        authority=Authority.OWNER,
    )
    eraser = Eraser(store, lambda tombstone: NackCode.UNKNOWN_KEY)
    erased = eraser.carry_out(payload, parse_tombstone(payload))
    typer.echo(f"{erased:,} chunks of {device} were erased; a tombstone stands in their place")


def shred(
    archive: ArchiveArgument,
    device: Annotated[str, typer.Argument(help="The device's pseudonym.")],
    vault: Annotated[Path, typer.Option("--vault", help="The folder of the devices' archive keys.")],
    devices: Annotated[
        Path | None, typer.Option("--devices", help="The registry of devices. Default: ARCHIVE/.devices.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Destroy a device's archive keys: nobody can ever read its chunks again, wherever copies of them lie."""
    from transport import shredding
    from transport.cli import DEVICES
    from transport.keys_cli import open_registry, open_vault

    store, keys = _open(archive), open_vault(vault)
    plan = shredding.plan(store, open_registry(devices or archive / DEVICES), keys, device)
    if not as_json:
        typer.echo(shredding.describe(plan))
    if plan.keys and not yes:
        typer.confirm("Destroy them? There is no way back.", abort=True)
    destroyed = shredding.carry_out(plan, keys)
    typer.echo(
        json.dumps(plan.to_answer())
        if as_json
        else f"destroyed: {destroyed} keys of {device}; copies of the vault have to forget them, too"
    )


def parse_target(text: str) -> tuple[str, list[Range] | None]:
    """Read what is to be erased: a device, an epoch of it, one chunk or a range.

    Returns:
        The device, and the ranges; None: all of it.

    Raises:
        TransportError: it is none of these.
    """
    from codec.model import DEVICE_PATTERN
    from codec.tombstone import Range

    device, *rest = text.split("/")
    try:
        if not DEVICE_PATTERN.fullmatch(device) or len(rest) > 2:
            raise ValueError
        if not rest:
            return device, None
        first, _, last = rest[1].partition("-") if len(rest) == 2 else ("0", "-", str((1 << 32) - 1))
        range_ = Range(int(rest[0], 16), int(first), int(last or first))
        if not (0 <= range_.epoch < 1 << 32 and 0 <= range_.first <= range_.last < 1 << 32):
            raise ValueError
    except ValueError:
        raise TransportError(
            f"{text!r} names nothing to erase: write DEVICE, DEVICE/EPOCH, DEVICE/EPOCH/SEQ or DEVICE/EPOCH/FIRST-LAST, as "
            "`modicum archive ls` prints them"
        ) from None
    return device, [range_]
