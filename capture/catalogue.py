"""Pure: the catalogue of work applications and sites in groups, and what "@group" in a configuration stands for.

The groups stand in data/catalogue.toml, which is a part of the program as this text is, and is reviewed like it. Guarantees:
naming a group that is never recorded is an error where it would allow, and harmless where it denies.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files


class Level(StrEnum):
    """What a group can have once it is allowed."""

    EVERYTHING = "everything"
    STRUCTURE = "structure"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Group:
    """A named group.

    Attributes:
        name: as "@name" in a configuration. about: what they have in common. level: see there.
        apps, sites: by the name that people know: patterns of window classes, hosts.
    """

    name: str
    about: str
    level: Level
    apps: Mapping[str, tuple[str, ...]]
    sites: Mapping[str, tuple[str, ...]]

    @property
    def classes(self) -> tuple[str, ...]:
        """All patterns of window classes."""
        return tuple(pattern for patterns in self.apps.values() for pattern in patterns)

    @property
    def hosts(self) -> tuple[str, ...]:
        """All hosts."""
        return tuple(host for hosts in self.sites.values() for host in hosts)


@functools.cache
def catalogue() -> Mapping[str, Group]:
    """Return the groups by name, in the file's order."""
    table = tomllib.loads(files("capture").joinpath("data/catalogue.toml").read_text(encoding="utf-8"))
    return {
        name: Group(name, fields["about"], Level(fields["level"]), _tuples(fields, "apps"), _tuples(fields, "sites"))
        for name, fields in table.items()
    }


def _tuples(fields: Mapping[str, Mapping[str, list[str]]], kind: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(patterns) for name, patterns in fields.get(kind, {}).items()}


def group_of(word: str) -> Group | None:
    """Return the group that a word of a configuration names, None when it names none ("code").

    Raises:
        ValueError: it begins with @, and there is no such group.
    """
    if not word.startswith("@"):
        return None
    group = catalogue().get(word[1:])
    if group is None:
        raise ValueError(f"there is no such group; there are: {', '.join(f'@{name}' for name in catalogue())}")
    return group


def check_allowed(word: str) -> None:
    """Check that a word may stand where something is allowed.

    Raises:
        ValueError: it names a group that does not exist, or one that is never recorded.
    """
    group = group_of(word)
    if group is not None and group.level is Level.NEVER:
        raise ValueError(f"{group.about}: this group is never recorded, and no configuration changes that")


def classes_of(words: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns of window classes that words of a configuration stand for."""
    return _expanded(words, hosts=False)


def hosts_of(words: Iterable[str]) -> tuple[str, ...]:
    """Return the hosts that words of a configuration stand for."""
    return _expanded(words, hosts=True)


def _expanded(words: Iterable[str], *, hosts: bool) -> tuple[str, ...]:
    found: list[str] = []
    for word in words:
        group = group_of(word)
        found.extend([word] if group is None else group.hosts if hosts else group.classes)
    return tuple(dict.fromkeys(found))


def at(level: Level) -> tuple[Group, ...]:
    """Return the groups of a level."""
    return tuple(group for group in catalogue().values() if group.level is level)
