"""Shell: the command `modicum`.

Each command imports what it needs when it is called, so that `modicum status` answers at once and a collector never loads
a screen grabber. Errors become one sentence on standard error and a documented exit code.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capture import enrol_cli, erase_cli, service_cli
from capture.errors import CaptureError, ConfigError, Exit, NoConsent, NotRunning
from capture.failures import explain
from capture.home import Home, config_path

if TYPE_CHECKING:
    from capture.config import Config

app = typer.Typer(
    name="modicum",
    help="Record how you work, with your consent, within a modicum of your battery and internet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="Make keys and certificates; let devices in, and out.", no_args_is_help=True)
config_app = typer.Typer(help="Check the configuration.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(config_app, name="config")
enrol_cli.mount(app)

RELOAD_WAIT_S = 120.0
"""A reload closes and encodes what is open first."""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration; default: ~/.config/modicum/config.toml.")
]
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy", help="An administrator's policy that counts besides /etc/modicum/policy.toml; it narrows."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def main() -> None:
    """Run the command line; the process's exit code is one of `capture.errors.Exit`."""
    _mount_transport()
    _mount_trust()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseExceptionGroup as group:
        _fail(_first(group))
    except Exception as error:
        _fail(error)


def mount_trust() -> None:
    """Mount the commands of scope and trust."""
    from capture import scope_cli, trust_cli

    scope_cli.mount(app, load)
    trust_cli.mount(app, load, home, _ask)


def _mount_trust() -> None:
    """Mount them when one of them is named, or for the help."""
    named = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    if named in {None, "scope", "pause", "exempt", "journal", "privacy"}:
        mount_trust()


def _fail(error: BaseException) -> None:
    explained = explain(error)
    if explained is None:
        raise error
    message, code = explained
    print(f"modicum: {message}", file=sys.stderr)  # noqa: T201 - a command talks to its user
    sys.exit(code)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _mount_transport() -> None:
    """Mount the collector's commands; their module is imported only when one of them is named, or for the help."""
    named = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    if named in {None, "collect", "broker", "archive", "enrolment", "keys"}:
        import transport.cli
        from capture.keyfiles import read_private

        transport.cli.mount(app, keys_app, lambda path, what: read_private(path, what=what))


def home() -> Home:
    """Return this user's folders."""
    return Home.of(os.environ)


def load(given: Path | None, policy: Path | None = None) -> Config:
    """Read and validate the configuration, as far as the administrator's policies let it.

    Args:
        policy: one more policy besides /etc/modicum/policy.toml.

    Raises:
        ConfigError: it is missing or wrong, or a policy is.
    """
    from capture.agreement import effective
    from capture.config import parse_config

    path = config_path(given, os.environ)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no configuration at {path}: copy deploy/config.example.toml there, or name one with --config"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from error
    return effective(parse_config(text, source=str(path)), policy)


def say(text: str) -> None:
    """Print for a person."""
    typer.echo(text)


@app.command()
def run(config: ConfigOption = None, policy: PolicyOption = None) -> None:
    """Record, as the configuration and your consent permit, until stopped."""
    import faulthandler

    from capture import log
    from capture.agent import run_agent

    faulthandler.enable()  # the service manager's watchdog ends a loop that hangs by SIGABRT: then one sees where
    parsed = load(config, policy)
    log.set_up(parsed.log.level, parsed.log.file)
    erase_cli.say_farewell(parsed, home())
    asyncio.run(run_agent(parsed, home(), os.environ, lambda: load(config, policy)))


@app.command()
def consent(
    config: ConfigOption = None,
    policy: PolicyOption = None,
    accept: Annotated[
        str | None, typer.Option("--accept", metavar="SHA256", help="Accept the notice with this hash, unasked.")
    ] = None,
) -> None:
    """Read what this configuration records, and say yes or no."""
    from capture.agreement import terms_of
    from capture.consent import Consent, digest, notice
    from capture.journal import Journal
    from capture.keyfiles import write_private

    folders = home()
    terms = terms_of(load(config, policy))
    text = notice(terms)
    current = digest(text)
    say(text)
    say(f"SHA-256 of this notice: {current}")
    recorded = folders.consent()
    if recorded is not None and recorded.digest == current and accept is None:
        say(f"You accepted it on {time.strftime('%Y-%m-%d %H:%M', time.localtime(recorded.accepted_wall_s))}.")
        return
    if accept is not None and accept != current:
        raise NoConsent("that is not the hash of the notice above: read it, and accept this one")
    if accept is None:
        if not sys.stdin.isatty():
            raise NoConsent("nobody is here to ask: run `modicum consent` in a terminal and answer there")
        if not typer.confirm("Do you agree?", default=False):
            raise NoConsent("you did not agree, so nothing will be recorded")
    folders.prepare()
    write_private(folders.consent_file, Consent(current, int(time.time()), text, terms).to_json())
    Journal(folders.journal).note("consent", notice=current)
    say("Recorded. `modicum run` starts, `modicum withdraw` ends it.")
    _apply_if_running()


def _apply_if_running() -> None:
    """Let a running agent take up what was waiting for this yes."""
    try:
        changed = _ask("reload", wait_s=RELOAD_WAIT_S)["changed"]
    except NotRunning:
        return
    if changed:
        say("The running agent has applied it.")


def _wait_until_gone(folders: Home, *, wait_s: float = 20.0) -> None:
    deadline = time.monotonic() + wait_s
    while folders.control.exists():
        if time.monotonic() > deadline:
            raise CaptureError("the agent was told to stop and still runs: end it, then try again")
        time.sleep(0.05)


def _ask(command: str, *, wait_s: float = 10.0, **fields: Any) -> dict[str, Any]:
    from capture.control import ask

    return ask(home().control, command, wait_s=wait_s, **fields)


@app.command()
def status(
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep it on the screen until Ctrl-C.")] = False,
) -> None:
    """Show what is being recorded, the plan and its reasons, and the budget."""
    if as_json:
        say(json.dumps(_ask("status"), ensure_ascii=False))
        while watch:
            time.sleep(1)
            say(json.dumps(_ask("status"), ensure_ascii=False))
    elif watch:
        from capture.watch import watch as show

        show(lambda: _ask("status"))
    else:
        import shutil

        from capture.panel import ansi, lay_out, text
        from capture.status import Status

        lines = lay_out(Status.from_answer(_ask("status")), shutil.get_terminal_size().columns)
        say(ansi(lines) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text(lines))


@app.command()
def resume() -> None:
    """Go on recording."""
    _ask("resume")
    say("Recording as the policy permits.")


@app.command()
def stop() -> None:
    """End the agent; what is open is closed and kept."""
    folders = home()
    _ask("stop")
    _wait_until_gone(folders)
    say("Stopped.")


@app.command()
def forget(
    last: Annotated[
        str, typer.Option("--last", help='How far back, e.g. "10 min"; default: all that is held back.')
    ] = "",
) -> None:
    """Delete what was recorded and has not left this machine."""
    seconds: float | None = None
    if last:
        from capture.units import parse_duration

        seconds = parse_duration(last).total_seconds()
    answer = _ask("forget", seconds=seconds)
    say(f"Deleted {answer['chunks']} chunks and what was being recorded.")


@app.command()
def review(
    config: ConfigOption = None,
    browser: Annotated[
        bool, typer.Option(help="Open the page in your browser; otherwise only its link is shown.")
    ] = True,
) -> None:
    """Open a page of this machine that shows what was recorded, and deletes what you choose."""
    from capture.reviewing import review as show

    asyncio.run(show(load(config), home(), browser=browser, say=say))


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check what this machine can do, and say how to mend what it cannot."""
    from capture.doctor import examine, render

    checks = asyncio.run(examine(config_path(config, os.environ), home(), os.environ))
    say(json.dumps([check.to_answer() for check in checks]) if as_json else render(checks))
    if any(check.failed for check in checks):
        raise typer.Exit(Exit.FAILED)


@config_app.command("reload")
def config_reload() -> None:
    """Let the running agent apply its configuration anew; a wrong one, or one you have not agreed to, changes nothing."""
    changed = _ask("reload", wait_s=RELOAD_WAIT_S)["changed"]
    say(f"Applied: {', '.join(changed)}." if changed else "Nothing has changed.")


@config_app.command("check")
def config_check(config: ConfigOption = None, policy: PolicyOption = None) -> None:
    """Validate the configuration and say what it means."""
    from capture.effects import Rates, describe

    checked = load(config, policy)
    learned = home().learned
    rates = Rates.learned(json.loads(learned.read_text())) if learned.exists() else None
    say(describe(checked, rates))


erase_cli.mount(app, home, load)
app.add_typer(service_cli.commands(load, lambda given: config_path(given, os.environ)), name="service")

if __name__ == "__main__":
    main()
