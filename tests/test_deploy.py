"""What lies in deploy/ is well-formed, and calls what exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from tests.x11_display import need

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "deploy" / "collector" / "modicum-collector.service"
CONTAINER = ROOT / "deploy" / "collector" / "Containerfile"


def accepted_by_collect(words: list[str]) -> None:
    """Check that `modicum collect` knows every option."""
    import typer

    from capture.keyfiles import read_private
    from transport.cli import mount

    app = typer.Typer()
    mount(app, typer.Typer(), lambda file, what: read_private(file, what=what))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", CliRunner().invoke(app, ["collect", "--help"], terminal_width=200).output)
    for word in words:
        if word.startswith("--"):
            assert word in shown, word


def test_systemd_finds_no_fault_with_the_collectors_unit(tmp_path: Path) -> None:
    need("systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/modicum/bin/modicum", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "--man=no", "verify", str(unit)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []


def test_the_collectors_unit_runs_without_root_and_calls_what_exists() -> None:
    text = UNIT.read_text()
    assert "DynamicUser=yes" in text
    command = re.search(r"^ExecStart=(.*)$", text, re.M)
    assert command is not None
    words = shlex.split(command[1])
    assert words[1] == "collect"
    accepted_by_collect(words)


def test_the_container_copies_and_calls_what_exists_and_is_not_root() -> None:
    text = CONTAINER.read_text()
    instructions = re.findall(r"^([A-Z]+) (.*)$", text, re.M)
    assert next(name for name, _ in instructions) == "FROM"
    for name, value in instructions:
        if name == "COPY" and not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source
    assert ("USER", "65534:65534") in instructions
    (entry,) = (value for name, value in instructions if name == "ENTRYPOINT")
    words = re.findall(r'"([^"]+)"', entry)
    assert words[1] == "collect"
    accepted_by_collect(words)
