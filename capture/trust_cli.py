"""Shell: the commands by which a person stays in charge: `pause`, `exempt`, `journal`, `privacy report`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capture.errors import CaptureError
from capture.standing import EFFECT, Exempt

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home

Ask = Callable[..., dict[str, Any]]


def mount(app: typer.Typer, load: Callable[[Path | None], Config], home: Callable[[], Home], ask: Ask) -> None:
    """Add the commands.

    Args:
        load: reads and validates the configuration. home: the person's folders. ask: sends a command to the agent.
    """

    @app.command("pause")
    def pause(
        when: Annotated[
            list[str] | None,
            typer.Argument(metavar="[30m|until 14:00|forever]", help="How long; default: forever."),
        ] = None,
    ) -> None:
        """Stop recording until `modicum resume`, or for as long as you say."""
        seconds, said = _seconds(" ".join(when or []))
        ask("pause", seconds=seconds)
        typer.echo(f"Paused{said}. `modicum resume` goes on.")

    @app.command("exempt")
    def exempt(
        what: Annotated[
            str, typer.Argument(metavar="[bandwidth|battery|sensitive-work]", help="From what; default: list them.")
        ] = "",
        for_: Annotated[str, typer.Option("--for", help='How long, e.g. "2h"; default: until you end it.')] = "",
        until: Annotated[str, typer.Option("--until", help='Until when, e.g. "18:00".')] = "",
        reason: Annotated[str, typer.Option("--reason", help="Your own note; it stays on this machine.")] = "",
        end: Annotated[bool, typer.Option("--end", help="End the exemption.")] = False,
    ) -> None:
        """Take an exemption: nobody is asked, and nobody but you learns which or why."""
        if for_ and until:
            raise CaptureError("say either --for or --until")
        seconds, _ = _seconds(for_ or until)
        answer = ask("exempt", what=what, seconds=seconds, reason=reason, end=end)
        if end and not answer.get("ended"):
            raise CaptureError(f"there is no exemption for {what or 'that'} to end")
        lines = [_exemption(one) for one in answer["exemptions"]]
        typer.echo("\n".join(lines) or "There is no exemption in force.")

    @app.command("journal")
    def journal(
        since: Annotated[str, typer.Option("--since", help='How far back, e.g. "2 days"; default: all.')] = "",
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of text.")] = False,
    ) -> None:
        """Tell what was recorded, by which rule, what left this machine, and who asked for what."""
        from capture.journal import Journal, in_words

        seconds, _ = _seconds(since)
        from_s = 0.0 if seconds is None else time.time() - seconds
        for entry in Journal(home().journal).entries(from_s):
            typer.echo(json.dumps(entry, ensure_ascii=False) if as_json else in_words(entry))

    privacy_app = typer.Typer(help="What is done with your data, from your configuration.", no_args_is_help=True)
    app.add_typer(privacy_app, name="privacy")

    @privacy_app.callback()
    def privacy() -> None:
        """What is done with your data, from your configuration."""

    @privacy_app.command("report")
    def report(
        config: Annotated[
            Path | None,
            typer.Option("--config", "-c", help="The configuration; default: ~/.config/modicum/config.toml."),
        ] = None,
    ) -> None:
        """Print data inventory, recipients, retention, threats and a data protection assessment's answers as Markdown."""
        from capture.agreement import terms_of
        from capture.privacy import report

        folders = home()
        typer.echo(report(terms_of(load(config)), folders.consent()), nl=False)


def _seconds(words: str) -> tuple[float | None, str]:
    """Return how long a person's words mean from now on, and how to say it; None: without end."""
    from capture.times import end_of

    now = datetime.now().astimezone()
    try:
        end = end_of(words, now)
    except ValueError as error:
        raise CaptureError(f'"{words}": {error}') from None
    if end is None:
        return None, ""
    same_day = end.date() == now.date()
    return (end - now).total_seconds(), f" until {end:%H:%M}" if same_day else f" until {end:%Y-%m-%d %H:%M}"


def _exemption(one: dict[str, Any]) -> str:
    until = "until you end it"
    if one["until"] is not None:
        until = f"until {datetime.fromtimestamp(one['until']):%Y-%m-%d %H:%M}"
    why = f" ({one['reason']})" if one["reason"] else ""
    return f"{one['kind']}, {until}{why}: {EFFECT[Exempt(one['kind'])]}"
