"""The configuration: what it accepts, how it explains what it doesn't, and that every key has an effect."""

import json
import re
import tempfile
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from capture import log
from capture.config import Config, Desktop, Purpose, WhenFull, keys_of, line_of, parse_config
from capture.consent import CLIPBOARD_KINDS, KINDS, LABEL_KIND
from capture.effects import (
    Rates,
    bounds_of,
    budget_table,
    describe,
    kinds_of,
    link_class,
    rules_of,
    settings_of,
    top_rung,
)
from capture.errors import ConfigError
from capture.governor import Governor
from capture.ladder import Effort, Rung, Upload
from capture.shortcut import Shortcut, parse_shortcut
from transport.limits import Allowance, Limits, Link, Sendable

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "config.example.toml"
OPEN_TABLES = {"budget.networks"}
"""Tables whose keys are the person's own."""


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="config.toml")
    return str(caught.value)


def keys_in(table: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for name, value in table.items():
        found.add(prefix + name)
        if isinstance(value, dict) and prefix + name not in OPEN_TABLES:
            found |= keys_in(value, f"{prefix}{name}.")
    return found


def test_an_empty_file_is_a_configuration_that_records_nothing() -> None:
    config = parse_config("")
    assert config.scope.allow == ()
    assert config.budget.month == 1_500_000_000


def test_the_example_is_valid_and_has_every_key_and_no_other() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    parse_config(text)
    assert keys_in(tomllib.loads(text)) == set(keys_of(Config))


def test_every_key_of_the_example_is_explained() -> None:
    explained = False
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            explained = True
        elif not line:
            explained = False
        elif not line.startswith("["):
            assert explained, f"{line!r} stands without a comment in its paragraph"


def test_the_examples_values_are_the_defaults_where_it_says_so() -> None:
    example, defaults = parse_config(EXAMPLE.read_text(encoding="utf-8")), Config()
    for name in ("consent", "capture", "screens", "energy", "spool", "broker"):
        assert getattr(example, name) == getattr(defaults, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[budget]\nday = "12 Gbit"',
            'line 2: budget.day = "12 Gbit": \'Gbit\' is no unit here; write a size such as "40 MB"',
        ),
        ("[budget]\n\nday = 12", "line 3: budget.day = 12: put it in quotes, with its unit: write a size"),
        ('[budget]\nmonht = "3 GB"', "line 2: budget.monht: there is no such key; did you mean month?"),
        ('[bugdet]\nday = "3 GB"', "line 1: bugdet: there is no such key; did you mean budget?"),
        (
            '[capture]\nmin_interval = "3 s"',
            "line 2: capture.min_interval: there is no such key; did you mean screens.min_interval?",
        ),
        (
            "[archive]\nxyz = 1",
            "line 2: archive.xyz: there is no such key; here are allowed: answers, public_key, reader",
        ),
        (
            '[screens]\nmin_interval = "10 ms"',
            'line 2: screens.min_interval = "10 ms": must be between "1 s" and "1 h"',
        ),
        ('[screens]\nenabled = "yes"', 'line 2: screens.enabled = "yes": write true or false'),
        ('[screens]\neffort = "max"', 'line 2: screens.effort = "max": write one of "auto", "fast", "small"'),
        (
            '[budget.metered]\nsend = "some"',
            'line 2: budget.metered.send = "some": write one of "nothing", "events", "all"',
        ),
        ('[budget]\nwindows = ["9-17"]', 'line 2: budget.windows.0 = "9-17": write hours such as "09:00-17:00"'),
        ('[budget]\nwindows = "09:00-17:00"', 'line 2: budget.windows = "09:00-17:00": write a list'),
        ("[budget]\nbilling_day = 32", "line 2: budget.billing_day = 32: "),
        (
            '[budget]\ntime_zone = "Mars/Base"',
            'line 1: budget: time_zone = "Mars/Base": no such time zone'.replace("time zone", "zone"),
        ),
        (
            '[budget.networks]\n"café" = "free"',
            'line 2: budget.networks.café = "free": write one of "unmetered", "metered", "roaming"',
        ),
        ('[broker]\nport = "1883"', 'line 2: broker.port = "1883": write a whole number, without quotes'),
        ('[broker]\ncert = "a.pem"', "line 1: broker: cert and key belong together"),
        ('[broker]\nca = "ca.pem"', "line 1: broker: ca, cert and key have no effect without tls = true"),
        ('[broker]\npassword_file = "p"', "line 1: broker: password_file has no effect without username"),
        ('[energy]\nfloor = "50 %"', "line 1: energy: floor is above screens_floor"),
        ('[energy]\ncpu_mains = "0 %"', "line 1: energy: cpu_mains must be between"),
        ("[energy]\nscreens_floor = 0.3", "line 2: energy.screens_floor = 0.3: put it in quotes, with its unit"),
        (
            '[consent]\npurposes = ["performance-assessment"]',
            'line 2: consent.purposes.0 = "performance-assessment": write one of',
        ),
        ('[scope]\nallow = ["*"]', 'line 2: scope.allow.0 = "*": '),
        ('[scope]\nallow = ["@banking"]', "this group is never recorded, and no configuration changes that"),
        ('[scope]\nsites = ["@health"]', "this group is never recorded, and no configuration changes that"),
        ('[scope]\ncontent = ["@password-managers"]', "this group is never recorded"),
        ('[scope]\nallow = ["@offices"]', "there is no such group; there are: @office, @browser"),
        ('[scope]\nallow = ["@work-sites"]', "this group has no applications, only sites"),
        ('[scope]\nsites = ["https://github.com/login"]', 'write the host of a site, such as "github.com"'),
        ('[scope]\nsites = ["com"]', '"com" names the sites of everybody below it'),
        ('[control]\npause_shortcut = "p"', '"p" is pressed in typing'),
        ('[control]\npause_shortcut = "ctrl+alt+foo"', "'foo' is no key here"),
        ("budget = 3", "line 1: budget = 3: write a table"),
        ("[budget\nday=", "is not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line_its_value_and_what_is_allowed(text: str, said: str) -> None:
    message = refusal(text)
    assert message.startswith("config.toml")
    assert said in message


def test_every_mistake_is_told_at_once() -> None:
    message = refusal('[budget]\nday = "x"\n[screens]\nenabled = 1\n[foo]\n')
    assert len(message.splitlines()) == 3


def test_the_line_of_a_key_is_found_however_it_is_written() -> None:
    text = 'budget.day = "1 MB"\n[ budget . metered ]\nsend = "all"\n[scope]\nallow = [\n  "a",\n]\n'
    assert line_of(text, ["budget", "day"]) == 1
    assert line_of(text, ["budget", "metered", "send"]) == 3
    assert line_of(text, ["scope", "allow", "0"]) == 5
    assert line_of(text, ["nowhere"]) is None


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        parse_config("").budget.day = 3  # type: ignore[misc]


# Every key, a value that is not its default, and what must follow from it. A key that is not here fails.


def limits(text: str) -> Limits:
    return Limits.from_table(budget_table(parse_config(text), time_zone="Asia/Tokyo"))


def settings(text: str) -> Any:
    return settings_of(parse_config(text), time_zone="Asia/Tokyo")


def logged(text: str) -> set[str]:
    """Return the levels that reach the log."""
    with tempfile.TemporaryDirectory() as folder:
        log.set_up(parse_config(text).log.level, f"{folder}/log")
        for level in log.LEVELS.values():
            log.event("x", level=level)
        lines = Path(folder, "log").read_text().splitlines()
        log.to_stderr(log.ERROR)
    return {json.loads(line)["level"] for line in lines}


EFFECTS: dict[str, tuple[str, Any]] = {
    "consent.purposes": (
        '[consent]\npurposes = ["accessibility-research"]',
        lambda t: parse_config(t).consent.purposes == (Purpose.ACCESSIBILITY,),
    ),
    "consent.region": ('[consent]\nregion = "EU"', lambda t: parse_config(t).consent.region == "EU"),
    "consent.retention": (
        '[consent]\nretention = "90 days"',
        lambda t: parse_config(t).consent.retention == timedelta(days=90),
    ),
    "scope.allow": ('[scope]\nallow = ["code"]', lambda t: rules_of(parse_config(t)).allow == ("code",)),
    "scope.deny": ('[scope]\ndeny = ["code"]', lambda t: rules_of(parse_config(t)).deny == ("code",)),
    "control.pause_shortcut": (
        '[control]\npause_shortcut = "ctrl+alt+p"',
        lambda t: parse_shortcut(parse_config(t).control.pause_shortcut) == Shortcut(4 | 8, ord("p"), "ctrl+alt+p"),
    ),
    "scope.sites": (
        '[scope]\nsites = ["GitHub.com", "@work-sites"]',
        lambda t: {"github.com", "atlassian.net"} <= set(rules_of(parse_config(t)).sites),
    ),
    "scope.deny_sites": (
        '[scope]\ndeny_sites = ["gist.github.com"]',
        lambda t: rules_of(parse_config(t)).deny_sites == ("gist.github.com",),
    ),
    "scope.content": (
        '[scope]\ncontent = ["thunderbird", "mail.example.org"]',
        lambda t: set(rules_of(parse_config(t)).content) == {"thunderbird", "mail.example.org"},
    ),
    "scope.desktop": (
        '[scope]\ndesktop = "show"',
        lambda t: parse_config(t).scope.desktop is Desktop.SHOW and rules_of(parse_config(t)).show_desktop,
    ),
    "capture.pointer_interval": (
        '[capture]\npointer_interval = "8 ms"',
        lambda t: settings(t).min_move_interval_ms == 8,
    ),
    "capture.damage_hold": (
        '[capture]\ndamage_hold = "2 s"',
        lambda t: parse_config(t).capture.damage_hold == timedelta(seconds=2),
    ),
    "capture.chunk_age": (
        '[capture]\nchunk_age = "1 min"',
        lambda t: parse_config(t).capture.chunk_age == timedelta(minutes=1),
    ),
    "capture.chunk_size": ('[capture]\nchunk_size = "1 MB"', lambda t: parse_config(t).capture.chunk_size == 1_000_000),
    "capture.hold_back": (
        '[capture]\nhold_back = "1 h"',
        lambda t: "held back on this machine for 1 h" in describe(parse_config(t)),
    ),
    "screens.enabled": (
        "[screens]\nenabled = false",
        lambda t: not settings(t).screens and top_rung(parse_config(t)) is Rung.EVENTS,
    ),
    "screens.min_interval": (
        '[screens]\nmin_interval = "10 s"',
        lambda t: settings(t).min_frame_interval_ms == 10_000 and top_rung(parse_config(t)) is Rung.EVERY_10S,
    ),
    "screens.effort": ('[screens]\neffort = "small"', lambda t: settings(t).effort is Effort.SMALL),
    "semantics.enabled": ("[semantics]\nenabled = false", lambda t: kinds_of(parse_config(t)) == KINDS),
    "semantics.labels": (
        '[semantics]\nlabels = "digest"',
        lambda t: LABEL_KIND not in kinds_of(parse_config(t)),
    ),
    "semantics.clipboard": (
        '[semantics]\nclipboard = "digest"',
        lambda t: set(CLIPBOARD_KINDS["digest"]) <= set(kinds_of(parse_config(t))),
    ),
    "budget.day": ('[budget]\nday = "7 MB"', lambda t: limits(t).day_bytes == 7_000_000),
    "budget.month": ('[budget]\nmonth = "7 MB"', lambda t: limits(t).month_bytes == 7_000_000),
    "budget.billing_day": ("[budget]\nbilling_day = 9", lambda t: limits(t).billing_day == 9),
    "budget.time_zone": (
        '[budget]\ntime_zone = "Europe/Rome"',
        lambda t: limits(t).time_zone == settings(t).time_zone == "Europe/Rome",
    ),
    "budget.kbit_s": (
        "[budget]\nkbit_s = 800",
        lambda t: limits(t).rate_bytes_s == settings(t).rate_bytes_s == 100_000,
    ),
    "budget.windows": (
        '[budget]\nwindows = ["22:00-06:00", "05:00-07:00"]',
        lambda t: limits(t).windows == ((1320, 360), (300, 420)) and settings(t).window_hours == 9,
    ),
    "budget.networks": (
        '[budget.networks]\n"Home" = "unmetered"',
        lambda t: link_class(parse_config(t), "metered", "home") == "unmetered",
    ),
    "energy.cpu_mains": ('[energy]\ncpu_mains = "1 %"', lambda t: settings(t).cpu_mains == 0.01),
    "energy.cpu_battery": ('[energy]\ncpu_battery = "1 %"', lambda t: settings(t).cpu_battery == 0.01),
    "energy.screens_floor": ('[energy]\nscreens_floor = "40 %"', lambda t: settings(t).screens_floor == 0.4),
    "energy.floor": ('[energy]\nfloor = "20 %"', lambda t: settings(t).floor == 0.2),
    "energy.wakeups_s": ("[energy]\nwakeups_s = 5", lambda t: settings(t).wakeups_s == 5),
    "energy.memory": ('[energy]\nmemory = "90 MB"', lambda t: settings(t).memory_bytes == 90_000_000),
    "spool.directory": ('[spool]\ndirectory = "/data"', lambda t: parse_config(t).spool.directory == "/data"),
    "spool.limit": ('[spool]\nlimit = "1 GB"', lambda t: parse_config(t).spool.limit == 10**9),
    "spool.age": ('[spool]\nage = "2 days"', lambda t: parse_config(t).spool.age == timedelta(days=2)),
    "spool.when_full": ('[spool]\nwhen_full = "pause"', lambda t: parse_config(t).spool.when_full is WhenFull.PAUSE),
    "review.keep": ('[review]\nkeep = "3 days"', lambda t: bounds_of(parse_config(t)).keep_s == 3 * 86_400),
    "review.limit": ('[review]\nlimit = "1 MB"', lambda t: bounds_of(parse_config(t)).limit_bytes == 1_000_000),
    "broker.host": ('[broker]\nhost = "b.example"\ntls = true', lambda t: parse_config(t).broker.host == "b.example"),
    "broker.port": ("[broker]\nport = 8883", lambda t: parse_config(t).broker.port == 8883),
    "broker.tls": ("[broker]\ntls = true", lambda t: parse_config(t).broker.tls),
    "broker.ca": ('[broker]\ntls = true\nca = "c"', lambda t: parse_config(t).broker.ca == "c"),
    "broker.cert": ('[broker]\ntls = true\ncert = "c"\nkey = "k"', lambda t: parse_config(t).broker.cert == "c"),
    "broker.key": ('[broker]\ntls = true\ncert = "c"\nkey = "k"', lambda t: parse_config(t).broker.key == "k"),
    "broker.username": ('[broker]\nusername = "u"', lambda t: parse_config(t).broker.username == "u"),
    "broker.password_file": (
        '[broker]\nusername = "u"\npassword_file = "p"',
        lambda t: parse_config(t).broker.password_file.endswith("p"),
    ),
    "archive.public_key": (
        '[archive]\npublic_key = "a.pub"',
        lambda t: "no archive.public_key" not in describe(parse_config(t)),
    ),
    "archive.answers": (
        '[archive]\nanswers = "/keys/answers.pub"',
        lambda t: parse_config(t).archive.answers == "/keys/answers.pub",
    ),
    "log.level": ('[log]\nlevel = "error"', lambda t: logged(t) == {"error"}),
    "log.file": ('[log]\nfile = "~/agent.log"', lambda t: parse_config(t).log.file == "~/agent.log"),
    "metrics.listen": (
        '[metrics]\nlisten = "127.0.0.1:9466"',
        lambda t: parse_config(t).metrics.listen == "127.0.0.1:9466",
    ),
    "archive.reader": ('[archive]\nreader = "Lab"', lambda t: parse_config(t).archive.reader == "Lab"),
}
for _link in Link.UNMETERED, Link.METERED, Link.ROAMING:
    EFFECTS |= {
        f"budget.{_link}.day": (
            f'[budget.{_link}]\nday = "3 MB"',
            lambda t, link=_link: limits(t).links[link] == Allowance(3_000_000, None),
        ),
        f"budget.{_link}.month": (
            f'[budget.{_link}]\nmonth = "3 MB"',
            lambda t, link=_link: limits(t).links[link] == Allowance(None, 3_000_000),
        ),
    }
EFFECTS |= {
    "budget.unmetered.send": (
        '[budget.unmetered]\nsend = "events"',
        lambda t: (
            limits(t).sendable[Link.UNMETERED] is Sendable.EVENTS and settings(t).send["unmetered"] is Upload.EVENTS
        ),
    ),
    "budget.metered.send": (
        '[budget.metered]\nsend = "all"',
        lambda t: limits(t).sendable[Link.METERED] is Sendable.ALL and settings(t).send["metered"] is Upload.ALL,
    ),
    "budget.roaming.send": (
        '[budget.roaming]\nsend = "events"',
        lambda t: limits(t).sendable[Link.ROAMING] is Sendable.EVENTS and settings(t).send["roaming"] is Upload.EVENTS,
    ),
}


@pytest.mark.parametrize(
    "key", [key for key in keys_of(Config) if key not in {k.rpartition(".")[0] for k in keys_of(Config)}]
)
def test_every_key_has_an_effect(key: str) -> None:
    text, follows = EFFECTS[key]
    assert follows(text)
    assert not follows(""), "it follows without the key as well"


def test_what_the_configuration_means_is_said_in_figures() -> None:
    config = parse_config('[budget]\nday = "40 MB"\nmonth = "600 MB"\n[budget.metered]\nmonth = "50 MB"\n')
    text = describe(config)
    assert re.search(r"everything would be [\d.]+ MB a day of 40 MB, [\d.]+ GB a month of 600 MB", text)
    assert "Over metered links: events, at most 50 MB a month." in text
    governor = Governor(settings_of(config, time_zone="UTC"))
    for week in range(8 * 24 * 7):
        governor.active((1_700_000_000 + week * 3600) * 10**9, 600)
    measured = Rates.learned(governor.to_state())
    assert "At today's rates, with 4.0 h of activity a day" in describe(config, measured)
    assert Rates.learned({"habits": 3}) == Rates.typical() or not Rates.learned({"habits": 3}).measured


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "localhost", "::1"])
def test_only_this_machine_is_spoken_to_in_clear(host: str) -> None:
    assert parse_config(f'[broker]\nhost = "{host}"').broker.host == host
    for other in (f"{host}.example.org", "192.168.1.2", "broker"):
        with pytest.raises(ConfigError, match="TLS only"):
            parse_config(f'[broker]\nhost = "{other}"')
