"""The copies as the page sees them: outlines, events, pictures; in bounded memory, and whole whatever is deleted meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from capture.review import film
from capture.review.bounds import Bounds
from capture.review.copies import Copies
from capture.review.film import Films, Shelf
from capture.review.holdings import Holdings
from capture.review.library import Library
from codec.chunk import Body, encode_body, seal_chunk
from codec.model import ChunkId, Frame, KeyEvents, Meta, PointerEvents, Row
from codec.screen import Effort, ScreenEncoder
from codec.seal import ArchivePrivateKey, DeviceSigningKey
from tests.capture.review.test_png import read_png
from transport.folder import Folder
from transport.fs import RealFiles

OWN, ARCHIVE, SIGNER = ArchivePrivateKey.generate(), ArchivePrivateKey.generate(), DeviceSigningKey.generate()
T0_MS = 1_800_000_000_000
DEVICE = "device-of-a-test"


def screen(count: int, *, height: int = 64, width: int = 96) -> bytes:
    """Return a section of frames that are told apart by their colour."""
    encoder = ScreenEncoder(effort=Effort.FAST)
    for number in range(count):
        pixels = np.zeros((height, width, 4), np.uint8)
        pixels[:, :, 0] = number
        pixels[:, :, 3] = 255
        encoder.add(Frame(number * 1000, pixels))
    return encoder.finish()


class Made:
    """A chunk as the packer makes one."""

    def __init__(
        self, seq: int, *, rows: Sequence[Row] = (), section: bytes = b"", pointer: PointerEvents | None = None
    ) -> None:
        self.chunk_id, self.value = ChunkId(DEVICE, 7, seq), 0 if section else 200
        meta = Meta(0, (T0_MS + seq * 10_000) * 1_000_000, 10_000, expires_s=2_000_000_000)
        self.body = encode_body(Body(meta, pointer or PointerEvents.empty(), KeyEvents.empty(), list(rows), section))
        self.chunk = seal_chunk(
            self.chunk_id,
            self.body,
            recipient=ARCHIVE.public,
            signer=SIGNER,
            expires_s=meta.expires_s,
            value=self.value,
        )


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(Folder(RealFiles(), tmp_path / "copies"), Bounds(86_400, 10**9), min_free_bytes=0)


def keep(copies: Copies, *made: Made) -> Library:
    for one in made:
        copies.keep(one, OWN.public, SIGNER)
    return Library(copies, OWN)


def focus(t_ms: int, app: str) -> Row:
    return Row(t_ms, "focus", {"app": app, "title": f"a window of {app}"})


def test_the_timeline_is_in_the_order_of_what_happened_and_gaps_are_cut_out(copies: Copies) -> None:
    library = keep(
        copies,
        Made(1, rows=[Row(0, "gap", {"cause": "pause", "ms": 4000}), focus(0, "xterm")]),
        Made(0, rows=[focus(0, "code")]),
        Made(2, section=screen(2)),
    )
    items = library.timeline()
    assert [item.id for item in items] == [(7, 0), (7, 1), (7, 2)]
    first, second, third = (item.outline for item in items)
    assert first is not None
    assert second is not None
    assert third is not None
    assert [(span.app, span.end_ms - span.start_ms) for span in first.spans] == [("code", 6000)]
    assert [gap.cause for gap in second.missing] == ["pause"]
    assert (first.has_screens, third.has_screens) == (False, True)


def test_events_are_those_that_were_recorded(copies: Copies) -> None:
    pointer = PointerEvents(
        np.array([0, 5, 9], np.int64),
        np.array([0, 2, 3], np.uint8),
        np.array([1, 2, 2], np.int32),
        np.zeros(3, np.int32),
    )
    library = keep(copies, Made(0, rows=[Row(0, "display", {"w": 800, "h": 600})], pointer=pointer))
    events = library.events((7, 0))
    assert events["start_ms"] == T0_MS
    assert events["pointer"] == {"t": [0, 5, 9], "kind": [0, 2, 3], "x": [1, 2, 2], "y": [0, 0, 0]}
    assert events["clicks"] == 1
    assert events["displays"] == [[0, 800, 600]]
    with pytest.raises(KeyError):
        library.events((7, 5))


def test_pictures_come_in_any_order(copies: Copies) -> None:
    library = keep(copies, Made(0, section=screen(6)))
    start_ms, shots = library.shots((7, 0))
    assert start_ms == T0_MS
    assert [(shot.t_ms, shot.width_px, shot.height_px) for shot in shots] == [(n * 1000, 96, 64) for n in range(6)]
    for number in (3, 4, 0, 5, 1, 1):
        assert read_png(library.picture((7, 0), number))[0, 0, 0] == number
        assert read_png(library.thumb((7, 0), number))[0, 0, 0] == number
    for number in (6, 4000):
        with pytest.raises(KeyError):
            library.picture((7, 0), number)


def test_what_is_deleted_is_nowhere_any_more(copies: Copies) -> None:
    library = keep(copies, Made(0, section=screen(3)), Made(1, rows=[focus(0, "code")]))
    assert len(library.items()) == 2
    library.picture((7, 0), 1)
    copies.forget(lambda copy: copy.chunk_id.seq == 0)
    assert [item.id for item in library.items()] == [(7, 1)]
    assert library._films.held_bytes == 0
    with pytest.raises(KeyError):
        library.picture((7, 0), 1)


def test_what_another_process_deletes_is_gone_at_the_next_look(copies: Copies) -> None:
    library = keep(copies, Made(0, rows=[focus(0, "code")]))
    library.items()
    copies.forget(lambda copy: True)
    with pytest.raises(KeyError):
        library.events((7, 0))
    assert library.items() == []


def test_a_damaged_copy_is_shown_as_one_and_can_be_deleted(copies: Copies, tmp_path: Path) -> None:
    library = keep(copies, Made(0, rows=[focus(0, "code")]), Made(1, rows=[focus(0, "code")]))
    path = tmp_path / "copies" / copies.entries()[0].name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (tmp_path / "copies" / path.name.replace("0000000000-", "0000000009-")).write_bytes(b"")  # as after a power cut
    outlines = {item.id: item.outline for item in library.timeline()}
    assert outlines.keys() == {(7, 0), (7, 1), (7, 9)}
    assert outlines[7, 0] is None
    assert outlines[7, 9] is None
    copies.forget(lambda copy: copy.chunk_id.seq in {0, 9})
    assert [item.id for item in library.items()] == [(7, 1)]


def test_a_copy_for_another_key_is_not_opened(copies: Copies) -> None:
    keep(copies, Made(0, rows=[focus(0, "code")]))
    assert Library(copies, ArchivePrivateKey.generate()).items()[0].outline is None


def test_pictures_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "KEPT_PICTURES_BYTES", 2_000)
    monkeypatch.setattr(film, "KEPT_THUMBS_BYTES", 1_000)
    section = screen(60)
    asked: list[str] = []

    def read(name: str) -> bytes:
        asked.append(name)
        return section

    films = Films(read)
    for name in ("a", "b"):
        assert len(films.shots(name)) == 60
        for number in range(60):
            films.picture(name, number)
        assert films.held_bytes <= 3_000
    assert len(asked) == 4, "once to list the frames, and once to decode them, forwards"


def test_a_shelf_gives_up_what_was_not_asked_for_longest() -> None:
    shelf = Shelf(10)
    for number in range(3):
        shelf.put(("a", number), bytes(4))
        shelf.get(("a", 0))
    assert [shelf.get(("a", number)) is not None for number in range(3)] == [True, False, True]
    shelf.put(("b", 0), bytes(100))
    assert shelf.held_bytes == 100, "one is always held, however large"
    shelf.forget("b")
    assert shelf.held_bytes == 0


def test_where_a_chunk_is() -> None:
    found = {
        "waiting": [[7, 1, 123, 456]],
        "states": [[7, 1, "sent"], [7, 2, "sent"], [7, 3, "archived"], [7, 4, "made"], [7, 5, "erasing"]],
        "erasures": [],
    }
    holdings = Holdings.of(None, found)
    places = [holdings.place_of((7, seq)) for seq in range(1, 7)]
    assert places == ["here", "sent", "archived", "dropped", "erasing", "sent"]
    assert Holdings(None, known=False).place_of((7, 1)) == "unknown"
