"""The meter keeps its cover in any order of events: what is open or settled covers what was used and what the kernel holds."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from transport.metering import LEAST_FREE_BYTES, MARGIN_BYTES, STEP_BYTES, STEP_SHARE, Meter


class MeterMachine(RuleBasedStateMachine):
    """A kernel that is handed only what is covered, sends it in any order, and repeats some of it."""

    def __init__(self) -> None:
        super().__init__()
        self.meter = Meter()
        self.granted: dict[int, int] = {}
        self.settled: dict[int, int] = {}
        self.bounds: dict[int, int] = {}
        self.budget = 3_000_000
        self.used = 0
        self.held_by_kernel = 0
        self.next = 0

    def grant(self, size: int) -> None:
        if 0 < size <= self.budget:
            self.granted[self.next] = size
            self.meter.add(self.next, size)
            self.budget -= size
            self.next += 1

    @rule(bound=st.integers(1, 200_000))
    def begin(self, bound: int) -> None:
        if self.meter.wanted(bound) <= self.budget:
            self.meter.start(self.next, bound)
            self.bounds[self.next] = bound
            self.next += 1

    @rule()
    def extend(self) -> None:
        size = self.meter.step(self.budget)
        assert size <= max(STEP_BYTES, self.budget // STEP_SHARE, -self.meter.free, 0)
        assert size <= max(self.meter.wanted(), LEAST_FREE_BYTES - self.meter.free, 1)
        self.grant(size)

    @rule(share=st.floats(0, 1))
    def hand_over(self, share: float) -> None:
        self.held_by_kernel += int(max(0, self.meter.free) * share)
        self.meter.observe(self.used, self.held_by_kernel)

    @rule(share=st.floats(0, 1))
    def carry(self, share: float) -> None:
        sent = int(self.held_by_kernel * share)
        self.used += sent
        self.held_by_kernel -= sent
        self.meter.observe(self.used, self.held_by_kernel)

    @precondition(lambda self: self.bounds)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.bounds)))
        del self.bounds[key]
        self.meter.done(key)

    @rule()
    def settle(self) -> None:
        for settlement in self.meter.settle():
            assert settlement.lease_id not in self.settled
            assert 0 <= settlement.used_bytes <= self.granted[settlement.lease_id]
            self.settled[settlement.lease_id] = settlement.used_bytes
            self.budget += self.granted[settlement.lease_id] - settlement.used_bytes

    @invariant()
    def covered(self) -> None:
        open_bytes = sum(size for lease, size in self.granted.items() if lease not in self.settled)
        settled = sum(self.settled.values())
        assert settled == self.meter.settled <= self.used
        assert open_bytes == self.meter.reserved
        if self.held_by_kernel:
            assert settled + open_bytes >= self.used + self.held_by_kernel + MARGIN_BYTES

    def teardown(self) -> None:
        for settlement in self.meter.close():
            self.settled[settlement.lease_id] = settlement.used_bytes
        if self.granted:
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


def test_a_crash_costs_a_step_and_not_all_that_was_to_be_sent() -> None:
    meter = Meter()
    meter.add(1, MARGIN_BYTES)
    meter.start("a chunk", 2_000_000)
    assert meter.step(3_000_000) == 3_000_000 // STEP_SHARE
    assert meter.step(500_000) == STEP_BYTES
    assert meter.step(1_000_000_000) == 2_000_000, "no more than is wanted"
    assert meter.step(0) == 1, "it is asked for, so that the ledger says why not"


def test_what_is_held_is_never_held_for_ever() -> None:
    meter = Meter()
    meter.add(1, 10_000 + MARGIN_BYTES)
    meter.start("a chunk", 5_000)
    meter.observe(0, 10_000)
    assert meter.wanted() == meter.free == 0
    assert meter.step(100_000) == LEAST_FREE_BYTES


def test_a_broken_cover_is_mended_whatever_the_step() -> None:
    meter = Meter()
    meter.start("a chunk", 100_000)
    meter.observe(0, 90_000)
    assert meter.step(200_000) == 90_000 + MARGIN_BYTES
