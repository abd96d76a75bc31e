"""Pure: what the configuration means: to the governor, the policy, the budget, and in words to its reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from capture import catalogue
from capture.catalogue import Level
from capture.conditions import ALL_LINKS, Purse, Settings, Span
from capture.config import BudgetSection, Config, Desktop, EffortChoice, LinkSection, Sendable
from capture.consent import CLIPBOARD_KINDS, KINDS, LABEL_KIND, SEMANTIC_KINDS, Terms
from capture.denied import BROWSERS, DENIED, PRIVATE_TITLES
from capture.habits import Habits
from capture.labels import Labels
from capture.ladder import FRAME_INTERVAL_MS, IN_WORDS, TOP, Effort, Rung, Upload
from capture.policy import Rules, is_browser
from capture.prices import Prices
from capture.review.bounds import Bounds
from capture.units import Hours, show_duration, show_share, show_size

LOOPBACK = ("127.0.0.1", "::1", "localhost")
DAYS_A_MONTH = 30.4
DEFAULT_SEND = {"unmetered": Sendable.ALL, "metered": Sendable.EVENTS, "roaming": Sendable.NOTHING}
"""What may go over a class of links whose section has no `send`."""


def sent_over(budget: BudgetSection) -> dict[str, Sendable]:
    """Return, by link class, what may be sent over it."""
    return {link: getattr(budget, link).send or default for link, default in DEFAULT_SEND.items()}


def link_class(config: Config, seen: str, network: str) -> str:
    """Return the class of the present link: what the configuration declares a network to be goes before what is seen.

    Args:
        seen: "unmetered", "metered", "roaming", "unknown" or "offline", from the operating system.
        network: its name; matches whatever its case.
    """
    if seen == "offline":
        # A broker on this very machine needs no network.
        return "unknown" if config.broker.host in LOOPBACK else seen
    declared = {name.casefold(): link for name, link in config.budget.networks.items()}
    return str(declared.get(network.casefold(), seen))


def rules_of(config: Config) -> Rules:
    """Return what the policy takes."""
    scope = config.scope
    correspondence, never = catalogue.at(Level.STRUCTURE), catalogue.at(Level.NEVER)
    return Rules(
        allow=catalogue.classes_of(scope.allow),
        deny=catalogue.classes_of(scope.deny),
        show_desktop=scope.desktop is Desktop.SHOW,
        sites=catalogue.hosts_of(scope.sites),
        deny_sites=catalogue.hosts_of(scope.deny_sites),
        correspondence=tuple(pattern for group in correspondence for pattern in group.classes),
        correspondence_sites=tuple(host for group in correspondence for host in group.hosts),
        content=(*catalogue.classes_of(scope.content), *catalogue.hosts_of(scope.content)),
        never={group.about: group.classes for group in never},
        never_sites={group.about: group.hosts for group in never},
    )


def kinds_of(config: Config) -> tuple[str, ...]:
    """Return what is recorded besides screenshots, as the notice says it."""
    if not config.semantics.enabled:
        return KINDS
    labels = (LABEL_KIND,) if config.semantics.labels is Labels.TEXT else ()
    return (*KINDS, *SEMANTIC_KINDS, *labels, *CLIPBOARD_KINDS[config.semantics.clipboard])


def terms_of(config: Config, *, readers: str) -> Terms:
    """Return what the consent notice says.

    Args:
        readers: who can read: the archive key's fingerprint and its owner.
    """
    rules, scope, budget = rules_of(config), config.scope, config.budget
    links = []
    for link, what in sent_over(budget).items():
        links += [f"events over {link} networks"] * (what is not Sendable.NOTHING)
        links += [f"screenshots over {link} networks"] * (what is Sendable.ALL)
    links += [f'"{name}" counts as {link}' for name, link in sorted(budget.networks.items()) if link != "roaming"]
    return Terms(
        purposes=tuple(map(str, config.consent.purposes)),
        applications=rules.allow,
        denied=rules.deny,
        sites=rules.sites,
        denied_sites=rules.deny_sites,
        guarded=(*rules.correspondence, *rules.correspondence_sites, *BROWSERS, *PRIVATE_TITLES),
        content=rules.content,
        never=tuple(
            pattern for kind in (DENIED, rules.never, rules.never_sites) for found in kind.values() for pattern in found
        ),
        named=scope.allow,
        named_sites=scope.sites,
        show_desktop=rules.show_desktop,
        kinds=kinds_of(config),
        screenshots=config.screens.enabled,
        screenshot_interval_s=round(config.screens.min_interval.total_seconds()),
        pointer_interval_ms=round(config.capture.pointer_interval / timedelta(milliseconds=1)),
        readers=readers,
        server=f"{config.broker.host}:{config.broker.port}",
        retention_days=config.consent.retention.days,
        region=config.consent.region,
        hold_back_s=int(config.capture.hold_back.total_seconds()),
        copies_s=int(config.review.keep.total_seconds()),
        copies_bytes=config.review.limit,
        day_bytes=budget.day,
        month_bytes=budget.month,
        links=tuple(links),
        cpu_mains=config.energy.cpu_mains,
        cpu_battery=config.energy.cpu_battery,
        screens_floor=config.energy.screens_floor,
        floor=config.energy.floor,
    )


def settings_of(config: Config, *, time_zone: str) -> Settings:
    """Return what the governor takes.

    Args:
        time_zone: the IANA name that "local" stands for.
    """
    energy, budget, screens = config.energy, config.budget, config.screens
    effort = {EffortChoice.AUTO: None, EffortChoice.FAST: Effort.FAST, EffortChoice.SMALL: Effort.SMALL}
    return Settings(
        time_zone=time_zone if budget.time_zone == "local" else budget.time_zone,
        screens=screens.enabled,
        min_frame_interval_ms=round(screens.min_interval / timedelta(milliseconds=1)),
        min_move_interval_ms=round(config.capture.pointer_interval / timedelta(milliseconds=1)),
        effort=effort[screens.effort],
        cpu_mains=energy.cpu_mains,
        cpu_battery=energy.cpu_battery,
        screens_floor=energy.screens_floor,
        floor=energy.floor,
        wakeups_s=energy.wakeups_s,
        memory_bytes=energy.memory,
        send={link: Upload(what) for link, what in sent_over(budget).items()},
        rate_bytes_s=None if budget.kbit_s is None else budget.kbit_s * 125,
        window_hours=_open_hours(budget.windows),
    )


def budget_table(config: Config, *, time_zone: str) -> dict[str, Any]:
    """Return what `transport.limits.Limits.from_table` takes: plain values only.

    Args:
        time_zone: the IANA name that "local" stands for.
    """
    budget = config.budget
    sections: Mapping[str, LinkSection] = {link: getattr(budget, link) for link in DEFAULT_SEND}
    return {
        "day_bytes": budget.day,
        "month_bytes": budget.month,
        "links": {link: (section.day, section.month) for link, section in sections.items()},
        "sendable": {link: str(what) for link, what in sent_over(budget).items()},
        "billing_day": budget.billing_day,
        "time_zone": time_zone if budget.time_zone == "local" else budget.time_zone,
        "rate_bytes_s": None if budget.kbit_s is None else budget.kbit_s * 125,
        "windows": tuple((hours.start_min, hours.end_min) for hours in budget.windows),
    }


class Standing(Protocol):
    """A limit and what is left of it (transport.limits.Standing)."""

    @property
    def span(self) -> str: ...
    @property
    def link(self) -> str | None: ...
    @property
    def left_bytes(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def end_wall_ns(self) -> int: ...


def purses_of(standings: Iterable[Standing]) -> dict[str, tuple[Purse, ...]]:
    """Return the purses of `Conditions` from where the budget's limits stand."""
    purses: dict[str, tuple[Purse, ...]] = {}
    for standing in standings:
        link = ALL_LINKS if standing.link is None else str(standing.link)
        purse = Purse(Span(standing.span), standing.left_bytes, standing.limit, standing.end_wall_ns)
        purses[link] = (*purses.get(link, ()), purse)
    return purses


def _open_hours(windows: tuple[Hours, ...]) -> float:
    open_minutes = {
        minute % (24 * 60)
        for hours in windows
        for minute in range(hours.start_min, hours.end_min + (24 * 60 if hours.end_min <= hours.start_min else 0))
    }
    return len(open_minutes) / 60 if windows else 24.0


def bounds_of(config: Config) -> Bounds:
    """Return how long and how much of the person's own copies is kept."""
    return Bounds(config.review.keep.total_seconds(), config.review.limit)


@dataclass(frozen=True, slots=True)
class Rates:
    """What recording costs on this machine.

    Attributes:
        prices: of the rungs. hours_a_day: of activity, on a mean day. measured: they were learned here.
    """

    prices: Prices
    hours_a_day: float
    measured: bool

    @classmethod
    def typical(cls) -> Rates:
        """Return the rates of which nothing is known yet."""
        return cls(Prices(), Habits("UTC").hours_a_day(), measured=False)

    @classmethod
    def learned(cls, state: Mapping[str, Any]) -> Rates:
        """Return the rates that the governor learned (`Governor.to_state`); typical ones where that is damaged."""
        try:
            return cls(Prices(state["prices"]), Habits("UTC", state["habits"]).hours_a_day(), measured=True)
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls.typical()


def describe(config: Config, rates: Rates | None = None) -> str:
    """Return what the configuration means, in some lines.

    Args:
        rates: what recording costs; without it, typical ones.
    """
    rates = rates or Rates.typical()
    return "\n".join([*_describe_scope(config), *_describe_bytes(config, rates), *_describe_energy(config, rates)])


def _describe_scope(config: Config) -> list[str]:
    allow = ", ".join(config.scope.allow) or "nothing (scope.allow is empty), so nothing will be recorded"
    lines = [f"Recorded: {allow}."]
    if any(is_browser(pattern) for pattern in catalogue.classes_of(config.scope.allow)):
        sites = ", ".join(config.scope.sites) or "none (scope.sites is empty), so browsers are not recorded"
        lines.append(f"Of browsers, only while they show these sites: {sites}.")
    if config.scope.content:
        lines.append(f"Recorded with other people's words: {', '.join(config.scope.content)}.")
    if config.scope.deny or config.scope.deny_sites:
        lines.append(
            f"Never recorded, besides what never is: {', '.join([*config.scope.deny, *config.scope.deny_sites])}."
        )
    if not config.archive.public_key:
        lines.append("There is no archive.public_key yet: nothing can be sealed, so nothing will be recorded.")
    lines.append(
        f"For: {', '.join(config.consent.purposes)}; deleted after {show_duration(config.consent.retention)}; "
        f"held back on this machine for {show_duration(config.capture.hold_back)} first."
    )
    return lines


def top_rung(config: Config) -> Rung:
    """Return the highest rung that the intervals of the configuration leave a difference to."""
    if not config.screens.enabled:
        return Rung.EVENTS
    shortest_ms = config.screens.min_interval / timedelta(milliseconds=1)
    fits = [rung for rung, interval_ms in FRAME_INTERVAL_MS.items() if interval_ms >= shortest_ms]
    return max(fits, default=TOP) if shortest_ms <= FRAME_INTERVAL_MS[Rung.EVERY_10MIN] else Rung.EVERY_10MIN


def _describe_bytes(config: Config, rates: Rates) -> list[str]:
    budget, top = config.budget, top_rung(config)
    effort = Effort.FAST if config.screens.effort is EffortChoice.FAST else Effort.SMALL
    price = rates.prices.of(top, effort)
    day = price.size_bytes * rates.hours_a_day
    at_rates = "At today's rates" if rates.measured else "At typical rates (nothing has been measured here yet)"
    lines = [
        f"{at_rates}, with {rates.hours_a_day:.1f} h of activity a day, everything would be "
        f"{_of(day, budget.day, 'a day')}, {_of(day * DAYS_A_MONTH, budget.month, 'a month')}."
    ]
    means = min(
        (limit / share for limit, share in ((budget.day, 1.0), (budget.month, DAYS_A_MONTH)) if limit is not None),
        default=None,
    )
    if means is not None:
        fits = [
            rung
            for rung in Rung
            if rung <= top and rates.prices.of(rung, effort).size_bytes * rates.hours_a_day <= means
        ]
        rung = max(max(fits[-1:] or [Rung.CLICKS]), Rung.CLICKS)
        day = rates.prices.of(rung, effort).size_bytes * rates.hours_a_day
        lines.append(
            f"So a mean hour is recorded with: {IN_WORDS[rung]}. That is {_of(day, budget.day, 'a day')}, "
            f"{_of(day * DAYS_A_MONTH, budget.month, 'a month')}"
            + ("; what is left over is spent on the rung above." if rung < top else ".")
        )
    for link, what in sent_over(budget).items():
        section: LinkSection = getattr(budget, link)
        limits = [
            f"{show_size(limit)} {span}"
            for limit, span in ((section.day, "a day"), (section.month, "a month"))
            if limit is not None
        ]
        lines.append(f"Over {link} links: {what}" + (f", at most {' and '.join(limits)}" if limits else "") + ".")
    if budget.networks:
        declared = ", ".join(f'"{name}" is {link}' for name, link in budget.networks.items())
        lines.append(f"Declared: {declared}.")
    zone = "this machine's time zone" if budget.time_zone == "local" else budget.time_zone
    when = "at any hour" if not budget.windows else "at " + ", ".join(map(str, budget.windows))
    rate = "" if budget.kbit_s is None else f", at most {budget.kbit_s} kbit/s"
    lines.append(f"Sent {when}{rate}. The billing period begins on day {budget.billing_day}, in {zone}.")
    return lines


def _of(size_bytes: float, limit: int | None, span: str) -> str:
    text = f"{show_size(size_bytes)} {span}"
    return text if limit is None else f"{text} of {show_size(limit)}"


def _describe_energy(config: Config, rates: Rates) -> list[str]:
    energy, spool = config.energy, config.spool
    return [
        f"CPU: at most {show_share(energy.cpu_mains)} of a core on mains, {show_share(energy.cpu_battery)} on battery; "
        f"screenshots stop below {show_share(energy.screens_floor)} of charge, everything below "
        f"{show_share(energy.floor)}; at most {energy.wakeups_s:g} wake-ups a second and {show_size(energy.memory)} of memory.",
        f"Spool: {show_size(spool.limit)} or {show_duration(spool.age)}; when it is full: {spool.when_full}.",
    ]
