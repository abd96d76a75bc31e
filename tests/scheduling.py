"""Which worker runs which tests, when there are several (pytest-xdist): a file stays whole, and some tests have the machine alone.

Files go to workers in an order that begins with those that take long, a whole file to one worker, so that what its tests share
is made once. What is named in `ALONE` comes last, on the one worker that is left when all others have ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

ALONE = {
    "tests/integration/test_staying_in_charge.py::"
    "test_a_pause_takes_effect_within_100_ms_for_all_sources_and_marks_the_stream": "a promise in milliseconds",
    "tests/integration/test_transport_kill.py::"
    "test_no_closed_chunk_is_lost_or_doubled_when_processes_are_killed[iotcore-5-2]": "how much is sent again is judged: "
    "that grows with the time that an answer takes",
    "tests/integration/test_x11_capture.py::"
    "test_all_injected_events_are_told_in_order_with_exact_positions_and_times[1000-6000]": "1000 events a second: who is "
    "not woken in time loses some",
    "tests/integration/test_x11_capture.py::"
    "test_all_injected_events_are_told_in_order_with_exact_positions_and_times[8000-6000]": "8000 events a second",
    "tests/integration/test_x11_capture.py::"
    "test_events_that_nobody_listens_to_are_told_by_flush": "the X server's own times, without waiting for its answers",
    "tests/test_packages.py::"
    "test_it_says_nothing_and_is_quick_when_everything_is_there": "what it takes is measured once",
    "tests/transport/test_spool.py::"
    "test_ten_gigabytes_open_in_two_seconds_and_little_memory": "what it takes is measured once",
}
"""Tests that others beside them would disturb, by their ids (with parameters, if it is one of several), and why."""
LONG_FIRST = ("tests/integration/", "tests/benches/", "tests/fuzz/", "tests/transport/")
"""Folders whose files take long: begun last, they would let one worker work while the others have ended."""
_LAST = "what is to be alone"


class FilesThenAlone(LoadScopeScheduling):
    """See the module."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # else files with many tests come first, however short they are

    def _split_scope(self, nodeid: str) -> str:
        return _LAST if is_alone(nodeid) else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give a worker a file; and what is to be alone, if it is the only worker."""
        if not self._only_alone or self.nodes == [node]:
            super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        """Give a worker more to do when it has begun its last test; send it home when there is nothing for it."""
        if node.shutting_down:
            return
        others_go_on = any(not one.shutting_down for one in self.nodes if one is not node)
        if not self.workqueue or (self._only_alone and others_go_on):
            node.shutdown()
        elif self._pending_of(self.assigned_work[node]) <= 1:
            self._assign_work_unit(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Forget a worker that has ended; whoever is left may have waited for that."""
        crashed = super().remove_node(node)
        for left in self.nodes:
            self._reschedule(left)
        return crashed

    @property
    def _only_alone(self) -> bool:
        return list(self.workqueue) == [_LAST]


def is_alone(nodeid: str) -> bool:
    """Tell whether a test is to have the machine for itself."""
    return nodeid in ALONE or nodeid.partition("[")[0] in ALONE


def rank(nodeid: str) -> int:
    """Return where in the order a test comes: the lower, the earlier."""
    if is_alone(nodeid):
        return len(LONG_FIRST) + 1
    return next((place for place, folder in enumerate(LONG_FIRST) if nodeid.startswith(folder)), len(LONG_FIRST))
