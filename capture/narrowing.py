"""Pure: the order of terms: whether new ones are wider than those that a person accepted, in any respect.

Guarantees: where this says that terms are no wider, every window is judged no more freely by them, no byte, no screenshot
and no day of retention is added, and neither purposes, readers nor the server differ. Where it cannot be told (two
patterns that overlap), they count as wider: a needless question is better than a missing one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from capture.consent import Terms
from capture.sites import names


def covers(wide: str, narrow: str) -> bool:
    """Tell whether a pattern of window classes matches all that another does; False also where it cannot be told."""
    if wide == narrow:
        return True
    if "[" in wide + narrow or "?" in wide:
        return False
    # With nothing but stars to fill, what matches the narrow pattern's text matches whatever its own signs stand for.
    return fnmatchcase(narrow, wide)


def all_covered(narrow: Iterable[str], wide: Iterable[str]) -> bool:
    """Tell whether each pattern of window classes is covered by one of the others."""
    wide = tuple(wide)
    exact = frozenset(wide)
    return all(pattern in exact or any(covers(other, pattern) for other in wide) for pattern in narrow)


def all_below(narrow: Iterable[str], wide: Iterable[str]) -> bool:
    """Tell whether each host is one of the others or lies below one."""
    wide = tuple(wide)
    return all(names(wide, host) for host in narrow)


def both(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """Return patterns of window classes that stand for nothing but what both lists allow.

    Of two patterns that merely overlap nothing is left: narrower than it might be, never wider.
    """
    return _both(one, other, covers)


def both_hosts(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """Return hosts that both lists allow."""
    return _both(one, other, lambda wide, narrow: names((wide,), narrow) is not None)


def _both(one: Iterable[str], other: Iterable[str], holds: Callable[[str, str], bool]) -> tuple[str, ...]:
    other = tuple(other)
    found = []
    for mine in one:
        for theirs in other:
            if holds(theirs, mine):
                found.append(mine)
            elif holds(mine, theirs):
                found.append(theirs)
    return tuple(dict.fromkeys(found))


def wider(new: Terms, accepted: Terms) -> tuple[str, ...]:
    """Return in which respects new terms go beyond accepted ones, in words; empty: in none.

    Args:
        new: what would be in force. accepted: what the person said yes to.
    """
    respects = (
        ("purposes", set(new.purposes) <= set(accepted.purposes)),
        ("applications", all_covered(new.applications, accepted.applications)),
        ("exceptions among applications", all_covered(accepted.denied, new.denied)),
        ("sites", all_below(new.sites, accepted.sites)),
        ("exceptions among sites", all_below(accepted.denied_sites, new.denied_sites)),
        ("what counts as other people's words", set(accepted.guarded) <= set(new.guarded)),
        ("mail and chat recorded whole", set(new.content) <= set(accepted.content)),
        ("what is never recorded", set(accepted.never) <= set(new.never)),
        ("the desktop's background", new.show_desktop <= accepted.show_desktop),
        ("what is recorded", set(new.kinds) <= set(accepted.kinds)),
        ("screenshots", new.screenshots <= accepted.screenshots),
        (
            "how often there are screenshots",
            not new.screenshots or new.screenshot_interval_s >= accepted.screenshot_interval_s,
        ),
        ("how closely the pointer is followed", new.pointer_interval_ms >= accepted.pointer_interval_ms),
        ("who can read it", new.readers == accepted.readers),
        ("where it is sent", new.server == accepted.server),
        ("how long it is kept", new.retention_days <= accepted.retention_days),
        ("where it is kept", accepted.region in ("", new.region)),
        ("how long it stays here first", new.hold_back_s >= accepted.hold_back_s),
        (
            "how much stays on this machine",
            new.copies_s <= accepted.copies_s and new.copies_bytes <= accepted.copies_bytes,
        ),
        ("bytes a day", _at_most(new.day_bytes, accepted.day_bytes)),
        ("bytes a month", _at_most(new.month_bytes, accepted.month_bytes)),
        ("what is sent over which networks", set(new.links) <= set(accepted.links)),
        ("processor time", new.cpu_mains <= accepted.cpu_mains and new.cpu_battery <= accepted.cpu_battery),
        ("battery", new.screens_floor >= accepted.screens_floor and new.floor >= accepted.floor),
    )
    return tuple(name for name, holds in respects if not holds)


def _at_most(new: int | None, accepted: int | None) -> bool:
    return accepted is None or (new is not None and new <= accepted)
