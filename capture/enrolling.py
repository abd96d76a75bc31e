"""Shell: how this device is let in: makes its request, and keeps what the archive's side answers.

The device's keys are made here and never leave: what goes out is public. What comes back counts only when it answers this very
request and is signed by the fleet's authority, which is known by the token, by what was kept from an earlier enrolment, or by a
fingerprint that the person compares.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from capture.home import Home
from capture.keyfiles import write_private
from transport.enrolment import NONCE_BYTES, Request, pack_request, to_armor


class Enrolling:
    """See the module. home: the agent's folders; they exist."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def request(self) -> bytes:
        """Return a request that a person accepts by hand."""
        signer = self._home.signing_key()
        request = Request(self._home.device(), signer.public, int(time.time()), secrets.token_bytes(NONCE_BYTES))
        return pack_request(request, signer, None)

    def write_request(self, path: Path) -> None:
        """Write a request as text."""
        write_private(path, to_armor(self.request(), "request").encode())
