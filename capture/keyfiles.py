"""Shell: private files of one person: written 0600 in one step, refused when others can read them."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from capture.errors import CaptureError, NoPermission

MAX_FILE_BYTES = 1024 * 1024
"""Keys and small state: anything larger is not what it claims to be."""


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read; readers see the old content or the new, never a part.

    Args:
        path: its folder is made 0700 when it does not exist.
        content: the whole content.

    Raises:
        NoPermission: the folder cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except PermissionError as error:
        raise NoPermission(f"{path} cannot be written: {error.strerror}; give its folder to this user") from error


def read_private(path: Path, *, what: str) -> bytes:
    """Read a file that only its owner may be able to read.

    Args:
        path: the file. what: what it is, for messages ("the device's key").

    Raises:
        NoPermission: others can read or write it, or this user cannot.
        CaptureError: it does not exist, or is far too large.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
                raise NoPermission(
                    f"{what} {path} can be read by others (mode {stat.S_IMODE(status.st_mode):03o}): "
                    f"`chmod 600 {path}`, and make a new one if somebody may have read it"
                )
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise CaptureError(f"{what} {path} does not exist") from error
    except PermissionError as error:
        raise NoPermission(f"{what} {path} cannot be read by this user") from error
    if len(content) > MAX_FILE_BYTES:
        raise CaptureError(f"{what} {path} is larger than {MAX_FILE_BYTES:,} bytes: that is no key")
    return content
