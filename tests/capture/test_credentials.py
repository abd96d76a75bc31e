"""The doctor says in time that a certificate ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from capture.config import parse_config
from capture.credentials import certificate
from capture.doctor import Level
from capture.errors import CaptureError, NoPermission
from capture.keyfiles import write_private
from transport.authority import Authority, Purpose, new_key


@pytest.mark.parametrize(
    ("days", "level", "word"), [(365, Level.OK, "until"), (20, Level.LIMITED, "--renew"), (-1, Level.FAILED, "ended")]
)
async def test_a_certificate_is_judged_by_its_end(tmp_path: Path, days: int, level: Level, word: str) -> None:
    private, public = new_key()
    issued = Authority.make("fleet", 1).issue("dev-1", public, Purpose.CLIENT, int(time.time()), days=days)
    write_private(tmp_path / "client.key", private)
    write_private(tmp_path / "client.pem", issued.pem)
    config = parse_config(f'[broker]\ntls = true\ncert = "{tmp_path}/client.pem"\nkey = "{tmp_path}/client.key"\n')
    check = await certificate(config)
    assert (check.level, word in check.text) == (level, True)
    (tmp_path / "client.key").chmod(0o644)
    with pytest.raises(NoPermission, match="chmod 600"):
        await certificate(config)
    (tmp_path / "client.key").chmod(0o600)
    (tmp_path / "client.pem").write_text("nothing")
    with pytest.raises(CaptureError, match="enrol"):
        await certificate(config)


async def test_without_one_there_is_nothing_to_say() -> None:
    assert (await certificate(parse_config(""))).level is Level.OK
