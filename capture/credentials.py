"""Shell: looks at what this device shows a broker: its certificate's end, who can read the key, and what renewing it came to."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from capture.doctor import Check, Level
from capture.errors import CaptureError
from capture.keyfiles import read_private, write_private
from capture.renewal import Attempts, Credential, Hindrance, Standing
from capture.validity import read_validity

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home

NAME = "certificate"
LEVELS = {Standing.HOLDS: Level.OK, Standing.ENDS: Level.LIMITED, Standing.ENDED: Level.FAILED}


async def certificate(config: Config, home: Home) -> Check:
    """Check the client certificate and its key, as `judge`."""
    return judge(config, home)


def judge(config: Config, home: Home) -> Check:
    """Check the client certificate and its key.

    Raises:
        CaptureError: the key is missing, or others can read it; the certificate cannot be read.
    """
    if not config.broker.cert:
        return Check(NAME, Level.OK, "none is shown to the broker")
    read_private(Path(config.broker.key).expanduser(), what="the certificate's key")
    found, now_s = credential(config, home), time.time()
    assert found is not None  # noqa: S101 - there is one, or it was raised
    if found.attempts.offered and found.standing(now_s) is Standing.HOLDS:
        return Check(NAME, Level.LIMITED, f"{found.in_words(now_s)}; {found.attempts.offered}")
    return Check(NAME, LEVELS[found.standing(now_s)], found.in_words(now_s))


def credential(config: Config, home: Home) -> Credential | None:
    """Return the certificate that is shown to the broker, and what renewing it came to; None: none is shown.

    Raises:
        CaptureError: it is none, or what was tried can be read by others.
    """
    if not config.broker.cert:
        return None
    path = Path(config.broker.cert).expanduser()
    try:
        validity = read_validity(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CaptureError(f"the certificate {path} cannot be read ({error}): enrol this device anew") from error
    return Credential(validity, read_attempts(home), _hindrance(path, home))


def _hindrance(path: Path, home: Home) -> Hindrance:
    if path.resolve() != (home.enrolled / "client.pem").resolve():
        return Hindrance.FOREIGN
    return Hindrance.NOTHING if home.enrolment.exists() else Hindrance.NO_ADDRESS


def read_attempts(home: Home) -> Attempts:
    """Return what was tried since the last renewal; nothing where the file is damaged.

    Raises:
        CaptureError: others can read it.
    """
    if not home.renewal.exists():
        return Attempts()
    try:
        stored = json.loads(read_private(home.renewal, what="the account of renewals"))
        numbers = {name: int(stored[name]) for name in ("failures", "tried_s", "pause_s")}
        return Attempts(**numbers, why=str(stored["why"]), offered=str(stored["offered"]))
    except (ValueError, KeyError, TypeError):
        return Attempts()


def keep_attempts(home: Home, attempts: Attempts) -> None:
    """Remember what was tried. Raises: CaptureError, OSError: the disk does not take it."""
    write_private(home.renewal, json.dumps(asdict(attempts)).encode())
