"""Shell: the commands of the archive's side: `modicum collect`, `broker` and `archive`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from codec.seal import ArchivePrivateKey

archive_app = typer.Typer(help="Look into an archive: list, show, verify, export.", no_args_is_help=True)

ArchiveArgument = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The archive's folder.")]
KeyOption = Annotated[Path, typer.Option("--key", help="The archive's private key, a file that only you can read.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def mount(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(archive_app, name="archive")
    app.command()(collect)
    app.command()(broker)
