"""What the configuration means to the parts: networks, purses, rungs."""

import pytest

from capture.conditions import ALL_LINKS, Purse, Span
from capture.config import parse_config
from capture.effects import describe, link_class, purses_of, top_rung
from capture.ladder import Rung
from transport.limits import Link, Standing
from transport.limits import Span as LimitSpan


def test_a_declared_network_goes_before_what_the_system_says() -> None:
    networks = '[budget.networks]\n"My Phone" = "metered"\nHome = "unmetered"\n'
    config = parse_config(networks + '[broker]\nhost = "broker.example"\ntls = true\n')
    assert link_class(config, "unmetered", "my phone") == "metered"
    assert link_class(config, "unknown", "HOME") == "unmetered"
    assert link_class(config, "roaming", "elsewhere") == "roaming"
    assert link_class(config, "offline", "Home") == "offline"
    assert link_class(parse_config(networks), "offline", "") == "unknown", "the broker is on this very machine"


def test_purses_follow_the_budgets_limits() -> None:
    standings = [
        Standing(LimitSpan.DAY, None, 30, 100, 5),
        Standing(LimitSpan.MONTH, None, 700, 600, 9),
        Standing(LimitSpan.MONTH, Link.METERED, 1, 10, 9),
    ]
    assert purses_of(standings) == {
        ALL_LINKS: (Purse(Span.DAY, 70, 100, 5), Purse(Span.MONTH, 0, 600, 9)),
        "metered": (Purse(Span.MONTH, 9, 10, 9),),
    }


@pytest.mark.parametrize(
    ("interval", "rung"),
    [("1 s", Rung.EVERY_2S), ("7 s", Rung.EVERY_10S), ("1 min", Rung.FOCUS), ("1 h", Rung.EVERY_10MIN)],
)
def test_the_shortest_interval_caps_the_ladder(interval: str, rung: Rung) -> None:
    assert top_rung(parse_config(f'[screens]\nmin_interval = "{interval}"')) is rung


def test_a_small_budget_is_said_to_be_one() -> None:
    text = describe(parse_config('[budget]\nmonth = "40 MB"\n'))
    assert "So a mean hour is recorded with: all events." in text
    assert "a month of 40 MB" in text
