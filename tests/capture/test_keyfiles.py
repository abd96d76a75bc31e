"""Private files: 0600, whole or not at all, refused when others can read them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from capture.errors import CaptureError, NoPermission
from capture.keyfiles import MAX_FILE_BYTES, read_private, write_private


def test_a_private_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "device.key"
    write_private(path, b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_private(path, what="the key") == b"secret"
    assert [file.name for file in path.parent.iterdir()] == ["device.key"]


def test_a_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    write_private(path, b"secret")
    path.chmod(0o640)
    with pytest.raises(NoPermission, match="chmod 600"):
        read_private(path, what="the key")


def test_a_missing_and_a_monstrous_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="does not exist"):
        read_private(tmp_path / "none", what="the key")
    write_private(tmp_path / "big", bytes(MAX_FILE_BYTES + 1))
    with pytest.raises(CaptureError, match="larger than"):
        read_private(tmp_path / "big", what="the key")
