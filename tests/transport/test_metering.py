"""The meter keeps its rule in any order of events: what is open or settled covers what was used and what is on its way."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from transport.metering import MARGIN_BYTES, Meter


class MeterMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.meter = Meter()
        self.granted: dict[int, int] = {}
        self.settled: dict[int, int] = {}
        self.on_the_way: dict[int, int] = {}
        self.used = 0
        self.next = 0
        self.began = False

    @rule(bound=st.integers(1, 200_000))
    def send(self, bound: int) -> None:
        missing = self.meter.missing(bound)
        if missing:
            self.granted[self.next] = missing
            self.meter.add(self.next, missing)
        self.meter.start(self.next, bound)
        self.on_the_way[self.next] = bound
        self.next += 1
        self.began = True
        assert self.meter.missing(0) == 0

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), share=st.floats(0, 1))
    def arrive(self, data: st.DataObject, share: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.on_the_way)))
        self.used += int(self.on_the_way.pop(key) * share)
        self.meter.observe(self.used)
        self.meter.done(key)

    @rule()
    def settle(self) -> None:
        for settlement in self.meter.settle():
            assert settlement.lease_id not in self.settled
            assert 0 <= settlement.used_bytes <= self.granted[settlement.lease_id]
            self.settled[settlement.lease_id] = settlement.used_bytes

    @invariant()
    def covered(self) -> None:
        open_bytes = sum(size for lease, size in self.granted.items() if lease not in self.settled)
        settled = sum(self.settled.values())
        assert settled == self.meter.settled
        assert open_bytes == self.meter.reserved
        if self.began:
            assert settled + open_bytes >= self.used + sum(self.on_the_way.values()) + MARGIN_BYTES
            assert settled <= self.used

    def teardown(self) -> None:
        for settlement in self.meter.close():
            self.settled[settlement.lease_id] = settlement.used_bytes
        if self.began:
            assert sum(self.settled.values()) == self.used
            assert self.settled.keys() == self.granted.keys()


TestMeterMachine = MeterMachine.TestCase
TestMeterMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_what_exceeds_the_leases_falls_on_the_last_and_is_not_hidden() -> None:
    meter = Meter()
    meter.add(1, 100)
    meter.add(2, 100)
    meter.observe(500)
    assert meter.left < 0
    assert [(s.lease_id, s.used_bytes) for s in meter.close()] == [(1, 100), (2, 400)]


def test_an_uncounted_connection_costs_all_that_was_reserved() -> None:
    meter = Meter()
    meter.add(1, 100)
    meter.add(2, 50)
    assert sum(s.used_bytes for s in meter.close_pessimistically()) == 150
