"""Pure: asking the collector which chunks it has, before sending them again.

After a lost connection or a restart a device does not know which of its chunks arrived: the answer may be what got lost. A
question costs some hundred bytes, a chunk some ten thousand. It goes to the device's own `…/up` topic:

    "mASK" | msgpack {"v": 1, "e": epoch, "q": [[seq, digest], …]}

and is answered like chunks (transport/messages.py): `a` names those of them that the archive holds, and `d` has the question's
digest, which says that those it does not name are not there. Repeating a question is harmless. A collector that does not know
questions refuses this one as malformed: then chunks are sent again, as they would be without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgpack

from codec import errors
from codec.model import ChunkId
from transport.errors import Missing, TooLarge
from transport.intake import Handler, Reply
from transport.messages import DIGEST_BYTES, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC = b"mASK"
VERSION = 1
MAX_ASKED = 64
"""Chunks in one question; the collector reads each that it has."""


def pack_question(epoch: int, asked: Iterable[tuple[int, bytes]]) -> bytes:
    """Return a question's payload: an epoch, and (seq, digest) of at most MAX_ASKED of its chunks."""
    fields = {"v": VERSION, "e": epoch, "q": [[seq, digest] for seq, digest in asked]}
    return MAGIC + bytes(msgpack.packb(fields))


def parse_question(device: str, payload: bytes) -> list[tuple[ChunkId, bytes]]:
    """Return what a device asks for.

    Raises:
        Corrupt: it is not a question, or one about too much.
    """
    try:
        fields = msgpack.unpackb(payload[len(MAGIC) :], max_array_len=MAX_ASKED, max_map_len=8, max_str_len=8)
        if fields["v"] != VERSION:
            raise errors.Corrupt(f"a question of version {fields['v']!r}, not {VERSION}")
        asked = [(ChunkId(device, fields["e"], seq), digest) for seq, digest in fields["q"]]
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise errors.Corrupt(f"not a question: {error}") from error
    for chunk_id, digest in asked:
        if any(type(number) is not int or not 0 <= number < 1 << 32 for number in (chunk_id.epoch, chunk_id.seq)):
            raise errors.Corrupt("a number out of range")
        if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
            raise errors.Corrupt("a digest of the wrong size")
    return asked


def handler(get: Callable[[ChunkId], bytes]) -> Handler:
    """Return what answers questions.

    Args:
        get: returns a chunk of the archive; raises Missing.
    """

    def answer(device: str, payload: bytes) -> Reply:
        there = [pair for pair in parse_question(device, payload) if _holds(get, *pair)]
        return Reply("asked", f"{len(there)} are there", archived=tuple(there))

    return answer


def _holds(get: Callable[[ChunkId], bytes], chunk_id: ChunkId, digest: bytes) -> bool:
    try:
        return digest_of(get(chunk_id)) == digest
    except (Missing, TooLarge):
        return False
