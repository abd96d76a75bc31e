"""Shell: erases copies on the day they become too old, also when nothing new is recorded that would push them out."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from concurrent.futures import Executor

from capture.review.copies import Copies

RETRY_S = 3600.0
"""After a disk that would not erase."""


class Pruner:
    """Wakes when the oldest copy is due, and not before.

    Args:
        copies: what is pruned. thread: the one in which the disk is used.
        warnings: what the person is told; "copies" there says what the disk would not do.
    """

    def __init__(self, copies: Copies, thread: Executor, warnings: MutableMapping[str, str]) -> None:
        self._copies = copies
        self._thread = thread
        self._warnings = warnings
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what became too old while nobody was here."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="prune the copies")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                wait_s = await asyncio.get_running_loop().run_in_executor(self._thread, self._prune)
                self._warnings.pop("copies", None)
            except OSError as error:
                self._warnings["copies"] = f"copies that are too old could not be deleted: {error.strerror or error}"
                wait_s = RETRY_S
            if wait_s is None:
                return
            await asyncio.sleep(wait_s)

    def _prune(self) -> float | None:
        self._copies.prune()
        if not self._copies.bounds.keeps:
            return None
        due_s = self._copies.next_due_s()
        # Where nothing lies now, nothing can be due before a whole keep has passed.
        return self._copies.bounds.keep_s if due_s is None else due_s + 1
