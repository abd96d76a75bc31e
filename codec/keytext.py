"""Pure: a key as one line of text: `modicum-archive-public 1 x25519 <base64> <key id>`.

The key id at the end tells a key that was mistyped or cut: sealing for such a key would lose everything sealed.
"""

from __future__ import annotations

import base64
import binascii

from codec.errors import Corrupt, Denied, TooLarge, Unsupported

MAX_KEY_LINE_BYTES = 4096
"""A line of the largest key (a hybrid public key: 1,216 bytes, 1,624 in base64) and its words, doubled."""


def to_line(kind: str, algorithm: str, raw: bytes, id_: bytes) -> str:
    """Return a key's line."""
    return f"modicum-{kind} 1 {algorithm} {base64.b64encode(raw).decode()} {id_.hex()}\n"


def words_of(text: str) -> list[str]:
    """Return the words of the one line that is neither empty nor a comment (#); none, where there are more of them."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return lines[0].split() if len(lines) == 1 else []


def from_line(text: str, kind: str) -> tuple[str, bytes, bytes]:
    """Return algorithm, raw key and stated key id of a key's line.

    Raises:
        Corrupt: it is no key's line. Denied: it is one of another kind. Unsupported: of a newer version.
        TooLarge: it is no key's line, but a whole document.
    """
    if len(text) > MAX_KEY_LINE_BYTES:
        raise TooLarge("a key's text", actual=len(text), limit=MAX_KEY_LINE_BYTES)
    words = words_of(text)
    if not words or not words[0].startswith("modicum-"):
        raise Corrupt(f"this is no key: one line `modicum-{kind} 1 …` is needed")
    if words[0] != f"modicum-{kind}":
        raise Denied(f"this is a {words[0]!r} key, and a 'modicum-{kind}' is needed: give the other file")
    if words[1:2] != ["1"]:
        raise Unsupported(f"the key's line is of version {words[1:2]}, this build reads version 1: upgrade it")
    if len(words) != 5:
        raise Corrupt(f"the key's line has {len(words)} words where 5 are needed: it was cut or joined")
    try:
        return words[2], base64.b64decode(words[3], validate=True), bytes.fromhex(words[4])
    except (binascii.Error, ValueError) as error:
        raise Corrupt(f"the key's line isn't base64 and hex: {error}") from error
