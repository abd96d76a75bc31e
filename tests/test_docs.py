"""The documents say what the code does."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from capture.errors import Exit
from tests.command import run_here

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_exit_code_is_documented_and_no_other() -> None:
    table = (ROOT / "docs" / "operations.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert documented == {*map(int, Exit), 130}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_commands_in_documents_exist(path: Path) -> None:
    helps: dict[tuple[str, ...], subprocess.CompletedProcess[str]] = {}
    blocks = re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)
    for line in "\n".join(blocks).splitlines():
        words = line.partition("#")[0].split()
        if words[:1] != ["modicum"]:
            continue
        command = [word for word in words[1:3] if re.fullmatch(r"[a-z]+", word)]
        if tuple(command) not in helps:
            helps[tuple(command)] = run_here([*command, "--help"], os.environ, check=False)
        shown = helps[tuple(command)]
        assert shown.returncode == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout), line


def test_make_targets_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        for target in re.findall(r"`?make ([a-z-]+)", path.read_text()):
            if target in {"sure", "a", "it", "the"}:
                continue
            assert target in targets, f"{name_of(path)}: make {target}"


def test_the_extras_in_documents_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for path in DOCUMENTS:
        for named in re.findall(r"modicum\[([a-z,]+)\]", path.read_text()):
            assert set(named.split(",")) <= set(extras), f"{name_of(path)}: {named}"
