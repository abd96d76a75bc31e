"""Shell: the commands of the archive's side: `modicum collect`, `broker` and `archive`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import transport.desk_cli
import transport.keys_cli
from transport import erase_cli
from transport.address import broker_of
from transport.errors import TransportError
from transport.keys_cli import ReadPrivate

if TYPE_CHECKING:
    from codec.seal import KeyRing
    from transport.archive import FolderStore
    from transport.collector import CollectorEvent

archive_app = typer.Typer(help="Look into an archive: list, show, verify, export.", no_args_is_help=True)

ArchiveArgument = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The archive's folder.")]
KeyOption = Annotated[
    Path, typer.Option("--key", help="The archive's private key, or the vault's folder; readable by you alone.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
PemOption = Annotated[Path | None, typer.Option(help="A PEM file, for mqtts://.")]

PurposeOption = Annotated[str | None, typer.Option("--purpose", help="What you look at it for.")]
SinceOption = Annotated[datetime | None, typer.Option("--since", help="From this local time on: 2026-11-24T09:00.")]
UntilOption = Annotated[datetime | None, typer.Option("--until", help="Before this local time.")]

SYNCERS = 4
"""Threads of a collector that wait for the disk: files that are synced at once share the file system's commits."""

PROGRESS_STEP_S = 0.2
DEVICES = ".devices"
"""The registry's folder in an archive, where no other is named."""


def mount(app: typer.Typer, keys: typer.Typer, read_private: ReadPrivate) -> None:
    """Add the commands to the program.

    Args:
        app: the program. keys: its group `modicum keys`. read_private: how it reads keys and passwords.
    """
    global _read_private
    _read_private = read_private
    transport.keys_cli.mount(keys, read_private)
    erase_cli.mount(archive_app, _open, read_private)
    app.add_typer(archive_app, name="archive")
    app.command()(collect)
    app.command()(broker)
    transport.desk_cli.mount(app)


_read_private: ReadPrivate


def collect(
    broker: Annotated[str, typer.Option("--broker", help="mqtts://[user@]host[:port], or mqtt://127.0.0.1:port.")],
    archive: Annotated[Path, typer.Option("--archive", help="The archive's folder; it is made.")],
    devices: Annotated[
        Path | None, typer.Option("--devices", help="The registry: who may send. Default: ARCHIVE/.devices.")
    ] = None,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Take chunks of devices that nobody enrolled, without a look at who signed."),
    ] = False,
    answer_key: Annotated[
        Path | None, typer.Option("--answer-key", help="Signs the answers to devices: `modicum keys answers` makes it.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="This collector's name at the broker.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="Holds the user's password.")] = None,
    ca: PemOption = None,
    cert: PemOption = None,
    key: PemOption = None,
    metrics: Annotated[
        str, typer.Option("--metrics", metavar="HOST:PORT", help="Serve figures for Prometheus there; 127.0.0.1:9108.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Take chunks from the broker into an archive, until stopped. Any number of collectors may run beside each other."""
    from transport import erasing, expiry
    from transport.archive import FolderStore
    from transport.collector import Collector, CollectorSettings
    from transport.fs import RealFiles
    from transport.metrics import CollectorMetrics

    settings = CollectorSettings(
        broker_of(broker, name or f"collector-{time.time_ns():x}", read_password(password_file), ca, cert, key),
        answer_key=transport.keys_cli.read_answer_key(answer_key),
    )
    show = _show_json if as_json else LiveLine(str(archive)).show
    registry = None
    if unchecked:
        typer.echo("NOT CHECKED: whoever reaches the broker can put chunks of any device into this archive", err=True)
    else:
        registry = transport.keys_cli.open_registry(devices or archive / DEVICES)
    figures = CollectorMetrics() if metrics else None
    store = FolderStore(
        RealFiles(),
        archive,
        syncers=ThreadPoolExecutor(SYNCERS, thread_name_prefix="sync"),
        on_stored=figures.stored if figures else lambda seconds: None,
    )
    collector = Collector(
        settings,
        store,
        show,
        check=expiry.before(registry.check if registry else None, wall_s),
        handlers=erasing.handlers(store, registry, wall_s),
    )
    with contextlib.ExitStack() as stack:
        if figures is not None:
            figures.watch(collector)
            stack.callback(figures.serve(metrics))
        asyncio.run(until_told(collector.run()))


def wall_s() -> int:
    """Return the wall clock, in seconds since 1970."""
    return int(time.time())


def read_password(path: Path | None) -> str | None:
    """Return the password in a file that only its owner can read."""
    return _read_private(path, "the password").decode().rstrip("\n") if path else None


async def until_told(work: Coroutine[object, object, None]) -> None:
    """Run until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


class LiveLine:
    """One line that is written over and over on a terminal, and plain lines elsewhere.

    Args:
        where: what the line begins with.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._chunks = self._bytes = self._other = 0
        self._devices: set[str] = set()
        self._is_terminal = sys.stdout.isatty()

    def show(self, event: CollectorEvent) -> None:
        """Show what happened."""
        if event.kind == "archived":
            self._chunks += 1
            self._bytes += event.size_bytes
            self._devices.add(event.device)
        elif event.kind in {"refused", "failed", "disconnected", "connected", "erased"}:
            self._other += event.kind in {"refused", "failed"}
            typer.echo(("\r\x1b[K" if self._is_terminal else "") + f"{event.kind}: {event.text}")
        if self._is_terminal:
            line = f"{self._where}: {self._chunks:,} chunks, {self._bytes:,} bytes of {len(self._devices)} devices"
            typer.echo(f"\r\x1b[K{line}, {self._other} refused or failed", nl=False)
        elif event.kind == "archived":
            typer.echo(f"archived: {event.chunk_id}, {event.size_bytes:,} bytes")


def _show_json(event: CollectorEvent) -> None:
    fields = {"kind": event.kind, "text": event.text, "device": event.device, "bytes": event.size_bytes}
    if event.code is not None:
        fields["code"] = event.code.name.lower()
    chunk = None if event.chunk_id is None else str(event.chunk_id)
    typer.echo(json.dumps({"wall_ns": time.time_ns(), **fields, "chunk": chunk}, ensure_ascii=False))


def broker(
    directory: Annotated[Path, typer.Option("--dir", help="A folder for the broker's own files; it is made.")],
    port: Annotated[int, typer.Option("--port", help="On 127.0.0.1; 0: a free one.")] = 0,
    port_file: Annotated[Path | None, typer.Option(help="Write the port there once it listens.")] = None,
) -> None:
    """Run an MQTT broker on this machine's loopback, until stopped: for the demo, and for a machine on its own."""
    from transport.broker import embedded

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with embedded(directory, port) as running:
        typer.echo(f"{running.name} listens on mqtt://{running.host}:{running.port}")
        if port_file is not None:
            port_file.write_text(f"{running.port}\n", encoding="ascii")
        while running.alive:
            time.sleep(1)
        raise TransportError(f"the broker ({running.name}) ended by itself: its log lies in {directory}")


def _end(number: int, frame: object) -> None:
    sys.exit(0)


def _open(archive: Path) -> FolderStore:
    from transport.archive import FolderStore
    from transport.fs import RealFiles

    if not archive.is_dir():
        raise TransportError(f"there is no archive at {archive}: name the folder that `modicum collect` writes")
    return FolderStore(RealFiles(), archive)


def _private_key(path: Path) -> KeyRing:
    from codec.seal import ArchivePrivateKey

    if path.is_dir():
        return transport.keys_cli.open_vault(path)

    return ArchivePrivateKey.from_text(_read_private(path, "the archive's private key").decode("ascii", "replace"))


class ProgressLine:
    """Shows how far something is, once it takes longer than a moment.

    Args:
        what: the verb, "verified".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown_s = time.monotonic()
        self._is_terminal = sys.stderr.isatty()
        self._wrote = False

    def __call__(self, done: int, of: int) -> None:
        """Show `done` of `of` chunks."""
        now_s = time.monotonic()
        if self._is_terminal and now_s - self._shown_s >= PROGRESS_STEP_S:
            self._shown_s, self._wrote = now_s, True
            typer.echo(f"\r{self._what} {done:,} of {of:,} chunks", nl=False, err=True)

    def end(self) -> None:
        """Wipe the line."""
        if self._wrote:
            typer.echo("\r\x1b[K", nl=False, err=True)


@archive_app.command("ls")
def ls(archive: ArchiveArgument, as_json: JsonOption = False) -> None:
    """List the chunks: device, epoch, sequence and what their headers show; needs no key."""
    from codec.chunk import parse_header

    store = _open(archive)
    for chunk_id in store.iterate():
        header = parse_header(store.get(chunk_id))
        shown = {
            "chunk": str(chunk_id),
            "bytes": header.chunk_bytes,
            "value": header.value,
            "sealed_for": header.key_id.hex(),
            "signed_by": header.signer_id.hex(),
            "expires": _day(header.expires_day),
        }
        typer.echo(json.dumps(shown) if as_json else "  ".join(f"{key} {value}" for key, value in shown.items()))


def _day(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * 86_400)) if day else "never"


@archive_app.command("show")
def show(
    archive: ArchiveArgument,
    key: KeyOption,
    chunk: Annotated[str | None, typer.Argument(help="One chunk: DEVICE/EPOCH/SEQ, as `ls` prints.")] = None,
    purpose: PurposeOption = None,
    device: Annotated[str | None, typer.Option("--device", help="The device; needed where there are several.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Draw screenshots and a timeline into this PNG.")] = None,
) -> None:
    """Show what one chunk says of itself and holds, or (with --out) a recording at a glance."""
    from codec.chunk import decode_body, open_chunk, parse_header
    from codec.errors import Denied
    from codec.model import ChunkId
    from codec.reader import Recording
    from transport.exports.about import describe

    if chunk is None:
        _show_sheet(archive, key, purpose, device, since, until, out)
        return
    try:
        device, epoch, seq = chunk.split("/")
        chunk_id = ChunkId(device, int(epoch, 16), int(seq))
    except ValueError:
        raise TransportError(f"{chunk!r} is no chunk's id: copy one from `modicum archive ls`") from None
    data = _open(archive).get(chunk_id)
    if parse_header(data).has_expired(wall_s()):
        raise Denied(f"chunk {chunk_id} has expired: it may not be read, and `modicum archive expire` deletes it")
    header, body = open_chunk(data, _private_key(key))
    typer.echo(describe(Recording(header, decode_body(body))))


def _show_sheet(
    folder: Path,
    key: Path,
    purpose: str | None,
    device: str | None,
    since: datetime | None,
    until: datetime | None,
    out: Path | None,
) -> None:
    from transport.exports import sheet
    from transport.reading import Archive

    if out is None or purpose is None:
        raise TransportError(
            "name a chunk (`modicum archive ls` lists them), or --purpose and --out FILE.png for a sheet"
        )
    archive = Archive(_open(folder), _private_key(key), purpose, int(time.time()))
    devices = [device] if device is not None else archive.devices()
    if len(devices) != 1:
        raise TransportError(
            f"the archive has {len(devices)} devices: name one with --device ({', '.join(devices[:5])})"
        )
    line = ProgressLine("read")
    glance = sheet.gather(
        archive.actions(device=devices[0], since=since, until=until, progress=line),
        archive.frames(device=devices[0], since=since, until=until, progress=line),
    )
    line.end()
    if not glance.thumbs and not glance.focus:
        raise TransportError(f"there is nothing of {devices[0]} in this time that may be read for {purpose!r}")
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(sheet.draw(glance, title=f"{devices[0]}, for {purpose}"))
    typer.echo(f"{out}: {len(glance.thumbs)} screenshots, {len(glance.marks)} actions")


@archive_app.command("verify")
def verify(
    archive: ArchiveArgument,
    key: KeyOption,
    devices: Annotated[
        Path | None,
        typer.Option("--devices", help="The registry, to check who signed. Default: ARCHIVE/.devices, if there."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Decode everything, and look for damage and for holes in the sequences."""
    from transport.verify import describe_report, verify

    line = ProgressLine("verified")
    store = _open(archive)
    known = devices or archive / DEVICES
    signature = transport.keys_cli.open_registry(known).signature if devices or known.is_dir() else lambda chunk: ""
    report = verify(store, _private_key(key), progress=line, signature=signature)
    line.end()
    typer.echo(json.dumps(report.to_answer()) if as_json else describe_report(report))
    if not report.is_sound:
        raise typer.Exit(7)  # capture.errors.Exit.DAMAGED; that layer is not imported here


@archive_app.command("export")
def export(
    archive: ArchiveArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; a folder per device is made in it.")],
    key: KeyOption,
    purpose: Annotated[
        str, typer.Option("--purpose", help="What it is for: what people did not agree to is left out.")
    ],
    to: Annotated[
        str, typer.Option("--to", help="jsonl, parquet, mcap, webdataset, agentnet or html (a page that replays it).")
    ] = "jsonl",
    device: Annotated[list[str] | None, typer.Option("--device", help="Only this device; may be repeated.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    application: Annotated[
        str | None, typer.Option("--application", help="Only what was done in it: a window class, with * and ?.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write recordings for other programs; each format's `about.json` says what it loses."""
    from transport.export import Format, Selection, describe_export, export
    from transport.reading import Archive

    if to not in list(Format):
        raise TransportError(f"--to {to}: there are {', '.join(Format)}")
    line = ProgressLine("exported")
    done = export(
        Archive(_open(archive), _private_key(key), purpose, int(time.time())),
        folder,
        to=Format(to),
        devices=tuple(device or ()),
        selection=Selection(since, until, application),
        progress=lambda what, so_far, of: line(so_far, of),
    )
    line.end()
    typer.echo(json.dumps(done.to_answer()) if as_json else describe_export(done))


@archive_app.command("import")
def import_(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The archive's folder; it is made.")],
    recording: Annotated[Path, typer.Argument(metavar="FOLDER", help="One recording of DuckTrack or AgentNetTool.")],
    public_key: Annotated[Path, typer.Option("--public-key", help="The archive's public key.")],
    purpose: Annotated[list[str], typer.Option("--purpose", help="What it may be used for; may be repeated.")],
    terms: Annotated[Path, typer.Option("--terms", help="The text that its people agreed to; its digest is kept.")],
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="After so many days it is deleted.")],
    region: Annotated[str, typer.Option("--region", help="Where it may be kept; empty: anywhere.")] = "",
    interval: Annotated[float, typer.Option("--interval", min=0, help="Seconds between two screenshots.")] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Take over a recording of another tool, so that it can be shrunk, compared and exported like our own."""
    from codec.seal import ArchivePublicKey, DeviceSigningKey
    from transport.archive import FolderStore
    from transport.fs import RealFiles
    from transport.importing import Terms, describe_import, import_recording

    line = ProgressLine("imported")
    done = import_recording(
        recording,
        FolderStore(RealFiles(), archive),
        recipient=ArchivePublicKey.from_text(public_key.read_text(encoding="ascii", errors="replace")),
        signer=DeviceSigningKey.generate(),
        terms=Terms(
            tuple(purpose), hashlib.sha256(terms.read_bytes()).digest(), int(time.time()) + days * 86_400, region
        ),
        frame_interval_ms=round(interval * 1000),
        progress=lambda so_far: line(so_far.chunks, so_far.chunks),
    )
    line.end()
    typer.echo(json.dumps(done.to_answer()) if as_json else describe_import(done))
