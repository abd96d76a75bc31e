"""Shell: the command `modicum enrol`: how a person has their device let in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capture.errors import CaptureError, ConfigError
from capture.home import Home, config_path

if TYPE_CHECKING:
    from capture.enrolling import Enrolled

FIRST_LINES = """\
# Written by `modicum enrol`. deploy/config.example.toml explains every key. Nothing is recorded until scope.allow names
# applications and you have agreed with `modicum consent`.

[scope]
allow = []
"""


def mount(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(enrol)


def enrol(
    token: Annotated[
        str | None,
        typer.Argument(help="The one-time token. Left away, it is asked for: then no list of processes shows it."),
    ] = None,
    broker: Annotated[
        str, typer.Option("--broker", help="The broker's address for enrolment, mqtts://host:8884; remembered.")
    ] = "",
    ca: Annotated[
        Path | None, typer.Option("--ca", help="PEM of who signs the broker's certificate; the token suffices without.")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Renew certificate and archive key, by this device's own key.")
    ] = False,
    new_key: Annotated[bool, typer.Option("--new-key", help="With --renew: change this device's signing key.")] = False,
    request: Annotated[
        Path | None, typer.Option("--request", help="Write the request to a file, for `modicum keys accept`.")
    ] = None,
    reply: Annotated[
        Path | None, typer.Option("--reply", help="Take the answer that `modicum keys accept` wrote.")
    ] = None,
    fingerprint: Annotated[
        str,
        typer.Option("--fingerprint", help="With --reply: of the authority, as whoever runs the archive tells you."),
    ] = "",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The configuration; default: ~/.config/modicum/config.toml.")
    ] = None,
) -> None:
    """Have this device let in by the archive: with a token, over the broker; or by files, where there is no way through."""
    from capture.enrolling import Enrolling

    if new_key and not renew:
        raise CaptureError("--new-key goes with --renew: the key in force shows that the new one is this device's")
    folders = Home.of(os.environ)
    folders.prepare()
    enrolling = Enrolling(folders)
    if request is not None:
        enrolling.write_request(request, renew=renew, new_key=new_key)
        typer.echo(f"{request}: give it to whoever runs the archive; they run `modicum keys accept {request.name}`.")
        return
    if reply is not None:
        done = enrolling.take_reply(reply, pin=fingerprint)
    elif renew:
        done = enrolling.renew(broker, ca=ca, new_key=new_key)
    else:
        if not broker:
            raise CaptureError("name the broker with --broker mqtts://host:8884, as whoever gave you the token says")
        done = enrolling.by_token(_token(token), broker, ca=ca)
    _configure(config_path(config, os.environ), done)
    typer.echo(
        f"{folders.device()} is enrolled{f', sealing for archive key {done.archive_key}' if done.archive_key else ''}."
    )
    if done.changed_key:
        typer.echo("Its new signing key is in force once the agent starts again: `modicum stop`, `modicum run`.")
    typer.echo("Next: `modicum config check`, `modicum consent`, `modicum run`.")


def _token(given: str | None) -> str:
    if given is not None and given != "-":
        return given
    if sys.stdin.isatty():
        return str(typer.prompt("Token", hide_input=True))
    return sys.stdin.readline(4096)


def _configure(path: Path, done: Enrolled) -> None:
    """Put what was told into the configuration; what else stands there stays."""
    from capture.config_edit import set_values
    from capture.keyfiles import write_private

    if not done.settings:
        return
    try:
        before = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        before = ""
    try:
        after = set_values(before or FIRST_LINES, done.settings, source=str(path))
    except ConfigError as error:
        lines = "\n".join(f"  [{table}] {key} = {value!r}" for (table, key), value in done.settings.items())
        raise ConfigError(f"enrolled, but not written into the configuration: {error}\nIt takes:\n{lines}") from error
    if after == before:
        return
    if before:
        write_private(path.with_name(f"{path.name}.before-enrolment"), before.encode())
    write_private(path, after.encode())
    typer.echo(f"{path}: broker and archive are set.")
