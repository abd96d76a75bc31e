"""Fixtures that several of these files use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real_daemons import NOWHERE
from tests.x11_display import x_server
from tests.x11_watching import furnished


@pytest.fixture
def no_buses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a system bus nor a session bus."""
    for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(name, NOWHERE)


@pytest.fixture
def bare() -> Iterator[str]:
    """A display with nobody on it, not even a window manager."""
    with x_server() as display:
        yield display


@pytest.fixture
def desk(bare: str) -> Iterator[str]:
    """A display with openbox and two terminals."""
    with furnished(bare):
        yield bare
