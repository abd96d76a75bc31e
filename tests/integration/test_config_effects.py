"""Every key of the configuration makes the assembled agent behave otherwise: its real parts, on a display of our own.

tests/capture/test_config.py shows what a key means to the part that takes it; here it is shown that it gets there. Each
key has two configurations, with it and without, and something to look at, which must be as expected with the key and
otherwise without.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from capture.config import Config, keys_of
from capture.ladder import Rung, Upload
from codec.screen import Effort
from tests.integration.stack import Stack
from tests.looks import (
    MB,
    METRICS_PORT,
    Look,
    camera_effort,
    can_the_other_read,
    closed_now,
    copies_kept,
    days_kept,
    few_points,
    granted,
    hidden_pixels,
    is_a_chunk_of_two_hours_ago_there,
    is_the_draft_closed_after_15_s,
    is_the_reader_named,
    is_the_reel_closed_at_100_kb,
    is_xterm_recorded,
    lab,
    labels_kept,
    lies_there,
    midnight_utc_hour,
    of_window,
    paused_by_ctrl_f9,
    period_ends_on,
    plan_of,
    purposes,
    ready_at_once,
    region,
    rung,
    sends,
    serves_figures,
    soonest_damage_s,
    wants_signed_answers,
    watches_clipboard,
    what_goes_first,
    when_12_mb_are_put,
    without_semantics,
)
from tests.x11_display import need, x_server
from transport.limits import Link

pytestmark = [pytest.mark.x11, pytest.mark.usefixtures("no_buses")]

KEYS = [key for key in keys_of(Config) if key not in {name.rpartition(".")[0] for name in keys_of(Config)}]
PLENTY = '[budget]\nmonth = "1000 TB"\n'
OTHERS = ("log.", "broker.")
"""The sections whose keys have tests of another form: below, and in test_config_broker.py."""


@dataclass(frozen=True)
class Effect:
    """What to look at, and what is seen there with the key.

    Attributes:
        key: lines of TOML with it. look: see above. seen: what is expected there with the key; not without.
        without: the configuration that it is compared with.
        runs: whether the agent has to run for it.
    """

    key: str
    look: Look
    seen: object = True
    without: str = ""
    runs: bool = False


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    need("Xvfb", "xterm")
    with x_server() as name:
        yield name


ROAM = '[budget.roaming]\nsend = "all"\n'
METER = '[budget.metered]\nsend = "all"\n'
BATTERY = {"on_battery": True, "source": "upower"}

EFFECTS: dict[str, Effect] = {
    "consent.purposes": Effect(
        '[consent]\npurposes = ["accessibility-research"]', purposes, ("accessibility-research",), runs=True
    ),
    "consent.region": Effect('[consent]\nregion = "EU"', region, "EU", runs=True),
    "consent.retention": Effect('[consent]\nretention = "90 days"', days_kept, 90, runs=True),
    "scope.allow": Effect('[scope]\nallow = ["xterm"]', is_xterm_recorded, runs=True),
    "scope.deny": Effect(
        '[scope]\nallow = ["xterm"]\ndeny = ["xterm"]',
        is_xterm_recorded,
        False,
        '[scope]\nallow = ["xterm"]',
        runs=True,
    ),
    "scope.sites": Effect(
        '[scope]\nallow = ["firefox"]\nsites = ["example.org"]',
        of_window("firefox", lambda verdict: verdict.events, "docs.example.org"),
        without='[scope]\nallow = ["firefox"]',
    ),
    "scope.deny_sites": Effect(
        '[scope]\nallow = ["firefox"]\nsites = ["example.org"]\ndeny_sites = ["docs.example.org"]',
        of_window("firefox", lambda verdict: verdict.events, "docs.example.org"),
        False,
        '[scope]\nallow = ["firefox"]\nsites = ["example.org"]',
    ),
    "scope.content": Effect(
        '[scope]\nallow = ["thunderbird"]\ncontent = ["thunderbird"]',
        of_window("thunderbird", lambda verdict: verdict.words),
        without='[scope]\nallow = ["thunderbird"]',
    ),
    "semantics.enabled": Effect("[semantics]\nenabled = false", without_semantics),
    "semantics.labels": Effect('[semantics]\nlabels = "digest"', labels_kept, "digest"),
    "semantics.clipboard": Effect('[semantics]\nclipboard = "off"', watches_clipboard, False),
    "metrics.listen": Effect(f'[metrics]\nlisten = "127.0.0.1:{METRICS_PORT}"', serves_figures, runs=True),
    "archive.answers": Effect('[archive]\nanswers = "FOLDER/answers.pub"', wants_signed_answers, runs=True),
    "control.pause_shortcut": Effect('[control]\npause_shortcut = "ctrl+F9"', paused_by_ctrl_f9, runs=True),
    "scope.desktop": Effect(
        '[scope]\nallow = ["xterm"]\ndesktop = "show"', hidden_pixels, 0, '[scope]\nallow = ["xterm"]'
    ),
    "capture.pointer_interval": Effect('[capture]\npointer_interval = "50 ms"', few_points, runs=True, without=PLENTY),
    "capture.damage_hold": Effect(
        PLENTY + '[capture]\ndamage_hold = "50 ms"', soonest_damage_s, runs=True, without=PLENTY
    ),
    "capture.chunk_age": Effect('[capture]\nchunk_age = "10 s"', is_the_draft_closed_after_15_s, runs=True),
    "capture.chunk_size": Effect('[capture]\nchunk_size = "64 KB"', is_the_reel_closed_at_100_kb, runs=True),
    "capture.hold_back": Effect('[capture]\nhold_back = "0 s"', ready_at_once, runs=True),
    "screens.enabled": Effect("[screens]\nenabled = false", plan_of(rung), Rung.EVENTS, PLENTY),
    "screens.min_interval": Effect(
        PLENTY + '[screens]\nmin_interval = "15 s"',
        plan_of(lambda agent: agent.steering.plan.frame_interval_ms),
        15_000,
        PLENTY,
    ),
    "screens.effort": Effect(PLENTY + '[screens]\neffort = "small"', camera_effort, Effort.SMALL, PLENTY, runs=True),
    "budget.day": Effect('[budget]\nday = "7 MB"', granted(8 * MB, Link.UNMETERED), False),
    "budget.month": Effect('[budget]\nmonth = "7 MB"', granted(8 * MB, Link.UNMETERED), False),
    "budget.billing_day": Effect("[budget]\nbilling_day = 9", period_ends_on, 9),
    "budget.time_zone": Effect('[budget]\ntime_zone = "Europe/Rome"', midnight_utc_hour),
    "budget.kbit_s": Effect(
        "[budget]\nkbit_s = 800", granted(MB, Link.UNMETERED, why="the rate is held at 800 kbit/s")
    ),
    "budget.windows": Effect(
        f"[budget]\n{closed_now()}", granted(1000, Link.UNMETERED, why="outside the upload windows")
    ),
    "budget.unmetered.send": Effect(
        '[budget.unmetered]\nsend = "events"',
        sends(Link.UNMETERED, events_only=False, upload=Upload.EVENTS),
        (False, Upload.EVENTS),
    ),
    "budget.metered.send": Effect(METER, sends(Link.METERED, events_only=False, upload=Upload.ALL), (True, Upload.ALL)),
    "budget.roaming.send": Effect(ROAM, sends(Link.ROAMING, events_only=True, upload=Upload.ALL), (True, Upload.ALL)),
    "budget.unmetered.day": Effect('[budget.unmetered]\nday = "3 MB"', granted(4 * MB, Link.UNMETERED), False),
    "budget.unmetered.month": Effect('[budget.unmetered]\nmonth = "3 MB"', granted(4 * MB, Link.UNMETERED), False),
    "budget.metered.day": Effect('[budget.metered]\nday = "3 MB"', granted(4 * MB, Link.UNKNOWN), False),
    "budget.metered.month": Effect('[budget.metered]\nmonth = "3 MB"', granted(4 * MB, Link.METERED), False),
    "budget.roaming.day": Effect(ROAM + 'day = "3 MB"', granted(4 * MB, Link.ROAMING), False, ROAM),
    "budget.roaming.month": Effect(ROAM + 'month = "3 MB"', granted(4 * MB, Link.ROAMING), False, ROAM),
    "budget.networks": Effect(
        '[budget.networks]\n"Home" = "unmetered"',
        plan_of(lambda agent: agent.observe().link, link="metered", name="Home"),
        "unmetered",
    ),
    "energy.cpu_mains": Effect(
        PLENTY + '[energy]\ncpu_mains = "1 %"',
        plan_of(lambda agent: rung(agent) < Rung.EVERY_2S, link="unmetered", on_battery=False, source="upower"),
        without=PLENTY,
    ),
    "energy.cpu_battery": Effect(
        PLENTY + '[energy]\ncpu_battery = "0.3 %"',
        plan_of(lambda agent: rung(agent) <= Rung.EVENTS, link="unmetered", battery_ratio=0.9, **BATTERY),
        without=PLENTY,
    ),
    "energy.screens_floor": Effect(
        '[energy]\nscreens_floor = "40 %"',
        plan_of(lambda agent: rung(agent) <= Rung.EVENTS, battery_ratio=0.35, **BATTERY),
    ),
    "energy.floor": Effect('[energy]\nfloor = "20 %"', plan_of(rung, battery_ratio=0.15, **BATTERY), Rung.NOTHING),
    "energy.wakeups_s": Effect(
        "[energy]\nwakeups_s = 5", plan_of(lambda agent: agent.steering.plan.hold_ms > 100, wakeups_s=8.0)
    ),
    "energy.memory": Effect(
        '[energy]\nmemory = "90 MB"', plan_of(rung, rss_bytes=200 * MB, link="unmetered"), Rung.EVENTS, PLENTY
    ),
    "spool.directory": Effect('[spool]\ndirectory = "FOLDER/elsewhere"', lies_there),
    "spool.limit": Effect('[spool]\nlimit = "10 MB"', when_12_mb_are_put, "drops"),
    "spool.when_full": Effect(
        '[spool]\nlimit = "20 MB"\nwhen_full = "drop-oldest"', what_goes_first, "the oldest", '[spool]\nlimit = "20 MB"'
    ),
    "spool.age": Effect('[spool]\nage = "1 h"', is_a_chunk_of_two_hours_ago_there, False, runs=True),
    "review.keep": Effect('[review]\nkeep = "0 s"', copies_kept, 0, runs=True),
    "review.limit": Effect('[review]\nlimit = "0 B"', copies_kept, 0, runs=True),
    "archive.public_key": Effect('[archive]\npublic_key = "FOLDER/other.pub"', can_the_other_read, runs=True),
    "archive.reader": Effect('[archive]\nreader = "The Lab"', is_the_reader_named),
}


def test_every_key_of_the_configuration_has_its_test() -> None:
    assert set(EFFECTS) == {key for key in KEYS if not key.startswith(OTHERS)}


@pytest.mark.parametrize("key", EFFECTS)
async def test_the_agent_behaves_otherwise_with_the_key(key: str, tmp_path: Path, display: str) -> None:
    effect = EFFECTS[key]
    async with lab(tmp_path / "with", effect.key, display, runs=effect.runs) as it:
        assert await effect.look(it) == effect.seen
    async with lab(tmp_path / "without", effect.without, display, runs=effect.runs) as it:
        assert await effect.look(it) != effect.seen, "it behaves so without the key as well"


def test_every_key_of_the_log_is_in_its_test() -> None:
    assert {key for key in KEYS if key.startswith("log.")} == {"log.level", "log.file"}


def test_the_log_goes_where_and_says_as_much_as_its_keys_say(tmp_path: Path, display: str) -> None:
    """Of `modicum run` itself, in a process of its own."""
    told = {}
    stack = Stack(tmp_path, {**os.environ, "DISPLAY": display, "HOME": str(tmp_path)})
    try:
        for level in ("info", "error"):
            file = tmp_path / f"{level}.log"
            stack.configure(
                f'[log]\nlevel = "{level}"\nfile = "{file}"\n'
                f'[archive]\npublic_key = "{stack.folder}/keys/archive.pub"\n'
            )
            stack.start_agent()
            stack.ask("stop")
            assert stack.agent is not None
            stack.agent.wait(60)
            told[level] = file.read_text() if file.exists() else ""
        assert "{" not in stack.processes.log("agent"), "it went to the file"
    finally:
        stack.end()
    assert len(told["info"].splitlines()) >= 2
    assert told["error"] == ""
