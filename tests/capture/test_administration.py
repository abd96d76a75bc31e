"""An administrator's policy narrows, and can do nothing else."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.administration import Administration, narrowed, parse_administration
from capture.agreement import effective
from capture.catalogue import classes_of
from capture.config import Config, keys_of, parse_config
from capture.effects import rules_of, terms_of
from capture.errors import ConfigError
from capture.narrowing import wider
from capture.policy import Policy

WORDS = ["@office", "@ide", "@mail", "@browser", "code", "libreoffice-*", "libre*", "*office*", "gimp", "thunderbird"]
HOSTS = ["@work-sites", "@mail", "github.com", "gist.github.com", "docs.google.com", "example.org"]
APPS = ["code", "libreoffice-writer", "gimp", "thunderbird", "onlyoffice", "firefox", "keepassxc", "gnucash"]
SITES = [None, "github.com", "gist.github.com", "x.example.org", "mail.google.com", "paypal.com", "atlassian.net"]


def quoted(words: list[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def some(words: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(words), unique=True, max_size=4).map(quoted)


def one(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from([f'"{value}"' for value in values])


PURPOSES = ["computer-use-training", "computer-use-evaluation", "accessibility-research"]
KEYS: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "consent": {"purposes": some(PURPOSES), "region": one("", "EU"), "retention": one("1 day", "30 days", "900 days")},
    "scope": {
        "allow": some(WORDS),
        "deny": some([*WORDS, "@health"]),
        "sites": some(HOSTS),
        "deny_sites": some(HOSTS),
        "content": some(["thunderbird", "@mail", "mail.google.com"]),
        "desktop": one("hide", "show"),
    },
    "capture": {"pointer_interval": one("0 ms", "8 ms"), "hold_back": one("0 s", "10 min", "1 day")},
    "screens": {"enabled": st.sampled_from(["true", "false"]), "min_interval": one("1 s", "5 s", "1 min")},
    "budget": {"day": one("0 B", "1 MB", "100 MB"), "month": one("1 MB", "5 GB")},
    "energy": {
        "cpu_mains": one("1 %", "50 %"),
        "cpu_battery": one("1 %", "5 %"),
        "screens_floor": one("40 %", "60 %"),
        "floor": one("5 %", "30 %"),
    },
}


@st.composite
def files(draw: st.DrawFn, *, always: tuple[str, ...] = ()) -> str:
    """Return the text of a configuration, or of a policy: they have these keys in common."""
    lines = []
    for section, keys in KEYS.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {draw(value)}" for key, value in keys.items() if key in always or draw(st.booleans())]
    return "\n".join(lines)


@settings(max_examples=120, deadline=None)
@given(files(always=("allow", "sites")), files(), st.sampled_from(APPS), st.sampled_from(SITES))
def test_whatever_both_say_the_result_is_no_wider_than_what_the_person_configured(
    mine: str, theirs: str, app: str, site: str | None
) -> None:
    config = parse_config(mine)
    result = narrowed(config, parse_administration(theirs, source="policy"))
    assert wider(terms_of(result, readers="r"), terms_of(config, readers="r")) == ()
    before, after = (
        Policy(rules_of(one), consented=True).decide(app, "", site if app == "firefox" else None).value
        for one in (config, result)
    )
    assert before & after == after
    denied = classes_of(parse_administration(theirs, source="policy").scope.deny)
    if any(fnmatchcase(app, pattern) for pattern in denied):
        assert not after.events, "it did what it was asked"


@settings(max_examples=60, deadline=None)
@given(files())
def test_a_policy_records_nothing_by_itself(theirs: str) -> None:
    result = narrowed(Config(), parse_administration(theirs, source="policy"))
    assert result.scope.allow == ()
    assert result.scope.sites == ()
    assert not result.archive.public_key
    untouched = ("archive", "broker", "spool")
    assert all(getattr(result, section) == getattr(Config(), section) for section in untouched)


def test_there_is_no_key_that_starts_hides_or_forbids() -> None:
    known = set(keys_of(Administration))
    assert known <= {*keys_of(Config)}
    for words in (
        "start",
        "hide",
        "quiet",
        "sign",
        "pause",
        "quit",
        "stop",
        "withdraw",
        "force",
        "public_key",
        "journal",
    ):
        assert not any(words in key for key in known), words


@pytest.mark.parametrize(
    "text",
    [
        "[control]\npause = false",
        "[consent]\naccepted = true",
        'start = "always"',
        "[sign]\nshow = false",
        '[archive]\npublic_key = "/x"',
        '[scope]\nallow = ["@banking"]',
        "[scope",
        '[consent]\npurposes = ["performance-assessment"]',
    ],
)
def test_a_policy_that_says_more_than_it_can_is_an_error_and_nothing_is_recorded(text: str) -> None:
    with pytest.raises(ConfigError, match="nothing is recorded until it is mended"):
        parse_administration(text, source="policy.toml")


def test_regions_that_contradict_each_other_are_an_error() -> None:
    config = parse_config('[consent]\nregion = "EU"')
    with pytest.raises(ConfigError, match="until they agree"):
        narrowed(config, parse_administration('[consent]\nregion = "US"', source="p"))
    assert narrowed(Config(), parse_administration('[consent]\nregion = "US"', source="p")).consent.region == "US"


def test_the_usual_policy_counts_even_when_another_is_given(tmp_path: Path) -> None:
    usual, given_one = tmp_path / "usual.toml", tmp_path / "given.toml"
    config = parse_config('[scope]\nallow = ["code", "gimp", "geany"]')
    assert effective(config, None, usual=usual) == config
    usual.write_text('[scope]\ndeny = ["gimp"]')
    given_one.write_text('[scope]\ndeny = ["geany"]')
    assert effective(config, given_one, usual=usual).scope.deny == ("gimp", "geany")
    with pytest.raises(ConfigError, match="cannot be read"):
        effective(config, tmp_path / "missing.toml", usual=usual)
    usual.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="nothing is recorded"):
        effective(config, None, usual=usual)


def test_the_example_is_valid_and_has_every_key() -> None:
    text = (Path(__file__).resolve().parents[2] / "deploy" / "policy.example.toml").read_text(encoding="utf-8")
    parse_administration(text, source="example")
    found = {f"{section}.{key}" for section, table in tomllib.loads(text).items() for key in table}
    assert found == {key for key in keys_of(Administration) if "." in key}
