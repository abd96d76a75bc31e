"""Settings for all tests, and what several workers (pytest-xdist) need to know."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.scheduling import FilesThenAlone

# Where a change waits for the answer, the same code gives the same answer; elsewhere, each run looks somewhere new. How long
# one example takes says nothing where tests run beside each other: what must be quick has a test of its own.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("elsewhere", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "elsewhere")


MOST_WORKERS = 6
"""More end no sooner: the longest files take that long."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers for `-n auto`: one more than there are cores, as they wait most of the time."""
    return min(MOST_WORKERS, 1 + len(os.sched_getaffinity(0)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesThenAlone:
    """Give out the tests as tests/scheduling.py says, whatever `--dist` says."""
    from tests.scheduling import FilesThenAlone

    return FilesThenAlone(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort a worker's tests; one process alone runs them as they are collected."""
    if hasattr(config, "workerinput"):
        from tests.scheduling import rank

        items.sort(key=lambda item: rank(item.nodeid))
