"""Actions of all kinds, with pictures, for the tests of exports."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from codec.actions import Action, ActionKind, Element, Origin, Shot

WIDTH_PX, HEIGHT_PX = 200, 100
START_NS = 1_790_000_000_000_000_000
ORIGIN = Origin(
    device="samples-1",
    epoch=0xABCD1234,
    seq=7,
    purposes=("computer-use-evaluation", "computer-use-training"),
    consent=bytes(range(32)),
    expires_s=1_800_000_000,
    region="EU",
    agent="modicum test",
    lossy=("move-per-8ms",),
)
LOST_MS = 666
"""A frame of this time cannot be had any more."""


def picture(t_ms: int) -> npt.NDArray[np.uint8]:
    """Return a picture that its time can be read from."""
    if t_ms == LOST_MS:
        raise LookupError(t_ms)
    pixels = np.full((HEIGHT_PX, WIDTH_PX, 4), 255, np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = t_ms % 251, t_ms // 251 % 251, 30
    return pixels


def shot(t_ms: int) -> Shot:
    """Return a frame's handle."""
    return Shot(t_ms, exact=True, load=partial(picture, t_ms))


def actions() -> list[Action]:
    """Return one of each kind, in order."""

    def one(kind: ActionKind, t_ms: int, **fields: object) -> Action:
        shots = {"before": shot(t_ms - 5), "after": shot(t_ms + 50)} | fields
        return Action(kind, t_ms, START_NS + t_ms * 1_000_000, ORIGIN, **shots)  # type: ignore[arg-type]

    return [
        one(ActionKind.FOCUS, 10, application="editor", title="ünïcode", fields={"app": "editor"}, before=None),
        one(
            ActionKind.CLICK, 100, x=50, y=25, button=1, element=Element("push button", "Save", bounds=(40, 20, 30, 12))
        ),
        one(ActionKind.CLICK, 200, x=0, y=99, button=3),
        one(ActionKind.DOUBLE_CLICK, 300, x=199, y=0, button=1),
        one(ActionKind.DRAG, 400, x=20, y=10, to=(120, 60), button=1, duration_ms=80),
        one(ActionKind.SCROLL, 500, x=100, y=50, scroll=(2, -3)),
        one(ActionKind.TYPE, 600, keys={"letter": 5, "space": 1}, duration_ms=900),
        one(ActionKind.SHORTCUT, 1600, name="Ctrl+Shift+S"),
        one(ActionKind.CLICK, 1700, x=60, y=30, button=1),
        one(
            ActionKind.SELECT,
            1700,
            x=60,
            y=30,
            cause="click",
            committed=True,
            element=Element("menu item", digest=b"\x01" * 16, index=2, count=5),
        ),
        one(ActionKind.CLICK, 1800, x=1, y=1, button=1, before=shot(LOST_MS)),
        one(ActionKind.CLICK, 400_000, x=1, y=1, button=1),
    ]
