"""The commands in the documents run: each document's, in its order, as a person would type them, in a sandbox.

What cannot run here (it needs a server of yours, a person, the machine's own services, or hours) is named below with the test that
runs it, and is only checked for form by tests/test_docs.py. A line that is neither run nor named fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.transport.test_reading import KEY, Writer, minutes

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benches" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]

ELSEWHERE = {
    r"make demo": "tests/benches/test_demo.py",
    r"make (test|check)": "continuous integration itself",
    r"pip install|.*/pip install|python3 -m venv": "the registry is asked for it by the Makefile",
    r"\.venv/bin/python -m pytest": "these tests",
    r"python -m benches\.": "tests/benches",
    r"modicum (run|review|pause|withdraw|consent|exempt|erase)\b": "tests/integration",
    r"modicum config reload": "tests/integration/test_reload.py",
    r"modicum service": "tests/integration/test_service.py (it would change this machine's)",
    r"modicum .*broker\.example\.org": "tests/integration, against a broker of ours",
    r"modicum (broker|collect|enrolment)\b": "tests/integration, where it ends again",
    r"modicum enrol\b(?! --request)": "tests/integration, against an enrolment of ours",
    r"modicum (keys (token|rotate|revoke|ls|accept)|archive)\b": "tests/integration and tests/transport, with devices",
    r"podman run": "tests/integration/test_container.py (`make container`)",
    r"install -[do]|sed |mosquitto ": "root's, on a server; the files are started in tests/integration",
}
"""What is not run here, and what runs it."""

MAY_FAIL = {r"modicum doctor": {0, 1}, r"modicum scope explain$": {0, 4}, r"modicum consent --policy": {3}}
"""Commands that tell by their exit code how this machine is: something is to be mended, there is no display."""


def commands(path: Path) -> list[str]:
    """Return the lines of a document's shell blocks, without comments, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    lines = [re.sub(r"\s+#\s.*$", "", line).strip() for line in "".join(blocks).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def elsewhere(line: str) -> str | None:
    return next((where for pattern, where in ELSEWHERE.items() if re.match(pattern, line)), None)


@pytest.fixture
def sandbox(tmp_path: Path) -> dict[str, str]:
    """A home with a configuration, and `modicum` on the PATH."""
    tools = tmp_path / "bin"
    tools.mkdir()
    shim = tools / "modicum"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m capture.cli "$@"\n')
    shim.chmod(0o755)
    environment = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "MODICUM_HOME": str(tmp_path / "home" / "modicum"),
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "200",
    }
    config = tmp_path / "home" / ".config" / "modicum"
    config.mkdir(parents=True)
    subprocess.run(["modicum", "keys", "archive", "--out", str(tmp_path / "made")], env=environment, check=True)
    text = (ROOT / "deploy" / "config.example.toml").read_text(encoding="utf-8")
    text = text.replace("/etc/modicum/archive.pub", str(tmp_path / "made" / "archive.pub"))
    (config / "config.toml").write_text(text, encoding="utf-8")
    return environment


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_commands_of_a_document_run(path: Path, sandbox: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    for line in commands(path):
        if elsewhere(line) is not None:
            continue
        here = line.replace("/etc/modicum", f"{place}/etc").replace("/srv/modicum", f"{place}/srv")
        done = subprocess.run(["sh", "-c", here], cwd=place, env=sandbox, capture_output=True, text=True, timeout=120)
        allowed = next((codes for pattern, codes in MAY_FAIL.items() if re.match(pattern, line)), {0})
        assert done.returncode in allowed, f"{line}\n{done.stdout}\n{done.stderr}"


def test_something_is_run_and_what_is_not_is_still_in_a_document() -> None:
    lines = [line for path in DOCUMENTS for line in commands(path)]
    assert sum(elsewhere(line) is None for line in lines) >= 8
    for pattern in ELSEWHERE:
        assert any(re.match(pattern, line) for line in lines), f"no document has it any more: {pattern}"


def test_blocks_of_python_run_and_print_what_a_recording_holds(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (tmp_path / "archive-keys").mkdir()
    (tmp_path / "archive-keys" / "archive.key").write_text(KEY.to_text())
    list(minutes(Writer(archive, zero_ns=time.time_ns()), 3))
    found = 0
    for path in DOCUMENTS:
        for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            here = block.replace("libreoffice-*", "geany")  # the application of these recordings
            done = subprocess.run(
                [sys.executable, "-c", here],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, f"{path.name}: {done.stderr}"
            assert "click" in done.stdout
            assert "(48, 64, 4)" in done.stdout
            found += 1
    assert found
