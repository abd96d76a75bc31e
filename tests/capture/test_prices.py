"""Prices: learned from what was paid, whenever it is told, and never carried away."""

import json
import random
from math import exp, isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.ladder import FIRST_WITH_FRAMES, Effort, Rung
from capture.prices import PRIORS, Prices


def test_every_rung_above_costs_more_before_anything_is_known() -> None:
    for effort in Effort:
        prices = [Prices().of(rung, effort) for rung in Rung]
        sizes = [price.size_bytes for price in prices]
        assert sizes == sorted(sizes)
        assert [price.cpu_s for price in prices] == sorted(price.cpu_s for price in prices)
    for rung in Rung:
        if rung >= FIRST_WITH_FRAMES:
            fast, small = Prices().of(rung, Effort.FAST), Prices().of(rung, Effort.SMALL)
            assert small.size_bytes < fast.size_bytes
            assert small.cpu_s > fast.cpu_s


def test_it_is_the_mean_that_is_learned_however_costs_scatter() -> None:
    chance, prices = random.Random(1), Prices()
    prior = PRIORS[Effort.FAST][Rung.EVERY_10S][1]
    learned = []
    for _ in range(3000):
        prices.bought(Rung.EVERY_10S, Effort.FAST, 600)
        prices.paid(frame_bytes=2 * prior / 6 * exp(chance.gauss(-0.32, 0.8)))  # of mean 2
        learned.append(prices.of(Rung.EVERY_10S, Effort.FAST).frame_bytes / prior)
    assert sum(learned[500:]) / len(learned[500:]) == pytest.approx(2, rel=0.1)


def test_screens_that_are_told_late_are_put_to_the_time_they_were_taken_in() -> None:
    prices = Prices()
    prior = PRIORS[Effort.FAST][Rung.EVERY_5S][1]
    for quarter in range(400):
        for _ in range(3):
            prices.bought(Rung.EVERY_5S, Effort.FAST, 300)
            prices.paid(event_bytes=17_000)
        if quarter % 2:
            prices.paid(frame_bytes=0.5 * prior * 2 / 4)  # half the prior, told every half hour
    assert prices.of(Rung.EVERY_5S, Effort.FAST).frame_bytes == pytest.approx(0.5 * prior, rel=0.05)


def test_rungs_in_turn_are_told_apart_in_the_end() -> None:
    prices = Prices()
    chance = random.Random(2)
    cheap, dear = Rung.EVERY_30S, Rung.EVERY_10S
    for _ in range(2000):
        rung = chance.choice((cheap, dear))
        prices.bought(rung, Effort.FAST, 600)
        true = PRIORS[Effort.FAST][rung][1] * (1.0 if rung is cheap else 3.0)
        prices.paid(frame_bytes=true / 6)
    ratio = {rung: prices.of(rung, Effort.FAST).frame_bytes / PRIORS[Effort.FAST][rung][1] for rung in (cheap, dear)}
    assert ratio[dear] / ratio[cheap] > 2


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Rung)), st.floats(0, 3600), st.floats(0, 1e12), st.floats(0, 1e12), st.floats(0, 1e6)
        ),
        max_size=50,
    )
)
def test_no_report_breaks_the_prices(reports: list[tuple[Rung, float, float, float, float]]) -> None:
    prices = Prices()
    for rung, active_s, event_bytes, frame_bytes, cpu_s in reports:
        prices.bought(rung, Effort.SMALL, active_s)
        prices.paid(event_bytes=event_bytes, frame_bytes=frame_bytes, cpu_s=cpu_s)
    for effort in Effort:
        for rung in Rung:
            price = prices.of(rung, effort)
            assert isfinite(price.size_bytes)
            assert isfinite(price.cpu_s)
            assert price.size_bytes <= 2600 * (PRIORS[effort][rung][0] + PRIORS[effort][rung][1])
    assert Prices(json.loads(json.dumps(prices.to_state()))).of(Rung.FOCUS, Effort.FAST) == prices.of(
        Rung.FOCUS, Effort.FAST
    )
