"""Shell: the agent's log: one event a line, as JSON for machines (the journal, a file), as words on a terminal.

It says what the agent does, never what the person does: no window's title, no application, no text. Nothing is written
before `to_stderr` or `to_file` was called. A value that was named by `hide` (a password) is blotted out wherever it turns up,
also inside another library's error text.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
import time
from pathlib import Path
from typing import Any

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}

FILE_BYTES = 1_000_000
FILES = 3
"""A log file is put aside at this size; so many are kept. A year of an agent that is well is some 100 KB."""

MAX_TEXT = 1000
"""Characters of one value: an error text that quotes data must not become the data."""

JOURNAL_PRIORITY = {DEBUG: "<7>", INFO: "<6>", WARNING: "<4>", ERROR: "<3>"}
"""sd-daemon(3): how the journal is told a line's level."""

_logger = logging.getLogger("modicum")
_logger.propagate = False
_logger.addHandler(logging.NullHandler())
_hidden: set[str] = set()


def event(name: str, *, level: int = INFO, **fields: Any) -> None:
    """Log that something happened.

    Args:
        name: some words in lower case; the same for the same kind of thing.
        level: of this module. fields: values that JSON knows; texts are cut at MAX_TEXT.
    """
    if _logger.isEnabledFor(level):
        _logger.log(level, name, extra={"fields": {key: _clean(value) for key, value in fields.items()}})


def hide(secret: str | None) -> None:
    """Never show this value, wherever it turns up."""
    if secret:
        _hidden.add(secret)


def set_up(level: str, file: str) -> None:
    """Log as the configuration says: to a file, or to standard error where none is named.

    Raises:
        OSError: the file cannot be written.
    """
    if file:
        to_file(Path(file).expanduser(), LEVELS[level])
    else:
        to_stderr(LEVELS[level])


def to_stderr(level: int = INFO) -> None:
    """Log to standard error: words on a terminal, JSON elsewhere, with the levels that the journal understands."""
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        handler.setFormatter(_Words())
    else:
        handler.setFormatter(_Json(with_priority="JOURNAL_STREAM" in os.environ))
    _use(handler, level)


def to_file(path: Path, level: int = INFO) -> None:
    """Log to a file that only its owner may read; full ones are put aside as NAME.1, NAME.2, …

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = _PrivateFile(path, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8")
    handler.setFormatter(_Json())
    _use(handler, level)


def _use(handler: logging.Handler, level: int) -> None:
    for old in _logger.handlers[:]:
        _logger.removeHandler(old)
        old.close()
    _logger.addHandler(handler)
    _logger.setLevel(level)


def _clean(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = str(value)
    for secret in _hidden:
        text = text.replace(secret, "•••")
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


class _PrivateFile(logging.handlers.RotatingFileHandler):
    def _open(self) -> Any:
        return os.fdopen(
            os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
        )


class _Json(logging.Formatter):
    def __init__(self, *, with_priority: bool = False) -> None:
        super().__init__()
        self._with_priority = with_priority

    def format(self, record: logging.LogRecord) -> str:
        priority = JOURNAL_PRIORITY.get(record.levelno, "") if self._with_priority else ""
        said = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        return priority + json.dumps(said | getattr(record, "fields", {}), ensure_ascii=False)


class _Words(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        words = "; ".join(f"{key} {', '.join(map(str, v)) if isinstance(v, list) else v}" for key, v in fields.items())
        return f"{time.strftime('%H:%M:%S')} {record.getMessage()}{f': {words}' if words else ''}"
