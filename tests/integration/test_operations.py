"""docs/operations.md, "A fleet, from zero": every command in it is run, in its order, with other paths, names and ports."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.fleet import listens
from tests.integration.stack import ROOT, Processes, wait_for
from tests.places import free_port
from transport.broker import SBIN, find_mosquitto

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

STAYS = ("mosquitto -c", "modicum collect", "modicum enrolment", "modicum run")
"""Commands that run until they are stopped."""


def commands() -> list[str]:
    """Return the section's commands, in order."""
    text = (ROOT / "docs" / "operations.md").read_text()
    section = text[text.index("## A fleet, from zero") : text.index("### Erasing and retention")]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)).splitlines()
    return [line.partition("    # ")[0].rstrip() for line in lines if line.strip()]


def test_a_fleet_from_zero(tmp_path: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    port, enrol_port, home = free_port(), free_port(), tmp_path / "person"
    etc, srv, conf = tmp_path / "etc-modicum", tmp_path / "srv", tmp_path / "mosquitto"
    conf.mkdir()
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "modicum"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m capture.cli "$@"\n')
    command.chmod(0o700)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(tmp_path / "bin"), os.environ["PATH"], *SBIN)),
        "PYTHONPATH": str(ROOT),
        "MODICUM_HOME": str(home),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    replaced = {
        "-o mosquitto -g mosquitto ": "",
        "/etc/mosquitto/conf.d/": f"{conf}/",
        "/etc/mosquitto/modicum": str(conf / "modicum"),
        "/etc/modicum": str(etc),
        "/srv/modicum": str(srv),
        "broker.example.org": "localhost",
        ":8883": f":{port}",
        ":8884": f":{enrol_port}",
    }
    # In the templates the ports stand after "listener", and root's mosquitto would change its user.
    template = tmp_path / "deploy" / "mosquitto.conf"
    listeners = (
        template.read_text()
        .replace("listener 8883", f"listener {port}")
        .replace("listener 8884", f"listener {enrol_port}")
    )
    template.write_text(f"{listeners}\nuser {getpass.getuser()}\n")
    processes = Processes(tmp_path)
    device = ""
    ran = 0
    try:
        for line in commands():
            if line in {"modicum doctor", "modicum consent", "modicum run"}:
                continue  # they need a display and a person: tests/integration/test_flow.py runs them
            if line.startswith("sed "):  # the path in the file is the template's, not this machine's
                shell = f"sed 's|/etc/modicum|{conf}/modicum|' deploy/mosquitto.conf > {conf}/modicum.conf"
            else:
                shell = line.replace("DEVICE", device)
                for old, new in replaced.items():
                    shell = shell.replace(old, new)
            if any(line.startswith(word) for word in STAYS):
                name = f"{ran}-{line.split()[1].strip('-')}"
                processes.start(name, ["sh", "-c", f"cd {tmp_path} && exec {shell}"], environment)
                if line.startswith("mosquitto"):
                    wait_for(lambda: listens(port) and listens(enrol_port), "mosquitto to listen")
                else:
                    wait_for(lambda name=name: "connected" in processes.log(name), f"{line}: {processes.log(name)}")  # type: ignore[misc]
            else:
                done = subprocess.run(
                    ["sh", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
                )
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                if line.startswith("modicum archive verify"):
                    assert "0 chunks" in done.stdout
                if line.startswith("modicum enrol --broker"):
                    device = (home / "state" / "device").read_text().strip()
            ran += 1
        assert ran > 20
        config = (tmp_path / "config" / "modicum" / "config.toml").read_text()
        assert f"port = {port}" in config
        for path in [*etc.rglob("*"), *srv.rglob("*"), *(conf / "modicum").rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"
    finally:
        processes.end()
