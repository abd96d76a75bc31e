"""The grabber on a real X server: pictures show what is on the screen."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pytest
import xcffib
import xcffib.xproto as xp

from capture.errors import CaptureError, NoDisplay
from capture.sources.screen import STRIP_BYTES, Grabber
from codec.tiles import STRIP_PX
from tests.places import free_display
from tests.x11_display import need, x_server

pytestmark = pytest.mark.x11


@pytest.fixture
def display() -> Iterator[str]:
    with x_server(screen="640x480x24") as name:
        yield name


class Painter:
    """Paints rectangles on the root window."""

    def __init__(self, display: str) -> None:
        self._connection = xcffib.connect(display)
        self._root = self._connection.get_setup().roots[0].root
        self._context = self._connection.generate_id()
        self._connection.core.CreateGC(self._context, self._root, 0, [])

    def paint(self, colour: int, x: int, y: int, width: int, height: int) -> None:
        core = self._connection.core
        core.ChangeGC(self._context, xp.GC.Foreground, [colour])
        rectangle = xp.RECTANGLE.synthetic(x, y, width, height)
        core.PolyFillRectangle(self._root, self._context, 1, [rectangle])
        core.GetInputFocus().reply()

    def close(self) -> None:
        self._connection.disconnect()


def grabbed(grabber: Grabber, width_px: int = 640, height_px: int = 480) -> npt.NDArray[np.uint8]:
    """Return a picture as a whole."""
    return np.concatenate(list(grabber.strips(width_px, height_px)))


def test_a_picture_shows_the_screen_in_bgra_and_can_be_written(display: str) -> None:
    painter, grabber = Painter(display), Grabber(display)
    painter.paint(0x102030, 0, 0, 640, 480)
    painter.paint(0xFF8000, 100, 200, 10, 5)
    strips = list(grabber.strips(640, 480))
    assert max(strip.nbytes for strip in strips) <= STRIP_BYTES
    assert {len(strip) % STRIP_PX for strip in strips[:-1]} == {0}
    picture = np.concatenate(strips)
    assert (picture.shape, picture.dtype) == ((480, 640, 4), np.uint8)
    assert tuple(picture[0, 0, :3]) == (0x30, 0x20, 0x10)
    assert tuple(picture[204, 109, :3]) == (0x00, 0x80, 0xFF)
    assert tuple(picture[205, 109, :3]) == (0x30, 0x20, 0x10)
    for strip in grabber.strips(640, 480):
        strip[:] = 0  # the policy masks it in place
    assert all(strip.any() for strip in strips), "an earlier strip is the caller's own"
    assert np.array_equal(grabbed(grabber), picture)
    grabber.close()
    painter.close()


def test_after_a_change_of_size_the_next_pictures_have_the_new_size(display: str) -> None:
    need("xrandr")
    grabber = Grabber(display)
    assert grabbed(grabber).shape == (480, 640, 4)
    mode = ["320x240", "5.26", "320", "336", "360", "400", "240", "241", "242", "245"]
    for step in (["--newmode", *mode], ["--addmode", "screen", mode[0]], ["--output", "screen", "--mode", mode[0]]):
        subprocess.run(["xrandr", "-d", display, *step], check=True)
    with suppress(CaptureError):  # it may fail once: the next is good
        grabbed(grabber)
    grabber.reset()
    assert grabbed(grabber, 320, 240).shape == (240, 320, 4)
    with pytest.raises(CaptureError, match="it is being changed"):
        grabbed(grabber, 640, 480)
    assert grabbed(grabber, 320, 240).shape == (240, 320, 4)
    grabber.close()


def test_without_a_display_it_says_so() -> None:
    with pytest.raises(NoDisplay, match="no display to take pictures of"):
        grabbed(Grabber(":4099"))


def test_a_server_that_went_away_is_an_error_of_ours() -> None:
    servers: list[subprocess.Popen[bytes]] = []
    with x_server(screen="640x480x24", name=free_display(), wrapped=servers) as display:
        grabber = Grabber(display)
        grabbed(grabber)
        servers[0].kill()
        servers[0].wait()
        for _ in range(2):
            with pytest.raises(CaptureError):
                grabbed(grabber)
