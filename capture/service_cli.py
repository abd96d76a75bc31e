"""Shell: the commands `modicum service …`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capture.home import Home

if TYPE_CHECKING:
    from capture.config import Config

Load = Callable[[Path | None], "Config"]
Find = Callable[[Path | None], Path]

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration; default: ~/.config/modicum/config.toml.")
]


def commands(load: Load, find: Find) -> typer.Typer:
    """Return the commands.

    Args:
        load: reads the configuration. find: returns where it lies.
    """
    app = typer.Typer(help="Run the agent under your own service manager, from log-in on.", no_args_is_help=True)

    @app.command()
    def install(config: ConfigOption = None) -> None:
        """Have the agent started at each log-in, once you have agreed. No administrator's rights are needed."""
        from capture.service_setup import facts, install

        for line in install(facts(load(config), find(config), Home.of(os.environ)), os.environ):
            typer.echo(line)

    @app.command()
    def uninstall() -> None:
        """Stop it and start it no more. What was recorded stays."""
        from capture.service_setup import uninstall

        for line in uninstall(os.environ):
            typer.echo(line)

    @app.command()
    def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
        """Say how the service is doing; exit code 10 when it does not run."""
        from dataclasses import asdict

        from capture.errors import Exit
        from capture.service_setup import standing

        said = standing(os.environ)
        typer.echo(json.dumps(asdict(said)) if as_json else said.text)
        if not said.active:
            raise typer.Exit(Exit.NOT_RUNNING)

    return app
