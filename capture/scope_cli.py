"""Shell: the commands `modicum scope …`: what the groups hold, and what is recorded of a window, by which rule."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capture import catalogue
from capture.denied import DENIED
from capture.errors import CaptureError
from capture.policy import EVERYTHING, Policy, Verdict, is_browser
from capture.sites import host_of

if TYPE_CHECKING:
    from capture.config import Config
    from capture.decision import Decision
    from capture.sources.windows import Window

LEVELS = {
    "everything": "once allowed, all of it",
    "structure": "once allowed, that something was done, where and when; no words, no pictures",
    "never": "never, whatever the configuration says",
}


def mount(app: typer.Typer, load: Callable[[Path | None], Config]) -> None:
    """Add the commands.

    Args:
        load: reads and validates the configuration at a path, or at its usual place.
    """
    scope_app = typer.Typer(help="Show what may be recorded, and judge windows.", no_args_is_help=True)
    app.add_typer(scope_app, name="scope")

    @scope_app.command("ls")
    def ls(
        group: Annotated[str, typer.Argument(metavar="[GROUP]", help='A group, e.g. "office"; default: all.')] = "",
    ) -> None:
        """List the groups, or what a group holds."""
        typer.echo(_listed(group.removeprefix("@")) if group else _groups())

    @scope_app.command("explain")
    def explain(
        window: Annotated[
            str, typer.Argument(metavar="[WINDOW]", help="A window class; default: every window on the display.")
        ] = "",
        title: Annotated[str, typer.Option("--title", help="The window's title.")] = "",
        site: Annotated[str, typer.Option("--site", help="The host that a browser's window shows.")] = "",
        config: Annotated[
            Path | None,
            typer.Option("--config", "-c", help="The configuration; default: ~/.config/modicum/config.toml."),
        ] = None,
    ) -> None:
        """Say what is recorded of a window, and by which rule."""
        from capture.effects import rules_of

        judge = Policy(rules_of(load(config)), consented=True)
        if window:
            host = host_of(site) if site else None
            if site and host is None:
                raise CaptureError(f'"{site}" is no host: write it without https:// and without a path')
            lines = [_judged(window.lower(), judge.decide(window.lower(), title.lower(), host))]
            if is_browser(window) and not site:
                lines.append('  (a browser is judged by its site: add --site "github.com")')
        else:
            lines = [_judged(f'{one.app or "?"}  "{one.title}"', judge.verdict(one)) for one in _windows()]
        typer.echo("\n".join(lines) or "There is no window on the display.")


def _groups() -> str:
    lines = []
    for group in catalogue.catalogue().values():
        counts = [
            f"{len(members)} {kind}" for kind, members in (("apps", group.apps), ("sites", group.sites)) if members
        ]
        lines.append(f"@{group.name:<18} {', '.join(counts)}: {group.about}")
        lines.append(f"{'':20}{LEVELS[group.level]}")
    lines.append("")
    lines.append("Besides, never, by window class:")
    lines += [f"  {reason}: {' '.join(patterns)}" for reason, patterns in DENIED.items()]
    lines.append("  a browser's window whose title says that it is for private browsing")
    return "\n".join(lines)


def _listed(name: str) -> str:
    group = catalogue.catalogue().get(name)
    if group is None:
        raise CaptureError(
            f"there is no group @{name}; there are: {', '.join(f'@{known}' for known in catalogue.catalogue())}"
        )
    lines = [f"@{group.name}: {group.about} ({LEVELS[group.level]})"]
    for kind, members in (("applications", group.apps), ("sites", group.sites)):
        if members:
            lines.append(f"{kind}:")
            lines += [f"  {known:<32} {' '.join(patterns)}" for known, patterns in members.items()]
    return "\n".join(lines)


def _windows() -> list[Window]:
    from capture.sources import x11

    server = x11.Server(os.environ.get("DISPLAY", ""), os.environ.get("WAYLAND_DISPLAY", ""))
    try:
        windows = server.stack() or server.stack()
    finally:
        server.close()
    if windows is None:
        raise CaptureError("the windows moved while they were asked about: try again")
    return windows


def _judged(what: str, decision: Decision[Verdict]) -> str:
    return f"{what}: {in_words(decision.value)}, since {'; '.join(decision.reasons)}"


def in_words(verdict: Verdict) -> str:
    """Return a verdict as a person reads it."""
    if verdict == EVERYTHING:
        return "recorded"
    return "structure and timing only" if verdict.events else "not recorded"
