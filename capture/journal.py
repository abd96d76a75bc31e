"""Shell: the journal: what was recorded, what left this machine, and who asked for what, as lines that only grow.

Each line is one JSON object with `at` (seconds since 1970) and `kind` (see KINDS). It lies with the agent's other state,
0600, and never leaves this machine. When a file is full it becomes the older one of two; what is older than both is gone.
It holds no titles, no sites and nothing of what was done: applications, rules, counts and bytes only. Does not guarantee
the last lines after a power cut: it is an account for the person, and nothing decides by it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = (
    "consent",  # the person said yes: the notice's digest
    "withdraw",  # they withdrew it
    "start",  # recording began: consent, sign
    "stop",
    "recording",  # a chunk was closed: its id, the applications in front with their rules, bytes, frames
    "sent",  # chunks are in the archive: their ids, bytes on the wire since the last such line
    "renewed",  # the device has a new certificate: until when, bytes on the wire
    "pause",
    "resume",
    "exempt",  # an exemption was taken, or ended
    "forget",  # chunks were deleted before they were sent
    "erase",  # the archive was asked to delete, or has answered
    "asked",  # a command came over the control socket, by which user and process
)

LOOKS = ("ping", "status", "metrics", "flush", "holdings")
"""Commands that change nothing."""

MAX_FILE_BYTES = 4 << 20
"""Some months of lines; two such files are kept."""
MAX_LINE_BYTES = 16 * 1024
"""What a reader takes for a line; longer ones are damaged."""

Entry = dict[str, Any]


class Journal:
    """One person's journal.

    Args:
        path: its file; the one before it lies beside it, with ".1" at its name's end.
        max_file_bytes: when a new file is begun.
    """

    def __init__(self, path: Path, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = path
        self._max_file_bytes = max_file_bytes

    @property
    def older(self) -> Path:
        """The file before."""
        return self.path.with_name(f"{self.path.name}.1")

    def note(self, kind: str, **fields: Any) -> None:
        """Write one line. A disk that refuses it stops nothing: recording does not depend on the journal.

        Args:
            kind: one of KINDS. fields: plain values.

        Raises:
            ValueError: there is no such kind.
        """
        if kind not in KINDS:
            raise ValueError(f"the journal knows no {kind}")
        line = json.dumps({"at": round(time.time(), 3), "kind": kind, **fields}, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, line.encode())
                full = os.fstat(handle).st_size >= self._max_file_bytes
            finally:
                os.close(handle)
            if full:
                os.replace(self.path, self.older)
        except OSError:
            return

    def asked(self, command: str, user: int, process: int) -> None:
        """Write down who asked for what; who only looks is not written down."""
        if command not in LOOKS:
            self.note("asked", what=command, user=user, process=process)

    def entries(self, since_s: float = 0.0) -> Iterator[Entry]:
        """Read the lines that were written since then, in order; damaged ones are left out.

        Args:
            since_s: seconds since 1970.
        """
        for path in (self.older, self.path):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                continue
            with file:
                while line := file.readline(MAX_LINE_BYTES):
                    try:
                        entry = json.loads(line)
                        told = entry["at"] >= since_s and isinstance(entry["kind"], str)
                    except (ValueError, KeyError, TypeError):
                        continue  # half a line of a crash
                    if told:
                        yield entry


def in_words(entry: Entry) -> str:
    """Return a line as a person reads it."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["at"]))
    fields = {name: value for name, value in entry.items() if name not in ("at", "kind")}
    return f"{at}  {entry['kind']:<10} {', '.join(f'{name} {_shown(value)}' for name, value in fields.items())}".rstrip(
        ", "
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} ({_shown(inner)})" for name, inner in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
