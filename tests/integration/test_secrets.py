"""No secret leaves its file: a canary for a password turns up in no log, status, figure or stored byte."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest

from capture.control import ask
from tests.integration.stack import Stack, display, wait_for
from tests.places import free_port
from tests.x11_display import need

pytestmark = [pytest.mark.x11, pytest.mark.broker]

CANARY = "c4n4ry-hunter2-of-the-broker"
USER = "d3vice-user"

CONFIG = """\
[scope]
allow = ["xterm"]
[capture]
chunk_age = "10 s"
hold_back = "0 s"
[budget.metered]
send = "all"
[broker]
port = {port}
username = "{user}"
password_file = "{folder}/password"
[archive]
public_key = "{folder}/keys/archive.pub"
[metrics]
listen = "127.0.0.1:{metrics}"
[log]
level = "debug"
file = "{folder}/logs/agent.log"
"""


def test_the_brokers_password_is_nowhere_but_in_its_file(tmp_path: Path) -> None:
    need("mosquitto")
    with display(tmp_path, size="640x480") as environment:
        stack = Stack(tmp_path, environment)
        password = tmp_path / "password"
        password.write_text(f"{CANARY}\n")
        password.chmod(0o600)
        # A broker that knows nobody: it refuses, and errors are where secrets like to turn up.
        (tmp_path / "passwords").write_text("")
        (tmp_path / "broker.conf").write_text(
            f"listener {stack.port} 127.0.0.1\npassword_file {tmp_path}/passwords\nallow_anonymous false\nuser root\n"
        )
        metrics = free_port()
        try:
            stack.configure(CONFIG.format(port=stack.port, folder=tmp_path, user=USER, metrics=metrics))
            stack.processes.start("mosquitto", ["mosquitto", "-c", str(tmp_path / "broker.conf")], environment)
            stack.processes.start("xterm", ["xterm", "-geometry", "200x80+0+0", "-e", "cat"], environment)
            stack.start_agent()
            wait_for(lambda: (stack.status() or {})["state"] == "recording", "it to record")
            subprocess.run(["xdotool", "type", "--delay", "20", "work"], env=environment, check=True)
            stack.ask("flush")
            log = tmp_path / "logs" / "agent.log"
            wait_for(lambda: "refuses us" in log.read_text(), "the broker to refuse and the agent to log it")
            shown = [json.dumps(ask(stack.control, "status"), ensure_ascii=False)]
            for words in (
                ["status"],
                ["doctor", "--config", str(stack.config)],
                ["config", "check", "-c", str(stack.config)],
            ):
                done = stack.run(*words, check=False)
                shown.append(done.stdout + done.stderr)
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=20) as answer:
                scraped = answer.read().decode()
            assert "modicum_agent_state" in scraped
            stack.stop_agent()
        finally:
            stack.end()
        for text in [*shown, scraped]:
            assert CANARY not in text
        searched = 0
        for path in tmp_path.rglob("*"):
            if path.is_file() and path != password:
                searched += 1
                assert CANARY.encode() not in path.read_bytes(), path
        assert searched > 10
