"""Pure: the notice that a person accepts before anything is recorded, and the record of their answer.

The notice is generated from the effective configuration, so that it cannot say less than what is done; its
SHA-256 is the consent's id and travels in every chunk. Whatever changes the text asks again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

NOTICE_VERSION = 1
"""Raised when the fixed sentences below change in meaning; a new version asks again."""

NEVER = (
    "which keys you press to write (only their class - letter, digit, edit, ... - and their timing)",
    "applications that are not listed above: their pictures are blackened before they are stored, "
    "their input is not recorded",
    "anything while you have paused it, while the screen is locked, or before you have accepted this notice",
    "sound, camera, the content of files or of the clipboard",
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the notice says; every field comes from the configuration.

    Attributes:
        purposes: what the recordings may be used for.
        applications: the patterns of the allowed applications.
        screenshots: in words, e.g. "when the picture changed, at most every 2 s".
        readers: who can read: the archive key's fingerprint and, if given, its owner's name.
        server: where it is sent.
        retention_days: after so many days the archive deletes.
        region: where it is kept ("" = not restricted).
        hold_back: how long it stays on this machine first, in words.
        copies: what stays on this machine for its owner to look at, in words.
        cost: bytes and energy at most, in words.
        semantics: what is told of choices, in words; "": nothing.
    """

    purposes: tuple[str, ...]
    applications: tuple[str, ...]
    screenshots: str
    readers: str
    server: str
    retention_days: int
    region: str
    hold_back: str
    copies: str
    cost: str
    semantics: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """A person's yes.

    Attributes:
        digest: SHA-256 (hex) of the notice's text.
        accepted_wall_s: when, seconds since 1970.
        notice: the text itself, so that what was accepted can be read later.
    """

    digest: str
    accepted_wall_s: int
    notice: str

    def to_json(self) -> bytes:
        """Return the record as it is stored."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Consent | None:
        """Read a stored record; None when it is damaged (then the person is asked again)."""
        try:
            fields = json.loads(data)
            consent = cls(str(fields["digest"]), int(fields["accepted_wall_s"]), str(fields["notice"]))
        except (ValueError, KeyError, TypeError):
            return None
        return consent if digest(consent.notice) == consent.digest else None


def notice(terms: Terms) -> str:
    """Return the notice in plain words."""
    items = "\n".join(f"    {name}" for name in terms.applications) or "    (none: nothing would be recorded)"
    never = "\n".join(f"  - {sentence}" for sentence in NEVER)
    where = f", in {terms.region}" if terms.region else ""
    semantics = f"\n  - {terms.semantics}" if terms.semantics else ""
    return f"""\
modicum - what you agree to (notice {NOTICE_VERSION})

What is recorded, and only while one of these applications has the focus:
{items}
  - the pointer's path, clicks and the wheel; when keys are pressed and released, and their class
  - which of these applications has the focus, and its window's title{semantics}
  - screenshots: {terms.screenshots}
What for: {", ".join(terms.purposes) or "(no purpose is set: nothing can be read)"}
What never:
{never}
Who can read it: {terms.readers}. It is sealed on this machine; {terms.server} carries it and cannot read it.
How long it is kept: {terms.retention_days} days{where}; then the archive deletes it.
What it costs you: {terms.cost}
How to stay in charge:
  - `modicum pause` (for as long as you like), `modicum resume`, `modicum stop`
  - what was recorded stays on this machine for {terms.hold_back} first: `modicum forget` deletes it there
  - `modicum review` shows you what was recorded, and deletes what you choose; for that, {terms.copies}
  - `modicum withdraw` ends your consent and deletes what has not been sent
  - `modicum status` shows what it does now, and why
"""


def digest(text: str) -> str:
    """Return the SHA-256 of a notice as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
