"""Shell: the outbox: small signed messages (tombstones) that have to reach the archive, each until it is answered.

Guarantees: when `add` returns, the message is on the disk, and it stays, through any crash, until an answer is; the newest
answers are kept for the person to see, and a number is never used for another message as long as anything of the folder is
left. Bounded: in messages that wait, and in answers that are kept.

Files: `NNNNNNNNNN.tombstone`, and `NNNNNNNNNN.answer` (JSON) once there is one. An instance may be used from several threads.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codec.tombstone import MAX_TOMBSTONE_BYTES
from transport.errors import StorageFailed, TooLarge
from transport.fs import Files, read_file, replace_file

MESSAGE, ANSWER = ".tombstone", ".answer"
MAX_WAITING = 256
KEPT_ANSWERED = 256
MAX_ANSWER_BYTES = 4096
DONE = "erased"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the archive said. text: DONE, or why it refused. wall_s: when, seconds since 1970."""

    text: str
    wall_s: int


@dataclass(frozen=True, slots=True)
class Item:
    """A message. answer: None while there is none."""

    number: int
    payload: bytes
    answer: Answer | None


class Outbox:
    """See the module.

    Args:
        files: the file system. folder: where; it is made with the first message.

    Raises:
        StorageFailed: the folder cannot be read.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._guard = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        try:
            names = self._names()
            self._waiting = {
                number: len(self._message(number))
                for number in sorted(_numbers(names, MESSAGE))
                if self._answer(number, names) is None
            }
        except OSError as error:
            raise _failed("the orders to erase cannot be read", folder, error) from error

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every `add`, in its thread; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def add(self, payload: bytes) -> int:
        """Keep a message until it is answered; durable on return.

        Returns:
            its number.

        Raises:
            TooLarge: as many wait as may. StorageFailed: it is not kept.
        """
        with self._guard:
            if len(self._waiting) >= MAX_WAITING:
                raise TooLarge(
                    "the count of orders to erase that wait", actual=len(self._waiting) + 1, limit=MAX_WAITING
                )
            try:
                self._files.make_dir(self._folder)
                self._files.sync_dir(self._folder.parent)
                number = max([-1, *_numbers(self._names(), MESSAGE), *_numbers(self._names(), ANSWER)]) + 1
                replace_file(self._files, self._path(number, MESSAGE), payload)
            except OSError as error:
                raise _failed("an order to erase could not be kept", self._folder, error) from error
            self._waiting[number] = len(payload)
        for listener in list(self._listeners):
            listener()
        return number

    def waiting(self) -> dict[int, int]:
        """Return what waits for an answer: bytes by number, the oldest first."""
        with self._guard:
            return dict(self._waiting)

    def read(self, number: int) -> bytes | None:
        """Return a message that waits, or None when it does no longer. Raises: StorageFailed."""
        with self._guard:
            if number not in self._waiting:
                return None
            try:
                return self._message(number)
            except OSError as error:
                raise _failed("an order to erase cannot be read", self._path(number, MESSAGE), error) from error

    def answer(self, number: int, text: str, wall_s: int) -> None:
        """Note an answer: the message is sent no more. Unknown numbers and repeated answers do nothing.

        Raises:
            StorageFailed: it still waits.
        """
        with self._guard:
            if number not in self._waiting:
                return
            try:
                data = json.dumps({"text": text[:1000], "wall_s": wall_s}).encode()
                replace_file(self._files, self._path(number, ANSWER), data)
                del self._waiting[number]
                self._forget_old()
            except OSError as error:
                raise _failed("an answer could not be noted", self._folder, error) from error

    def items(self) -> list[Item]:
        """Return what there is, the oldest first. Raises: StorageFailed."""
        with self._guard:
            try:
                names = self._names()
                return [
                    Item(number, self._message(number), self._answer(number, names))
                    for number in sorted(_numbers(names, MESSAGE))
                ]
            except OSError as error:
                raise _failed("the orders to erase cannot be read", self._folder, error) from error

    def _forget_old(self) -> None:
        names = self._names()
        answered = sorted(_numbers(names, ANSWER))
        for number in answered[:-KEPT_ANSWERED]:
            for suffix in (MESSAGE, ANSWER):  # the answer last: without it, the message would be sent again
                with contextlib.suppress(FileNotFoundError):
                    self._files.unlink(self._path(number, suffix))
                self._files.sync_dir(self._folder)

    def _names(self) -> list[str]:
        try:
            return self._files.list_dir(self._folder)
        except FileNotFoundError:
            return []

    def _message(self, number: int) -> bytes:
        return read_file(self._files, self._path(number, MESSAGE), limit_bytes=MAX_TOMBSTONE_BYTES)

    def _answer(self, number: int, names: list[str]) -> Answer | None:
        path = self._path(number, ANSWER)
        if path.name not in names:
            return None
        try:
            fields = json.loads(read_file(self._files, path, limit_bytes=MAX_ANSWER_BYTES))
            return Answer(str(fields["text"]), int(fields["wall_s"]))
        except (ValueError, KeyError, TypeError):
            return None  # damaged: it is sent once more, and answered again

    def _path(self, number: int, suffix: str) -> Path:
        return self._folder / f"{number:010d}{suffix}"


def _numbers(names: list[str], suffix: str) -> list[int]:
    return [int(name.removesuffix(suffix)) for name in names if name.endswith(suffix) and name[:10].isdecimal()]


def _failed(what: str, path: Path, error: OSError) -> StorageFailed:
    return StorageFailed(f"{what}: {error.strerror or error}", str(path), disk_full=error.errno == 28)
