"""Shell: a recording at a glance: a contact sheet of its screenshots above a timeline of its applications, as one PNG.

Loses everything but the look. The only other module than pictures.py that imports Pillow.
"""

from __future__ import annotations

import colorsys
import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from codec.actions import ActionKind

if TYPE_CHECKING:
    from datetime import tzinfo

    from codec.actions import Action
    from transport.reading import Picture

COLUMNS, ROWS = 4, 6
THUMB_PX = 400
MARGIN_PX = 24
LABEL_PX = 26
LANE_PX = 26
NAME_PX = 190
PAPER, INK, QUIET, LINE = "#fbfbfa", "#1d2430", "#5b6575", "#dfe2e6"
MAX_LANES = 12
"""Applications with a lane of their own: those used longest."""


@dataclass(slots=True)
class Glance:
    """What is gathered while a recording is read once.

    Attributes:
        thumbs: (wall_ns, small picture as a PIL image) spread over the recording.
        focus: (wall_ns, application), changes in order. marks: wall_ns of clicks, choices and typing.
        last_ns: the end.
    """

    thumbs: list[tuple[int, Any]] = field(default_factory=list)
    focus: list[tuple[int, str]] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    last_ns: int = 0

    @property
    def first_ns(self) -> int:
        """When it began."""
        firsts = [*self.marks[:1], *(wall_ns for wall_ns, _ in (*self.thumbs[:1], *self.focus[:1]))]
        return min(firsts, default=0)


def gather(actions: Iterable[Action], pictures: Iterable[Picture]) -> Glance:
    """Read a recording; memory holds at most twice as many thumbnails as the sheet shows.

    Raises:
        ImportError: Pillow is not installed: it comes with modicum[export].
    """
    from PIL import Image

    glance = Glance()
    for action in actions:
        glance.last_ns = max(glance.last_ns, action.wall_ns + action.duration_ms * 1_000_000)
        if not glance.focus or glance.focus[-1][1] != action.application:
            glance.focus.append((action.wall_ns, action.application))
        if action.kind not in {ActionKind.FOCUS, ActionKind.SITE}:
            glance.marks.append(action.wall_ns)
    step = 1
    for number, picture in enumerate(pictures):
        glance.last_ns = max(glance.last_ns, picture.wall_ns)
        if number % step:
            continue
        height_px, width_px = picture.pixels.shape[:2]
        size = THUMB_PX, max(1, round(height_px * THUMB_PX / width_px))
        glance.thumbs.append(
            (picture.wall_ns, Image.fromarray(picture.pixels[..., 2::-1]).resize(size, Image.Resampling.LANCZOS))
        )
        if len(glance.thumbs) >= 2 * COLUMNS * ROWS:  # a long one: every other will do
            del glance.thumbs[1::2]
            step *= 2
    return glance


def draw(glance: Glance, *, title: str, zone: tzinfo | None = None) -> bytes:
    """Return the sheet as PNG.

    Args:
        glance: see gather. title: stands above. zone: whose clock the times are of; None: this machine's.
    """
    from PIL import Image, ImageDraw, ImageFont

    thumbs = _spread(glance.thumbs, COLUMNS * ROWS)
    lanes = _lanes(glance)
    thumb_px = max((image.height for _, image in thumbs), default=0)
    rows = -(-len(thumbs) // COLUMNS)
    width_px = 2 * MARGIN_PX + COLUMNS * THUMB_PX + (COLUMNS - 1) * MARGIN_PX // 2
    top_px = MARGIN_PX + 44
    sheet_px = rows * (thumb_px + LABEL_PX + MARGIN_PX // 2)
    height_px = top_px + sheet_px + (len(lanes) + 1) * LANE_PX + 2 * MARGIN_PX
    image = Image.new("RGB", (width_px, height_px), PAPER)
    pen = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(26), ImageFont.load_default(17)
    pen.text((MARGIN_PX, MARGIN_PX), title, INK, large)
    for number, (wall_ns, thumb) in enumerate(thumbs):
        x = MARGIN_PX + number % COLUMNS * (THUMB_PX + MARGIN_PX // 2)
        y = top_px + number // COLUMNS * (thumb_px + LABEL_PX + MARGIN_PX // 2)
        image.paste(thumb, (x, y))
        pen.rectangle((x - 1, y - 1, x + thumb.width, y + thumb.height), outline=LINE)
        pen.text((x, y + thumb.height + 3), _clock(wall_ns, zone), INK, small)
        name = _application_at(glance, wall_ns)
        pen.text((x + THUMB_PX, y + thumb.height + 3), name[:28], QUIET, small, anchor="ra")
    _draw_lanes(pen, glance, lanes, (top_px + sheet_px + MARGIN_PX // 2, width_px), small, zone)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw_lanes(
    pen: Any, glance: Glance, lanes: Sequence[str], place: tuple[int, int], font: Any, zone: tzinfo | None
) -> None:
    top_px, width_px = place
    left_px, right_px = MARGIN_PX + NAME_PX, width_px - MARGIN_PX
    span_ns = max(1, glance.last_ns - glance.first_ns)

    def x_of(wall_ns: int) -> float:
        return left_px + (right_px - left_px) * (wall_ns - glance.first_ns) / span_ns

    ends = [wall_ns for wall_ns, _ in glance.focus[1:]] + [glance.last_ns]
    for number, name in enumerate(lanes):
        y = top_px + number * LANE_PX
        pen.text((MARGIN_PX, y + 2), name[:22] or "(none)", INK, font)
        pen.line((left_px, y + LANE_PX - 2, right_px, y + LANE_PX - 2), LINE)
        for (wall_ns, application), end_ns in zip(glance.focus, ends, strict=True):
            if application == name:
                x = x_of(wall_ns)
                pen.rectangle((x, y + 4, max(x + 1, x_of(end_ns)), y + LANE_PX - 5), fill=_colour(name))
    y = top_px + len(lanes) * LANE_PX
    for wall_ns in glance.marks:
        pen.line((x_of(wall_ns), y + 3, x_of(wall_ns), y + 10), INK)
    pen.text((left_px, y + 12), _clock(glance.first_ns, zone), QUIET, font)
    pen.text((right_px, y + 12), _clock(glance.last_ns, zone), QUIET, font, anchor="ra")
    pen.text((MARGIN_PX, y + 2), "actions", QUIET, font)


def _lanes(glance: Glance) -> list[str]:
    """Return the applications, those used longest, in the order in which they came."""
    ends = [wall_ns for wall_ns, _ in glance.focus[1:]] + [glance.last_ns]
    used: dict[str, int] = {}
    for (wall_ns, name), end_ns in zip(glance.focus, ends, strict=True):
        used[name] = used.get(name, 0) + end_ns - wall_ns
    longest = sorted(used, key=lambda name: -used[name])[:MAX_LANES]
    return [name for name in used if name in longest]


def _application_at(glance: Glance, wall_ns: int) -> str:
    return next((name for began_ns, name in reversed(glance.focus) if began_ns <= wall_ns), "")


def _spread(items: Sequence[tuple[int, Any]], most: int) -> list[tuple[int, Any]]:
    if len(items) <= most:
        return list(items)
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]


def _clock(wall_ns: int, zone: tzinfo | None) -> str:
    return f"{datetime.fromtimestamp(wall_ns / 1e9, zone):%Y-%m-%d %H:%M:%S}"


def _colour(name: str) -> tuple[int, int, int]:
    """Return a colour that a name always has."""
    red, green, blue = colorsys.hls_to_rgb(zlib.crc32(name.encode()) % 360 / 360, 0.55, 0.5)
    return round(255 * red), round(255 * green), round(255 * blue)
