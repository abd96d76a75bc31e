"""Pure: a circuit breaker: what keeps not answering is left alone, for longer each time."""

from __future__ import annotations

from dataclasses import dataclass

FAILURES = 8
"""Lookups in a row that came to nothing, until an application is left alone: its start keeps one busy for seconds."""
FIRST_REST_NS = 1_000_000_000
LONGEST_REST_NS = 60_000_000_000
MAX_REMEMBERED = 64


@dataclass(slots=True)
class _Record:
    failures: int = 0
    rest_ns: int = FIRST_REST_NS
    until_ns: int = 0


class Breaker:
    """Whom not to ask now. State: failures in a row and rests, by name, for at most MAX_REMEMBERED names."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def permits(self, name: str, now_ns: int) -> bool:
        """Tell whether to ask."""
        record = self._records.get(name)
        return record is None or now_ns >= record.until_ns

    def worked(self, name: str) -> None:
        """It answered: all is forgiven."""
        self._records.pop(name, None)

    def failed(self, name: str, now_ns: int) -> None:
        """It did not answer in time. After a rest half as many failures make the next, twice as long."""
        if name not in self._records and len(self._records) >= MAX_REMEMBERED:
            self._records.pop(next(iter(self._records)))
        record = self._records.setdefault(name, _Record())
        record.failures += 1
        if record.failures >= FAILURES:
            record.until_ns = now_ns + record.rest_ns
            record.failures = FAILURES // 2
            record.rest_ns = min(2 * record.rest_ns, LONGEST_REST_NS)
