"""Every decoder under a fuzzer for some seconds; `make fuzz` does so for longer. What was once found is replayed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

HERE = Path(__file__).resolve().parent
SECONDS = 5
REGRESSIONS = sorted((HERE / "regressions").glob("*.bin"))


@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzzer_finds_nothing_in_some_seconds(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.run", name, "--seconds", str(SECONDS), "--corpus", str(tmp_path)]
    done = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True, timeout=120)
    findings = {path.name: path.read_bytes().hex() for path in tmp_path.glob("*.finding-*")}
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{findings}"
    runs = re.search(r"number_of_executed_units:\s*(\d+)", done.stdout + done.stderr)
    assert runs, done.stderr[-1000:]
    assert int(runs[1]) >= 200, "the fuzzer hardly ran"


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_a_fuzzer_once_found_stays_mended(path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.run", path.name.split(".")[0], "--replay", str(path)]
    done = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_fuzzer_would_notice(tmp_path: Path) -> None:
    """The runner on a decoder that is broken on purpose: were nothing found, nothing above would mean anything."""
    code = (
        "import sys; from tests.fuzz import run; from codec import chunk; from codec.errors import Unsupported\n"
        "sound = chunk.parse_header\n"
        "def broken(data):\n"
        "    try: return sound(data)\n"
        "    except Unsupported: raise IndexError('found')\n"
        "chunk.parse_header = broken\n"
        f"sys.argv = ['run', 'header', '--seconds', '20', '--corpus', {str(tmp_path)!r}]\n"
        "run.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE.parent.parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "found" in done.stdout + done.stderr
    assert list(tmp_path.glob("*.finding-*"))
