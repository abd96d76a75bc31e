"""Shell: what the person said that outlasts the agent's process: a pause and exemptions, in a file of their own (0600).

Guarantees: a pause or an exemption is on the disk before it is answered, and holds after a crash, a restart or an update
until its time is over or the person ends it. A file that cannot be read counts as a pause without end: the person may have
said so, and only they can say otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from capture.errors import CaptureError
from capture.keyfiles import read_private, write_private

MAX_REASON_CHARACTERS = 200


class Exempt(StrEnum):
    """What a person can be exempted from, by themselves and without being asked why."""

    BANDWIDTH = "bandwidth"
    BATTERY = "battery"
    SENSITIVE_WORK = "sensitive-work"


EFFECT = {
    Exempt.BANDWIDTH: "nothing is sent",
    Exempt.BATTERY: "nothing is recorded while on battery",
    Exempt.SENSITIVE_WORK: "nothing is recorded",
}


@dataclass(frozen=True, slots=True)
class Exemption:
    """One exemption.

    Attributes:
        kind: see Exempt. since_wall_s: when it was taken. until_wall_s: when it ends; None: when the person ends it.
        reason: the person's own note; it stays on this machine.
    """

    kind: Exempt
    since_wall_s: float
    until_wall_s: float | None = None
    reason: str = ""

    def holds(self, wall_s: float) -> bool:
        """Tell whether it is in force."""
        return self.until_wall_s is None or wall_s < self.until_wall_s


@dataclass(frozen=True, slots=True)
class Wishes:
    """All that stands.

    Attributes:
        paused: whether the person paused; until paused_until_s (None: until they resume).
        exemptions: at most one of a kind.
        taken: how many exemptions were ever taken: the only thing of them that leaves this machine.
    """

    paused: bool = False
    paused_until_s: float | None = None
    exemptions: tuple[Exemption, ...] = ()
    taken: int = 0

    def at(self, wall_s: float) -> Wishes:
        """Return what still stands at a time."""
        exemptions = tuple(exemption for exemption in self.exemptions if exemption.holds(wall_s))
        paused = self.paused and (self.paused_until_s is None or wall_s < self.paused_until_s)
        return replace(
            self, paused=paused, paused_until_s=self.paused_until_s if paused else None, exemptions=exemptions
        )

    def exempt(self, kind: Exempt) -> Exemption | None:
        """Return the exemption of a kind."""
        return next((exemption for exemption in self.exemptions if exemption.kind is kind), None)

    def next_end_s(self) -> float | None:
        """Return when the next of them ends (seconds since 1970); None: none does by itself."""
        ends = [self.paused_until_s, *(exemption.until_wall_s for exemption in self.exemptions)]
        return min((end for end in ends if end is not None), default=None)


class Standing:
    """Keeps the wishes. State: what the file says.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wishes = self._read()

    def _read(self) -> Wishes:
        if not self.path.exists():
            return Wishes()
        try:
            return _parsed(json.loads(read_private(self.path, what="your pause and exemptions")))
        except (CaptureError, ValueError, KeyError, TypeError):
            return Wishes(paused=True)

    def pause(self, until_wall_s: float | None) -> None:
        """Keep a pause.

        Args:
            until_wall_s: None: until `resume`.
        """
        self._keep(replace(self.wishes, paused=True, paused_until_s=until_wall_s))

    def resume(self) -> None:
        """Keep that there is no pause."""
        if self.wishes.paused:
            self._keep(replace(self.wishes, paused=False, paused_until_s=None))

    def exempt(self, exemption: Exemption) -> None:
        """Keep an exemption; one of the same kind is replaced.

        Raises:
            CaptureError: its reason is too long.
        """
        if len(exemption.reason) > MAX_REASON_CHARACTERS:
            raise CaptureError(f"a reason is at most {MAX_REASON_CHARACTERS} characters long")
        others = self._without(exemption.kind)
        self._keep(replace(self.wishes, exemptions=(*others, exemption), taken=self.wishes.taken + 1))

    def end(self, kind: Exempt) -> bool:
        """Keep that there is no exemption of a kind; tell whether there was one."""
        there = self.wishes.exempt(kind) is not None
        if there:
            self._keep(replace(self.wishes, exemptions=tuple(self._without(kind))))
        return there

    def _without(self, kind: Exempt) -> Sequence[Exemption]:
        return [exemption for exemption in self.wishes.exemptions if exemption.kind is not kind]

    def _keep(self, wishes: Wishes) -> None:
        write_private(self.path, json.dumps(asdict(wishes)).encode())
        self.wishes = wishes


def _parsed(table: dict[str, Any]) -> Wishes:
    return Wishes(
        paused=bool(table["paused"]),
        paused_until_s=_number(table["paused_until_s"]),
        exemptions=tuple(
            Exemption(Exempt(one["kind"]), float(one["since_wall_s"]), _number(one["until_wall_s"]), str(one["reason"]))
            for one in table["exemptions"]
        ),
        taken=int(table["taken"]),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
