"""Pure: how a hand moves and types, as numbers: pointer paths and key timings with the spread that people have.

Paths follow the minimum-jerk profile (Flash and Hogan 1985) with Fitts's law for the duration (MacKenzie 1992: a = 0.1 s,
b = 0.12 s/bit for a mouse), a slight arc, a correction after most long moves, and tremor. Key timings are log-normal, with
means as in the 136-million-keystroke study of Dhakal et al. (2018): about 52 words/min, 120 ms between press and
release, rollover now and then. Nothing here is exact psychology; it is there so that compression and pacing meet data of the
right kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

REPORT_RATE_HZ = 125
"""Of a plain USB mouse: one report each 8 ms."""

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stroke:
    """One key of a text.

    Attributes:
        char: the character or the name of a key.
        wait_ms: from the press before to this press.
        hold_ms: from press to release; longer than the next `wait_ms` is rollover.
        done: how many characters of the text stand there after it.
    """

    char: str
    wait_ms: float
    hold_ms: float
    done: int


def move_duration_s(distance_px: float, target_px: float, rng: Random) -> float:
    """Return how long a move takes, by Fitts's law in Shannon's form, with 15 % spread."""
    bits = math.log2(distance_px / max(target_px, 4.0) + 1)
    return max(0.06, (0.1 + 0.12 * bits) * rng.lognormvariate(0, 0.15))


def path(start: Point, end: Point, target_px: float, rng: Random, *, rate_hz: int = REPORT_RATE_HZ) -> list[Point]:
    """Return where the pointer is at each report of the mouse, the last being exactly `end`.

    Args:
        start: where it is; the list does not repeat it.
        end: where it shall be.
        target_px: how wide the target is: small ones are approached slowly and corrected.
        rng: the hand.
        rate_hz: reports a second.
    """
    distance = math.dist(start, end)
    if distance < 1:
        return []
    if distance > 120 and rng.random() < 0.7:
        # The first move of the hand ends beside the target: short of it, or past it.
        miss = rng.gauss(-0.01, 0.035) * distance
        aside = rng.gauss(0, 0.02) * distance
        along = ((end[0] - start[0]) / distance, (end[1] - start[1]) / distance)
        near = (
            round(end[0] + along[0] * miss - along[1] * aside),
            round(end[1] + along[1] * miss + along[0] * aside),
        )
        pause = [near] * rng.randint(2, 9)
        return _sweep(start, near, target_px * 2, rng, rate_hz) + pause + _sweep(near, end, target_px, rng, rate_hz)
    return _sweep(start, end, target_px, rng, rate_hz)


def _sweep(start: Point, end: Point, target_px: float, rng: Random, rate_hz: int) -> list[Point]:
    distance = math.dist(start, end)
    if distance < 1:
        return []
    steps = max(2, round(move_duration_s(distance, target_px, rng) * rate_hz))
    dx, dy = (end[0] - start[0]) / distance, (end[1] - start[1]) / distance
    arc = rng.gauss(0, 0.03) * distance
    tremor_x = tremor_y = 0.0
    points = []
    for step in range(1, steps + 1):
        t = step / steps
        along = distance * t**3 * (10 - 15 * t + 6 * t * t)
        aside = arc * math.sin(math.pi * t)
        tremor_x, tremor_y = 0.8 * tremor_x + rng.gauss(0, 0.35), 0.8 * tremor_y + rng.gauss(0, 0.35)
        fade = 1 - t  # the hand is still when it has arrived
        points.append(
            (
                round(start[0] + dx * along - dy * aside + tremor_x * fade),
                round(start[1] + dy * along + dx * aside + tremor_y * fade),
            )
        )
    points[-1] = end
    return points


NEIGHBOURS = {"a": "s", "e": "r", "i": "o", "n": "m", "o": "p", "r": "t", "s": "d", "t": "r", "h": "j", "l": "k"}


def strokes(text: str, rng: Random, *, typo_ratio: float = 0.015) -> list[Stroke]:
    """Return the keys that type a text, slips and their corrections included.

    Args:
        text: what stands there in the end; newlines are Return.
        rng: the hand.
        typo_ratio: the share of letters that are hit wrong first.
    """
    found: list[Stroke] = []
    before = ""
    for i, char in enumerate(text):
        if char in NEIGHBOURS and rng.random() < typo_ratio:
            found.append(_stroke(NEIGHBOURS[char], before, rng, i))
            found.append(Stroke("BackSpace", rng.lognormvariate(math.log(330), 0.3), rng.gauss(90, 15), i))
            before = ""
        found.append(_stroke(char, before, rng, i + 1))
        before = char
    return found


def _stroke(char: str, before: str, rng: Random, done: int) -> Stroke:
    mean_ms = 165.0
    if char == before:
        mean_ms = 150  # the finger is there already
    elif before in {"", ".", ",", "\n"}:
        mean_ms = 420  # a thought
    elif before == " ":
        mean_ms = 210
    elif not char.isalpha() and char != " ":
        mean_ms = 260
    return Stroke(char, rng.lognormvariate(math.log(mean_ms), 0.32), max(35.0, rng.gauss(112, 24)), done)


def wheel_waits_ms(clicks: int, rng: Random) -> list[float]:
    """Return the waits between the clicks of a wheel: flicks of a finger, four to seven clicks each."""
    waits: list[float] = []
    left = 0
    for _ in range(clicks):
        if left == 0:
            left = rng.randint(4, 7)
            waits.append(rng.lognormvariate(math.log(380), 0.4))
        else:
            waits.append(max(12.0, rng.gauss(38, 10)))
        left -= 1
    return waits
