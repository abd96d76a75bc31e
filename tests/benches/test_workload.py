"""The scripted desktop, for real and short: windows, a truth that the applications confirm, and nothing left behind."""

from __future__ import annotations

import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benches.desktop import VirtualDesktop
from benches.person import Person
from benches.truth import Truth

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [
    pytest.mark.x11,
    pytest.mark.skipif(
        not all(shutil.which(program) for program in ("Xvfb", "openbox", "xterm", "mousepad")),
        reason="needs Xvfb, openbox, xterm, mousepad: `deploy/packages test` installs them",
    ),
]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def processes_of(folder: str) -> list[str]:
    """Return the command lines of processes whose environment or arguments name a desktop's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if folder.encode() in command + environment:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_a_person_works_at_a_real_desktop_and_the_truth_tells_what_they_did(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with VirtualDesktop((1280, 800), apps=("editor", "terminal")) as desktop, Truth(path) as truth:
        assert set(desktop.apps) == {"editor", "terminal"}
        display = desktop.connect()
        titles = {window.app: window.title for window in display.windows()}
        assert titles["Mousepad"].endswith("notes.txt - Mousepad")
        assert "XTerm" in titles
        assert (display.width_px, display.height_px) == (1280, 800)
        before = (desktop.work / "notes.txt").read_text()
        person = Person(desktop, 5, truth)
        person.do("typing", 6)
        person.do("terminal", 5)
        editor = desktop.find(display, "editor")
        assert editor is not None
        assert editor.title.startswith("*") or (desktop.work / "notes.txt").read_text() != before, "nothing was typed"
        display.close()
        person.close()
        folder = str(desktop.folder)
    truth_lines = lines_of(path)
    counts = collections.Counter(line["what"] for line in truth_lines)
    assert counts["move"] > 50
    assert counts["press"] == counts["release"] > 0
    keys = [line for line in truth_lines if line["what"] == "key"]
    assert sum(key["down"] for key in keys) == sum(not key["down"] for key in keys) > 10
    assert [line["ms"] for line in truth_lines] == sorted(line["ms"] for line in truth_lines)
    assert truth_lines[-1]["counts"]["move"] == counts["move"]
    assert not Path(folder).exists()
    assert processes_of(folder) == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium: `deploy/packages test` installs it")
def test_the_browser_saw_what_the_person_did(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with VirtualDesktop(apps=("browser",)) as desktop, Truth(path) as truth:
        if "browser" not in desktop.apps:
            pytest.skip("the browser does not run in this container")
        person = Person(desktop, 3, truth)
        person.do("form", 16)
        person.do("scrolling", 6)
        person.close()
    lines = lines_of(path)
    saw = [line["saw"] for line in lines if line["what"] == "page"]
    clicks = [page for page in saw if page["what"] == "click" and page["x"]]  # a list's own click has no place
    places = {(line["x"], line["y"]) for line in lines if line["what"] == "press"}
    assert len(clicks) >= 3
    assert {(click["x"], click["y"]) for click in clicks} <= places
    chosen = {line["name"]: line["index"] for line in lines if line["what"] == "choose"}
    changed = {page["target"]: page["value"] for page in saw if page["what"] == "change"}
    customers = ["Choose a customer", "Alder & Sons", "Birch Ltd", "Cedar Works", "Elm Street Bakery", "Hazel Books"]
    customers += ["Maple Motors", "Willow Care"]
    assert changed["customer"] == customers[chosen["customer"]]
    assert any(page["what"] == "scrolled" and page["to_px"] > 100 for page in saw)


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    bench = subprocess.Popen(
        [sys.executable, "-m", "benches.workload", "--seconds", "60", "--size", "1024x768", "--activities", "typing"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )
    assert bench.stdout is not None
    folder = str(Path(json.loads(bench.stdout.readline())["authority"]).parent)
    assert processes_of(folder)
    time.sleep(1)
    bench.send_signal(signal.SIGINT)
    assert bench.wait(20) == 130
    assert processes_of(folder) == []
    assert not Path(folder).exists()
