"""Invented persons at work: seeded pointer motion and typing, for benches, tests and the training of priors.

No recording of anyone is in here: hands move by minimum-jerk strokes with tremor, fingers type with log-normal gaps and
holds whose means and spreads differ from person to person as the literature on typing has them (gaps around 240 ms with
long tails, holds around 110 ms; Dhakal et al., 2018).
"""

from __future__ import annotations

import random

import numpy as np

from codec.model import KeyClass, KeyEvents, PointerEvents, Row, Scalar

_WORD_ENDS = ((KeyClass.SPACE, 0.86), (KeyClass.PUNCTUATION, 0.1), (KeyClass.EDIT, 0.04))


class Typist:
    """One person's hands on a keyboard.

    State: the random source, the person's pace, and the events so far.
    """

    def __init__(self, seed: int) -> None:
        rng = self._rng = random.Random(seed)
        self._gap_ms = rng.lognormvariate(5.1, 0.38)
        self._gap_spread = rng.uniform(0.22, 0.5)
        self._hold_ms = min(max(rng.gauss(104, 24), 45), 190)
        self._hold_spread = rng.uniform(0.12, 0.3)
        self._pause = rng.uniform(0.01, 0.05)
        self._of_class = {k: (rng.lognormvariate(0, 0.15), rng.lognormvariate(0, 0.1)) for k in KeyClass}
        self._poll_ms = rng.choice((0, 0, 1, 8, 8))  # how often the keyboard is asked; 0: as it comes
        self._phase_ms = rng.uniform(0, 8)
        self._t_ms = rng.uniform(0, 2000)
        self._strokes: list[tuple[float, float, int]] = []

    def type_for(self, duration_ms: float) -> KeyEvents:
        """Type for a while and return the events, with slots by the rule."""
        while self._t_ms < duration_ms:
            self._do_something()
        raw = []
        for number, (at, up, code) in enumerate(self._strokes):
            raw.append((self._stamp(at), 1, number, code))
            raw.append((max(self._stamp(up), self._stamp(at)), 0, number, code))
        raw.sort(key=lambda event: (event[0], -event[1]))
        slots: dict[int, int] = {}
        rows = []
        for t, down, number, code in raw:
            if down:
                slot = next(s for s in range(256) if s not in slots.values())
                slots[number] = slot
            else:
                slot = slots.pop(number)
            rows.append((t, bool(down), code, slot))
        t_ms, downs, codes, held = zip(*rows, strict=True)
        return KeyEvents(
            np.array(t_ms, np.int64), np.array(downs, np.bool_), np.array(codes, np.uint16), np.array(held, np.uint8)
        )

    def _stamp(self, t_ms: float) -> int:
        if self._poll_ms < 2:
            return int(t_ms)
        polls = -(-(t_ms - self._phase_ms) // self._poll_ms)
        return int(polls * self._poll_ms + self._phase_ms)

    def _press(self, code: KeyClass, *, gap: float = 1.0, hold: float = 1.0) -> None:
        rng = self._rng
        slower, longer = self._of_class[code]
        wait = self._gap_ms * slower * gap * rng.lognormvariate(0, self._gap_spread)
        if rng.random() < 0.12:
            wait *= rng.uniform(1.4, 3.0)
        self._t_ms += max(wait, 8.0)
        length = self._hold_ms * longer * hold * rng.lognormvariate(0, self._hold_spread)
        self._strokes.append((self._t_ms, self._t_ms + max(length, 12.0), code))

    def _with_modifier(self, code: KeyClass) -> None:
        rng = self._rng
        self._press(KeyClass.MODIFIER, gap=1.2)
        at = self._t_ms
        self._press(code, gap=rng.uniform(0.4, 0.9))
        self._strokes[-2] = (at, self._t_ms + rng.uniform(0.3, 1.4) * self._hold_ms, KeyClass.MODIFIER)

    def _do_something(self) -> None:
        rng = self._rng
        what = rng.random()
        if what < 0.82:
            if rng.random() < 0.12:
                self._with_modifier(KeyClass.LETTER)
            for _ in range(min(1 + int(rng.expovariate(1 / 4.2)), 14)):
                self._press(KeyClass.LETTER)
            end = rng.random()
            for code, share in _WORD_ENDS:
                end -= share
                if end < 0:
                    self._press(code, gap=0.95, hold=0.9)
                    break
        elif what < 0.90:
            for _ in range(rng.randint(1, 7)):
                self._press(KeyClass.EDIT, gap=0.8)
        elif what < 0.94:
            for _ in range(rng.randint(1, 12)):
                self._press(KeyClass.NAVIGATION, gap=0.7, hold=0.8)
        elif what < 0.97:
            for _ in range(rng.randint(1, 6)):
                self._press(KeyClass.DIGIT, gap=1.3)
        else:
            self._with_modifier(rng.choice((KeyClass.LETTER, KeyClass.LETTER, KeyClass.NAVIGATION)))
        if rng.random() < self._pause * 4:
            self._t_ms += rng.expovariate(1 / 2500)


def move_hand(
    seed: int, duration_ms: int, *, rate_hz: float = 125.0, screen: tuple[int, int] = (1920, 1080)
) -> PointerEvents:
    """Move an invented pointer: aimed strokes of minimum jerk with tremor, pauses, clicks, drags and wheel clicks.

    Args:
        seed: of the person.
        duration_ms: about how long.
        rate_hz: how often the source reports; times are whole milliseconds of its clock.
        screen: width and height in px.
    """
    rng = random.Random(seed)
    width, height = screen
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    speed = rng.lognormvariate(0, 0.3)
    tremor = rng.uniform(0.1, 0.7)
    step_ms = 1000.0 / rate_hz
    t = rng.uniform(0, 50)
    rows: list[tuple[int, int, int, int]] = []
    while t < duration_ms:
        near = rng.random() < 0.4
        reach = rng.lognormvariate(3.2 if near else 5.6, 0.8)
        angle = rng.vonmisesvariate(rng.choice((0, np.pi)), 0.9)
        goal_x = min(max(x + reach * np.cos(angle), 0), width - 1)
        goal_y = min(max(y + reach * np.sin(angle), 0), height - 1)
        length = max(90.0, (140 + 120 * np.log2(1 + reach / 30)) / speed * rng.lognormvariate(0, 0.25))
        bend = rng.gauss(0, 0.08) * reach
        from_x, from_y, start = x, y, t
        ticks = np.arange(start, start + length, step_ms)
        part = (ticks - start) / length
        reached = part**3 * (10 - 15 * part + 6 * part**2)
        aside = bend * np.sin(np.pi * reached)
        jitter = np.array([[rng.gauss(0, tremor) for _ in ticks] for _ in range(2)])
        xs = from_x + (goal_x - from_x) * reached - aside * np.sin(angle) + jitter[0]
        ys = from_y + (goal_y - from_y) * reached + aside * np.cos(angle) + jitter[1]
        for tick, to_x, to_y in zip(ticks, xs, ys, strict=True):
            pixel = (round(min(max(to_x, 0), width - 1)), round(min(max(to_y, 0), height - 1)))
            if not rows or pixel != rows[-1][2:]:
                rows.append((int(tick), 0, *pixel))
        t = start + length
        x, y = goal_x, goal_y
        place = rows[-1][2:] if rows else (round(x), round(y))
        act = rng.random()
        if act < 0.3:
            for _ in range(2 if rng.random() < 0.15 else 1):
                t += rng.lognormvariate(4.8, 0.5)
                rows.append((int(t), 2, *place))
                t += rng.lognormvariate(4.4, 0.3)
                rows.append((int(t), 3, *place))
        elif act < 0.4:
            wheel = rng.choice((8, 10, 10))
            for _ in range(rng.randint(2, 14)):
                t += rng.lognormvariate(3.4, 0.6)
                rows.append((int(t), wheel, *place))
        t += rng.lognormvariate(5.0, 1.1)
    t_ms, kind, px, py = zip(*rows, strict=True)
    return PointerEvents(
        np.array(t_ms, np.int64), np.array(kind, np.uint8), np.array(px, np.int32), np.array(py, np.int32)
    )


_APPS = (
    ("firefox", " — Mozilla Firefox", (8, 9, 1904, 1062)),
    ("chromium", " - Chromium", (0, 0, 1920, 1080)),
    ("libreoffice-calc", " — LibreOffice Calc", (64, 32, 1600, 900)),
    ("thunderbird", " - Mozilla Thunderbird", (0, 27, 1920, 1053)),
    ("gnome-terminal", "", (120, 80, 1100, 720)),
    ("code", " - Visual Studio Code", (0, 0, 1920, 1080)),
    ("slack", " - Slack", (200, 100, 1400, 900)),
)


_TITLE_WORDS = [
    "quarterly",
    "figures",
    "north",
    "region",
    "draft",
    "agenda",
    "for",
    "Tuesday",
    "shipping",
    "rates",
    "supplier",
    "contract",
    "renewal",
    "notes",
    "travel",
    "expenses",
    "April",
    "stock",
    "list",
    "prices",
    "compare",
    "flights",
    "Lisbon",
    "hotel",
    "booking",
    "reset",
    "password",
    "team",
    "lunch",
    "photos",
    "garden",
    "invitation",
    "minutes",
    "board",
    "review",
    "slides",
    "final",
    "version",
    "two",
    "customer",
    "complaint",
    "delivery",
    "delay",
    "support",
    "ticket",
    "opening",
    "hours",
    "onboarding",
    "checklist",
    "holiday",
    "request",
    "approved",
    "weather",
    "tomorrow",
    "recipe",
    "lentil",
    "soup",
    "news",
    "election",
    "results",
    "train",
    "timetable",
    "insurance",
    "claim",
    "form",
    "signed",
    "lease",
    "kitchen",
    "plan",
    "measurements",
    "birthday",
    "ideas",
    "translation",
    "glossary",
]


def invent_rows(seed: int, duration_ms: int, *, gibberish: bool = False) -> list[Row]:
    """Return a busy person's rare events, some 750 an hour: focus and title changes, clipboard, menu selections, gaps.

    Args:
        seed: of the person.
        duration_ms: how long.
        gibberish: titles of invented words: for training, so that a dictionary learns the rows and not their texts.
    """
    rng = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "in", "ou", "st")]

    def words(count: int) -> str:
        if not gibberish:
            return " ".join(rng.choices(_TITLE_WORDS, k=count)).capitalize()
        return " ".join("".join(rng.choices(syllables, k=rng.randint(1, 4))).capitalize() for _ in range(count))

    windows = [rng.choice(_APPS) for _ in range(6)]
    titles = [words(rng.randint(1, 5)) for _ in windows]
    rows = [Row(0, "display", {"w": 1920, "h": 1080, "monitors": 1})]
    t = 0
    while True:
        t += int(rng.lognormvariate(8.0, 1.0))
        if t >= duration_ms:
            return rows
        act = rng.random()
        number = rng.randrange(len(windows))
        app, suffix, (x, y, w, h) = windows[number]
        if act < 0.7:
            if rng.random() < 0.4:
                titles[number] = words(rng.randint(1, 5))
            place = {"x": x, "y": y, "w": w, "h": h}
            rows.append(Row(t, "focus", {"app": app, "title": titles[number] + suffix, **place}))
        elif act < 0.85:
            fields: dict[str, Scalar] = {"type": "text/plain", "bytes": int(rng.lognormvariate(3.5, 1.2)), "app": app}
            rows.append(Row(t, "clipboard", fields))
        elif act < 0.97:
            rows.append(
                Row(t, "select", {"role": rng.choice(("menu item", "list item")), "name": words(1), "app": app})
            )
        else:
            rows.append(Row(t, "gap", {"cause": rng.choice(("scope", "lock")), "ms": rng.randint(100, 60_000)}))
