"""Shell: the agent renews its certificate: looks when it is due, asks, and tells what came of it.

Guarantees: an attempt is on the disk before a byte of it leaves, so that neither a crash nor a restart makes more of them than
capture/renewal.py allows; what goes wrong changes nothing of what is in force, ends nothing, and is told in status and log.
Nothing is asked while nothing may be sent. It sleeps until it is due, but for one look at the files each six hours: timers
stand still while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from capture import log
from capture.credentials import credential, keep_attempts
from capture.errors import CaptureError
from capture.failures import explain
from capture.renewal import Attempts, Credential, Standing, day

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home
    from capture.validity import Validity

SUBJECT = "certificate"

LOOK_S = 6 * 3600.0
PUT_OFF_S = 60.0
"""What the budget refused is not tried again sooner, whatever changes."""

NO_GAIN = "the new certificate is due again already: look at the clock where `modicum enrolment` runs"


class PutOff(CaptureError):
    """It may not be sent now; nothing was. until_s: wall seconds when it may be, as far as one knows."""

    def __init__(self, why: str, *, until_s: float) -> None:
        super().__init__(why)
        self.until_s = until_s


@dataclass(frozen=True, slots=True)
class Renewed:
    """What an attempt led to. wire_bytes: what it cost. offered: what else was answered and is not taken, in words; "": nothing."""

    wire_bytes: int
    offered: str = ""


class Enrolment(Protocol):
    """Asks for the next certificate (capture/publishing.py)."""

    def may_send(self) -> bool:
        """Tell whether anything may be sent now."""

    async def renew(self, begun: Callable[[], None]) -> Renewed:
        """Ask, and put the answer in its place; `begun` is called when nothing is in the way, and before anything is sent.

        Raises:
            PutOff: it may not be sent now. Exception: it failed; nothing has changed.
        """

    def use(self) -> None:
        """Connect with what lies on the disk now, from the next connection on."""


class Renewing:
    """See the module. `run` works until it is cancelled.

    State: the certificate as it was last looked at, which one the publisher uses, before when no change is worth a look, and
    what it waits for.

    Args:
        config, home: whose. enrolment: see there. warnings: what the person should know or mend, by subject.
        renewed: told of a renewal, its fields for the journal. rng: draws jitter. now_s: the wall clock.
    """

    def __init__(
        self,
        config: Config,
        home: Home,
        enrolment: Enrolment,
        *,
        warnings: dict[str, str],
        renewed: Callable[..., None],
        rng: random.Random | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._home, self._enrolment = config, home, enrolment
        self._warnings, self._note = warnings, renewed
        self._rng = rng or random.SystemRandom()
        self._now_s = now_s
        self._changed = asyncio.Event()
        self._found: Credential | None = None
        self._used: Validity | None = None
        self._next_s = -math.inf
        self._waits = ""

    def wake(self) -> None:
        """What may be sent has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Renew until cancelled; at once done where no certificate is shown to the broker."""
        while self._config.broker.cert:
            try:
                wait_s = await self._look()
            except Exception as error:  # recording goes on, and so does sending while the broker lets us in
                self._say(_why(error))
                self._next_s, wait_s = math.inf, LOOK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, LOOK_S)):
                    await self._worth_a_look()

    # -- what is told

    def in_words(self) -> str:
        """Return how it stands with the certificate, for `modicum status`; "": none is shown to the broker."""
        if self._found is None:
            return ""
        return self._found.in_words(self._now_s()) + (f" ({self._waits})" if self._waits else "")

    @property
    def ends_s(self) -> float | None:
        """When the certificate ends, wall seconds; None: none is shown to the broker."""
        return None if self._found is None else self._found.validity.ends_s

    def _tell(self, found: Credential) -> None:
        self._found = found
        standing, offered = found.standing(self._now_s()), found.attempts.offered
        self._say("" if standing is Standing.HOLDS else f"the certificate: {found.in_words(self._now_s())}")
        self._warnings.pop("offered", None)
        if offered:
            self._warnings["offered"] = offered

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._warnings.get(SUBJECT):
            log.event("certificate", level=log.WARNING, reason=trouble)
        self._warnings.pop(SUBJECT, None)
        if trouble:
            self._warnings[SUBJECT] = trouble

    # -- looking, asking

    async def _worth_a_look(self) -> None:
        """Wait until a change makes looking worth while."""
        while True:
            self._changed.clear()
            if self._now_s() >= self._next_s and self._enrolment.may_send():
                return
            await self._changed.wait()

    async def _look(self) -> float:
        """Look at the certificate, and renew it when it is due and may be; return after how many seconds to look again.

        Raises:
            CaptureError, OSError: a file cannot be read or written.
        """
        now_s, self._waits = self._now_s(), ""
        found = credential(self._config, self._home)
        if found is None:
            return math.inf
        self._take_up(found.validity)
        self._tell(found)
        due_s = found.due_s(now_s)
        if due_s is None:
            self._next_s = math.inf
            return LOOK_S  # somebody may renew it by hand
        if due_s > now_s:
            self._next_s = due_s
            return due_s - now_s
        if not self._enrolment.may_send():
            self._next_s, self._waits = -math.inf, "nothing may be sent now"
            return LOOK_S
        try:
            await self._attempt(found.attempts)
        except PutOff as error:
            self._next_s, self._waits = now_s + PUT_OFF_S, str(error)
            return max(PUT_OFF_S, error.until_s - now_s)
        return 0.0

    def _take_up(self, validity: Validity) -> None:
        """Have the next connection use a certificate that came meanwhile, whoever fetched it."""
        if self._used is not None and validity != self._used:
            self._enrolment.use()
        self._used = validity

    async def _attempt(self, before: Attempts) -> None:
        attempts = before

        def begun() -> None:
            nonlocal attempts
            attempts = before.begun(self._now_s(), self._rng)
            keep_attempts(self._home, attempts)

        try:
            renewed = await self._enrolment.renew(begun)
        except PutOff:
            raise
        except Exception as error:  # as above
            if attempts is before:
                begun()
            keep_attempts(self._home, attempts.failed(_why(error)))
            return
        self._succeeded(renewed, attempts)

    def _succeeded(self, renewed: Renewed, attempts: Attempts) -> None:
        found = credential(self._config, self._home)
        if found is None or found.validity.renews_from_s <= self._now_s():
            keep_attempts(self._home, attempts.failed(NO_GAIN))
            return
        keep_attempts(self._home, Attempts(offered=renewed.offered))
        until = day(found.validity.ends_s)
        log.event("certificate renewed", until=until, wire_bytes=renewed.wire_bytes)
        if renewed.offered:
            log.event("offered", level=log.WARNING, reason=renewed.offered)
        self._note(until=until, wire_bytes=renewed.wire_bytes)


def _why(error: Exception) -> str:
    explained = explain(error)
    return explained[0] if explained else f"{type(error).__name__}: {error}"
