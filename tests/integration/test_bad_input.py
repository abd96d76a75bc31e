"""What goes wrong is said in a sentence with its remedy, leads to a documented exit code, and loses nothing."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture.errors import CaptureError, Exit
from tests.integration.stack import Stack, display, wait_for
from tests.integration.test_flow import CONFIG

pytestmark = [pytest.mark.x11, pytest.mark.broker]


def configured(folder: Path, environment: dict[str, str]) -> Stack:
    stack = Stack(folder, environment)
    stack.configure(CONFIG.format(allow='"xterm"', port=stack.port, folder=folder, effort="fast"))
    return stack


@pytest.fixture
def blind(tmp_path: Path) -> Stack:
    """A configured stack where there is no display."""
    return configured(tmp_path, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with display(tmp_path) as environment:
        stack = configured(tmp_path, environment)
        try:
            yield stack
        finally:
            stack.end()


def fails(stack: Stack, code: Exit, *words: str) -> str:
    """Run a command that must fail with `code`; return its sentence, which is all that it prints."""
    done = stack.run(*words, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("modicum: ")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_without_a_display_it_says_so(blind: Stack) -> None:
    assert "DISPLAY" in fails(blind, Exit.NO_DISPLAY, "run", "--config", str(blind.config))


def test_a_display_that_does_not_answer_is_named(blind: Stack) -> None:
    blind.environment["DISPLAY"] = ":4242"
    assert ":4242" in fails(blind, Exit.NO_DISPLAY, "run", "--config", str(blind.config))


def test_a_wayland_session_is_refused_by_name(blind: Stack) -> None:
    blind.environment["WAYLAND_DISPLAY"] = "wayland-0"
    said = fails(blind, Exit.NO_DISPLAY, "run", "--config", str(blind.config))
    assert "Wayland" in said


def test_without_consent_nothing_starts(blind: Stack) -> None:
    (blind.folder / "agent" / "state" / "consent.json").unlink()
    assert "modicum consent" in fails(blind, Exit.NO_CONSENT, "run", "--config", str(blind.config))
    assert not (blind.folder / "agent" / "state" / "spool").exists()


def test_a_wider_configuration_asks_again(blind: Stack) -> None:
    blind.config.write_text(blind.config.read_text().replace('"xterm"', '"xterm", "mousepad"'))
    assert "beyond what you agreed to (applications)" in fails(
        blind, Exit.NO_CONSENT, "run", "--config", str(blind.config)
    )


def test_an_administrators_policy_narrows_and_blocks_nothing_of_the_persons(blind: Stack) -> None:
    policy = blind.folder / "policy.toml"
    policy.write_text('[scope]\ndeny = ["xterm"]\n[consent]\nretention = "30 days"')
    run = ["run", "--config", str(blind.config), "--policy", str(policy)]
    assert "DISPLAY" in fails(blind, Exit.NO_DISPLAY, *run), "narrower: nobody is asked again"
    assert "30 days" in blind.run("consent", "--config", str(blind.config), "--policy", str(policy), check=False).stdout
    policy.write_text("[control]\npause = false")
    assert "can only narrow" in fails(blind, Exit.USAGE, *run)
    blind.run("withdraw", "--config", str(blind.config))
    assert not (blind.folder / "agent" / "state" / "consent.json").exists()
    assert [line.split()[2] for line in blind.run("journal").stdout.splitlines()] == ["consent", "withdraw"]


def test_the_hash_of_another_notice_is_no_consent(blind: Stack) -> None:
    said = fails(blind, Exit.NO_CONSENT, "consent", "--config", str(blind.config), "--accept", "0" * 64)
    assert "not the hash" in said


def test_an_unknown_key_is_named_with_its_line_and_its_neighbour(blind: Stack) -> None:
    blind.config.write_text("[capture]\nchunk_aeg = 3\n")
    said = fails(blind, Exit.USAGE, "config", "check", "--config", str(blind.config))
    assert "chunk_aeg" in said
    assert "chunk_age" in said
    assert "line 2" in said


def test_a_missing_configuration_says_where_to_get_one(blind: Stack) -> None:
    said = fails(blind, Exit.USAGE, "run", "--config", str(blind.folder / "none.toml"))
    assert "config.example.toml" in said


def test_a_key_that_others_can_read_is_refused(blind: Stack) -> None:
    blind.private_key.chmod(0o644)
    blind.archive.mkdir(exist_ok=True)
    said = fails(blind, Exit.NO_PERMISSION, "archive", "verify", str(blind.archive), "--key", str(blind.private_key))
    assert "chmod 600" in said


def test_asking_when_no_agent_runs_says_how_to_start_one(blind: Stack) -> None:
    assert "modicum run" in fails(blind, Exit.NOT_RUNNING, "status")


def test_sending_in_clear_over_a_network_is_refused(blind: Stack) -> None:
    said = fails(
        blind, Exit.FAILED, "collect", "--broker", "mqtt://broker.example.org", "--archive", str(blind.archive)
    )
    assert "mqtts://" in said


def test_a_second_agent_is_refused(stack: Stack) -> None:
    stack.start_agent()
    fails(stack, Exit.FAILED, "run", "--config", str(stack.config))
    assert stack.status() is not None


def test_the_display_going_away_ends_the_agent_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    with display(tmp_path) as environment:
        stack = configured(tmp_path, environment)
        stack.processes.start("xterm", ["xterm", "-fullscreen", "-e", "cat"], environment)
        stack.start_agent()
        subprocess.run(["xdotool", "type", "--delay", "10", "some words"], env=environment, check=True)
        wait_for(lambda: (stack.status() or {"recorded": {"keys": 0}})["recorded"]["keys"] >= 20, "the keys")
    assert stack.agent is not None
    assert stack.agent.wait(30) == Exit.NO_DISPLAY
    assert "went away" in stack.processes.log("agent")
    assert any(path.stat().st_size > 300 for path in (tmp_path / "agent" / "state" / "spool").glob("*.seg"))
    stack.end()


def test_damaged_and_foreign_chunks_are_named(stack: Stack, tmp_path: Path) -> None:
    stack.processes.start("xterm", ["xterm", "-fullscreen", "-e", "cat"], stack.environment)
    stack.start_broker()
    stack.start_collector()
    stack.start_agent()
    for _ in range(3):
        subprocess.run(["xdotool", "type", "--delay", "5", "word "], env=stack.environment, check=True)
        stack.ask("flush")
    wait_for(lambda: len(stack.archived()) >= 3, "three chunks")
    cut, flipped, *_ = stack.archived()
    cut.write_bytes(cut.read_bytes()[:-7])
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    verify = ["archive", "verify", str(stack.archive), "--key"]
    done = stack.run(*verify, str(stack.private_key), check=False)
    assert done.returncode == Exit.DAMAGED
    assert "truncated" in done.stdout
    assert "CRC" in done.stdout
    assert done.stdout.count("damaged:") == 2
    stack.run("keys", "archive", "--out", str(tmp_path / "other"))
    cut.unlink()
    flipped.unlink()
    said = fails(stack, Exit.WRONG_KEY, *verify, str(tmp_path / "other" / "archive.key"))
    assert "sealed for archive key" in said


def test_on_a_full_disk_what_is_recorded_waits_and_is_kept(stack: Stack) -> None:
    state = stack.folder / "agent" / "state"
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "x", str(state)]).returncode != 0:
        pytest.skip("needs to mount a small file system, as root")
    try:
        stack.enrol()  # on the empty disk it is another device
        shown = stack.run("consent", "--config", str(stack.config), check=False)
        digest = shown.stdout.rsplit("notice: ", 1)[1].split()[0]
        stack.run("consent", "--config", str(stack.config), "--accept", digest)
        stack.processes.start("xterm", ["xterm", "-fullscreen", "-e", "cat"], stack.environment)
        stack.start_broker()
        stack.start_agent()
        subprocess.run(["xdotool", "type", "--delay", "5", "first "], env=stack.environment, check=True)
        stack.ask("flush")
        ballast = state / "ballast"
        with ballast.open("wb", buffering=0) as file:  # or the rest of a write waits for the close, and fails there
            try:
                while True:
                    file.write(bytes(65_536))
            except OSError:
                pass
        closed = 0
        for _ in range(200):  # the open segment has room for some more
            subprocess.run(["xdotool", "type", "--delay", "1", "second "], env=stack.environment, check=True)
            stack.ask("flush")
            closed += 1
            status = stack.status()
            assert status is not None
            if any("disk" in text or "space" in text or "stored" in text for text in status["warnings"]):
                break
        else:
            pytest.fail(f"{closed} chunks fitted on a full disk: {status}")
        ballast.unlink()
        time.sleep(0.2)
        stack.ask("flush")
        stack.start_collector()
        wait_for(
            lambda: (stack.status() or {"chunks": {"waiting": 1}})["chunks"]["waiting"] == 0,
            "the spool to empty",
            seconds=150,
        )
        after = stack.status()
        assert after is not None
        assert after["warnings"] == []
        assert len(stack.archived()) >= closed + 1
        verified = stack.run("archive", "verify", str(stack.archive), "--key", str(stack.private_key))
        assert "sound" in verified.stdout
        stack.stop_agent()
    finally:
        stack.end()
        subprocess.run(["umount", str(state)], check=False)


def test_a_command_that_the_agent_refuses_is_explained(stack: Stack) -> None:
    stack.start_agent()
    with pytest.raises(CaptureError, match="it knows"):
        stack.ask("nonsense")
