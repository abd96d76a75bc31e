"""Several workers share the tests as tests/scheduling.py says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

pytest.importorskip("xdist", reason="not installed: pytest-xdist")

from tests.scheduling import ALONE, rank

ROOT = Path(__file__).resolve().parent.parent

CONFTEST = """
import pytest
from tests import scheduling
from tests.conftest import pytest_collection_modifyitems, pytest_xdist_make_scheduler

scheduling.ALONE = {f"test_{file}.py::test_alone": "it is tried here" for file in "ab"}
"""
TESTS = """
import json, os, time
from pathlib import Path
import pytest

def work(what):
    began = time.monotonic()
    time.sleep(0.2)
    line = json.dumps([began, time.monotonic(), what, os.environ["PYTEST_XDIST_WORKER"]])
    with open("log", "a") as log:
        log.write(line + "\\n")

@pytest.mark.parametrize("number", range(2))
def test_alone(number):
    work("alone")

@pytest.mark.parametrize("number", range(3))
def test_beside_others(number):
    work(Path(__file__).stem)
"""


def test_files_stay_whole_and_what_is_to_be_alone_is(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for file in "ab":
        (tmp_path / f"test_{file}.py").write_text(TESTS)
    for file in "cd":
        (tmp_path / f"test_{file}.py").write_text(
            TESTS.replace("test_alone", "test_also_beside").replace('"alone"', f'"test_{file}"')
        )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    workers = ["-p", "xdist", "-n", "3", "--basetemp", str(tmp_path / "temporary")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers],
        cwd=tmp_path,
        env={
            **environment,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("20 passed"), "the closing line is pytest's own"
    ran = sorted(json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
    assert [what for _, _, what, _ in ran[-4:]] == ["alone"] * 4
    last_ended = max(ended for _, ended, what, _ in ran if what != "alone")
    assert ran[-4][0] >= last_ended, "somebody was still at work"
    assert all(ended <= began for (_, ended, *_), (began, *_) in zip(ran[-4:], ran[-3:], strict=False))
    by_worker = sorted(ran[:-4], key=lambda one: (one[3], one[0]))
    files = [file for file, _ in groupby(what for _, _, what, _ in by_worker)]
    assert sorted(files) == ["test_a", "test_b", "test_c", "test_d"], "a file was torn apart"


def test_what_is_to_be_alone_is_there_and_comes_last() -> None:
    beside = [
        rank(f"tests/{place}.py::test_any") for place in ("integration/test_flow", "fuzz/test_fuzz", "codec/test_seal")
    ]
    assert beside == sorted(beside)
    for nodeid in ALONE:
        file, _, name = nodeid.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), nodeid
        assert rank(nodeid) > beside[-1]
