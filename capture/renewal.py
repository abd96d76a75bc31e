"""Pure: when a device asks for a new certificate by itself, and what is said of it.

Time is wall seconds: a certificate ends by the calendar, and what failed is remembered across restarts. A clock that is set back
makes an attempt due again; it puts none off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from capture.validity import DAY_S, SOON_S, Validity

if TYPE_CHECKING:
    import random

PAUSE_S = 2 * 3600
LONGEST_PAUSE_S = 12 * 3600
"""The pause after an attempt that failed; it doubles up to this. With the jitter that makes four attempts on the first day, then two
a day: some 10 kB a day of the budget while nobody answers."""

JITTER_RATIO = 0.5
"""Each pause is up to so much longer, lest a fleet that nobody answered comes back as one."""

CUT_OFF = "it was cut off"
"""Why an attempt failed that nobody lived to see the end of."""

BY_HAND = "`modicum enrol --renew`"


class Hindrance(StrEnum):
    """Why a device does not renew its certificate by itself."""

    NOTHING = ""
    FOREIGN = "it was not made by `modicum enrol`"
    NO_ADDRESS = "this device was enrolled by file"


class Standing(StrEnum):
    """How it stands with a certificate."""

    HOLDS = "holds"
    ENDS = "ends"  # soon, and it is not certain that it is renewed in time
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Attempts:
    """What was tried since the last renewal; it outlasts the process.

    Attributes:
        failures: how many attempts in a row failed, one that is under way included. tried_s: when the last one began.
        pause_s: how long to wait after that. why: it failed, in words.
        offered: what the last renewal's answer brought that is not taken without the person, in words; "": nothing.
    """

    failures: int = 0
    tried_s: int = 0
    pause_s: int = 0
    why: str = ""
    offered: str = ""

    def begun(self, now_s: float, rng: random.Random) -> Attempts:
        """Return them with one more, which counts as failed until it has not: so that no crash makes it ask in a loop."""
        pause_s = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** min(self.failures, 8)) * rng.uniform(1, 1 + JITTER_RATIO)
        return replace(self, failures=self.failures + 1, tried_s=int(now_s), pause_s=int(pause_s), why=CUT_OFF)

    def failed(self, why: str) -> Attempts:
        """Return them with the reason why the one that was begun has failed."""
        return replace(self, why=why)

    def again_s(self, now_s: float) -> float:
        """Return when the next one may begin."""
        waits = self.failures and self.tried_s <= now_s < self.tried_s + self.pause_s
        return self.tried_s + self.pause_s if waits else now_s


@dataclass(frozen=True, slots=True)
class Credential:
    """A device's certificate. hindrance: why it is not renewed by itself."""

    validity: Validity
    attempts: Attempts = Attempts()
    hindrance: Hindrance = Hindrance.NOTHING

    def due_s(self, now_s: float) -> float | None:
        """Return when to ask for the next one (now or before: at once); None: never by itself."""
        if self.hindrance:
            return None
        return max(self.validity.renews_from_s, self.attempts.again_s(now_s))

    def standing(self, now_s: float) -> Standing:
        """Return how it stands with it."""
        if now_s >= self.validity.ends_s:
            return Standing.ENDED
        soon_s = self.validity.ends_s - SOON_S if self.hindrance else self.validity.urgent_from_s
        failing = self.attempts.failures > 0 and not self.hindrance
        return Standing.ENDS if failing or now_s >= soon_s else Standing.HOLDS

    def in_words(self, now_s: float) -> str:
        """Return what a person should know of it, and what to do."""
        standing, ends_s = self.standing(now_s), self.validity.ends_s
        if standing is Standing.HOLDS:
            return f"holds until {day(ends_s)}{self._coming(now_s)}"
        if standing is Standing.ENDED:
            said = f"it ended on {day(ends_s)}, so that the broker refuses this device"
        else:
            days = int((ends_s - now_s) / DAY_S)
            said = f"it ends {f'in {days} days, ' if days > 1 else ''}on {day(ends_s)}"
        return f"{said}: {self._mend(now_s)}"

    def _coming(self, now_s: float) -> str:
        if self.hindrance:
            return ""
        if now_s < self.validity.renews_from_s:
            return f", renews itself from {day(self.validity.renews_from_s)}"
        return ", the agent renews it as soon as it may send"

    def _mend(self, now_s: float) -> str:
        """Return what becomes of it. A device without an address learns it from one renewal by hand."""
        if self.hindrance is Hindrance.NO_ADDRESS:
            return f"renew it with {BY_HAND[:-1]} --broker mqtts://HOST:8884`; from then on it renews itself"
        if self.hindrance:
            return f"put a new one in its place, since {self.hindrance}"
        if not self.attempts.failures:
            return f"the agent renews it as soon as it may send; at once: {BY_HAND}"
        attempts, again_s = self.attempts, self.attempts.again_s(now_s)
        then = f"after {moment(again_s)}" if again_s > now_s else "as soon as it may send"
        failed = f"renewing it failed on {moment(attempts.tried_s)} ({attempts.why})"
        return f"{failed}; the agent tries again {then}; at once: {BY_HAND}"


def day(wall_s: float) -> str:
    """Return a day, in UTC, as certificates count them."""
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d}"


def moment(wall_s: float) -> str:
    """Return a minute, in UTC."""
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M} UTC"
