"""Pure: from any of our errors to a sentence and an exit code."""

from __future__ import annotations

import errno

import codec.errors
from capture.errors import CaptureError, Exit


def explain(error: BaseException) -> tuple[str, Exit] | None:
    """Return what a person should read and the exit code; None for an error that is a defect of ours.

    Args:
        error: what ended the command; the transport's errors are told by name, since this layer does not import them.
    """
    if isinstance(error, CaptureError):
        return str(error), error.exit_code
    if isinstance(error, codec.errors.Denied):
        return str(error), Exit.WRONG_KEY
    if isinstance(error, codec.errors.CodecError):
        return str(error), Exit.DAMAGED
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("transport.")]
    if "TransportError" in names:
        kinds = {
            "Unavailable": Exit.NO_BROKER,
            "Refused": Exit.NO_BROKER,
            "SpoolFull": Exit.DISK_FULL,
            "Untrusted": Exit.NO_PERMISSION,
        }
        return str(error), next((kinds[name] for name in names if name in kinds), Exit.FAILED)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        where = f" ({error.filename})" if error.filename else ""
        return (
            f"the disk is full{where}: free some space and start again; nothing that was stored is lost",
            Exit.DISK_FULL,
        )
    if isinstance(error, PermissionError):
        return f"{error.filename or 'a file'} may not be accessed by this user: {error.strerror}", Exit.NO_PERMISSION
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename} does not exist", Exit.FAILED
    return None
