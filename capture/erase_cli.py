"""Shell: the commands `modicum erase` and `modicum withdraw`: also what has left this machine is the person's."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capture.errors import CaptureError, NotRunning

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home
    from transport.publisher import Progress

SEND_S = 15.0
"""How long the archive's answer is waited for where nobody asked to wait."""

Load = Callable[[Path | None], "Config"]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration; default: ~/.config/modicum/config.toml.")
]


def mount(app: typer.Typer, home: Callable[[], Home], load: Load) -> None:
    """Add the commands.

    Args:
        app: to what. home: returns this user's folders. load: reads the configuration.
    """
    global _home, _load
    _home, _load = home, load
    app.command()(erase)
    app.command()(withdraw)


_home: Callable[[], Home]
_load: Load


def erase(
    chunk: Annotated[
        list[str] | None, typer.Option("--chunk", metavar="EPOCH/SEQ", help="This chunk; may be repeated.")
    ] = None,
    since: Annotated[str, typer.Option("--since", metavar="DURATION", help='The last so long, e.g. "2 h".')] = "",
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help='From when, e.g. "2026-11-24 14:00".')] = "",
    to: Annotated[str, typer.Option("--to", metavar="TIME", help="Until when; default: now.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Everything that was ever recorded.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show what was ordered, and what the archive answered.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the archive has answered.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    config: ConfigOption = None,
) -> None:
    """Erase what was recorded, here and in the archive, also what was sent; whole chunks, so rather more than less."""
    from capture.control import ask

    folders = _home()
    if status:
        _show_orders(folders, as_json)
        return
    wanted = wanted_of(chunk or [], since, from_, to, all_, now=datetime.now().astimezone())
    try:
        done = ask(folders.control, "erase", wait_s=60.0, **wanted)
        running = True
    except NotRunning:
        done, running = _erase_here(_load(config), folders, wanted), False
    typer.echo(json.dumps(done) if as_json else describe(done))
    if wait:
        _wait(folders, running, config)
    elif done["orders"] and not as_json:
        when = "now" if running else "when `modicum run` next starts (or now, with --wait)"
        typer.echo(
            f"The order is sent {when}, within your budget. `modicum erase --status` shows the archive's answer."
        )


def withdraw(
    keep_sent: Annotated[
        bool, typer.Option("--keep-sent", help="Leave in the archive what was sent; by default it is erased there.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the archive has answered, however long.")] = False,
    config: ConfigOption = None,
) -> None:
    """End your consent: stop recording, delete everything here, and have the archive erase what was sent."""
    from capture import withdrawal
    from capture.control import ask
    from capture.journal import Journal
    from capture.sender import spool_folder

    folders = _home()
    loaded, trouble = _loaded(config)
    withdrawal.order(folders, erase_sent=not keep_sent)
    try:
        ask(folders.control, "withdraw", wait_s=60.0)
        _until_gone(folders)
    except NotRunning:
        Journal(folders.journal).note("withdraw", chunks=0)
    withdrawal.clear(folders, spool_folder(loaded, folders) if loaded else folders.spool)
    typer.echo("Your consent has ended. What was recorded, your keys and what was learned are deleted here.")
    if not withdrawal.pending(folders):
        typer.echo(
            "Nothing is left to be told to the archive." if not keep_sent else "What was sent stays in the archive."
        )
        return
    if loaded is None:
        raise CaptureError(
            f"the archive could not be told, since the configuration is wrong ({trouble}): mend it, and ask again"
        )
    told = asyncio.run(
        withdrawal.say(loaded, folders, os.environ, wait_s=None if wait else SEND_S, on_progress=_reasons())
    )
    if told:
        Journal(folders.journal).note("erase", answer="erased", what="everything")
        typer.echo("The archive has erased what was sent; all it keeps is the order to do so.")
    else:
        typer.echo(
            "The archive does not know yet: the order is kept, and sent when `modicum run` or `modicum withdraw --wait` next "
            "starts."
        )


def say_farewell(config: Config, folders: Home) -> None:
    """Send what a withdrawal has left to be said, for a moment, before an agent starts."""
    if folders.farewell.is_dir():
        from capture import withdrawal

        asyncio.run(withdrawal.say(config, folders, os.environ, wait_s=SEND_S))


def wanted_of(chunks: list[str], since: str, from_: str, to: str, all_: bool, *, now: datetime) -> dict[str, Any]:
    """Return what is to be erased, as the fields of a request.

    Raises:
        CaptureError: nothing is named, more than one way is used, or a time cannot be read.
    """
    ways = [bool(chunks), bool(since), bool(from_ or to), all_]
    if sum(ways) != 1:
        raise CaptureError('say what to erase, in one way: --since "2 h", --from … --to …, --chunk EPOCH/SEQ, or --all')
    if chunks:
        return {"ids": [_chunk_of(text) for text in chunks]}
    if all_:
        return {}
    if since:
        from capture.units import parse_duration

        try:
            return {"since_ms": _ms(now - parse_duration(since))}
        except ValueError as error:
            raise CaptureError(f"--since: {error}") from None
    fields = {name: _ms(_time_of(text, now)) for name, text in (("since_ms", from_), ("until_ms", to)) if text}
    if fields.get("since_ms", 0) > fields.get("until_ms", _ms(now)):
        raise CaptureError("--from lies after --to: nothing would be erased")
    return fields


def describe(done: dict[str, Any]) -> str:
    """Return what an erasing came to, as lines for a person."""
    if not any(done[name] for name in ("here", "orders", "already")):
        return "There is nothing to erase: no chunk lies in that time."
    lines = []
    if done["from_ms"]:
        lines.append(f"Erased: {_clock(done['from_ms'])} to {_clock(done['until_ms'])}, in whole chunks.")
    lines.append(
        f"{done['here']} chunks were deleted here before they were sent; {done['ordered']} are to be erased in the archive."
    )
    if done["already"]:
        lines.append(f"{done['already']} had been ordered to be erased before.")
    if done["uncertain"]:
        lines.append(
            f"Of {done['uncertain']} chunks it is not known when they were recorded: they are erased, to be sure."
        )
    return "\n".join(lines)


def _show_orders(folders: Home, as_json: bool) -> None:
    from transport.fs import RealFiles
    from transport.orders import listing
    from transport.outbox import Outbox

    found = listing(Outbox(RealFiles(), folders.erasures))
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not found:
        typer.echo("Nothing was ordered to be erased.")
    for order in found:
        if order["answer"] == "erased":
            state = f"erased in the archive on {_clock(order['answered_wall_s'] * 1000)}"
        else:
            state = order["answer"] or "not answered yet"
        what = order["what"] if order["chunks"] is None else f"{order['chunks']} chunks ({order['what']})"
        typer.echo(f"{order['number']:4}  {_clock(order['ordered_wall_s'] * 1000)}  {what}: {state}")


def _erase_here(config: Config, folders: Home, wanted: dict[str, Any]) -> dict[str, Any]:
    from capture import sender
    from capture.review.requests import ids_of

    if not (folders.state / "device.key").exists():
        raise CaptureError("nothing was recorded by this user on this machine")
    return sender.erase(config, folders, {"ids": frozenset(ids_of(wanted))} if "ids" in wanted else wanted)


def _wait(folders: Home, running: bool, config: Path | None) -> None:
    from transport.fs import RealFiles
    from transport.outbox import Outbox

    if running:
        while Outbox(RealFiles(), folders.erasures).waiting():
            time.sleep(0.2)
    else:
        from capture import sender

        checked = _load(config)
        asyncio.run(
            sender.send(
                checked, folders, folders.device(), folders.erasures, os.environ, wait_s=None, on_progress=_reasons()
            )
        )
    _show_orders(folders, as_json=False)


def _reasons() -> Callable[[Progress], None]:
    """Return what says why it takes so long, each reason once."""
    told: set[str] = set()

    def show(progress: Progress) -> None:
        for reason in progress.reasons:
            if reason not in told:
                told.add(reason)
                typer.echo(f"{progress.state}: {reason}", err=True)

    return show


def _loaded(config: Path | None) -> tuple[Config | None, str]:
    try:
        return _load(config), ""
    except CaptureError as error:
        return None, str(error)


def _until_gone(folders: Home, *, wait_s: float = 30.0) -> None:
    deadline = time.monotonic() + wait_s
    while folders.control.exists():
        if time.monotonic() > deadline:
            raise CaptureError("the agent was told to stop and still runs: end it, then try again")
        time.sleep(0.05)


def _chunk_of(text: str) -> list[int]:
    try:
        epoch, seq = text.split("/")[-2:]
        return [int(epoch, 16), int(seq)]
    except ValueError:
        raise CaptureError(
            f"{text!r} is no chunk: write EPOCH/SEQ, as `modicum review` and the archive show it"
        ) from None


def _time_of(text: str, now: datetime) -> datetime:
    try:
        if len(text) <= 5:  # a time of today
            hour, minute = text.split(":")
            return now.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CaptureError(f'{text!r} is no time: write "2026-11-24 14:00", or "14:00" for today') from None
    return found if found.tzinfo is not None else found.replace(tzinfo=now.tzinfo)


def _ms(moment: datetime) -> int:
    return max(0, round((moment - datetime.fromtimestamp(0, moment.tzinfo)) / timedelta(milliseconds=1)))


def _clock(wall_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(wall_ms / 1000))
