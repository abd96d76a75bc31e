"""The agent renews its certificate when it is due and may be; what goes wrong changes nothing and is told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from capture.config import Config
from capture.credentials import keep_attempts, read_attempts
from capture.home import Home
from capture.keyfiles import write_private
from capture.renewal import CUT_OFF, Attempts
from capture.renewing import NO_GAIN, PUT_OFF_S, PutOff, Renewed, Renewing
from tests.capture.test_credentials import shown
from tests.transport.kit import until
from transport.errors import Unavailable

DAY_S = 86_400


class Scene:
    """An agent's renewal, with an enrolment that does as the test says. `days`: how long the next certificate holds."""

    def __init__(self, folder: Path, days: int) -> None:
        self.home = Home(folder / "state", folder / "run")
        self.config: Config = shown(self.home, self.home.enrolled, days)
        write_private(self.home.enrolment, b'{"address": "mqtts://localhost:8884", "ca": ""}')
        self.now_s = time.time()
        self.allowed, self.asked, self.used = True, 0, 0
        self.error: BaseException | None = None
        self.days = 365
        self.renewals: list[dict[str, object]] = []
        self.warnings: dict[str, str] = {}
        self.renewing = Renewing(
            self.config,
            self.home,
            self,
            warnings=self.warnings,
            renewed=lambda **fields: self.renewals.append(fields),
            rng=random.Random(1),
            now_s=lambda: self.now_s,
        )

    # the enrolment

    def may_send(self) -> bool:
        return self.allowed

    async def renew(self, begun: Callable[[], None]) -> Renewed:
        self.asked += 1
        if self.asked > 50:
            raise asyncio.CancelledError  # a loop: let the test fail, not hang
        if isinstance(self.error, PutOff):
            raise self.error
        begun()
        assert read_attempts(self.home).why == CUT_OFF
        if self.error is not None:
            raise self.error
        shown(self.home, self.home.enrolled, self.days)
        return Renewed(4_321, "another archive key")

    def use(self) -> None:
        self.used += 1

    @contextlib.asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.renewing.run())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled(), task

    async def passes(self, seconds: float) -> None:
        """Let time pass, and something change."""
        self.now_s += seconds
        self.renewing.wake()
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def certificate(self) -> bytes:
        return (self.home.enrolled / "client.pem").read_bytes()


@pytest.mark.parametrize("days", [19, 1, -200])
async def test_a_certificate_that_is_due_or_has_ended_is_renewed_once_and_used(tmp_path: Path, days: int) -> None:
    scene = Scene(tmp_path, days)
    async with scene.runs():
        await until(lambda: scene.used == 1)
        await scene.passes(60)
    assert scene.asked == 1
    assert scene.renewals == [{"until": scene.renewing.in_words()[len("holds until ") :][:10], "wire_bytes": 4321}]
    assert scene.warnings == {"offered": "another archive key"}
    assert read_attempts(scene.home) == Attempts(offered="another archive key")
    assert "renews itself from" in scene.renewing.in_words()


async def test_one_that_is_not_due_is_left_alone_until_it_is(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 200)
    async with scene.runs():
        await scene.passes(60)
        await scene.passes(100 * DAY_S)
        assert scene.asked == 0
        await scene.passes(81 * DAY_S)
        await until(lambda: scene.used == 1)
    assert scene.asked == 1


async def test_nothing_is_asked_while_nothing_may_be_sent_and_at_once_when_it_may(tmp_path: Path) -> None:
    scene = Scene(tmp_path, -1)
    scene.allowed = False
    async with scene.runs():
        await scene.passes(DAY_S)
        assert scene.asked == 0
        assert "nothing may be sent now" in scene.renewing.in_words()
        scene.allowed = True
        await scene.passes(1)
        await until(lambda: scene.used == 1)
    assert "nothing may be sent" not in scene.renewing.in_words()


@pytest.mark.parametrize(
    ("error", "words"), [(Unavailable("nobody answers"), "nobody answers"), (KeyError("defect"), "KeyError: 'defect'")]
)
async def test_what_fails_is_told_changes_nothing_and_is_tried_again_later(
    tmp_path: Path, error: Exception, words: str
) -> None:
    scene = Scene(tmp_path, 10)
    scene.error, before = error, scene.certificate
    async with scene.runs():
        await until(lambda: "certificate" in scene.warnings)
        for _ in range(60):
            await scene.passes(60)
        assert (scene.asked, scene.used) == (1, 0)
        assert words in scene.warnings["certificate"]
        assert "the agent tries again after" in scene.warnings["certificate"]
        assert scene.certificate == before
        scene.error = None
        await scene.passes(3 * 3600)
        await until(lambda: scene.used == 1)
    assert "certificate" not in scene.warnings


async def test_restarts_make_no_more_attempts(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 10)
    scene.error = asyncio.CancelledError()  # it is ended while it asks
    for _ in range(5):
        task = asyncio.create_task(scene.renewing.run())
        await asyncio.wait({task}, timeout=0.1)
        task.cancel()
        await asyncio.wait({task})
    assert scene.asked == 1
    assert "it was cut off" in scene.renewing.in_words()


async def test_what_the_budget_refuses_is_no_failure_and_costs_no_attempt(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 10)
    scene.error = PutOff("the budget of today is used", until_s=scene.now_s + DAY_S)
    async with scene.runs():
        await until(lambda: scene.asked == 1)
        for _ in range(10):
            await scene.passes(1)
        assert scene.asked == 1
        assert "the budget of today is used" in scene.renewing.in_words()
        assert not scene.home.renewal.exists()
        scene.error = None
        await scene.passes(PUT_OFF_S)
        await until(lambda: scene.used == 1)


async def test_a_certificate_that_gains_nothing_makes_no_loop(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 5)
    scene.days = 5
    async with scene.runs():
        await until(lambda: "certificate" in scene.warnings)
        for _ in range(60):
            await scene.passes(60)
    assert scene.asked == 1
    assert NO_GAIN in scene.warnings["certificate"]


async def test_a_disk_that_takes_no_account_of_it_lets_nothing_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, 5)

    def full(home: Home, attempts: Attempts) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("capture.renewing.keep_attempts", full)
    before = scene.certificate
    async with scene.runs():
        await until(lambda: "the disk is full" in scene.warnings.get("certificate", ""))
        for _ in range(60):
            await scene.passes(60)
    assert (scene.asked, scene.used, scene.certificate) == (1, 0, before)


async def test_what_it_does_not_expect_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, 5)

    def defect() -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(scene, "use", defect)
    async with scene.runs():
        await until(lambda: scene.warnings.get("certificate") == "ValueError: a defect")
        await scene.passes(60)
    assert scene.asked == 1


async def test_without_a_certificate_there_is_nothing_to_do(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 5)
    no = scene.config.model_copy(update={"broker": scene.config.broker.model_copy(update={"cert": "", "key": ""})})
    renewing = Renewing(no, scene.home, scene, warnings=scene.warnings, renewed=lambda **_: None)
    await asyncio.wait_for(renewing.run(), 5)
    assert (renewing.in_words(), renewing.ends_s) == ("", None)


async def test_one_that_was_renewed_by_hand_is_used(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 10)
    keep_attempts(scene.home, Attempts(3, int(scene.now_s), 12 * 3600, "nobody answers"))
    async with scene.runs():
        await until(lambda: "certificate" in scene.warnings)
        shown(scene.home, scene.home.enrolled, 365)
        scene.home.renewal.unlink()
        await scene.passes(18 * 3600)
        await until(lambda: scene.used == 1)
    assert (scene.asked, scene.warnings) == (0, {})
