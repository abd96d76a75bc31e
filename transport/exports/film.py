"""Shell: screenshots as one MP4, and an index that says at which millisecond of it each frame stands.

Loses pixels (it is encoded again) and frames of all screens but the first; those of another size are scaled to the first one's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codec.model import Frame
from codec.video import write_mp4

if TYPE_CHECKING:
    from transport.reading import Picture


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame stands in the film. Attributes: its time on both clocks; video_ms: from the film's start."""

    t_ms: int
    wall_ns: int
    video_ms: int
    epoch: int


def write_film(
    path: Path, pictures: Iterable[Picture], told: Callable[[Place, Picture], None] = lambda place, picture: None
) -> int:
    """Write a film; return how many frames it has. With none, no file is made.

    Args:
        path: of the file. pictures: of one device, in order, read once. told: called with each frame's place.
    """

    def frames() -> Iterator[Frame]:
        first: Picture | None = None
        video_ms = -1
        for picture in pictures:
            if first is None:
                first = picture
            if picture.screen != first.screen:
                continue
            # By the wall clock, which goes on when the machine is started anew; a player needs times that grow.
            video_ms = max(video_ms + 1, (picture.wall_ns - first.wall_ns) // 1_000_000)
            told(Place(picture.t_ms, picture.wall_ns, video_ms, picture.origin.epoch), picture)
            yield Frame(video_ms, picture.pixels)

    count = write_mp4(path, frames())
    if path.exists():
        path.chmod(0o600)
    return count
