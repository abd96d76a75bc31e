"""The doctor says in time that a certificate ends, and whether it is renewed by itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from capture.config import Config, parse_config
from capture.credentials import certificate, keep_attempts, read_attempts
from capture.doctor import Level
from capture.errors import CaptureError, NoPermission
from capture.home import Home
from capture.keyfiles import write_private
from capture.renewal import Attempts
from transport.authority import Authority, Purpose, new_key

DAY_S = 86_400


def shown(home: Home, folder: Path, days: int) -> Config:
    """Return a configuration with a certificate of a year that ends in so many days."""
    private, public = new_key()
    now_s = int(time.time()) - (365 - days) * DAY_S
    issued = Authority.make("fleet", 1).issue("dev-1", public, Purpose.CLIENT, now_s)
    home.prepare()
    write_private(folder / "client.key", private)
    write_private(folder / "client.pem", issued.pem)
    return parse_config(f'[broker]\ntls = true\ncert = "{folder}/client.pem"\nkey = "{folder}/client.key"\n')


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "state", tmp_path / "run")


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [(365, Level.OK, "until"), (20, Level.LIMITED, "put a new one in its place"), (-1, Level.FAILED, "ended")],
)
async def test_a_certificate_from_elsewhere_is_judged_by_its_end(
    home: Home, tmp_path: Path, days: int, level: Level, words: str
) -> None:
    config = shown(home, tmp_path, days)
    check = await certificate(config, home)
    assert (check.level, words in check.text) == (level, True)
    (tmp_path / "client.key").chmod(0o644)
    with pytest.raises(NoPermission, match="chmod 600"):
        await certificate(config, home)
    (tmp_path / "client.key").chmod(0o600)
    (tmp_path / "client.pem").write_text("nothing")
    with pytest.raises(CaptureError, match="enrol"):
        await certificate(config, home)


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [(365, Level.OK, "renews itself from"), (19, Level.OK, "the agent renews it"), (-1, Level.FAILED, "renews it")],
)
async def test_one_that_enrolment_gave_renews_itself(home: Home, days: int, level: Level, words: str) -> None:
    config = shown(home, home.enrolled, days)
    write_private(home.enrolment, b'{"address": "mqtts://localhost:8884", "ca": ""}')
    check = await certificate(config, home)
    assert (check.level, words in check.text) == (level, True)


async def test_where_the_enrolment_answers_unknown_the_doctor_says_how_to_make_it_known(home: Home) -> None:
    check = await certificate(shown(home, home.enrolled, 20), home)
    assert check.level is Level.LIMITED
    assert "--renew --broker mqtts://HOST:8884" in check.text


async def test_what_failed_and_what_was_offered_is_said(home: Home) -> None:
    config = shown(home, home.enrolled, 19)
    write_private(home.enrolment, b'{"address": "mqtts://localhost:8884", "ca": ""}')
    keep_attempts(home, Attempts(1, int(time.time()), 7200, "nobody answers"))
    check = await certificate(config, home)
    assert check.level is Level.LIMITED
    assert "(nobody answers); the agent tries again after" in check.text
    keep_attempts(home, Attempts(offered="the archive offers another archive key"))
    check = await certificate(config, home)
    assert check.level is Level.LIMITED
    assert "another archive key" in check.text


async def test_without_one_there_is_nothing_to_say(home: Home) -> None:
    assert (await certificate(parse_config(""), home)).level is Level.OK


def test_the_account_of_attempts_is_private_and_a_damaged_one_is_none(home: Home) -> None:
    attempts = Attempts(3, 1_700_000_000, 7200, "nobody answers", "another key")
    keep_attempts(home, attempts)
    assert read_attempts(home) == attempts
    assert home.renewal.stat().st_mode & 0o777 == 0o600
    for damage in (b"", b"{}", b"[1]", b'{"failures": "many"}', b"\xff"):
        write_private(home.renewal, damage)
        assert read_attempts(home) == Attempts()
