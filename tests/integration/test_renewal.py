"""A whole agent renews its certificate by itself: a real broker with the files of deploy/, a real enrolment, its own ledger."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from capture.agent import Agent
from capture.credentials import certificate, read_attempts
from capture.doctor import Level
from capture.validity import DAY_S, read_validity
from codec.seal import ArchivePrivateKey, DeviceSigningKey
from tests.agents import assemble, running, status
from tests.integration.fleet import Fleet, fleet
from tests.looks import becomes
from tests.x11_display import need, x_server
from transport.authority import Authority, Purpose, public_of, requested_key
from transport.endpoint import Broker, Tls
from transport.enrolment import ASK_FILTER, OF_AUTHORITY, Reply, join_reply, pack_reply, parse_request, topic_of
from transport.fs import RealFiles
from transport.keys_cli import read_authority
from transport.mqtt import Dialer
from transport.registry import Registry

pytestmark = [pytest.mark.x11, pytest.mark.broker, pytest.mark.usefixtures("no_buses")]


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    need("Xvfb")
    with x_server() as name:
        yield name


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet with a device that was enrolled over the broker; the desk has ended."""
    with fleet(tmp_path) as made:
        made.start_broker()
        desk = made.start_desk(name="first desk")
        made.enrol("one")
        desk.terminate()
        desk.wait(20)
        yield made


class Scene:
    """The fleet's device and its agent, which does not run yet; its certificate of a year ends in `days` days."""

    def __init__(self, made: Fleet, display: str, *, days: int) -> None:
        folder = made.folder / "one"
        self.enrolled = folder / "state" / "enrolled"
        device = (folder / "state" / "device").read_text().strip()
        public = public_of((self.enrolled / "client.key").read_bytes())
        begun_s = int(time.time()) + (days - 365) * DAY_S
        issued = read_authority(made.authority).issue(device, public, Purpose.CLIENT, begun_s)
        (self.enrolled / "client.pem").write_bytes(issued.pem)
        text = '[capture]\nhold_back = "0 s"\n' + (made.folder / "one.toml").read_text()
        self.agent: Agent = assemble(folder, text, {"DISPLAY": display})

    def in_force(self) -> dict[str, bytes]:
        """Return what the device is let in by, and what its recordings are sealed for."""
        names = ("client.pem", "client.key", "ca.pem", "archive.pub", "enrolment.json", "../device.key", "../device")
        return {name: (self.enrolled / name).read_bytes() for name in names}

    def told(self) -> str:
        return self.agent.warnings.get("certificate", "")

    async def a_chunk(self) -> None:
        self.agent.recorder.row(self.agent.desktop.server_ms(time.monotonic_ns()), "note", {})
        await self.agent.chunker.close_all()

    def renewals(self) -> list[dict[str, object]]:
        return [entry for entry in self.agent.steward.journal.entries() if entry["kind"] == "renewed"]


async def test_where_nobody_answers_it_is_told_and_tried_again_later_and_charged(made: Fleet, display: str) -> None:
    scene = Scene(made, display, days=5)
    before = scene.in_force()
    async with running(scene.agent) as agent:
        assert await becomes(lambda: "nobody answers enrolments" in scene.told())
        assert scene.in_force() == before
        shown = await status(agent)
        assert "the agent tries again after" in shown["certificate"]
        assert any("`modicum enrolment` does not run" in warning for warning in shown["warnings"])
        check = await certificate(agent.config, agent.home)
        assert (check.level, "renewing it failed" in check.text) == (Level.LIMITED, True)
        spent_bytes = agent.budget.month_used
        assert 0 < spent_bytes < 10_000

        await asyncio.to_thread(made.start_desk)
        renewing = agent.publishing.renewing
        renewing.wake()  # the network changes: that alone is no reason to ask again
        renewing._now_s = lambda: time.time() + 4 * 3600
        renewing.wake()
        assert await becomes(lambda: scene.renewals())
        (renewal,) = scene.renewals()
        after = scene.in_force()
        assert {name for name in after if after[name] != before[name]} == {"client.pem", "client.key"}
        assert read_validity(after["client.pem"]).ends_s > time.time() + 364 * DAY_S
        for path in scene.enrolled.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
            assert not path.name.endswith(".new"), path

        # Nothing else was sent: what the ledger has more is the renewal, and no lease is left open.
        shown = await status(agent)
        assert agent.budget.month_used == spent_bytes + int(str(renewal["wire_bytes"]))
        assert agent.budget.reserved == 0
        assert agent.budget.by_kind["other"] == agent.budget.month_used
        assert "renews itself from" in shown["certificate"]
        assert not scene.told()
        assert (await certificate(agent.config, agent.home)).level is Level.OK

        # What forbids to send forbids to renew.
        assert agent.publishing.may_send()
        agent.steward.exempt("bandwidth", None, "")
        assert not agent.publishing.may_send()
        agent.steward.end_exemption("bandwidth")
        assert agent.publishing.may_send()
        agent.home.consent_file.unlink()
        assert not agent.publishing.may_send()


async def test_after_months_asleep_it_gets_in_again_with_the_key_that_it_agreed_to(made: Fleet, display: str) -> None:
    scene = Scene(made, display, days=-100)
    await asyncio.to_thread(made.start_desk)
    device = scene.agent.device
    made.run("keys", "rotate", device, "--devices", str(made.devices), "--vault", str(made.vault))
    before = scene.in_force()
    async with running(scene.agent) as agent:
        assert await becomes(lambda: scene.renewals())
        await scene.a_chunk()
        log = made.folder / "mosquitto.log"
        assert await becomes(lambda: f" as {device} " in log.read_text(errors="replace")), log.read_text()
        after = scene.in_force()
        assert {name for name in after if after[name] != before[name]} == {"client.pem", "client.key"}
        record = Registry(RealFiles(), made.devices).get(device)
        assert record is not None
        offered = record.sealing[-1].key.key_id.hex()
        assert f"another archive key ({offered})" in agent.warnings["offered"]
        assert offered in read_attempts(agent.home).offered

    def command(*words: str) -> str:
        done = made.run(*words, "--config", str(made.folder / "one.toml"), home=made.folder / "one", check=False)
        return done.stdout + done.stderr

    # The person fetches it, and is asked before anything is sealed for it.
    assert "another archive key" in await asyncio.to_thread(command, "doctor")
    assert offered in await asyncio.to_thread(command, "enrol", "--renew")
    assert not read_attempts(agent.home).offered
    assert "would go beyond what you agreed to" in await asyncio.to_thread(command, "doctor")


@contextlib.asynccontextmanager
async def false_desk(made: Fleet) -> AsyncIterator[list[str]]:
    """Be a broker's owner who answers renewals: with a certificate for the right name and key, and a new archive key."""
    stranger = Authority.make("fleet", int(time.time()))
    tls = Tls(made.authority / "ca.pem", made.folder / "tls" / "enrolment.pem", made.folder / "tls" / "enrolment.key")
    heard: list[str] = []
    async with Dialer(Broker("localhost", made.port, "false", tls=tls)).connect() as connection:
        await connection.subscribe(ASK_FILTER, qos=1)

        async def answer() -> None:
            async for message in connection.messages():
                asked = parse_request(message.payload)
                public = requested_key(asked.request.csr)
                body = pack_reply(
                    Reply(
                        asked.digest,
                        archive_key=ArchivePrivateKey.generate().public,
                        authority=stranger.certificate,
                        certificate=stranger.issue(asked.request.device, public, Purpose.CLIENT, int(time.time())).pem,
                        host="evil.example.org",
                        port=1,
                        answer_key=DeviceSigningKey.generate().public,
                    )
                )
                told = join_reply(body, stranger.sign(OF_AUTHORITY + body))
                await connection.publish(topic_of(message.payload, "told"), told)
                heard.append(asked.request.device)

        task = asyncio.create_task(answer())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_a_forged_answer_changes_nothing(made: Fleet, display: str) -> None:
    scene = Scene(made, display, days=5)
    before = scene.in_force()
    async with false_desk(made) as heard, running(scene.agent) as agent:
        assert await becomes(lambda: "somebody else has answered" in scene.told()), scene.told()
        assert heard == [agent.device]
        assert scene.in_force() == before
        assert not (scene.enrolled / "answers.pub").exists()
        assert not agent.warnings.get("offered")
        await scene.a_chunk()  # the certificate in force is still shown
        log = made.folder / "mosquitto.log"
        assert await becomes(lambda: f" as {agent.device} " in log.read_text(errors="replace"))
