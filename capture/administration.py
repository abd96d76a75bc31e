"""Pure: an administrator's policy file: what it may say, and what it makes of a person's configuration.

Guarantees: whatever it says, the result is no wider in any respect than what the person configured: allowed things are
those that both allow, denied things those that either denies, of two numbers the more careful one counts. Nothing in it
can start a recording, hide it, or keep anybody from pausing, stopping or withdrawing: there is no key for that, and an
unknown key is an error.
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from capture.catalogue import classes_of, hosts_of
from capture.config import (
    AllowedApplication,
    AllowedSite,
    Config,
    Content,
    DeniedApplication,
    Desktop,
    Purpose,
    Section,
    Site,
)
from capture.errors import ConfigError
from capture.narrowing import both, both_hosts
from capture.units import parse_duration, parse_share, parse_size

Duration = Annotated[timedelta | None, BeforeValidator(parse_duration)]
Size = Annotated[int | None, BeforeValidator(parse_size)]
Share = Annotated[float | None, BeforeValidator(parse_share)]


class AdminConsent(Section):
    """[consent]"""

    purposes: tuple[Annotated[Purpose, BeforeValidator(Purpose)], ...] | None = Field(default=None, strict=False)
    region: str | None = None
    retention: Duration = None


class AdminScope(Section):
    """[scope]"""

    allow: tuple[AllowedApplication, ...] | None = Field(default=None, strict=False)
    deny: tuple[DeniedApplication, ...] = Field(default=(), strict=False)
    sites: tuple[AllowedSite, ...] | None = Field(default=None, strict=False)
    deny_sites: tuple[Site, ...] = Field(default=(), strict=False)
    content: tuple[Content, ...] | None = Field(default=None, strict=False)
    desktop: Annotated[Desktop, BeforeValidator(Desktop)] | None = None


class AdminCapture(Section):
    """[capture]"""

    pointer_interval: Duration = None
    hold_back: Duration = None


class AdminScreens(Section):
    """[screens]"""

    enabled: bool | None = None
    min_interval: Duration = None


class AdminBudget(Section):
    """[budget]"""

    day: Size = None
    month: Size = None


class AdminEnergy(Section):
    """[energy]"""

    cpu_mains: Share = None
    cpu_battery: Share = None
    screens_floor: Share = None
    floor: Share = None


class Administration(Section):
    """The whole file. All sections and keys may be left away; the meaning of each is that of the configuration's."""

    consent: AdminConsent = AdminConsent()
    scope: AdminScope = AdminScope()
    capture: AdminCapture = AdminCapture()
    screens: AdminScreens = AdminScreens()
    budget: AdminBudget = AdminBudget()
    energy: AdminEnergy = AdminEnergy()


def parse_administration(text: str, *, source: str) -> Administration:
    """Return the policy that a TOML text makes.

    Args:
        text: TOML. source: the file's path, for errors.

    Raises:
        ConfigError: it is no TOML, or says what a policy cannot say.
    """
    try:
        return Administration.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}; nothing is recorded until it is mended") from error
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            said = str(problem["msg"]).removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                said = (
                    "there is no such key in an administrator's policy, which can only narrow what a person configured"
                )
            lines.append(f"{source}: {key}: {said}; nothing is recorded until it is mended")
        raise ConfigError("\n".join(lines)) from error


def narrowed(config: Config, admin: Administration) -> Config:
    """Return a person's configuration as far as an administrator's policy lets it.

    Raises:
        ConfigError: their regions contradict each other, so that nothing can be recorded.
    """
    scope, theirs = config.scope, admin.scope
    region = config.consent.region
    if admin.consent.region and region not in ("", admin.consent.region):
        raise ConfigError(
            f'the administrator\'s policy says consent.region = "{admin.consent.region}", your configuration says '
            f'"{region}": nothing can be recorded until they agree'
        )
    purposes = config.consent.purposes
    if admin.consent.purposes is not None:
        purposes = tuple(purpose for purpose in purposes if purpose in admin.consent.purposes)
    allow, sites, content = scope.allow, scope.sites, scope.content
    if theirs.allow is not None:
        allow = both(classes_of(allow), classes_of(theirs.allow))
    if theirs.sites is not None:
        sites = both_hosts(hosts_of(sites), hosts_of(theirs.sites))
    if theirs.content is not None:
        mine, other = ((*classes_of(words), *hosts_of(words)) for words in (content, theirs.content))
        content = tuple(word for word in dict.fromkeys(mine) if word in other)
    hide = theirs.desktop is Desktop.HIDE
    floor = _most(config.energy.floor, admin.energy.floor)
    return config.model_copy(
        update={
            "consent": config.consent.model_copy(
                update={
                    "purposes": purposes,
                    "region": region or admin.consent.region or "",
                    "retention": _least(config.consent.retention, admin.consent.retention),
                }
            ),
            "scope": scope.model_copy(
                update={
                    "allow": allow,
                    "deny": tuple(dict.fromkeys((*scope.deny, *theirs.deny))),
                    "sites": sites,
                    "deny_sites": tuple(dict.fromkeys((*scope.deny_sites, *theirs.deny_sites))),
                    "content": content,
                    "desktop": Desktop.HIDE if hide else scope.desktop,
                }
            ),
            "capture": config.capture.model_copy(
                update={
                    "pointer_interval": _most(config.capture.pointer_interval, admin.capture.pointer_interval),
                    "hold_back": _most(config.capture.hold_back, admin.capture.hold_back),
                }
            ),
            "screens": config.screens.model_copy(
                update={
                    "enabled": config.screens.enabled and admin.screens.enabled is not False,
                    "min_interval": _most(config.screens.min_interval, admin.screens.min_interval),
                }
            ),
            "budget": config.budget.model_copy(
                update={
                    "day": _least(config.budget.day, admin.budget.day),
                    "month": _least(config.budget.month, admin.budget.month),
                }
            ),
            "energy": config.energy.model_copy(
                update={
                    "cpu_mains": _least(config.energy.cpu_mains, admin.energy.cpu_mains),
                    "cpu_battery": _least(config.energy.cpu_battery, admin.energy.cpu_battery),
                    "screens_floor": max(floor, _most(config.energy.screens_floor, admin.energy.screens_floor)),
                    "floor": floor,
                }
            ),
        }
    )


Amount = TypeVar("Amount", int, float, timedelta)


def _least(mine: Amount | None, theirs: Amount | None) -> Amount | None:
    return mine if theirs is None else theirs if mine is None else min(mine, theirs)


def _most(mine: Amount, theirs: Amount | None) -> Amount:
    return mine if theirs is None else max(mine, theirs)
