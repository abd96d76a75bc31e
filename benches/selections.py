"""Shell: are choices recorded as they were made? Real applications, a scripted person, the whole pipeline, and a count.

    python -m benches.selections                      300 choices in all applications that are installed
    python -m benches.selections --count 40 --apps mousepad,chromium

On a virtual desktop with an accessibility bus, a person chooses in menus (GTK's mousepad, LibreOffice), dropdowns, boxes and
radio buttons (Firefox, Chromium), with the mouse and with keys, and gives some up. The agent records, and what the archive's
reader gives out is compared with what was done: label, index, committed or given up, a box's state; and the role of
what lay under each click. The table says, for each application, how many were found right, and how many were made up.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benches.choosers import Chosen, Clicked, Fingers, Menus, Page, Script
from benches.desktop import VirtualDesktop
from benches.interface import Interface, Reference
from benches.keeper import Kept
from benches.site import Site
from benches.stack import PURPOSE, Stack
from codec.actions import Action, ActionKind
from transport.reading import open_archive

START_S = 60.0
SLACK_MS = 150
"""A recorded choice has its cause's time, which lies within the choice's own."""
CLICK_MS = 60
SHUTDOWN_S = 60.0

MOUSEPAD_SAFE = {
    "Edit": ("Select All",),
    "View": ("Line Numbers",),
    "Document": ("Word Wrap", "Auto Indent", "Write Unicode BOM"),
}
CALC_SAFE = {
    "View": ("Formula Bar", "View Headers", "View Grid Lines", "Status Bar", "Normal", "Page Break"),
    "Edit": ("Select All",),
    "Data": ("AutoFilter", "Sort Ascending", "Sort Descending"),
}


@dataclass(slots=True)
class Score:
    """Of one application: choices made and found, rows with nothing behind them, clicks and their roles."""

    made: int = 0
    right: int = 0
    made_up: int = 0
    clicks: int = 0
    roles: int = 0
    unknown: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """The share of choices that were recorded right."""
        return self.right / self.made if self.made else 1.0

    @property
    def precision(self) -> float:
        """The share of recorded choices that were made so."""
        recorded = self.right + self.made_up
        return self.right / recorded if recorded else 1.0

    def add(self, other: Score) -> None:
        """Count another's as well."""
        self.made += other.made
        self.right += other.right
        self.made_up += other.made_up
        self.clicks += other.clicks
        self.roles += other.roles
        self.unknown += other.unknown


def score(actions: Sequence[Action], script: Script, app: str) -> Score:
    """Compare what was recorded of an application with what was done in it."""
    result = Score()
    recorded = [action for action in actions if action.kind is ActionKind.SELECT and action.application == app]
    for chosen in (one for one in script.choices if one.app == app):
        result.made += 1
        within = [one for one in recorded if chosen.began_ms - SLACK_MS <= one.t_ms <= chosen.ended_ms]
        fitting = next((one for one in within if _fits(one, chosen)), None)
        if fitting is not None:
            recorded.remove(fitting)
            result.right += 1
        else:
            result.wrong.append(f"{_done(chosen)}; recorded: {', '.join(map(_said, within)) or 'nothing'}")
    result.made_up = len(recorded)
    result.wrong += [f"nothing was chosen; recorded: {_said(one)} at {one.t_ms}" for one in recorded]
    clicks = [
        one for one in actions if one.kind in (ActionKind.CLICK, ActionKind.DOUBLE_CLICK) and one.application == app
    ]
    for click in (one for one in script.clicks if one.app == app):
        result.clicks += 1
        seen = next((one for one in clicks if abs(one.t_ms - click.t_ms) < CLICK_MS), None)
        role = "" if seen is None or seen.element is None else seen.element.role
        result.roles += role == click.role
        result.unknown += not role
        if role != click.role:
            result.wrong.append(f"clicked on a {click.role}; recorded: {role or 'nothing'} at {click.t_ms:.0f}")
    return result


def _fits(action: Action, chosen: Chosen) -> bool:
    element = action.element
    return (
        element is not None
        and element.role == chosen.role
        and element.name == chosen.label
        and (chosen.index < 0 or element.index == chosen.index)
        and action.committed == chosen.committed
        # LibreOffice tells a menu item's new state only when the menu is opened again: not told is not wrong.
        and (
            chosen.checked is None
            or action.checked == chosen.checked
            or (action.checked is None and "menu" in chosen.role)
        )
    )


def _done(chosen: Chosen) -> str:
    end = "" if chosen.committed else ", given up"
    return f"{chosen.role} {chosen.label!r} ({chosen.index}) by {chosen.how}{end}, checked {chosen.checked}"


def _said(action: Action) -> str:
    element = action.element
    what = "?" if element is None else f"{element.role} {element.name!r} ({element.index})"
    return f"{what} {'chosen' if action.committed else 'given up'} by {action.cause}, checked {action.checked}"


# --- applications ---


@dataclass(frozen=True, slots=True)
class Open:
    """An application that is ready. Attributes: its window class, what chooses in it, and its process."""

    app: str
    chooser: Menus | Page
    process: Kept


STARTS = 3

CLASSES = {"mousepad": "mousepad", "calc": "libreoffice-calc", "firefox": "firefox-esr", "chromium": "chromium"}
"""Window classes."""


def open_application(
    name: str, desktop: VirtualDesktop, interface: Interface, site: Site, fingers: Fingers, folder: Path
) -> Open | None:
    """Start an application and wait until it is ready; None when it isn't installed."""
    from benches.desktop import _which

    url = site.page("choices")
    commands = {
        "mousepad": ["mousepad", "--disable-server"],
        "calc": ["soffice", "--calc", "--norestore", "--nologo", "--nofirststartwizard"],
        "firefox": [
            *["firefox-esr", "--no-remote", "--profile", str(folder / "firefox")],
            *["--width", "1100", "--height", "760", url],
        ],
        "chromium": [
            *["chromium", "--no-sandbox", "--test-type", "--no-first-run", "--force-renderer-accessibility"],
            *[f"--user-data-dir={folder / 'chromium'}", "--disable-gpu"],
            *["--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync", "--window-size=1100,760"],
            *["--password-store=basic", url],
        ],
    }
    if not _which(commands[name][0]):
        return None
    if name == "firefox":
        (folder / "firefox").mkdir()
        (folder / "firefox" / "user.js").write_text(FIREFOX_PREFERENCES)
    if name == "calc":
        desktop.environment["SAL_USE_VCLPLUGIN"] = "gtk3"
    process = desktop.start(commands[name], name=name)
    app = CLASSES[name]
    _await_window(desktop, app)
    if name in ("firefox", "chromium"):
        _await(lambda: "fruit" in site.layout().get("targets", {}), "the page to show")
        fingers.move(400, 500)  # the page learns exactly where it stands
        time.sleep(4)
        place = {"firefox": (15.5, 23.7), "chromium": (12.0, 24.0)}[name]
        return Open(app, Page(app, site, fingers=fingers, first_px=place[0], step_px=place[1]), process)
    words = {"mousepad": "mousepad", "calc": "soffice"}
    root = _application(interface, words[name])
    safe = MOUSEPAD_SAFE if name == "mousepad" else CALC_SAFE
    time.sleep(2 if name == "mousepad" else 6)
    try:
        return Open(app, Menus(app, root, safe, interface=interface, fingers=fingers), process)
    except LookupError:
        process.terminate(10.0)
        raise


FIREFOX_PREFERENCES = "\n".join(
    f"user_pref({name}, {value});"
    for name, value in {
        '"browser.shell.checkDefaultBrowser"': "false",
        '"browser.aboutwelcome.enabled"': "false",
        '"datareporting.policy.dataSubmissionEnabled"': "false",
        '"browser.startup.homepage_override.mstone"': '"ignore"',
        '"app.update.enabled"': "false",
        '"browser.tabs.inTitlebar"': "0",
        '"toolkit.cosmeticAnimations.enabled"': "false",
        '"security.sandbox.content.level"': "0",
        '"security.sandbox.warn_unprivileged_namespaces"': "false",
        '"browser.urlbar.suggest.searches"': "false",
    }.items()
)


def _application(interface: Interface, word: str) -> Reference:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        for name, ref in interface.applications().items():
            if word in name.lower():
                return ref
        time.sleep(0.3)
    raise LookupError(f"{word} did not come to the accessibility bus")


def _await_window(desktop: VirtualDesktop, app: str) -> None:
    def front() -> bool:
        windows = desktop.display.windows()
        return any(one.app.lower() == app and one.id == desktop.display.active() for one in windows)

    _await(front, f"{app}'s window")


def _await(true: object, what: str) -> None:
    until = time.monotonic() + START_S
    while not true():  # type: ignore[operator]
        if time.monotonic() > until:
            raise LookupError(f"waited in vain for {what}")
        time.sleep(0.1)


# --- the run ---


@contextlib.contextmanager
def recording(folder: Path, desktop: VirtualDesktop, allow: list[str]) -> Iterator[Stack]:
    """Record with the whole pipeline in a folder."""
    with Stack(folder, desktop.environment) as stack:
        stack.configure(allow, sites=["127.0.0.1"])
        stack.accept_notice()
        stack.start()
        yield stack


def run(folder: Path, *, count: int, apps: Sequence[str], seed: int) -> dict[str, Score]:
    """Make `count` choices, equally many in each application, and return the scores by application.

    Args:
        folder: empty; keeps the archive.
        apps: of CLASSES; what isn't installed is left out.
    """
    script, rng = Script(), Random(seed)
    with VirtualDesktop((1280, 900), apps=(), panel=False, accessible=True) as desktop:
        session = desktop.environment["DBUS_SESSION_BUS_ADDRESS"]
        interface = Interface(session)
        interface.enable(session)
        fingers = Fingers(desktop.connect(), rng, script)
        sites: list[Site] = []
        present: list[str] = []
        try:
            with recording(folder, desktop, [CLASSES[name] for name in apps]) as stack:
                for name in apps:
                    sites.append(site := Site())  # of its own: what another browser's page told is not this one's
                    for start in range(STARTS):
                        try:
                            opened = open_application(name, desktop, interface, site, fingers, desktop.folder)
                            break
                        except LookupError:  # LibreOffice now and then starts without telling of its menus
                            if start == STARTS - 1:
                                raise
                    if opened is None:
                        print(f"  {name} is not installed", file=sys.stderr)
                        continue
                    present.append(name)
                    wanted = len(script.choices) + count // len(apps)
                    while len(script.choices) < wanted and len(script.failed) < 10 + count // 10:
                        opened.chooser.choose(rng, script)
                        if sys.stderr.isatty():
                            print(f"\r  {name}: {len(script.choices)} of {count}", end="", file=sys.stderr)
                    print(f"  {name}: done, {len(script.choices)} of {count}", file=sys.stderr, flush=True)
                    time.sleep(1)
                    opened.process.terminate(10.0)  # or the next one's window may come up behind this one's
                    if "-v" in sys.argv:
                        print(stack.status(), file=sys.stderr)
                stack.finish(SHUTDOWN_S)
        finally:
            interface.close()
            for site in sites:
                site.stop()
    for failure in script.failed:
        print(f"  not scored: {failure}", file=sys.stderr)
    actions = list(open_archive(stack.archive, stack.key.read_text(), purpose=PURPOSE).actions())
    return {name: score(actions, script, CLASSES[name]) for name in present}


def table(scores: dict[str, Score]) -> str:
    """Return the scores as lines for a person."""
    total = Score()
    lines = [
        f"{'':10}{'choices':>9}{'right':>7}{'made up':>9}{'recall':>9}{'precision':>11}{'clicks':>8}{'role right':>12}"
    ]
    for name, one in [*scores.items(), ("all", total)]:
        if one is not total:
            total.add(one)
        roles = one.roles / one.clicks if one.clicks else 1.0
        lines.append(
            f"{name:10}{one.made:9}{one.right:7}{one.made_up:9}{one.recall:9.1%}{one.precision:11.1%}{one.clicks:8}{roles:12.1%}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=320, help="choices in all")
    parser.add_argument("--apps", default=",".join(CLASSES), help="of " + ", ".join(CLASSES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-v", action="store_true", help="print the status of the agent")
    parser.add_argument("--out", type=Path, help="keep the archive in this new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="modicum-selections-") as temporary:
        folder = options.out or Path(temporary) / "run"
        folder.mkdir(mode=0o700)
        scores = run(folder, count=options.count, apps=options.apps.split(","), seed=options.seed)
    for one in scores.values():
        for line in one.wrong:
            print(f"  {line}")
    print(table(scores))


__all__ = [
    "CLASSES",
    "PURPOSE",
    "Chosen",
    "Clicked",
    "Open",
    "Page",
    "Score",
    "open_application",
    "recording",
    "run",
    "table",
]

if __name__ == "__main__":
    main()
