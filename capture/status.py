"""Pure: what the agent says of itself, as a value for programs and as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Status:
    """A picture of the agent at one moment.

    Attributes:
        state: "recording", "paused", "waiting" (nothing allowed has the focus) or "suspended" (lock, low battery, ...).
        state_reasons: why, in words.
        plan: the governor's plan in words. plan_reasons: why.
        recorded: since the start: pointer, keys, rows, frames.
        bytes: since the start: raw, encoded, sealed, wire.
        chunks: open, closed (since the start), sent (acknowledged by the collector), waiting in the spool.
        spool_bytes, spool_limit_bytes: the spool.
        budget: day_used, day_limit, month_used, month_limit, month_end, forecast_month (bytes; limits None = none).
        links: by class of links: day_used, month_used, month_limit, left_bytes (now), send (what may go over it).
        kinds: bytes on the wire of this period: events, screens, overhead.
        pace: bytes_h, what an hour of activity may cost; hours, how many are expected; day_even_ratio, month_even_ratio,
            what of the limit an even pace over the hours of activity would have used.
        energy: cpu_ratio, cpu_share (what it may), wakeups_s, wakeups_limit, rss_bytes; None = not told.
        refused: what was not recorded, by reason.
        warnings: what the person should know or mend.
        certificate: how it stands with what the broker lets this device in by, in words; "": nothing. certificate_ends_s: when it
            ends, wall seconds.
    """

    state: str
    state_reasons: tuple[str, ...]
    plan: str
    plan_reasons: tuple[str, ...]
    recorded: Mapping[str, int]
    bytes: Mapping[str, int]
    chunks: Mapping[str, int]
    spool_bytes: int
    spool_limit_bytes: int
    budget: Mapping[str, Any]
    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    pace: Mapping[str, float | None] = field(default_factory=dict)
    energy: Mapping[str, float | None] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    link: str = ""
    device: str = ""
    since_wall_s: int = 0
    certificate: str = ""
    certificate_ends_s: float | None = None

    def to_answer(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Status:
        """Read what `to_answer` gave, from a newer or older agent as well: unknown fields are left out."""
        known = {name: answer[name] for name in cls.__dataclass_fields__ if name in answer}
        for name in ("state_reasons", "plan_reasons", "warnings"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)


def human_bytes(count: float | None) -> str:
    """Return a byte count as people write it: "812 B", "4.1 kB", "38 MB", "1.5 GB" (powers of 1000)."""
    if count is None:
        return "no limit"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 9.95 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def one_line(status: Status) -> str:
    """Return the status as one line for a live display."""
    recorded, sizes, budget = status.recorded, status.bytes, status.budget
    events = recorded.get("pointer", 0) + recorded.get("keys", 0)
    left = _left(budget, "day") if budget.get("day_limit") is not None else _left(budget, "month")
    why = f" ({'; '.join(status.plan_reasons[:2])})" if status.plan_reasons else ""
    return (
        f"{status.state}: {status.plan}{why} | {events:,} events, {recorded.get('frames', 0)} frames | "
        f"{human_bytes(sizes.get('sealed', 0))} recorded, {human_bytes(sizes.get('wire', 0))} on the wire, {left}"
    )


def _left(budget: Mapping[str, Any], period: str) -> str:
    limit = budget.get(f"{period}_limit")
    if limit is None:
        return "no budget set"
    return f"{human_bytes(max(0, limit - budget.get(f'{period}_used', 0)))} left this {period}"
