"""Shell: asks the condition sources what this machine can tell, so that `modicum doctor` can say what it cannot.

Each condition that nobody tells is named with what is done instead; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INSTEAD = {
    "mains or battery": "counted as being on mains",
    "charge": "the battery floors have no effect",
    "a low battery's warning": "only the battery floors count",
    "power saver": "[energy] alone decides",
    "lid": "a closed one is not noticed",
    "lock": "pause by hand, or use a screen locker that tells logind or the session",
    "sleep": "sending is cut off by it, and goes on afterwards",
    "metered": "counted as metered; name your network in [budget.networks] if you know better",
    "load": "[energy] alone decides",
    "heat": "[energy] alone decides",
    "wake-ups": "energy.wakeups_s has no effect",
}
"""What holds where a condition is not told."""


@dataclass(frozen=True, slots=True)
class Senses:
    """Who tells of which condition; "" for nobody.

    Attributes:
        told_by: by condition, the service or the interface.
    """

    told_by: Mapping[str, str]

    @property
    def missing(self) -> list[str]:
        """The conditions that nobody tells."""
        return [condition for condition in INSTEAD if not self.told_by.get(condition)]

    def in_words(self) -> str:
        """Return a sentence on what is told, and one on each condition that is not."""
        tellers: dict[str, list[str]] = {}
        for condition, teller in self.told_by.items():
            if teller:
                tellers.setdefault(teller, []).append(condition)
        told = "; ".join(f"{teller}: {', '.join(conditions)}" for teller, conditions in tellers.items())
        missing = "; ".join(f"{condition} ({INSTEAD[condition]})" for condition in self.missing)
        return f"told by {told or 'nobody'}" + (f". Not told: {missing}" if missing else "")


async def find_senses() -> Senses:
    """Ask the sources."""
    from capture.sources.network import NetworkSource
    from capture.sources.power import PowerSource
    from capture.sources.usage import told_by

    power, network = PowerSource(), NetworkSource()
    try:
        await power.start(lambda: None)
        await network.start(lambda: None)
        link = network.current()
        told = await power.told_by()
    finally:
        await power.stop()
        await network.stop()
    return Senses({**told, "metered": link.source if link.link != "unknown" else "", **told_by()})
