"""The clock that no one can set."""

from hypothesis import given, settings
from hypothesis import strategies as st

from transport.limits import Moment
from transport.steady import MAX_BLIND_ADVANCE_NS, NS_PER_DAY, TRUSTED_NS, SteadyClock

HOUR = NS_PER_DAY // 24
START = 20_000 * NS_PER_DAY


def moment(wall_h: float, mono_h: float, boot: int = 1, *, synced: bool = False) -> Moment:
    return Moment(START + round(wall_h * HOUR), round(mono_h * HOUR), bytes([boot] * 8), synced)


def shows(clock: SteadyClock) -> float:
    return (clock.ns - START) / HOUR


def test_within_a_boot_it_follows_the_monotonic_clock_alone() -> None:
    clock = SteadyClock()
    clock.move(moment(0, 0))
    for wall_h, mono_h in ((1, 1), (500, 2), (-900, 3), (4, 4)):
        clock.move(moment(wall_h, mono_h))
        assert shows(clock) == mono_h
        assert clock.offset_ns == (wall_h - mono_h) * HOUR


def test_over_a_reboot_it_follows_the_wall_clock_but_not_past_it() -> None:
    clock = SteadyClock()
    clock.move(moment(0, 0))
    clock.move(moment(16, 0, 2))
    assert shows(clock) == 16
    clock.move(moment(-900, 0, 3))
    assert shows(clock) == 16, "a clock that forgot the time moves nothing"
    clock.move(moment(30, 0, 4))
    assert shows(clock) == 30, "and when it finds it again, not by what it had lost"


def test_a_step_that_was_seen_is_not_laundered_by_a_reboot() -> None:
    clock = SteadyClock()
    clock.move(moment(0, 0))
    clock.move(moment(72, 0))
    clock.move(moment(72 + 16, 0, 2))
    assert shows(clock) == 16
    clock.move(moment(72 + 16 - 10_000, 0, 2))
    clock.move(moment(72 + 16 - 10_000 + 400, 0, 3))
    assert shows(clock) == 16 + MAX_BLIND_ADVANCE_NS / HOUR


def test_it_waits_where_the_system_usually_vouches_and_says_how_wrong_the_guess_was() -> None:
    clock = SteadyClock()
    assert clock.move(moment(0, 0, synced=True)) is None
    assert clock.move(moment(20, 0, 2)) is None
    assert clock.waits
    assert shows(clock) == 0
    assert clock.move(moment(16.5, 0.5, 2, synced=True)) == -4 * HOUR
    assert shows(clock) == 16.5
    assert not clock.waits


def test_it_does_not_wait_for_ever() -> None:
    clock = SteadyClock()
    clock.move(moment(0, 0, synced=True))
    clock.move(moment(0, TRUSTED_NS / HOUR))
    assert not clock.waits


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 100), st.sampled_from([0.0, 0.0, 24.0, -24.0, 9000.0, -9000.0]), st.booleans(), st.booleans()
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_it_never_runs_ahead_of_true_time(steps: list[tuple[float, float, bool, bool]], vouches: bool) -> None:
    """The wall clock is set while the machine runs; it vouches, if ever, when it is right."""
    clock = SteadyClock()
    true_h = step_h = booted_h = 0.0
    boot = 1
    clock.move(moment(0, 0, synced=vouches))
    for hours, jump_h, reboot, right in steps:
        true_h += hours
        if reboot:
            boot, booted_h = boot + 1, true_h
        clock.move(moment(true_h + step_h, true_h - booted_h, boot, synced=vouches and step_h == 0))
        step_h = 0.0 if right else step_h + jump_h
        clock.move(moment(true_h + step_h, true_h - booted_h, boot, synced=vouches and step_h == 0))
        assert shows(clock) <= true_h + 1e-6
        assert SteadyClock.from_state(clock.to_state()).to_state() == clock.to_state()
