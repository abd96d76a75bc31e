"""The camera: what changed while a picture was taken keeps it out, and leaves nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pytest

from capture.camera import Camera
from capture.errors import CaptureError
from capture.mask import Mask, Patch
from capture.sources.windows import Window
from codec.screen import decode_frames

WIDTH, HEIGHT = 64, 48
EDITOR = Window(id=1, app="editor", title="a window", pid=1, x=0, y=0, width=WIDTH, height=HEIGHT)
OPEN = Mask(WIDTH, HEIGHT, hide=False, patches=())
HALF = Mask(WIDTH, HEIGHT, hide=False, patches=(Patch(0, 0, 32, HEIGHT, hide=True),))


@dataclass
class Scene:
    """A desktop of one window; `meanwhile` happens between a picture's first strip and its second."""

    colour: int = 50
    windows: Sequence[Window] | None = (EDITOR,)
    mask: Mask | None = OPEN
    meanwhile: Callable[[], None] = lambda: None
    grabs: int = field(default=0)

    def strips(self, width_px: int, height_px: int) -> Iterator[npt.NDArray[np.uint8]]:
        self.grabs += 1
        picture = np.full((height_px, width_px, 4), self.colour, np.uint8)
        yield picture[:16]
        self.meanwhile()
        yield picture[16:]

    def reset(self) -> None:
        """Nothing to begin anew."""


def shoot(scene: Scene, *changes: Callable[[], None]) -> tuple[Camera, list[npt.NDArray[np.uint8]]]:
    """Take a frame after each change of the scene; return the camera and what the reel shows."""

    async def main() -> tuple[Camera, list[npt.NDArray[np.uint8]]]:
        with ThreadPoolExecutor(1) as thread:
            camera = Camera(
                scene, windows=lambda: scene.windows, mask=lambda _windows, _w, _h: scene.mask, thread=thread
            )
            await camera.resize(WIDTH, HEIGHT)
            for number, change in enumerate(changes):
                change()
                await camera.take(1000 + number)
            reel = await camera.cut()
            return camera, [] if reel is None else [frame.pixels for frame in decode_frames(reel.develop())]

    return asyncio.run(main())


def test_what_is_masked_is_black_and_the_rest_is_there() -> None:
    _, (seen,) = shoot(Scene(mask=HALF), lambda: None)
    assert (seen[:, :32, :3] == 0).all()
    assert (seen[:, 32:, :3] == 50).all()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"windows": (replace(EDITOR, x=3),)}, "windows moved during the grab"),
        ({"windows": None}, "windows moved during the grab"),
        ({"mask": HALF}, "not allowed"),
        ({"mask": None}, "not allowed"),
    ],
)
def test_a_change_during_the_grab_keeps_the_picture_out(changed: dict[str, object], reason: str) -> None:
    scene = Scene()
    before = scene.windows, scene.mask

    def disturb() -> None:
        scene.colour = 200
        scene.meanwhile = lambda: [setattr(scene, name, value) for name, value in changed.items()] and None

    def calm() -> None:
        scene.colour, scene.meanwhile = 90, lambda: None
        scene.windows, scene.mask = before

    camera, seen = shoot(scene, lambda: None, disturb, calm)
    assert camera.refused == {reason: 1}
    assert [int(one.max(axis=(0, 1))[0]) for one in seen] == [50, 90], "nothing of the refused picture"


def test_a_first_picture_that_is_refused_begins_no_reel() -> None:
    scene = Scene(meanwhile=lambda: setattr(scene, "windows", None))
    camera, seen = shoot(scene, lambda: None)
    assert camera.frames == 0
    assert camera.reel is None
    assert not seen


def test_what_is_not_allowed_is_not_even_grabbed() -> None:
    scene = Scene(mask=None)
    camera, _ = shoot(scene, lambda: None)
    assert camera.refused == {"not allowed": 1}
    assert scene.grabs == 0


def test_a_grab_that_fails_is_told_and_the_next_one_counts() -> None:
    def fail() -> None:
        raise CaptureError("the display was being changed")

    scene = Scene(meanwhile=fail)
    camera, seen = shoot(scene, lambda: None, lambda: setattr(scene, "meanwhile", lambda: None))
    assert camera.refused == {"the grab failed": 1}
    assert len(seen) == 1
