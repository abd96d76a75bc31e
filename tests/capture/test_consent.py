"""Consent: bound to the very text that was shown; what widens anything asks again, what narrows does not."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.agreement import consent_digest
from capture.config import Purpose, parse_config
from capture.consent import NEVER, Consent, Terms, digest, notice
from capture.effects import terms_of
from capture.errors import ConfigError, NoConsent
from capture.home import Home
from capture.keyfiles import write_private
from capture.narrowing import both, both_hosts, covers, wider
from capture.policy import Policy, Rules, Verdict
from codec.seal import ArchivePrivateKey

CONFIG = """\
[scope]
allow = ["mousepad", "@ide", "@browser"]
deny = ["geany"]
sites = ["github.com"]
content = ["thunderbird"]
[consent]
region = "EU"
retention = "90 days"
[budget]
day = "40 MB"
[archive]
reader = "the laboratory"
"""
TERMS = terms_of(parse_config(CONFIG), readers="the laboratory, key 1f2e")


def test_the_notice_says_everything_that_a_person_must_know() -> None:
    text = notice(TERMS)
    for word in (
        *("computer-use-training", "mousepad", "@ide", "but not: geany", "github.com", "thunderbird"),
        *("at most every 2 s", "the laboratory, key 1f2e", "127.0.0.1:1883", "90 days, in EU", "for 10 min first"),
        *("at most 40 MB a day", "at most 1.5 GB a month", "your battery: at most 2 %", "nothing below 10 %"),
        *("events over metered networks", "not", "`modicum pause`", "`modicum withdraw`", "`modicum erase`"),
        *("`modicum review`", "`modicum journal`", "`modicum exempt`", "a sign is visible whenever it records", *NEVER),
    ):
        assert word in text, word


def changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case tuple():
            return (*value, "x")
        case None:
            return 5
    return f"{value}x"


@pytest.mark.parametrize("name", [field.name for field in fields(Terms)])
def test_a_change_of_any_term_changes_the_notice(name: str) -> None:
    assert digest(notice(replace(TERMS, **{name: changed(getattr(TERMS, name))}))) != digest(notice(TERMS))


def test_a_record_round_trips_and_a_doctored_one_counts_as_none() -> None:
    text = notice(TERMS)
    consent = Consent(digest(text), 1_700_000_000, text, TERMS)
    assert Consent.from_json(consent.to_json()) == consent
    assert Consent.from_json(consent.to_json().replace(b"- the pointer's path", b"- nothing at all    ")) is None
    assert Consent.from_json(b"{") is None
    assert Consent.from_json(b"[]") is None
    assert Consent.from_json(b'{"digest": "x"}') is None
    doctored = Consent.from_json(Consent(digest(text), 1, text, replace(TERMS, applications=("*a*",))).to_json())
    assert doctored is not None
    assert doctored.terms is None, "terms that the text does not bind compare with nothing"


def test_a_performance_assessment_cannot_be_a_purpose() -> None:
    assert not any("perform" in purpose or "assess" in purpose for purpose in Purpose)
    for purpose in ("performance-assessment", "performance", "employee-assessment", "computer-use-training "):
        with pytest.raises(ConfigError, match=r'write one of "computer-use-training"'):
            parse_config(f'[consent]\npurposes = ["{purpose}"]')


@pytest.fixture
def agreed(tmp_path: Path) -> tuple[Home, str, str]:
    """Return a person's folders, their configuration, and the hash that they said yes to."""
    key = tmp_path / "archive.pub"
    key.write_text(ArchivePrivateKey.generate().public.to_text())
    text = CONFIG.replace("[archive]", f'[archive]\npublic_key = "{key}"')
    from capture.agreement import terms_of as full_terms_of

    home = Home(tmp_path / "state", tmp_path / "run")
    terms = full_terms_of(parse_config(text))
    accepted = digest(notice(terms))
    write_private(home.consent_file, Consent(accepted, 1, notice(terms), terms).to_json())
    return home, text, accepted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mousepad", ', ""),
        ('"@ide"', '"code"'),
        ('deny = ["geany"]', 'deny = ["geany", "@terminal"]'),
        ('sites = ["github.com"]', 'sites = ["gist.github.com"]'),
        ('content = ["thunderbird"]', ""),
        ('"90 days"', '"30 days"'),
        ('day = "40 MB"', 'day = "30 MB"'),
        ("[budget]\n", '[budget]\nmonth = "1 GB"\n'),
        ("[budget]\n", '[screens]\nmin_interval = "10 s"\n[budget]\n'),
        ("[budget]\n", "[screens]\nenabled = false\n[budget]\n"),
        ("[budget]\n", '[capture]\nhold_back = "1 h"\n[budget]\n'),
    ],
)
def test_what_narrows_is_not_asked_again_and_the_accepted_notice_stays_in_force(
    agreed: tuple[Home, str, str], old: str, new: str
) -> None:
    home, text, accepted = agreed
    assert old in text
    assert consent_digest(parse_config(text.replace(old, new)), home).hex() == accepted


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"mousepad"', '"mousepad", "gimp"', "applications"),
        ('"mousepad"', '"mouse*"', "applications"),
        ('deny = ["geany"]', "", "exceptions among applications"),
        ('sites = ["github.com"]', 'sites = ["github.com", "gitlab.com"]', "sites"),
        ('content = ["thunderbird"]', 'content = ["thunderbird", "slack"]', "mail and chat recorded whole"),
        ('"90 days"', '"91 days"', "how long it is kept"),
        ('region = "EU"', "", "where it is kept"),
        ('day = "40 MB"', 'day = "41 MB"', "bytes a day"),
        ("[budget]\n", '[capture]\nhold_back = "5 min"\n[budget]\n', "how long it stays here first"),
        ("[budget]\n", '[broker]\nhost = "example.org"\ntls = true\n[budget]\n', "where it is sent"),
        ('"the laboratory"', '"everybody"', "who can read it"),
        ("[budget]\n", '[budget.roaming]\nsend = "all"\n[budget]\n', "what is sent over which networks"),
        ("[consent]\n", '[consent]\npurposes = ["computer-use-evaluation"]\n', "purposes"),
    ],
)
def test_what_widens_is_asked_again(agreed: tuple[Home, str, str], old: str, new: str, said: str) -> None:
    home, text, _ = agreed
    assert old in text
    with pytest.raises(NoConsent) as caught:
        consent_digest(parse_config(text.replace(old, new)), home)
    assert said in str(caught.value)


def test_without_a_yes_or_with_one_to_other_words_there_is_no_consent(agreed: tuple[Home, str, str]) -> None:
    home, text, _ = agreed
    other = notice(TERMS).replace("notice 2", "notice 1")
    write_private(home.consent_file, Consent(digest(other), 1, other, TERMS).to_json())
    with pytest.raises(NoConsent, match="beyond"):
        consent_digest(parse_config(text), home)
    home.consent_file.unlink()
    with pytest.raises(NoConsent, match="before you agree"):
        consent_digest(parse_config(text), home)


# -- the order of terms

PATTERNS = st.text("ab*?[", min_size=1, max_size=4)
NAMES = st.text("ab", min_size=1, max_size=4)
HOSTS = st.sampled_from(["a.org", "b.org", "x.a.org", "y.x.a.org", "a.net"])
some_patterns = st.lists(PATTERNS, max_size=3).map(tuple)
some_hosts = st.lists(HOSTS, max_size=3).map(tuple)
limits = st.none() | st.integers(0, 3)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    """Return terms in a small world, where narrower ones are met often."""
    return Terms(
        purposes=draw(st.lists(st.sampled_from("pq"), max_size=2).map(tuple)),
        applications=(*draw(some_patterns), "firefox"),
        denied=draw(some_patterns),
        sites=draw(some_hosts),
        denied_sites=draw(some_hosts),
        guarded=draw(some_patterns),
        content=draw(st.lists(PATTERNS | HOSTS, max_size=2).map(tuple)),
        never=draw(some_patterns),
        named=(),
        named_sites=(),
        show_desktop=draw(st.booleans()),
        kinds=("k",),
        screenshots=draw(st.booleans()),
        screenshot_interval_s=draw(st.integers(1, 2)),
        pointer_interval_ms=draw(st.integers(0, 1)),
        readers="r",
        server="s",
        retention_days=draw(st.integers(1, 2)),
        region=draw(st.sampled_from(["", "EU"])),
        hold_back_s=draw(st.integers(0, 1)),
        copies_s=draw(st.integers(0, 1)),
        copies_bytes=draw(st.integers(0, 1)),
        day_bytes=draw(limits),
        month_bytes=draw(limits),
        links=draw(st.lists(st.sampled_from("ml"), max_size=2).map(tuple)),
        cpu_mains=draw(st.sampled_from([0.1, 0.2])),
        cpu_battery=0.1,
        screens_floor=0.3,
        floor=draw(st.sampled_from([0.1, 0.2])),
    )


def judge(given: Terms) -> Policy:
    rules = Rules(
        allow=given.applications,
        deny=given.denied,
        sites=given.sites,
        deny_sites=given.denied_sites,
        correspondence=given.guarded,
        content=given.content,
        never={"never": given.never},
    )
    return Policy(rules, consented=True)


def no_freer(one: Verdict, other: Verdict) -> bool:
    return one.events <= other.events and one.pixels <= other.pixels and one.words <= other.words


@st.composite
def narrower_terms(draw: st.DrawFn) -> tuple[Terms, Terms]:
    """Return terms, and others that some changes have probably made narrower."""
    wide, other = draw(terms()), draw(terms())
    names = draw(st.sets(st.sampled_from([field.name for field in fields(Terms)]), max_size=3))
    return wide, replace(wide, **{name: getattr(other, name) for name in names})


@settings(max_examples=150, deadline=None)
@given(narrower_terms(), NAMES, HOSTS)
def test_terms_that_need_no_question_judge_no_window_more_freely(
    pair: tuple[Terms, Terms], app: str, host: str
) -> None:
    accepted, new = pair
    if wider(new, accepted):
        return
    for who, site in ((app, None), ("firefox", host)):
        assert no_freer(judge(new).decide(who, "", site).value, judge(accepted).decide(who, "", site).value)
    assert new.retention_days <= accepted.retention_days
    assert accepted.day_bytes is None or (new.day_bytes is not None and new.day_bytes <= accepted.day_bytes)
    assert set(new.purposes) <= set(accepted.purposes)


@settings(max_examples=100, deadline=None)
@given(terms(), terms(), terms())
def test_the_order_of_terms_is_one(one: Terms, two: Terms, three: Terms) -> None:
    assert wider(one, one) == ()
    if not wider(one, two) and not wider(two, three):
        assert wider(one, three) == ()


@settings(max_examples=500)
@given(PATTERNS, PATTERNS, NAMES)
def test_what_a_pattern_covers_it_matches(wide: str, narrow: str, app: str) -> None:
    if covers(wide, narrow):
        allowed = [
            Policy(Rules(allow=(pattern,)), consented=True).decide(app, "", None).value for pattern in (narrow, wide)
        ]
        assert no_freer(*allowed)


@settings(max_examples=150)
@given(some_patterns, some_patterns, NAMES, some_hosts, some_hosts, HOSTS)
def test_what_both_allow_each_allows(
    one: tuple[str, ...], two: tuple[str, ...], app: str, hosts: tuple[str, ...], others: tuple[str, ...], host: str
) -> None:
    for allowed in (one, two):
        shared = Policy(Rules(allow=both(one, two)), consented=True).decide(app, "", None).value
        assert no_freer(shared, Policy(Rules(allow=allowed), consented=True).decide(app, "", None).value)
    for named in (hosts, others):
        shared = Policy(Rules(("firefox",), sites=both_hosts(hosts, others)), consented=True)
        alone = Policy(Rules(("firefox",), sites=named), consented=True)
        assert no_freer(shared.decide("firefox", "", host).value, alone.decide("firefox", "", host).value)
