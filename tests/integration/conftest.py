"""Fixtures that several of these files use."""

from __future__ import annotations

import pytest

from tests.real_daemons import NOWHERE


@pytest.fixture
def no_buses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a system bus nor a session bus."""
    for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(name, NOWHERE)
