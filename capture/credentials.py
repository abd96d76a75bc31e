"""Shell: looks at what this device shows a broker: its certificate's end, and who can read the key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from capture.doctor import Check, Level
from capture.errors import CaptureError
from capture.keyfiles import read_private

if TYPE_CHECKING:
    from capture.config import Config

NAME = "certificate"
SOON_S = 30 * 86_400
"""From then on renewing is worth a word."""


async def certificate(config: Config) -> Check:
    """Check the client certificate and its key, as `judge`."""
    return judge(config)


def judge(config: Config) -> Check:
    """Check the client certificate and its key.

    Raises:
        CaptureError: the key is missing, or others can read it.
    """
    if not config.broker.cert:
        return Check(NAME, Level.OK, "none is shown to the broker")
    read_private(Path(config.broker.key).expanduser(), what="the certificate's key")
    left_s = ends_s(Path(config.broker.cert).expanduser()) - time.time()
    mend = "renew it with `modicum enrol --renew`"
    if left_s <= 0:
        return Check(NAME, Level.FAILED, f"it has ended, so that the broker refuses this device: {mend}")
    if left_s < SOON_S:
        return Check(NAME, Level.LIMITED, f"it ends in {left_s / 86_400:.0f} days: {mend}")
    return Check(NAME, Level.OK, f"holds until {datetime.fromtimestamp(time.time() + left_s, UTC):%Y-%m-%d}")


def ends_s(path: Path) -> float:
    """Return when a certificate (PEM) ends, in wall seconds.

    Raises:
        CaptureError: it is none.
    """
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError) as error:
        raise CaptureError(f"the certificate {path} cannot be read ({error}): enrol this device anew") from error
