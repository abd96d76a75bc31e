"""The catalogue: large enough to be of use, consistent, and unable to allow what is never recorded."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from capture import catalogue
from capture.catalogue import Level
from capture.config import parse_config
from capture.denied import DENIED, PRIVATE_TITLES
from capture.effects import rules_of
from capture.policy import EVERYTHING, NOTHING, STRUCTURE, Policy, Rules, is_browser
from capture.sites import names, pattern_of

GROUPS = tuple(catalogue.catalogue().values())
ALLOWABLE = tuple(group for group in GROUPS if group.level is not Level.NEVER)


def everything_allowed() -> Rules:
    """Return the rules of a person who allows all that can be allowed."""
    apps = [f'"@{group.name}"' for group in ALLOWABLE if group.apps]
    sites = [f'"@{group.name}"' for group in ALLOWABLE if group.sites]
    return rules_of(parse_config(f"[scope]\nallow = [{', '.join(apps)}]\nsites = [{', '.join(sites)}]"))


def test_it_names_hundreds_of_applications_and_sites() -> None:
    apps, sites = sum(len(group.apps) for group in GROUPS), sum(len(group.sites) for group in GROUPS)
    work = sum(len(group.apps) + len(group.sites) for group in ALLOWABLE)
    print(f"{apps} applications, {sites} sites (and families of sites) in {len(GROUPS)} groups; {work} may be allowed")
    assert work >= 300
    needed = {"office", "browser", "mail", "chat", "ide", "work-sites", "banking", "health"}
    assert needed | {"password-managers", "remote-desktop"} <= set(catalogue.catalogue())


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_every_entry_is_well_formed(group: catalogue.Group) -> None:
    assert group.about
    for pattern in group.classes:
        assert pattern == pattern.lower(), pattern
        assert sum(character.isalnum() for character in pattern) >= 2, pattern
    for host in group.hosts:
        assert pattern_of(host) == host, host


def test_nothing_stands_twice() -> None:
    for kind in ("classes", "hosts"):
        seen: dict[str, str] = {}
        for group in GROUPS:
            for word in getattr(group, kind):
                assert word not in seen, f"{word} stands in {seen[word]} and in {group.name}"
                seen[word] = group.name


def test_what_can_be_allowed_is_not_denied_and_has_its_groups_level() -> None:
    judge = Policy(everything_allowed(), consented=True)
    for group in ALLOWABLE:
        expected = STRUCTURE if group.level is Level.STRUCTURE else EVERYTHING
        for pattern in group.classes:
            app = pattern.replace("*", "").replace("?", "x")
            if group.name == "browser":
                assert is_browser(app), f"{app} is not known as a browser"
                continue
            assert not is_browser(app), f"{app} is taken for a browser"
            decision = judge.decide(app, "", None)
            assert decision.value == expected, f"{app}: {decision.reasons}"
        for host in group.hosts:
            decision = judge.decide("firefox", "", f"www.{host}")
            assert decision.value == expected, f"{host}: {decision.reasons}"


def test_what_is_never_recorded_is_not_even_when_everything_is_allowed() -> None:
    rules = everything_allowed()
    hosts = tuple(host for group in GROUPS for host in group.hosts)
    wide = Rules(allow=("*",), sites=hosts, content=("*", *hosts), never=rules.never, never_sites=rules.never_sites)
    judge = Policy(wide, consented=True)
    for group in catalogue.at(Level.NEVER):
        for pattern in group.classes:
            assert judge.decide(pattern.replace("*", "x"), "", None).value == NOTHING, pattern
        for host in group.hosts:
            assert judge.decide("firefox", "", f"login.{host}").value == NOTHING, host
    for title in PRIVATE_TITLES:
        assert judge.decide("firefox", title, "github.com").value == NOTHING, title


def test_no_group_that_can_be_allowed_reaches_into_one_that_cannot() -> None:
    # Deny rules win, but a reviewer of the catalogue should not have to think of it.
    never = [(group, pattern) for group in catalogue.at(Level.NEVER) for pattern in group.classes]
    never += [(None, pattern) for patterns in DENIED.values() for pattern in patterns]
    for group in ALLOWABLE:
        for pattern in group.classes:
            for _, denied in never:
                assert not fnmatchcase(pattern.replace("*", ""), denied), f"{pattern} is denied by {denied}"
        for host in group.hosts:
            for other in catalogue.at(Level.NEVER):
                assert not names(other.hosts, host), f"{host} in {group.name} is denied by {other.name}"


def test_groups_stand_for_their_members_and_other_words_for_themselves() -> None:
    assert "mousepad" in catalogue.classes_of(["@office", "code"])
    assert "code" in catalogue.classes_of(["@office", "code"])
    assert catalogue.hosts_of(["@mail"])[:1] == ("mail.google.com",)
    with pytest.raises(ValueError, match="there are: @office"):
        catalogue.classes_of(["@nothing"])


def test_no_members_name_looks_like_a_group() -> None:
    assert not any(pattern.startswith("@") for group in GROUPS for pattern in group.classes)
