"""Shell: the commands of the archive's side for keys: the archive's own, the fleet's authority, and the devices' registry."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transport.errors import TransportError

if TYPE_CHECKING:
    from codec.seal import ArchivePublicKey, DeviceSigningKey, Suite
    from transport.authority import Authority
    from transport.devices import Device
    from transport.registrar import Offer
    from transport.registry import Registry
    from transport.vault import Vault

ReadPrivate = Callable[[Path, str], bytes]
"""Reads a file that only its owner may read; is given what it is, for messages."""

CERTIFICATE, KEY, REVOKED = "ca.pem", "ca.key", "crl.pem"

DevicesOption = Annotated[Path, typer.Option("--devices", help="The registry's folder: who may send.")]
AuthorityOption = Annotated[
    Path | None, typer.Option("--authority", help="The folder that `modicum keys ca` made.", show_default=False)
]
NeededAuthority = Annotated[Path, typer.Option("--authority", help="The folder that `modicum keys ca` made.")]
VaultOption = Annotated[
    Path | None,
    typer.Option("--vault", help="The folder of the devices' archive keys: each device gets a pair of its own."),
]
NeededVault = Annotated[Path, typer.Option("--vault", help="The folder of the devices' archive keys.")]
ArchiveKeyOption = Annotated[
    Path | None, typer.Option("--archive-key", help="Or: one archive's public key, the same for all.")
]
AnswerKeyOption = Annotated[
    Path | None,
    typer.Option("--answer-key", help="The public half of the collectors' key, answers.pub, for the device."),
]
HybridOption = Annotated[bool, typer.Option("--post-quantum", help="ML-KEM-768 with X25519: 1.1 kB more a chunk.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DeviceArgument = Annotated[str, typer.Argument(help="The device's pseudonym, as `modicum keys ls` prints it.")]


class Role(StrEnum):
    """Whose certificate."""

    BROKER = "broker"
    COLLECTOR = "collector"
    ENROLMENT = "enrolment"


NAMES = {Role.COLLECTOR: "modicum.collector", Role.ENROLMENT: "modicum.enrolment"}
"""Their names at the broker, as deploy/acl has them. No device can have one: a pseudonym has no dot."""


def mount(keys: typer.Typer, read_private: ReadPrivate) -> None:
    """Add the commands.

    Args:
        keys: the group `modicum keys`. read_private: how keys are read.
    """
    global _read_private
    _read_private = read_private
    for command in (archive, answers, ca, cert, token, accept, ls, revoke, rotate):
        keys.command()(command)


_read_private: ReadPrivate


def archive(
    out: Annotated[Path, typer.Option("--out", help="The folder for the pair; it is made.")] = Path("archive-keys"),
    hybrid: HybridOption = False,
) -> None:
    """Make the archive's key pair: devices get the public half, only readers the private one."""
    from codec.seal import ArchivePrivateKey

    private_path, public_path = out / "archive.key", out / "archive.pub"
    for path in (private_path, public_path):
        if path.exists():
            raise TransportError(
                f"{path} exists: what was sealed for it could not be read with another; name another folder"
            )
    key = ArchivePrivateKey.generate(_suite(hybrid))
    write(private_path, key.to_text().encode())
    public_path.write_text(key.public.to_text(), encoding="ascii")
    typer.echo(
        f"{private_path}: keep it where recordings are read, and nowhere else\n{public_path}: give it to the devices"
    )


def answers(
    out: Annotated[Path, typer.Option("--out", help="The folder for the pair; it is made.")] = Path("answer-keys"),
) -> None:
    """Make the key by which collectors sign their answers: devices that know it believe nobody else, not even the broker."""
    from codec.seal import DeviceSigningKey

    private_path, public_path = out / "answers.key", out / "answers.pub"
    if private_path.exists():
        raise TransportError(
            f"{private_path} exists: devices that know it would not believe another; name another folder"
        )
    key = DeviceSigningKey.generate()
    write(private_path, key.to_text().encode())
    write(public_path, key.public.to_text().encode())
    typer.echo(f"{private_path}: for the collectors (--answer-key)\n{public_path}: devices get it when they enrol")


def ca(
    out: Annotated[Path, typer.Option("--out", help="The folder for it; it is made.")] = Path("fleet-authority"),
    name: Annotated[str, typer.Option("--name", help="How it is called in certificates.")] = "modicum fleet",
) -> None:
    """Make the fleet's authority: it signs the certificates of broker, collectors and devices."""
    from transport.authority import Authority, fingerprint

    if (out / KEY).exists():
        raise TransportError(f"{out / KEY} exists: what it has signed would be worth nothing; name another folder")
    now_s = int(time.time())
    made = Authority.make(name, now_s)
    write(out / KEY, made.key)
    write(out / CERTIFICATE, made.certificate)
    write(out / REVOKED, made.revocations((), now_s))
    typer.echo(
        f"{out / KEY}: whoever has it lets devices in: keep it where `modicum enrolment` runs\n"
        f"{out / CERTIFICATE}: for the broker and the collectors; devices get it when they enrol\n"
        f"{out / REVOKED}: the certificates that are revoked (none), for the broker\n"
        f"fingerprint (SHA-256): {fingerprint(made.certificate).hex()}"
    )


def cert(
    role: Annotated[Role, typer.Argument(help="Whose.")],
    authority: NeededAuthority,
    out: Annotated[Path, typer.Option("--out", help="The folder for certificate and key; it is made.")],
    host: Annotated[
        list[str] | None, typer.Option("--host", help="The broker's name or address, as devices call it; repeatable.")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, help="How long it holds.")] = 365,
) -> None:
    """Issue a certificate for the broker, a collector or the enrolment."""
    from transport.authority import Purpose, new_key

    if role is Role.BROKER and not host:
        raise TransportError("name the broker as devices call it: --host broker.example.org")
    private, public = new_key()
    name, purpose = (host[0], Purpose.BROKER) if role is Role.BROKER and host else (NAMES[role], Purpose.CLIENT)
    issued = read_authority(authority).issue(
        name, public, purpose, int(time.time()), hosts=tuple(host or ()) if role is Role.BROKER else (), days=days
    )
    write(out / f"{role}.key", private)
    write(out / f"{role}.pem", issued.pem)
    typer.echo(f"{out / f'{role}.pem'}, {out / f'{role}.key'}: {name}, until {_day(issued.until_s)}")


def token(
    devices: DevicesOption,
    authority: NeededAuthority,
    vault: VaultOption = None,
    archive_key: ArchiveKeyOption = None,
    hours: Annotated[float, typer.Option("--hours", min=0.01, max=8760, help="How long it holds.")] = 72,
    out: Annotated[Path | None, typer.Option("--out", help="Write it there, 0600, instead of printing it.")] = None,
    hybrid: HybridOption = False,
) -> None:
    """Print a one-time token, with which one person enrols one device: `modicum enrol`."""
    from transport.fs import RealFiles
    from transport.registrar import Offer, Registrar

    registrar = Registrar(RealFiles(), open_registry(devices), read_authority(authority), Offer())
    made = registrar.make_token(_sealing_key(vault, archive_key, hybrid=hybrid), hours=hours)
    if out is not None:
        write(out, f"{made.to_text()}\n".encode())
    else:
        typer.echo(made.to_text())
    if sys.stdout.isatty():
        typer.echo(
            f"Give it to one person, over a channel that you trust. It serves once, within {hours:g} h.", err=True
        )


def accept(
    request: Annotated[Path, typer.Argument(help="The file that `modicum enrol --request` wrote.")],
    devices: DevicesOption,
    authority: AuthorityOption = None,
    vault: VaultOption = None,
    archive_key: ArchiveKeyOption = None,
    offer: Annotated[str, typer.Option("--offer", help="The broker's address, for the device.")] = "",
    reader: Annotated[str, typer.Option("--reader", help="Who reads the recordings, for the notice.")] = "",
    answer_key: AnswerKeyOption = None,
    reply: Annotated[Path | None, typer.Option("--reply", help="Where to write the answer for the device.")] = None,
    hybrid: HybridOption = False,
) -> None:
    """Enrol a device by hand, from its request's file; with --authority, write an answer for it."""
    from transport.enrolment import from_armor, to_armor
    from transport.fs import RealFiles
    from transport.registrar import Registrar

    if reply is not None and authority is None:
        raise TransportError("an answer is signed by the fleet's authority: name it by --authority")
    registrar = Registrar(
        RealFiles(),
        open_registry(devices),
        read_authority(authority) if authority else None,
        offer_of(offer, reader, answer_key),
    )
    sealing = _sealing_key(vault, archive_key, hybrid=hybrid) if vault or archive_key else None
    decided = registrar.accept(from_armor(request.read_text("ascii", errors="replace"), "request"), sealing)
    if decided.kind == "refused":
        raise TransportError(f"not enrolled: {decided.text}")
    if reply is not None:
        write(reply, to_armor(decided.reply, "reply").encode())
    typer.echo(f"{decided.kind}: {decided.device}, {decided.text}")


def ls(
    devices: DevicesOption,
    archive: Annotated[
        Path | None, typer.Option("--archive", help="Say as well on which day its last chunk came.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the devices and their keys."""
    from transport.fs import RealFiles
    from transport.seen import last_day_s

    registry = open_registry(devices)
    for name in registry.devices():
        record = registry.get(name)
        if record is None:
            continue
        last_s = None if archive is None else last_day_s(RealFiles(), archive, name)
        last = None if last_s is None else _day(last_s)
        if as_json:
            fields = json.loads(record.to_json())
            typer.echo(json.dumps(fields if archive is None else {**fields, "last_chunk": last}))
        else:
            seen = "no chunk in the archive" if last is None else f"last chunk {last}"
            typer.echo(_describe(record) + ("" if archive is None else f"\n  {seen}"))


def revoke(
    device: DeviceArgument,
    devices: DevicesOption,
    key: Annotated[str, typer.Option("--key", help="Only this signing key (its id), not the whole device.")] = "",
    authority: AuthorityOption = None,
) -> None:
    """Take nothing more from a device, or one of its keys, at once; with --authority, make the broker's revocation list."""
    registry, now_s = open_registry(devices), int(time.time())

    def edit(record: Device | None) -> Device:
        if record is None:
            raise TransportError(f"device {device} is not enrolled: `modicum keys ls` shows who is")
        try:
            key_id = bytes.fromhex(key) if key else None
        except ValueError:
            raise TransportError(f"{key!r} is no key's id: copy one from `modicum keys ls`") from None
        return record.without(key_id, now_s)

    registry.change(device, edit)
    typer.echo(f"revoked: {device}{f', key {key}' if key else ''}")
    if authority is not None:
        records = filter(None, map(registry.get, registry.devices()))
        serials = [
            entry.serial
            for record in records
            if record.revoked_s
            for entry in record.certificates
            if entry.until_s > now_s
        ]
        write(authority / REVOKED, read_authority(authority).revocations(serials, now_s))
        typer.echo(
            f"{authority / REVOKED}: {len(serials)} certificates; give it to the broker, and have it read it (SIGHUP)"
        )


def rotate(device: DeviceArgument, devices: DevicesOption, vault: NeededVault, hybrid: HybridOption = False) -> None:
    """Give a device a new archive key; it seals for it once it has run `modicum enrol --renew`. The old one still opens."""
    registry, now_s = open_registry(devices), int(time.time())
    if registry.get(device) is None:
        raise TransportError(f"device {device} is not enrolled: `modicum keys ls` shows who is")
    public = open_vault(vault).make(_suite(hybrid))

    def edit(record: Device | None) -> Device:
        if record is None:
            raise TransportError(f"device {device} was removed meanwhile")
        return record.with_sealing(public, now_s)

    registry.change(device, edit)
    typer.echo(f"{device} is to seal for {public.key_id.hex()}; on it: modicum enrol --renew")


def open_registry(folder: Path) -> Registry:
    """Return the registry in a folder."""
    from transport.fs import RealFiles
    from transport.registry import Registry

    return Registry(RealFiles(), folder)


def open_vault(folder: Path) -> Vault:
    """Return the vault in a folder."""
    from transport.fs import RealFiles
    from transport.vault import Vault

    return Vault(RealFiles(), folder, _read_private)


def read_authority(folder: Path) -> Authority:
    """Return the authority in a folder.

    Raises:
        TransportError: it is not there. NoPermission: others can read its key.
    """
    from transport.authority import Authority

    if not (folder / CERTIFICATE).is_file():
        raise TransportError(f"there is no authority in {folder}: `modicum keys ca --out {folder}` makes one")
    return Authority((folder / CERTIFICATE).read_bytes(), _read_private(folder / KEY, "the authority's key"))


def read_answer_key(path: Path | None) -> DeviceSigningKey | None:
    """Return the key that signs answers."""
    from codec.seal import DeviceSigningKey

    if path is None:
        return None
    return DeviceSigningKey.from_text(_read_private(path, "the key for answers").decode("ascii", "replace"))


def offer_of(address: str, reader: str, answer_key: Path | None = None) -> Offer:
    """Return what devices are told: the broker's address (as --broker), who reads, and who signs answers."""
    from codec.seal import DeviceVerifyKey
    from transport.address import parse_address
    from transport.registrar import Offer

    verify = DeviceVerifyKey.from_text(answer_key.read_text("ascii", errors="replace")) if answer_key else None
    if not address:
        return Offer(reader=reader, answer_key=verify)
    host, port, _, encrypted = parse_address(address)
    return Offer(host, port, encrypted, reader, verify)


def write(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, durably; its folder is made."""
    from transport.fs import RealFiles, replace_file

    files = RealFiles()
    files.make_dir(path.parent)
    replace_file(files, path, data)


def _sealing_key(vault: Path | None, archive_key: Path | None, *, hybrid: bool) -> ArchivePublicKey:
    from codec.seal import ArchivePublicKey

    if vault is not None and archive_key is None:
        return open_vault(vault).make(_suite(hybrid))
    if archive_key is not None and vault is None:
        return ArchivePublicKey.from_text(archive_key.read_text("ascii", errors="replace"))
    raise TransportError(
        "name what the device will seal for: --vault FOLDER (a pair of its own, which can be destroyed alone) or "
        "--archive-key FILE (one for all)"
    )


def _suite(hybrid: bool) -> Suite:
    from codec.seal import Suite

    return Suite.MLKEM768_X25519 if hybrid else Suite.X25519


def _describe(record: Device) -> str:
    state = f"revoked {_day(record.revoked_s)}" if record.revoked_s else f"enrolled {_day(record.enrolled_s)}"
    lines = [f"{record.device}  {state}"]
    for entry in record.keys:
        if entry.revoked_s:
            until = f"revoked {_day(entry.revoked_s)}"
        else:
            until = f"until {_day(entry.until_s)}" if entry.until_s else "in force"
        lines.append(f"  signs with  {entry.key.key_id.hex()}  since {_day(entry.since_s)}  {until}")
    lines += [f"  seals for   {entry.key.key_id.hex()}  since {_day(entry.since_s)}" for entry in record.sealing]
    return "\n".join(lines)


def _day(wall_s: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall_s))
