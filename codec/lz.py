"""Pure: Zstandard as the event sections use it: no magic, no sizes in the frame, small shipped dictionaries, a hard
bound on output.

The four magic bytes, the content size, the checksum and the dictionary's id would cost 17 bytes of a section that may
have 30; the section's own framing tells all four. A dictionary is frozen by its name: a better one gets a new name and
a new method number.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import zstandard

from codec.errors import Corrupt, TooLarge

LEVEL = 19
MAX_WINDOW_BYTES = 1 << 23
"""What a decoder must hold beside its output; the writer's windows are never larger than its input."""


@cache
def shipped(name: str) -> bytes:
    """Return a data file of this package, by its name with its version."""
    return files("codec").joinpath("data", name).read_bytes()


@cache
def _dictionary(name: str) -> zstandard.ZstdCompressionDict | None:
    return zstandard.ZstdCompressionDict(shipped(name), dict_type=zstandard.DICT_TYPE_AUTO) if name else None


def compress(data: bytes, dictionary: str = "") -> bytes:
    """Compress into one bare frame; `dictionary` names a shipped dictionary, or none."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL,
        source_size=max(len(data), 1),
        dict_size=len(shipped(dictionary)) if dictionary else 0,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(dict_data=_dictionary(dictionary), compression_params=parameters).compress(data)


def decompress(frame: bytes, *, limit_bytes: int, dictionary: str = "") -> bytes:
    """Undo `compress`.

    Raises:
        Corrupt: it is no such frame. TooLarge: it would give more than `limit_bytes`; no more than that was allocated.
    """
    context = zstandard.ZstdDecompressor(
        dict_data=_dictionary(dictionary),
        max_window_size=MAX_WINDOW_BYTES,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
    )
    try:
        with context.stream_reader(frame) as reader:
            data = reader.read(limit_bytes + 1)
    except zstandard.ZstdError as error:
        raise Corrupt(f"a compressed column cannot be decompressed ({error})") from None
    if len(data) > limit_bytes:
        raise TooLarge("a decompressed column", actual=len(data), limit=limit_bytes)
    return data
