"""When a device renews its certificate by itself, as lists of times."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from capture.renewal import CUT_OFF, Attempts, Credential, Hindrance, Standing
from capture.validity import DAY_S, SOON_S, Validity

HOUR_S = 3600
END_S = 400 * DAY_S
YEAR = Validity(END_S - 365 * DAY_S, END_S)
DUE_S = END_S - SOON_S


def failing(start_s: float, until_s: float, seed: int = 1) -> list[float]:
    """Return when an agent that runs all the time asks, if nobody ever answers."""
    rng, now_s, asked = random.Random(seed), start_s, []
    credential = Credential(YEAR)
    while now_s < until_s:
        due_s = credential.due_s(now_s)
        assert due_s is not None
        if due_s > now_s:
            now_s = due_s
            continue
        asked.append(now_s)
        credential = Credential(YEAR, credential.attempts.begun(now_s, rng).failed("nobody answers"))
    return asked


@pytest.mark.parametrize(
    ("now_s", "due_s"), [(0, DUE_S), (DUE_S - 1, DUE_S), (DUE_S, DUE_S), (END_S - 1, END_S - 1), (END_S + DAY_S, None)]
)
def test_it_is_due_when_its_time_comes_and_still_when_it_has_ended(now_s: float, due_s: float | None) -> None:
    assert Credential(YEAR).due_s(now_s) == (now_s if due_s is None else due_s)


@pytest.mark.parametrize("hindrance", [Hindrance.FOREIGN, Hindrance.NO_ADDRESS])
def test_what_it_cannot_renew_is_never_due(hindrance: Hindrance) -> None:
    assert Credential(YEAR, hindrance=hindrance).due_s(END_S + 1) is None


@pytest.mark.parametrize("seed", range(20))
def test_when_nobody_answers_it_asks_four_times_on_the_first_day_and_then_twice_a_day(seed: int) -> None:
    asked = failing(DUE_S, END_S + 30 * DAY_S, seed)
    for begin_s in asked:
        assert sum(begin_s <= time_s < begin_s + DAY_S for time_s in asked) <= 4
    assert 55 <= len(asked) <= 130
    assert asked[0] == DUE_S
    later = asked[6:]
    assert all(12 * HOUR_S - 1 <= after - before <= 18 * HOUR_S for before, after in pairwise(later))


def test_two_devices_that_nobody_answered_do_not_come_back_together() -> None:
    assert not set(failing(DUE_S, END_S, 1)[1:]) & set(failing(DUE_S, END_S, 2)[1:])


def test_an_attempt_counts_as_failed_before_it_is_made() -> None:
    begun = Attempts().begun(DUE_S, random.Random(1))
    assert (begun.failures, begun.tried_s, begun.why) == (1, DUE_S, CUT_OFF)
    due_s = Credential(YEAR, begun).due_s(DUE_S)
    assert due_s is not None
    assert DUE_S + 2 * HOUR_S <= due_s <= DUE_S + 3 * HOUR_S


def test_a_clock_that_is_set_back_puts_nothing_off() -> None:
    ahead = Attempts().begun(END_S + 3000 * DAY_S, random.Random(1)).failed("the clock is ahead")
    assert Credential(YEAR, ahead).due_s(DUE_S + 5) == DUE_S + 5


@pytest.mark.parametrize(
    ("now_s", "attempts", "hindrance", "standing", "words"),
    [
        (0, Attempts(), Hindrance.NOTHING, Standing.HOLDS, "holds until 1971-02-05, renews itself from 1971-01-06"),
        (0, Attempts(), Hindrance.NO_ADDRESS, Standing.HOLDS, "holds until 1971-02-05"),
        (DUE_S + 1, Attempts(), Hindrance.NOTHING, Standing.HOLDS, "the agent renews it as soon as it may send"),
        (END_S - DAY_S, Attempts(), Hindrance.NOTHING, Standing.ENDS, "it ends on 1971-02-05: the agent"),
        (
            DUE_S + DAY_S,
            Attempts(),
            Hindrance.NO_ADDRESS,
            Standing.ENDS,
            "`modicum enrol --renew --broker mqtts://HOST",
        ),
        (
            DUE_S + DAY_S,
            Attempts(),
            Hindrance.FOREIGN,
            Standing.ENDS,
            "it ends in 29 days, on 1971-02-05: put a new one in its place",
        ),
        (END_S, Attempts(), Hindrance.NOTHING, Standing.ENDED, "refuses this device: the agent renews it as soon"),
        (END_S, Attempts(), Hindrance.NO_ADDRESS, Standing.ENDED, "refuses this device: renew it with `modicum enrol"),
        (
            DUE_S + HOUR_S,
            Attempts(1, int(DUE_S), 2 * HOUR_S, "nobody answers"),
            Hindrance.NOTHING,
            Standing.ENDS,
            "renewing it failed on 1971-01-06 00:00 UTC (nobody answers); the agent tries again after 1971-01-06 02:00 UTC; "
            "at once: `modicum enrol --renew`",
        ),
    ],
)
def test_it_says_what_is_and_what_to_do(
    now_s: float, attempts: Attempts, hindrance: Hindrance, standing: Standing, words: str
) -> None:
    credential = Credential(YEAR, attempts, hindrance)
    assert credential.standing(now_s) is standing
    assert words in credential.in_words(now_s)
