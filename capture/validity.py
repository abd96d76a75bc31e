"""Pure: from when until when a certificate holds, read from its PEM; and when it is time to renew it.

It reads the few fields of DER that it needs (RFC 5280 §4.1): the library for certificates would take 7 MB of the agent's memory, for
two dates. It checks nothing else of a certificate; whoever connects with it does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

DAY_S = 86_400
SOON_S = 30 * DAY_S
"""So long before its end a certificate is due to be renewed; where it holds less than three times that, in its last third."""

SOON_RATIO = 1 / 3
SPREAD_RATIO = 1 / 3
"""Devices that were enrolled on one day renew within the first third of that time, each at its own moment."""

URGENT_RATIO = 1 / 3
"""What is not renewed when the last third of that time begins is worth a word, whatever the reason."""

SEQUENCE, INTEGER, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0x02, 0xA0, 0x17, 0x18
TIMES = {UTC_TIME: "%y%m%d%H%M%SZ", GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}


@dataclass(frozen=True, slots=True)
class Validity:
    """When a certificate holds, in wall seconds. share: 0..1, drawn from the certificate itself, so that it is always the same."""

    begins_s: float
    ends_s: float
    share: float = 0.0

    @property
    def renews_from_s(self) -> float:
        """From when on it is due to be renewed."""
        return self.ends_s - self._soon_s * (1 - SPREAD_RATIO * self.share)

    @property
    def urgent_from_s(self) -> float:
        """From when on it should have been renewed."""
        return self.ends_s - self._soon_s * URGENT_RATIO

    @property
    def _soon_s(self) -> float:
        return min(SOON_S, (self.ends_s - self.begins_s) * SOON_RATIO)


def read_validity(pem: bytes) -> Validity:
    """Return when a certificate holds: the first one in a PEM file.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    found = re.search(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", pem, re.DOTALL)
    if found is None:
        raise ValueError("there is no certificate in it")
    try:
        der = base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64") from error
    _, at, end = _field(der, *_field(der, 0, len(der), SEQUENCE)[1:], SEQUENCE)
    if der[at : at + 1] == bytes([VERSION]):
        at = _field(der, at, end, VERSION)[2]
    for expected in (INTEGER, SEQUENCE, SEQUENCE):  # serial number, algorithm, issuer
        at = _field(der, at, end, expected)[2]
    _, at, end = _field(der, at, end, SEQUENCE)
    begins_s, at = _time(der, at, end)
    ends_s, _ = _time(der, at, end)
    return Validity(begins_s, ends_s, int.from_bytes(hashlib.sha256(der).digest()[:4], "big") / (1 << 32))


def _field(der: bytes, at: int, end: int, expected: int | None = None) -> tuple[int, int, int]:
    """Return a field's tag, and where its content begins and ends; it lies within `at` to `end`."""
    if at + 2 > end or (expected is not None and der[at] != expected):
        raise ValueError(f"it is no certificate (byte {at})")
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    if start + length > end:
        raise ValueError(f"it was cut (byte {at})")
    return tag, start, start + length


def _time(der: bytes, at: int, end: int) -> tuple[float, int]:
    """Return a moment in wall seconds, and where the next field begins. (Python's two-digit years turn at 69; RFC 5280's at 50.)"""
    tag, start, after = _field(der, at, end)
    if tag not in TIMES:
        raise ValueError(f"it holds no time (byte {at})")
    moment = datetime.strptime(der[start:after].decode("ascii", "replace"), TIMES[tag])
    return moment.replace(tzinfo=UTC).timestamp(), after
