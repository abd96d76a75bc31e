"""Shell: thousands of households' months under modicum's byte budget, and under three simpler rules.

    python -m benches.budget --households 10000 --seed 1 [--json OUT] [--plot OUT] [--compiled]

Each household is one billing period (after up to five weeks in which its habits could be learned; every fifth has just
been installed). Prints a table, and exits with 1 if a promise is broken: a limit exceeded by a single byte, less than
97 % of a scarce budget used in the median or 90 % at the 5th percentile, or an hour of activity without events.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benches import compiled
from benches.homes import SLOT_S, Home, home
from benches.throttles import Bucket, Fixed, Modicum, Month, on_the_wire
from capture.ladder import Rung
from transport.periods import NS_PER_S

RULES = ("modicum", "fixed rate", "fixed rate, stops", "token bucket")
CLASSES = ((0, 300e6, "100-300 MB"), (300e6, 1e9, "0.3-1 GB"), (1e9, 3e9, "1-3 GB"), (3e9, 1e13, "3 GB-1 TB"))
MIN_MEDIAN, MIN_P5 = 0.97, 0.90
PROCESSES = 2
SCARCE_DAY_BYTES = 2_000_000
"""With so much a day, every hour of activity must have events."""


@dataclass(frozen=True, slots=True)
class Result:
    """One household's month under one rule.

    Attributes:
        month_bytes: the budget. attainable: what of it the demand of its days could use. demand: bytes with everything.
        used: bytes on the wire. overruns: days and periods over their limit.
        hours, with_events, with_frames, longest_gap_h: of activity. new: just installed. jumps: its clock was set.
    """

    index: int
    kind: str
    rule: str
    month_bytes: int
    attainable: int
    demand: int
    used: int
    overruns: int
    hours: int
    with_events: int
    with_frames: int
    longest_gap_h: int
    new: bool
    jumps: bool

    @property
    def scarce(self) -> bool:
        """Whether the demand was more than the budget."""
        return self.demand > self.attainable and self.attainable > 0


@dataclass(frozen=True, slots=True)
class Simulated:
    """A household's results, one a rule; the days that it lived, and the CPU seconds that they took."""

    results: list[Result]
    days: float
    cpu_s: float


def simulate(index: int, *, seed: int) -> Simulated:
    """Simulate a household."""
    began_s = time.process_time()
    place = home(seed, index)
    results = [result for result, _ in live(place, seed)]
    days = (place.calendar.start_ns(place.after_day) - place.install_ns) / NS_PER_S / 86400
    return Simulated(results, days, time.process_time() - began_s)


def live(place: Home, seed: int, *, drawn: bool = False) -> list[tuple[Result, Month]]:
    """Live through a household's month under every rule; for a picture (`drawn`), keep every step."""
    chances = [random.Random(f"{seed}/{place.index}/{rule}") for rule in RULES]
    modicum = Modicum(place, chances[0])
    machines = (
        modicum,
        Fixed(place, chances[1], stops=False),
        Fixed(place, chances[2], stops=True),
        Bucket(place, chances[3]),
    )
    for machine in machines:
        machine.month.drawn = drawn
    demand: dict[int, tuple[int, int, bool]] = {}  # bytes of events, of frames; whether frames can be sent that day
    chance = random.Random(f"{seed}/{place.index}/demand")
    for slot in place.slots():
        for machine in machines:
            machine.work(slot)
        day = place.calendar.day_of(slot.start_ns)
        if place.first_day <= day < place.after_day:
            before = demand.get(day, (0, 0, False))
            made = (on_the_wire(payload, chance)[1] for payload in place.true_bytes(*place.highest(slot), slot))
            carries = slot.link == "unmetered" or place.metered_all
            demand[day] = (before[0] + next(made), before[1] + next(made), before[2] or carries)
    found = []
    for rule, month in zip(RULES, [machine.month for machine in machines], strict=True):
        month.close_hour()
        result = Result(
            index=place.index,
            kind=place.kind,
            rule=rule,
            month_bytes=place.month_bytes,
            attainable=attainable(place, demand),
            demand=sum(events + frames for events, frames, _ in demand.values()),
            used=month.used(place),
            overruns=month.overruns(place),
            hours=month.hours,
            with_events=month.with_events,
            with_frames=month.with_frames,
            longest_gap_h=month.longest_gap_h,
            new=place.new,
            jumps=bool(place.steps),
        )
        found.append((result, month))
    return found


def attainable(place: Home, demand: dict[int, tuple[int, int, bool]]) -> int:
    """Return the bytes that could be sent in the judged period by one who knew it beforehand.

    Args:
        demand: by day, bytes of events and of frames, and whether a link that carries frames was there.
    """
    waiting = sent = 0
    for events, frames, carries in demand.values():
        waiting += frames
        today = events + (waiting if carries else 0)
        if place.day_bytes is not None:
            today = min(today, place.day_bytes)
        waiting -= max(0, today - events)
        sent += today
    return min(place.month_bytes, sent)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Return the figures of some households under one rule."""
    scarce = [result.used / result.attainable for result in results if result.scarce]
    frames = [result.with_frames / result.hours for result in results if result.hours]
    events = [result.with_events / result.hours for result in results if result.hours]
    return {
        "months": len(results),
        "scarce": len(scarce),
        "overruns": sum(result.overruns for result in results),
        "months_over": sum(result.overruns > 0 for result in results),
        "used_median": median(scarce) if scarce else None,
        "used_p5": percentile(scarce, 0.05) if scarce else None,
        "hours_with_screenshots": sum(frames) / max(1, len(frames)),
        "hours_with_events": sum(events) / max(1, len(events)),
        "hours_with_events_min": min(events, default=1.0),
        "gap_median_h": median(result.longest_gap_h for result in results) if results else 0,
        "gap_p95_h": percentile([result.longest_gap_h for result in results], 0.95) if results else 0,
    }


def table(results: Sequence[Result]) -> str:
    """Return the table that the command prints."""
    head = (
        f"{'budget a month':<15}{'rule':<19}{'months':>7}{'over':>7}{'used: median':>14}{'5 %':>7}"
        f"{'screens':>9}{'events':>8}{'gap: median':>13}{'95 %':>7}"
    )
    lines = [head, "-" * len(head)]
    for low, high, name in (*CLASSES, (0, 1e13, "all")):
        for rule in RULES:
            those = [r for r in results if r.rule == rule and low <= r.month_bytes < high]
            if not those:
                continue
            figures = summary(those)
            used = "-" if figures["used_median"] is None else f"{figures['used_median']:.1%}"
            fifth = "-" if figures["used_p5"] is None else f"{figures['used_p5']:.1%}"
            lines.append(
                f"{name if rule == RULES[0] else '':<15}{rule:<19}{figures['months']:>7}{figures['months_over']:>7}"
                f"{used:>14}{fifth:>7}{figures['hours_with_screenshots']:>9.1%}{figures['hours_with_events']:>8.1%}"
                f"{figures['gap_median_h']:>11.0f} h{figures['gap_p95_h']:>5.0f} h"
            )
    lines += [
        "",
        "over: months in which a day's or the period's limit was exceeded, by true time. used: of the budget, where",
        "the demand exceeded it. screens, events: share of the hours of activity that have some. gap: the longest time",
        "of activity without a screenshot.",
    ]
    return "\n".join(lines)


def broken_promises(results: Sequence[Result]) -> list[str]:
    """Return what modicum promised and did not keep."""
    ours = [result for result in results if result.rule == RULES[0]]
    figures = summary(ours)
    broken = []
    if figures["overruns"]:
        broken.append(f"{figures['overruns']} limits were exceeded")
    if figures["used_median"] is not None and figures["used_median"] < MIN_MEDIAN:
        broken.append(f"the median household used {figures['used_median']:.1%} of a scarce budget")
    if figures["used_p5"] is not None and figures["used_p5"] < MIN_P5:
        broken.append(f"at the 5th percentile {figures['used_p5']:.1%} of a scarce budget was used")
    silent = [r.index for r in ours if r.month_bytes >= 30 * SCARCE_DAY_BYTES and r.with_events < r.hours]
    if silent:
        broken.append(f"{len(silent)} households have hours of activity without events")
    return broken


def plot(place: Home, seed: int, out: Path) -> None:
    """Draw a household's month: budget, pace and plan."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lived = live(place, seed, drawn=True)
    begin = place.calendar.start_ns(place.first_day)
    days = place.after_day - place.first_day
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(10, 7), sharex=True, height_ratios=(3, 2))
    colours = ("#0b7a75", "#b23a48", "#e08e45", "#6d6875")
    for (result, month), colour in zip(lived, colours, strict=True):
        times = [(when - begin) / NS_PER_S / 86400 for when, _, _ in month.plans]
        used = [count / 1e6 for _, count, _ in month.plans]
        above.step(
            times, used, where="post", color=colour, label=result.rule, lw=2.2 if result.rule == RULES[0] else 1.2
        )
    limit = place.month_bytes / 1e6
    above.axhline(limit, color="black", lw=1, label=f"the budget, {limit:,.0f} MB")
    above.plot([0, days], [0, limit], color="black", lw=0.8, ls=":", label="even pace")
    above.set(ylabel="MB on the wire", ylim=(0, limit * 1.6), title=f"A month of one household ({place.kind})")
    above.legend(loc="upper left", fontsize=9)
    ours = lived[0][1].plans
    below.scatter(
        [(when - begin) / NS_PER_S / 86400 for when, _, _ in ours], [rung for _, _, rung in ours], s=4, color=colours[0]
    )
    below.set(
        xlabel="day of the billing period",
        xlim=(0, days),
        yticks=list(Rung),
        yticklabels=[rung.name.lower().replace("_", " ") for rung in Rung],
        title="modicum's plan",
    )
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def picture_home(seed: int) -> Home:
    """Return a household whose month is worth a picture: a scarce budget, habits that were learned, a true clock."""
    for index in range(1, 10_000, 2):
        place = home(seed, index)
        plain = place.day_bytes is None and not place.steps and not place.new and place.hotspot_ratio < 0.2
        if plain and place.kind == "office" and 3e8 < place.month_bytes < 8e8 and place.frame_factor > 0.8:
            return place
    raise LookupError(f"no household of seed {seed} fits: take another seed")


def main() -> int:
    """Run the simulation; return the exit code."""
    parser = argparse.ArgumentParser(description="Simulate households under modicum's byte budget.")
    parser.add_argument("--households", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every household's results there")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw one household's month there (PNG or SVG)")
    parser.add_argument("--compiled", action="store_true", help="compile the cores first: half the time for thousands")
    given = parser.parse_args()
    if given.compiled:
        return compiled.run("benches.budget", [word for word in sys.argv[1:] if word != "--compiled"])
    began = time.perf_counter()
    results: list[Result] = []
    days = cpu_s = 0.0
    with multiprocessing.Pool(PROCESSES, gc.disable) as pool:  # nothing here makes cycles worth the search for them
        for done, found in enumerate(
            pool.imap_unordered(partial(simulate, seed=given.seed), range(given.households), chunksize=20), 1
        ):
            results.extend(found.results)
            days, cpu_s = days + found.days, cpu_s + found.cpu_s
            if sys.stderr.isatty() and done % 100 == 0:
                print(f"\r{done} of {given.households} households", end="", file=sys.stderr)
    elapsed_s = time.perf_counter() - began
    results.sort(key=lambda result: (result.index, RULES.index(result.rule)))
    print(table(results))
    hours = sum(result.hours for result in results) / len(RULES)
    print(
        f"\n{given.households:,} household-months ({hours:,.0f} h of activity in steps of {SLOT_S // 60} min), "
        f"seed {given.seed}: {elapsed_s:.0f} s with {PROCESSES} processes, {cpu_s:.0f} s of CPU, "
        f"a simulated year takes {cpu_s / days * 365:.2f} s per household under all four rules"
    )
    broken = broken_promises(results)
    if given.json:
        document = {
            "seed": given.seed,
            "elapsed_s": round(elapsed_s, 1),
            "cpu_s": round(cpu_s, 1),
            "cpu_s_per_year": round(cpu_s / days * 365, 3),
            "broken": broken,
            "rules": {rule: summary([r for r in results if r.rule == rule]) for rule in RULES},
            "households": [asdict(result) for result in results],
        }
        given.json.write_text(json.dumps(document), encoding="utf-8")
    if given.plot:
        plot(picture_home(given.seed), given.seed, given.plot)
    for promise in broken:
        print(f"BROKEN: {promise}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
