"""A changed configuration is applied to a running agent: nothing is lost, and what is wrong or not agreed to changes nothing."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codec import reader
from codec.model import Row
from codec.reader import PointerEvent
from codec.seal import ArchivePrivateKey
from tests.integration.stack import Stack, display, wait_for
from tests.x11_injector import Injector
from transport.archive import FolderStore
from transport.fs import RealFiles

pytestmark = [pytest.mark.x11, pytest.mark.broker]

CONFIG = """\
[scope]
allow = [{allow}]
[capture]
chunk_age = "{age}"
hold_back = "0 s"
[budget.metered]
send = "all"
[broker]
port = {port}
[archive]
public_key = "{folder}/keys/archive.pub"
"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A running stack over a display with one terminal that fills it."""
    with display(tmp_path, size="800x600") as environment:
        stack = Stack(tmp_path, environment)
        try:
            stack.configure(text(stack))
            stack.processes.start("canvas", ["xterm", "-fullscreen", "-e", "cat"], environment)
            stack.start_broker()
            stack.start_collector()
            stack.start_agent()
            wait_for(lambda: (stack.status() or {})["state"] == "recording", "the terminal to have the focus")
            yield stack
        finally:
            stack.end()


def text(stack: Stack, *, age: str = "10 s", allow: str = '"xterm"') -> str:
    return CONFIG.format(allow=allow, age=age, port=stack.port, folder=stack.folder)


def status(stack: Stack) -> dict[str, Any]:
    told = stack.status()
    assert told is not None
    return told


def events(stack: Stack) -> list[Any]:
    """Return everything in the archive, in order, with absolute times of the source's clock."""
    private = ArchivePrivateKey.from_text(stack.private_key.read_text())
    store = FolderStore(RealFiles(), stack.archive)
    found: list[Any] = []
    for chunk_id in sorted(store.iterate()):
        recording = reader.open(store.get(chunk_id), private, purpose="computer-use-training", now_s=int(time.time()))
        found += [(recording.meta.t0_ms + event.t_ms, event) for event in recording.events()]
    return found


def test_under_load_no_chunk_is_lost_and_the_counters_go_on(stack: Stack) -> None:
    injector = Injector(stack.environment["DISPLAY"])
    injector.move_to(400, 300)
    worker = threading.Thread(target=injector.work, args=(4000, 250, random.Random(1)))
    worker.start()
    before = status(stack)
    seen: list[int] = []
    for age in ("20 s", "15 s", "12 s"):
        wait_for(lambda: status(stack)["recorded"]["pointer"] > (seen[-1] if seen else 0) + 100, "more input")
        seen.append(status(stack)["recorded"]["pointer"])
        stack.config.write_text(text(stack, age=age))
        assert "capture.chunk_age" in stack.run("config", "reload").stdout
    worker.join()
    injector.close()
    assert stack.agent is not None
    assert stack.agent.poll() is None, "it is the same process"
    stack.ask("flush")
    wait_for(lambda: status(stack)["chunks"]["waiting"] == 0, "everything to be archived")
    after = status(stack)
    assert after["since_wall_s"] == before["since_wall_s"]
    assert after["recorded"]["pointer"] > seen[-1] > seen[0]
    assert after["bytes"]["wire"] >= after["bytes"]["sealed"] > 0
    report = stack.run("archive", "verify", str(stack.archive), "--key", str(stack.private_key)).stdout
    assert "sound" in report
    archived = events(stack)
    pointer = [t_ms for t_ms, event in archived if isinstance(event, PointerEvent)]
    assert len(pointer) == after["recorded"]["pointer"], "what was counted is what was archived"
    gaps = [(t_ms, dict(event.fields)) for t_ms, event in archived if isinstance(event, Row) and event.kind == "gap"]
    reloads = [(t_ms, fields["ms"]) for t_ms, fields in gaps if fields["cause"] == "reload"]
    assert len(reloads) == 3
    for t_ms, length_ms in reloads:
        assert not [at for at in pointer if t_ms - length_ms < at < t_ms], "what stands as a gap is one"
        assert length_ms < 5000
    # What the person did and what is neither recorded nor in a gap: nothing.
    done = [moved[3] for moved in injector.truth.pointer]
    outside = [at for at in done if not any(t_ms - length_ms - 3 <= at <= t_ms + 3 for t_ms, length_ms in reloads)]
    assert len(outside) <= len(pointer)


def test_a_broken_configuration_is_refused_with_its_reason_and_the_old_one_stays(stack: Stack) -> None:
    stack.config.write_text(text(stack) + '[spool]\nlimt = "1 GB"\n')
    refused = stack.run("config", "reload", check=False)
    assert refused.returncode != 0
    assert "spool.limt" in refused.stderr
    assert "did you mean limit?" in refused.stderr
    assert status(stack)["state"] == "recording"
    stack.config.write_text(text(stack).replace("/archive.pub", "/none.pub"))
    assert "there is no such file" in stack.run("config", "reload", check=False).stderr
    assert status(stack)["state"] == "recording"


def test_a_configuration_that_does_not_start_is_undone(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stack.config.write_text(text(stack) + f'[spool]\ndirectory = "{tmp_path}/file/spool"\n')
    refused = stack.run("config", "reload", check=False)
    assert refused.returncode != 0
    assert "file" in refused.stderr
    wait_for(lambda: status(stack)["state"] == "recording", "the old configuration's agent")
    stack.config.write_text(text(stack, age="30 s"))
    assert "capture.chunk_age" in stack.run("config", "reload").stdout


def test_a_wider_scope_waits_for_the_persons_yes(stack: Stack) -> None:
    wider = text(stack, allow='"xterm", "mousepad"')
    stack.config.write_text(wider)
    refused = stack.run("config", "reload", check=False)
    assert refused.returncode != 0
    assert "modicum consent" in refused.stderr
    assert status(stack)["state"] == "recording"
    shown = stack.run("consent", "--config", str(stack.config), check=False).stdout
    digest = shown.rsplit("SHA-256 of this notice: ", 1)[1].split()[0]
    assert "applied it" in stack.run("consent", "--config", str(stack.config), "--accept", digest).stdout
    assert "Nothing has changed" in stack.run("config", "reload").stdout


def test_a_pause_outlasts_it_and_a_hangup_does_the_same(stack: Stack) -> None:
    stack.run("pause")
    stack.config.write_text(text(stack, age="20 s"))
    stack.run("config", "reload")
    assert status(stack)["state"] == "paused"
    stack.run("resume")
    stack.run("pause", "3 s")
    stack.config.write_text(text(stack, age="30 s"))
    assert stack.agent is not None
    stack.agent.send_signal(signal.SIGHUP)
    wait_for(lambda: '"reloaded"' in stack.processes.log("agent"), "the log to say it")
    assert "capture.chunk_age" in stack.processes.log("agent")
    wait_for(lambda: status(stack)["state"] == "recording", "the pause to end by itself", seconds=20)
    stack.stop_agent()
    assert stack.agent.returncode == 0
