"""Shell: on which day something of a device last came, from the archive's own files.

To the day, since that is what tells an operator of a machine that went silent; not to the minute, which would tell of a
person's hours. (Whoever may read the archive's folder can see its files' times: see docs/privacy.md.) Reads one folder a
device and nothing of any chunk. Does not guarantee to know a device whose chunks have all expired or been erased.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from transport.fs import Files

DAY_S = 86_400


def last_day_s(files: Files, archive: Path, device: str) -> int | None:
    """Return the start of the day (UTC, seconds since 1970) on which a device's last chunk was stored; None: it has none.

    Args:
        files: where. archive: its folder. device: the pseudonym.

    Raises:
        OSError: a folder cannot be read.
    """
    for epoch in _newest_first(files, archive / device):
        for block in _newest_first(files, epoch):
            stored = []
            for path in _newest_first(files, block):
                with contextlib.suppress(FileNotFoundError):  # it was erased meanwhile
                    stored.append(path.stat().st_mtime)
            if stored:
                return int(max(stored)) // DAY_S * DAY_S
    return None


def _newest_first(files: Files, folder: Path) -> list[Path]:
    """Return what is in a folder; names there are numbers of fixed width."""
    try:
        names = files.list_dir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names, reverse=True) if not name.startswith(".")]
