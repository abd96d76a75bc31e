"""Shell: the person's agent inside the agent: their pauses and exemptions, the visible sign, the journal.

Guarantees: a pause acts before it is written down, and is written down before it is answered; nothing is recorded while no
sign of it can be shown; whoever asks for what, it stands in the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from capture.errors import CaptureError
from capture.standing import EFFECT, Exempt, Exemption, Standing

if TYPE_CHECKING:
    from capture.agent import Agent
    from capture.conductor import Conductor
    from capture.gate import Gate
    from capture.journal import Journal
    from capture.policy import Policy
    from capture.recorder import Recorder
    from codec.model import ChunkId

TAKEN = "exemptions taken"
"""The counter in a chunk: how many, not which or why."""


class Sign(Protocol):
    """What shows that it records (capture/sign.py)."""

    async def start(self) -> str | None:
        """Show it; return by what, None when nothing can show it."""

    def show(self, state: str, reasons: tuple[str, ...]) -> None:
        """Show another state."""

    async def stop(self) -> None:
        """Show nothing more."""


class Key(Protocol):
    """The pause key (capture/sources/x11_shortcut.py)."""

    def start(self) -> str | None:
        """Take it; return None, or why not."""

    def stop(self) -> None:
        """Give it back."""


class Steward:
    """See the module.

    State: the timer of the next wish that ends, what was last shown, what was last counted as sent.

    Args:
        standing, journal, sign, key: what it keeps. policy, gate, conductor, recorder: what it acts on.
        warnings: what the person should know or mend, by subject.
        changed: called when something of it changes what the plan depends on.
    """

    def __init__(
        self,
        standing: Standing,
        journal: Journal,
        sign: Sign,
        *,
        policy: Policy,
        gate: Gate,
        conductor: Conductor,
        recorder: Recorder,
        key: Key | None,
        warnings: dict[str, str],
        changed: Callable[[], None],
    ) -> None:
        self.standing = standing
        self.journal = journal
        self.sign = sign
        self._policy, self._gate, self._conductor, self._recorder = policy, gate, conductor, recorder
        self._key, self._warnings = key, warnings
        self._changed = changed
        self._timer: asyncio.TimerHandle | None = None
        self._on_battery = False
        self._running = False
        self._paused = False
        self._shown: tuple[str, tuple[str, ...]] | None = None
        self._wire_bytes: int | None = None

    @classmethod
    def of(cls, agent: Agent) -> Steward:
        """Return the steward of an agent."""
        from capture.journal import Journal
        from capture.shortcut import parse_shortcut
        from capture.sign import ScreenSign

        display = agent.environment.get("DISPLAY", "")
        shortcut = parse_shortcut(agent.config.control.pause_shortcut)
        key: Key | None = None
        if shortcut is not None and display:
            from capture.sources.x11_shortcut import KeyGrab

            key = KeyGrab(display, shortcut, pressed=lambda: steward.toggle())
        steward = cls(
            Standing(agent.home.standing),
            Journal(agent.home.journal),
            ScreenSign(display, toggled=lambda: steward.toggle(), lost=lambda: steward.sign_lost()),
            policy=agent.policy,
            gate=agent.gate,
            conductor=agent.conductor,
            recorder=agent.recorder,
            key=key,
            warnings=agent.warnings,
            changed=agent.exempted,
        )
        return steward

    # -- beginning and end

    def prepare(self) -> None:
        """Before anything is observed: what stands, stands from the first moment on."""
        wishes = self.standing.wishes.at(time.time())
        if wishes.paused:
            self._policy.suspend("pause", "you paused it")
        for exemption in wishes.exemptions:
            if exemption.kind is not Exempt.BANDWIDTH:  # whether it is on battery is told only later
                self._policy.suspend("exempt", _reason(exemption))
        self._policy.suspend("sign", "the sign that it records is not shown yet")

    async def start(self, consent: bytes) -> None:
        """The desktop is observed now: apply what stands, show the sign, and let it record.

        Args:
            consent: SHA-256 of the notice in force, for the journal.
        """
        self._running = True
        self._conductor.told = self.look
        self._conductor.suspend("sign", "the sign that it records is not shown yet")
        self.apply()
        self._paused = self._conductor.is_paused
        shown_by = await self.sign.start()
        self.journal.note("start", consent=consent.hex(), sign=shown_by or "none")
        if shown_by is None:
            reason = "nothing can show that it records: no notification service, no panel, no display for the sign"
            self._conductor.suspend("sign", reason)
        else:
            if "reload" not in self._gate.suspended:
                self._gate.begin()
            self._conductor.lift("sign")
        why_not = None if self._key is None else self._key.start()
        if why_not is not None:
            self._warnings["shortcut"] = f"the pause key does not work: {why_not}"
        self.look()

    def sign_lost(self) -> None:
        """Nothing shows any more that it records: record nothing."""
        if self._running:
            self._conductor.suspend("sign", "nothing can show that it records any more")
            self.look()

    async def stop(self) -> None:
        """Show nothing more."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._key is not None:
            self._key.stop()
        await self.sign.stop()
        self.journal.note("stop")

    # -- what stands

    @property
    def sends(self) -> bool:
        """Whether the person lets it send."""
        return self.standing.wishes.at(time.time()).exempt(Exempt.BANDWIDTH) is None

    def battery(self, on_battery: bool) -> None:
        """The machine runs on battery now, or does not."""
        self._on_battery = on_battery
        self.apply()

    def apply(self) -> None:
        """Do as the person's wishes stand now."""
        if not self._running:
            return
        wall_s = time.time()
        wishes = self.standing.wishes.at(wall_s)
        if wishes.paused and not self._conductor.is_paused:
            until_s = wishes.paused_until_s
            self._conductor.pause(None if until_s is None else timedelta(seconds=max(0.001, until_s - wall_s)))
        elif not wishes.paused and self._conductor.is_paused and self.standing.wishes.paused:
            self.resume()  # it is over by the clock, although the machine slept through its timer
        holding = [
            exemption
            for exemption in wishes.exemptions
            if exemption.kind is Exempt.SENSITIVE_WORK or (exemption.kind is Exempt.BATTERY and self._on_battery)
        ]
        if holding and "exempt" not in self._gate.suspended:
            self._conductor.suspend("exempt", _reason(holding[0]))
        elif not holding:
            self._policy.lift("exempt")  # `prepare` may have said it without the gate
            self._conductor.lift("exempt")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        end_s = wishes.next_end_s()
        if end_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.01, end_s - wall_s), self._ended)
        self.look()

    def _ended(self) -> None:
        self.apply()
        self._changed()

    def pause(self, until_s: float | None) -> None:
        """Pause at once, until then (seconds since 1970) or (None) until `resume`.

        Raises:
            CaptureError: it is paused, but the disk did not take that it is.
        """
        self._conductor.pause(None if until_s is None else timedelta(seconds=max(0.001, until_s - time.time())))
        self.standing.pause(until_s)
        self.apply()

    def resume(self) -> None:
        """Go on after a pause."""
        self.standing.resume()
        self._policy.lift("pause")
        self._conductor.resume()
        self.apply()

    def toggle(self) -> None:
        """Pause without limit, or go on: the one key, or a click on the icon."""
        self.journal.note("asked", what="pause or resume", by="key or icon")
        if self._conductor.is_paused:
            self.resume()
        else:
            self.pause(None)

    def exempt(self, kind: str, until_s: float | None, reason: str) -> None:
        """Take an exemption.

        Raises:
            CaptureError: there is no such kind, or its reason is too long.
        """
        exemption = Exemption(_kind(kind), time.time(), until_s, reason)
        self.standing.exempt(exemption)
        self._recorder.drop(TAKEN)
        self.journal.note("exempt", what=kind, until=until_s, reason=reason)
        self.apply()
        self._changed()

    def end_exemption(self, kind: str) -> bool:
        """End an exemption; tell whether there was one.

        Raises:
            CaptureError: there is no such kind.
        """
        ended = self.standing.end(_kind(kind))
        if ended:
            self.journal.note("exempt", what=kind, ended=True)
        self.apply()
        self._changed()
        return ended

    def withdrawn(self, chunks: int) -> None:
        """The person has withdrawn: nothing of their wishes outlasts it, but the account of what was done."""
        self.journal.note("withdraw", chunks=chunks)
        self.standing.path.unlink(missing_ok=True)

    # -- what is told

    def look(self) -> None:
        """Show, and write down, what has changed."""
        if not self._running:
            return
        paused = self._conductor.is_paused
        if paused != self._paused:
            self._paused = paused
            if not paused:
                self.standing.resume()
            self.journal.note("pause" if paused else "resume")
        state = "paused" if paused else "suspended" if self._gate.suspended else "recording"
        reasons = self._policy.blocked()
        if (state, reasons) != self._shown:
            self._shown = (state, reasons)
            self.sign.show(state, reasons)

    def stored(self, chunk_id: ChunkId, kind: str, size_bytes: int) -> None:
        """A chunk was closed and is on the disk."""
        apps = self._gate.take_seen() if kind == "events" else {}
        self.journal.note(
            "recording", chunk=_name(chunk_id), what=kind, apps={app: list(rules) for app, rules in apps.items()},
            bytes=size_bytes,
        )  # fmt: skip

    def sent(self, chunk_ids: tuple[ChunkId, ...], wire_bytes: int) -> None:
        """Chunks are in the archive.

        Args:
            chunk_ids: which. wire_bytes: on the wire since the publisher's start.
        """
        if self._wire_bytes is None:
            self._wire_bytes = 0
        if chunk_ids:
            used, self._wire_bytes = wire_bytes - self._wire_bytes, wire_bytes
            self.journal.note("sent", chunks=[_name(chunk_id) for chunk_id in chunk_ids], wire_bytes=used)

    def wishes_in_words(self) -> list[str]:
        """Return the exemptions that hold, for `modicum status`."""
        return [_reason(exemption) for exemption in self.standing.wishes.at(time.time()).exemptions]

    def to_answer(self) -> list[Mapping[str, Any]]:
        """Return the exemptions that hold, as plain values."""
        wishes = self.standing.wishes.at(time.time())
        return [
            {"kind": str(one.kind), "since": one.since_wall_s, "until": one.until_wall_s, "reason": one.reason}
            for one in wishes.exemptions
        ]


def _name(chunk_id: ChunkId) -> str:
    return f"{chunk_id.epoch}-{chunk_id.seq}"


def _kind(text: str) -> Exempt:
    try:
        return Exempt(text)
    except ValueError:
        raise CaptureError(f'there is no exemption "{text}"; there are: {", ".join(Exempt)}') from None


def _reason(exemption: Exemption) -> str:
    until = ""
    if exemption.until_wall_s is not None:
        until = f" until {datetime.fromtimestamp(exemption.until_wall_s):%H:%M}"
    why = f" ({exemption.reason})" if exemption.reason else ""
    return f"you took an exemption for {exemption.kind}{until}{why}: {EFFECT[exemption.kind]}"
