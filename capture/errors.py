"""Pure: the agent's errors: each says what is wrong and how to mend it, and knows the exit code it leads to."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command `modicum` (docs/operations.md lists them)."""

    OK = 0
    FAILED = 1  # an error that nothing below names
    USAGE = 2  # arguments or configuration
    NO_CONSENT = 3
    NO_DISPLAY = 4  # no display, or one that cannot be recorded (Wayland)
    NO_PERMISSION = 5  # files, keys or the display's authority
    NO_BROKER = 6
    DAMAGED = 7  # data that does not decode, or sequences with unexplained holes
    WRONG_KEY = 8
    DISK_FULL = 9
    NOT_RUNNING = 10  # the agent that was asked does not run


class CaptureError(Exception):
    """Base of the agent's errors."""

    exit_code = Exit.FAILED


class ConfigError(CaptureError):
    """The configuration is wrong; nothing was started."""

    exit_code = Exit.USAGE


class NoConsent(CaptureError):
    """The person has not said yes to the notice that this configuration makes."""

    exit_code = Exit.NO_CONSENT


class NoDisplay(CaptureError):
    """There is no display that can be recorded."""

    exit_code = Exit.NO_DISPLAY


class NoPermission(CaptureError):
    """A file, a key or the display refuses this user."""

    exit_code = Exit.NO_PERMISSION


class DiskFull(CaptureError):
    """What was recorded could not be stored."""

    exit_code = Exit.DISK_FULL


class NotRunning(CaptureError):
    """No agent answers at the control socket."""

    exit_code = Exit.NOT_RUNNING
