"""Pure: the status laid out for a terminal of a given width: lines of styled pieces of text, with or without colours.

The same lines serve `modicum status` (plain, or coloured by `ansi`) and `modicum status --watch` (capture/watch.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from capture.status import Status
from capture.units import show_share, show_size

Piece = tuple[str, str]
"""A text and its style: "", "dim", "bold", "good", "warn", "bad" or "accent"."""
Line = list[Piece]

ANSI = {"dim": "2", "bold": "1", "good": "32", "warn": "33", "bad": "31", "accent": "36"}
MIN_WIDTH, MAX_WIDTH = 72, 110
"""Narrower is cut off by the terminal; wider only tears apart what belongs together."""
LABEL = 10
STATES = {"recording": ("●", "good"), "waiting": ("○", "dim"), "paused": ("‖", "warn"), "suspended": ("‖", "warn")}
PARTS = " ▏▎▍▌▋▊▉█"
SPARKS = "▁▂▃▄▅▆▇█"
NEARLY = 0.9
"""From this share of a limit on its bar is a warning."""
PERIODS = (("day", "today"), ("month", "period"))


def text(lines: Iterable[Line]) -> str:
    """Return the lines without colours."""
    return "\n".join("".join(piece for piece, _ in line).rstrip() for line in lines)


def ansi(lines: Iterable[Line]) -> str:
    """Return the lines with colours (ECMA-48's SGR)."""
    return "\n".join(
        "".join(f"\x1b[{ANSI[style]}m{piece}\x1b[0m" if style else piece for piece, style in line) for line in lines
    )


def lay_out(status: Status, width: int) -> list[Line]:
    """Return the whole status.

    Args:
        width: of the terminal, characters.
    """
    width = min(max(width, MIN_WIDTH), MAX_WIDTH)
    blocks = (
        _head(status, width),
        _labelled("plan", [[(status.plan, "bold")]], width) + _why(status.plan_reasons, width),
        _budget(status, width),
        _links(status, width),
        _work(status, width),
        _notes(status, width),
    )
    lines: list[Line] = []
    for block in blocks:
        if block:
            lines += [[], *block] if lines else block
    return lines


def spark(counts: Sequence[float], width: int) -> str:
    """Return the last `width` counts as small bars; nothing is the lowest."""
    last = counts[-width:]
    most = max(last, default=0)
    if most <= 0:
        return SPARKS[0] * len(last)
    return "".join(SPARKS[min(len(SPARKS) - 1, round(count / most * (len(SPARKS) - 1)))] for count in last)


def _head(status: Status, width: int) -> list[Line]:
    sign, style = STATES.get(status.state, ("?", "warn"))
    since = f"since {datetime.fromtimestamp(status.since_wall_s):%H:%M}" if status.since_wall_s else ""
    device = f"device {status.device}" if status.device else ""
    right = "  ".join(filter(None, (device, since)))
    left = f"modicum  {sign} {status.state}"
    head: Line = [("modicum  ", "bold"), (f"{sign} {status.state}", style)]
    head.append((" " * max(2, width - len(left) - len(right)) + right, "dim"))
    return [head, [("─" * width, "dim")], *_labelled("because", [[("; ".join(status.state_reasons), "")]], width)]


def _labelled(label: str, lines: Sequence[Line], width: int) -> list[Line]:
    """Put a label before the first line; a line of a single piece is wrapped."""
    wrapped: list[Line] = []
    for line in lines:
        if len(line) == 1:
            wrapped += [[(part, line[0][1])] for part in textwrap.wrap(line[0][0], width - LABEL) or [""]]
        else:
            wrapped.append(line)
    return [[((label if number == 0 else "").ljust(LABEL), "dim"), *line] for number, line in enumerate(wrapped)]


def _why(reasons: Sequence[str], width: int) -> list[Line]:
    lines: list[Line] = []
    for reason in reasons:
        for number, part in enumerate(textwrap.wrap(reason, width - LABEL - 2)):
            lines.append([(" " * LABEL + ("· " if number == 0 else "  "), "dim"), (part, "")])
    return lines


def _budget(status: Status, width: int) -> list[Line]:
    """Return a bar for the day and one for the period, with the even pace marked, and the forecast."""
    budget, pace = status.budget, status.pace
    lines: list[Line] = []
    for span, name in PERIODS:
        used, limit = int(budget.get(f"{span}_used", 0)), budget.get(f"{span}_limit")
        figures = f"{show_size(used)}" if limit is None else f"{show_size(used)} of {show_size(limit)}"
        rest = "no limit" if limit is None else f"{show_size(max(0, limit - used))} left"
        bar_width = width - LABEL - 2 - 20 - 2 - 14
        if limit is None:
            bar: Line = [(" " * bar_width, "")]
        else:
            bar = _bar(used / limit if limit else 1.0, pace.get(f"{span}_even_ratio"), bar_width)
        lines += _labelled(name, [[*bar, (f"  {figures:>20}", "bold"), (f"  {rest}", "")]], width)
    sentences = []
    if budget.get("forecast_month") is not None:
        sentences.append(f"forecast {_forecast(budget)} by {budget.get('month_end', '')}")
    bytes_h, hours = pace.get("bytes_h"), pace.get("hours")
    if bytes_h is not None:
        sentences.append(f"pace {show_size(max(0.0, bytes_h))} an hour of activity")
    if hours:
        sentences.append(f"some {hours:.0f} h to come")
    if sentences:
        lines += _labelled("", [[(" · ".join(sentences), "")]], width)
    if pace.get("month_even_ratio") is not None and budget.get("month_limit") is not None:
        lines += _labelled("", [[("│ in a bar: where an even pace over your hours would be", "dim")]], width)
    return lines


def _forecast(budget: Mapping[str, Any]) -> str:
    forecast, limit = budget["forecast_month"], budget.get("month_limit")
    if limit is not None and forecast > limit:
        return f"{show_size(limit)}, all of it: {show_size(forecast)} at this rate, were it not held"
    return show_size(forecast)


def _bar(ratio: float, even_ratio: float | None, width: int) -> Line:
    """Return a bar of `width` characters; a line in it marks the even pace."""
    ratio = min(max(ratio, 0.0), 1.0)
    eighths = round(ratio * width * 8)
    if ratio > 0 and eighths == 0:
        eighths = 1
    filled = ("█" * (eighths // 8) + (PARTS[eighths % 8] if eighths % 8 else "")).ljust(width, "░")[:width]
    style = "bad" if ratio >= 1 else "warn" if ratio >= NEARLY else "accent"
    cut = -(-eighths // 8)
    pieces: Line = [(filled[:cut], style), (filled[cut:], "dim")]
    if even_ratio is not None:
        at = min(width - 1, int(min(max(even_ratio, 0.0), 1.0) * width))
        pieces = [*_slice(pieces, 0, at), ("│", "bold"), *_slice(pieces, at + 1, width)]
    return pieces


def _slice(pieces: Line, start: int, end: int) -> Line:
    found: Line = []
    position = 0
    for piece, style in pieces:
        part = piece[max(0, start - position) : max(0, end - position)]
        if part:
            found.append((part, style))
        position += len(piece)
    return found


def _links(status: Status, width: int) -> list[Line]:
    """Return the bytes by class of links, and by kind."""
    if not status.links:
        return []
    columns = ("today", "period", "of", "left now", "sent over it")
    lines = _labelled(
        "network", [[("".join(f"{name:>11}" for name in columns[:4]) + f"   {columns[4]}", "dim")]], width
    )
    lines[0][1:] = [("".join(f"{name:>11}" for name in columns[:4]) + f"   {columns[4]}", "dim")]
    for link, used in status.links.items():
        here = link == ("metered" if status.link == "unknown" else status.link)
        limit, left = used.get("month_limit"), used.get("left_bytes")
        cells = (
            show_size(used.get("day_used", 0)),
            show_size(used.get("month_used", 0)),
            "no limit" if limit is None else show_size(limit),
            "-" if left is None else show_size(left),
        )
        name = [(link.ljust(LABEL), "bold" if here else "")]
        row = "".join(f"{cell:>11}" for cell in cells) + f"   {used.get('send', '')}"
        lines.append([*name, (row, "bold" if here else ""), (" ← now" if here else "", "accent")])
    total = sum(status.kinds.values())
    if total:
        parts = (
            f"{kind} {show_size(count)} ({show_share(round(count / total, 2))})" for kind, count in status.kinds.items()
        )
        lines += _labelled("kinds", [[(" · ".join(parts), "")]], width)
    return lines


def _work(status: Status, width: int) -> list[Line]:
    """Return what was recorded, what it took, and until when the broker lets this device in."""
    recorded, sizes, chunks, energy = status.recorded, status.bytes, status.chunks, status.energy
    lines = _labelled(
        "recorded",
        [
            [(f"{recorded.get('pointer', 0):,} pointer · {recorded.get('keys', 0):,} keys · "
              f"{recorded.get('rows', 0):,} rows · {recorded.get('frames', 0):,} frames", "")],
            [(" → ".join(f"{show_size(sizes.get(stage, 0))} {name}" for stage, name in (
                ("raw", "raw"), ("encoded", "encoded"), ("sealed", "sealed"), ("wire", "on the wire"))), "")],
        ],
        width,
    )  # fmt: skip
    lines += _labelled(
        "chunks",
        [[(f"{chunks.get('closed', 0)} closed · {chunks.get('sent', 0)} in the archive · {chunks.get('waiting', 0)} "
           f"waiting ({show_size(status.spool_bytes)} of {show_size(status.spool_limit_bytes)}) · "
           f"{chunks.get('open', 0)} open", "")]],
        width,
    )  # fmt: skip
    parts = []
    cpu, wakeups_s, rss_bytes = energy.get("cpu_ratio"), energy.get("wakeups_s"), energy.get("rss_bytes")
    if cpu is not None:
        parts.append(f"{show_share(cpu)} of a core (may: {show_share(energy.get('cpu_share') or 0)})")
    if wakeups_s is not None:
        parts.append(f"{wakeups_s:.1f} wake-ups/s (may: {energy.get('wakeups_limit') or 0:g})")
    if rss_bytes:
        parts.append(f"{show_size(rss_bytes)} of memory")
    if parts:
        lines += _labelled("energy", [[(" · ".join(parts), "")]], width)
    if status.certificate:
        lines += _labelled("access", [[(f"certificate: {status.certificate}", "")]], width)
    return lines


def _notes(status: Status, width: int) -> list[Line]:
    lines: list[Line] = []
    for reason, count in sorted(status.refused.items()):
        lines += _labelled("left out", [[(f"{count:,} x {reason}", "")]], width)
    for warning in status.warnings:
        lines += _labelled("warning", [[(warning, "warn")]], width)
    return lines
