"""Pure: the notice that a person accepts before anything is recorded, and the record of their answer.

The notice is generated from the effective configuration, so that it cannot say less than what is done; its
SHA-256 is the consent's id and travels in every chunk. Terms are ordered: what is no wider in any respect than what was
accepted needs no new answer, everything else does (`capture/narrowing.py` has the order).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from typing import Any, get_type_hints

from capture.units import show_duration, show_share, show_size

NOTICE_VERSION = 2
"""Raised when the fixed sentences below change in meaning; a new version asks again."""

KINDS = (
    "the pointer's path, clicks and the wheel",
    "when keys are pressed and released, and their class (letter, digit, punctuation, edit, navigation, modifier)",
    "which application has the focus, its window's title and place",
    "of a browser, the host of the site in front, never the address",
)
"""What is recorded, besides screenshots and what `[semantics]` adds."""

SEMANTIC_KINDS = (
    "what is chosen in menus, lists, tabs and dialogues, and what is clicked on: its kind, its place among how many, and a "
    "digest of its name",
    "shortcuts by name, such as Ctrl+C; never keys that write text",
)
"""What is recorded while `[semantics]` is enabled."""

LABEL_KIND = "the names of what is chosen and clicked on, as the application shows them"
"""What is recorded besides where `[semantics]` keeps labels as text."""

_COPIES = "that something was copied or pasted, in which application, of which kinds and how many bytes"
CLIPBOARD_KINDS = {
    "off": (),
    "types": (_COPIES,),
    "digest": (_COPIES, "a digest of text that is copied, by which equal texts are seen to be equal"),
}
"""What is recorded besides, by `semantics.clipboard`."""

NEVER = (
    "which keys you press to write (only their class and their timing); nothing at all of them while a password field has the "
    "focus, and no picture either",
    "applications and sites that are not listed above: their pictures are blackened before they are stored, "
    "their input is not recorded",
    "private browsing, password managers and sign-in pages, remote desktops, lock and login screens, banks, health, and "
    "what else is private life (`modicum scope ls` lists them), whatever anybody configures",
    "anything while you have paused it, while the screen is locked, or before you have accepted this notice",
    "sound, camera, the content of files or of the clipboard",
    "anything for assessing your work or your performance: such a purpose cannot be stated, and readers refuse others",
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the notice says; every field comes from the configuration.

    Attributes:
        purposes: what the recordings may be used for.
        applications, denied: patterns of window classes. sites, denied_sites: hosts.
        guarded: where other people's words are shown (classes and hosts): structure and timing only.
        content: of which of these everything is recorded even so.
        never: classes and hosts of which nothing ever is.
        named, named_sites: how the person's configuration names what is allowed ("@office", "code").
        show_desktop: whether what lies behind all windows is seen.
        kinds: what is recorded, in words.
        screenshots: whether there are any. screenshot_interval_s: at least so far apart.
        pointer_interval_ms: points of the pointer's path are at least so far apart.
        readers: who can read: the archive key's fingerprint and, if given, its owner's name.
        server: where it is sent.
        retention_days: after so many days the archive deletes.
        region: where it is kept ("" = not restricted).
        hold_back_s: how long it stays on this machine first.
        day_bytes, month_bytes: at most so much on the wire; None = no limit.
        links: what may go over which class of links, and which networks are declared not to be metered, in words.
        cpu_mains, cpu_battery: at most this share of a processor core.
        screens_floor, floor: the share of charge below which there are no screenshots, and nothing at all.
    """

    purposes: tuple[str, ...]
    applications: tuple[str, ...]
    denied: tuple[str, ...]
    sites: tuple[str, ...]
    denied_sites: tuple[str, ...]
    guarded: tuple[str, ...]
    content: tuple[str, ...]
    never: tuple[str, ...]
    named: tuple[str, ...]
    named_sites: tuple[str, ...]
    show_desktop: bool
    kinds: tuple[str, ...]
    screenshots: bool
    screenshot_interval_s: int
    pointer_interval_ms: int
    readers: str
    server: str
    retention_days: int
    region: str
    hold_back_s: int
    copies_s: int
    copies_bytes: int
    day_bytes: int | None
    month_bytes: int | None
    links: tuple[str, ...]
    cpu_mains: float
    cpu_battery: float
    screens_floor: float
    floor: float

    def exact(self) -> str:
        """Return the SHA-256 of every field: what the notice's text shortens is bound by it, too."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> Terms:
        """Read what `asdict` made and JSON carried.

        Raises:
            ValueError, KeyError, TypeError: it is no such table.
        """
        hints = get_type_hints(cls)
        given: dict[str, Any] = {
            field.name: tuple(map(str, table[field.name]))
            if hints[field.name] == tuple[str, ...]
            else table[field.name]
            for field in fields(cls)
        }
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Consent:
    """A person's yes.

    Attributes:
        digest: SHA-256 (hex) of the notice's text.
        accepted_wall_s: when, seconds since 1970.
        notice: the text itself, so that what was accepted can be read later.
        terms: what the text was made of; None in records of older versions (then only the very same text holds).
    """

    digest: str
    accepted_wall_s: int
    notice: str
    terms: Terms | None = None

    def to_json(self) -> bytes:
        """Return the record as it is stored."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Consent | None:
        """Read a stored record; None when it is damaged (then the person is asked again)."""
        try:
            table = json.loads(data)
            consent = cls(str(table["digest"]), int(table["accepted_wall_s"]), str(table["notice"]))
            terms = Terms.from_table(table["terms"]) if table.get("terms") else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if digest(consent.notice) != consent.digest:
            return None
        if terms is not None and f"Exact terms: {terms.exact()}" in consent.notice:
            return cls(consent.digest, consent.accepted_wall_s, consent.notice, terms)
        return consent


def notice(terms: Terms) -> str:
    """Return the notice in plain words."""

    def bullets(sentences: tuple[str, ...]) -> str:
        return "\n".join(f"  - {sentence}" for sentence in sentences)

    def bytes_of(limit: int | None, span: str) -> str:
        return f"without a limit a {span}" if limit is None else f"at most {show_size(limit)} a {span}"

    where = f", in {terms.region}" if terms.region else ""
    screenshots = "none"
    if terms.screenshots:
        screenshots = (
            f"when the picture changed, at most every {show_duration(timedelta(seconds=terms.screenshot_interval_s))}"
        )
    copies = "nothing is kept on this machine (so there is nothing to see once it is sealed)"
    if terms.copies_s and terms.copies_bytes:
        kept = f"the last {show_duration(timedelta(seconds=terms.copies_s))}, at most {show_size(terms.copies_bytes)}"
        copies = f"a copy of {kept}, stays on this machine, sealed for a key that only your account can read"
    held = "may leave this machine at once"
    if terms.hold_back_s:
        held = f"stays on this machine for {show_duration(timedelta(seconds=terms.hold_back_s))} first"
    return f"""\
modicum - what you agree to (notice {NOTICE_VERSION})

What is recorded, and only while one of these applications has the focus:
    {", ".join(terms.named) or "(none: nothing would be recorded)"}
  of browsers, only while they show one of these sites:
    {", ".join(terms.named_sites) or "(none: browsers are not recorded)"}
  but not: {", ".join((*terms.denied, *terms.denied_sites)) or "(no further exceptions)"}
{bullets(terms.kinds)}
  - screenshots: {screenshots}; {"the desktop's background is seen" if terms.show_desktop else "the background is black"}
  of mail and chat, which hold other people's words, only that something was done, where and when: no titles, no names, \
no pictures; whole, because you said so: {", ".join(terms.content) or "none"}
What for: {", ".join(terms.purposes) or "(no purpose is set: nothing can be read)"}
What never:
{bullets(NEVER)}
Who can read it: {terms.readers}. It is sealed on this machine; {terms.server} carries it and cannot read it.
How long it is kept: {terms.retention_days} days{where}; then the archive deletes it.
What it costs you:
  - your internet: {bytes_of(terms.day_bytes, "day")}, {bytes_of(terms.month_bytes, "month")}, all counted as they are on \
the wire; sent are {", ".join(terms.links) or "nothing"}
  - your battery: at most {show_share(terms.cpu_battery)} of one processor core (on mains {show_share(terms.cpu_mains)}); \
no screenshots below {show_share(terms.screens_floor)} of charge, nothing below {show_share(terms.floor)}
How to stay in charge:
  - `modicum pause` (for as long as you like), `modicum resume`, `modicum stop`; nobody can forbid it
  - a sign is visible whenever it records; `modicum status` shows what it does now, and why
  - what was recorded {held}: `modicum forget` deletes what has not left
  - `modicum review` shows you what was recorded, and deletes what you choose; for that, {copies}
  - `modicum journal` tells what was recorded, what left this machine, and who asked for what
  - `modicum exempt` leaves out what your line, your battery or your work cannot bear at the moment
  - `modicum withdraw` ends your consent, deletes everything here, and has the archive erase what was sent; \
`modicum erase` does so for a part
Exact terms: {terms.exact()} (`modicum privacy report` prints them)
"""


def digest(text: str) -> str:
    """Return the SHA-256 of a notice as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
