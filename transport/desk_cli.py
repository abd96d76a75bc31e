"""Shell: the command `modicum enrolment`: lets devices in that have a token."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from transport.desk import DeskEvent

PemOption = Annotated[Path | None, typer.Option(help="A PEM file, for mqtts://.")]


def mount(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(enrolment)


def enrolment(
    broker: Annotated[str, typer.Option("--broker", help="mqtts://[user@]host[:port], or mqtt://127.0.0.1:port.")],
    devices: Annotated[Path, typer.Option("--devices", help="The registry's folder; it is written.")],
    authority: Annotated[Path, typer.Option("--authority", help="The folder that `modicum keys ca` made.")],
    offer: Annotated[
        str,
        typer.Option("--offer", help="The broker's address that devices are told; default: they keep what they have."),
    ] = "",
    reader: Annotated[str, typer.Option("--reader", help="Who reads the recordings, for the notice.")] = "",
    answer_key: Annotated[
        Path | None, typer.Option("--answer-key", help="The public half of the collectors' key, answers.pub.")
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="Holds the user's password.")] = None,
    ca: PemOption = None,
    cert: PemOption = None,
    key: PemOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Answer devices that want to enrol or renew, until stopped. It needs no key that opens recordings."""
    from transport.address import broker_of
    from transport.cli import read_password, until_told
    from transport.desk import Desk
    from transport.fs import RealFiles
    from transport.keys_cli import offer_of, open_registry, read_authority
    from transport.registrar import Registrar

    registrar = Registrar(
        RealFiles(), open_registry(devices), read_authority(authority), offer_of(offer, reader, answer_key)
    )
    client_id = f"enrolment-{time.time_ns():x}"
    desk = Desk(
        broker_of(broker, client_id, read_password(password_file), ca, cert, key),
        registrar,
        _show_json if as_json else _show,
    )
    asyncio.run(until_told(desk.run()))


def _show(event: DeskEvent) -> None:
    typer.echo(f"{event.kind}: {' '.join(filter(None, (event.device, event.text)))}")


def _show_json(event: DeskEvent) -> None:
    fields = {"kind": event.kind, "text": event.text, "device": event.device}
    typer.echo(json.dumps({"wall_ns": time.time_ns(), **fields}, ensure_ascii=False))
