"""The budget's simulation: it runs the real cores, counts by true time, and its verdicts can fail."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benches import budget
from benches.homes import home
from benches.throttles import Modicum

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results() -> list[budget.Result]:
    return [result for index in range(20) for result in budget.simulate(index, seed=7).results]


def test_modicum_keeps_every_limit_and_uses_scarce_budgets(results: list[budget.Result]) -> None:
    ours = [result for result in results if result.rule == "modicum"]
    figures = budget.summary(ours)
    assert figures["overruns"] == 0
    assert figures["used_median"] >= budget.MIN_MEDIAN
    assert figures["hours_with_events_min"] == 1.0
    assert any(result.jumps for result in ours), "clocks were set"


def test_the_simpler_rules_show_what_modicum_is_for(results: list[budget.Result]) -> None:
    by_rule = {rule: budget.summary([r for r in results if r.rule == rule]) for rule in budget.RULES}
    assert by_rule["fixed rate"]["months_over"] >= 5
    assert by_rule["fixed rate, stops"]["hours_with_events"] < 0.8
    assert by_rule["token bucket"]["used_median"] < by_rule["modicum"]["used_median"]
    assert by_rule["modicum"]["hours_with_screenshots"] > by_rule["token bucket"]["hours_with_screenshots"]


def test_a_household_is_the_same_for_the_same_seed() -> None:
    assert budget.simulate(3, seed=7).results == budget.simulate(3, seed=7).results
    assert budget.simulate(3, seed=7).results != budget.simulate(3, seed=8).results


def test_a_budget_that_is_exceeded_by_a_byte_is_noticed() -> None:
    place = home(7, 1)
    machine = Modicum(place, place.chance)
    machine.month.send(place, place.calendar.start_ns(place.first_day), place.month_bytes)
    assert machine.month.overruns(place) == (place.day_bytes is not None)
    machine.month.send(place, place.calendar.start_ns(place.first_day + 1), 1)
    assert machine.month.overruns(place) == 1 + (place.day_bytes is not None)


def test_every_broken_promise_is_named(results: list[budget.Result]) -> None:
    ours = [result for result in results if result.rule == "modicum"]
    assert budget.broken_promises(ours) == [] or "5th percentile" in budget.broken_promises(ours)[0]
    assert "limits were exceeded" in budget.broken_promises([replace(ours[0], overruns=1)])[0]
    idle = [replace(result, used=result.used // 2) for result in ours]
    assert "the median household used" in " ".join(budget.broken_promises(idle))
    silent = [replace(ours[0], month_bytes=10**9, with_events=0, hours=5)]
    assert "without events" in " ".join(budget.broken_promises(silent))


def test_the_command_prints_a_table_and_writes_its_results(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "benches.budget", "--households", "8", "--seed", "7", "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert "token bucket" in done.stdout, done.stderr
    document = json.loads(out.read_text(encoding="utf-8"))
    assert done.returncode == (1 if document["broken"] else 0)
    assert len(document["households"]) == 8 * len(budget.RULES)
    assert document["rules"]["modicum"]["overruns"] == 0


@pytest.mark.skipif(int(os.environ.get("MODICUM_SOAK", "1")) < 2, reason="compiles for half a minute: MODICUM_SOAK=2")
def test_the_compiled_cores_give_the_same_figures_to_the_digit(tmp_path: Path) -> None:
    pytest.importorskip("mypyc", reason="the extra `dev` is not installed")
    found = []
    for name, words in (("plain", []), ("compiled", ["--compiled"])):
        out = tmp_path / f"{name}.json"
        command = [
            sys.executable,
            "-m",
            "benches.budget",
            "--households",
            "12",
            "--seed",
            "3",
            "--json",
            str(out),
            *words,
        ]
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
        found.append(json.loads(out.read_text(encoding="utf-8")))
    plain, compiled = found
    assert plain["households"] == compiled["households"]
    assert compiled["cpu_s_per_year"] < plain["cpu_s_per_year"], "it runs what was compiled"


def test_a_month_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    out = tmp_path / "month.png"
    budget.plot(budget.picture_home(7), 7, out)
    assert out.read_bytes().startswith(b"\x89PNG")
