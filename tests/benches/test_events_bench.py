"""The events bench and the recordings it reads."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from benches.events import invented, main, parse_duration, same
from benches.persons import Typist, move_hand
from benches.recordings import LayoutError, cut, read_recordings
from benches.train_prior import faster
from codec.model import KeyClass

CSV = """client timestamp,button,state,x,y
100,NoButton,Move,5,6
116,NoButton,Move,7,6
120,Left,Pressed,7,6
190,Left,Drag,8,6
200,Left,Released,8,6
"""
LINES = """{"t": 1.0, "e": "move", "x": 3, "y": 4}
{"t": 1.5, "e": "click", "x": 3, "y": 4, "b": "Button.right", "p": true}
{"t": 1.6, "e": "click", "x": 3, "y": 4, "b": "Button.right", "p": false}
{"t": 2.0, "e": "scroll", "x": 3, "y": 4, "dx": 0, "dy": -1}
{"t": 3.0, "e": "press", "k": "Key.shift"}
{"t": 3.1, "e": "press", "k": "':'"}
{"t": 3.2, "e": "release", "k": "':'"}
{"t": 3.3, "e": "release", "k": "Key.shift"}
{"t": 3.4, "e": "release", "k": "'q'"}
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus" / "user7"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text(CSV)
    (folder / "b.jsonl").write_text(LINES)
    return folder.parent


def test_both_layouts_are_read(corpus: Path) -> None:
    mouse, desktop = read_recordings([str(corpus)])
    assert mouse.person == desktop.person == "user7"
    assert mouse.pointer.kind.tolist() == [0, 0, 2, 1, 3]
    assert desktop.pointer.kind.tolist() == [0, 6, 7, 10]
    assert desktop.keys.code.tolist() == [
        KeyClass.MODIFIER,
        KeyClass.PUNCTUATION,
        KeyClass.PUNCTUATION,
        KeyClass.MODIFIER,
        1,
    ]
    assert desktop.keys.slot.tolist() == [0, 1, 1, 0, 255]
    assert desktop.keys.t_ms.tolist() == [3000, 3100, 3200, 3300, 3400]


def test_an_archive_reads_like_its_folder(corpus: Path, tmp_path: Path) -> None:
    archive = tmp_path / "corpus.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(corpus, "corpus")
    for one, other in zip(read_recordings([str(archive)]), read_recordings([str(corpus)]), strict=True):
        np.testing.assert_array_equal(one.pointer.t_ms, other.pointer.t_ms)


def test_a_cut_keeps_every_event(corpus: Path) -> None:
    desktop = read_recordings([str(corpus)])[1]
    pieces = cut(desktop, 1000)
    assert [len(piece) for piece in pieces] == [3, 1, 5]
    assert pieces[2].keys.t_ms.tolist() == [0, 100, 200, 300, 400]


@pytest.mark.parametrize("text", ["nothing,at,all\n1,2,3\n", "client timestamp,button,state,x,y\n1,Left,Waved,0,0\n"])
def test_a_file_of_another_layout_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(text)
    with pytest.raises(LayoutError, match=r"odd\.csv"):
        read_recordings([str(path)])


def test_the_bench_runs_verifies_and_writes(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, plot = tmp_path / "out.json", tmp_path / "plot.svg"
    assert main([str(corpus), "--chunk", "30s", "--json", str(out), "--plot", str(plot)]) == 0
    document = json.loads(out.read_text())
    assert document["events"] == 14
    by_name = {result["codec"]: result for result in document["results"]}
    assert by_name["modicum, the smaller"]["verified"]
    assert by_name["modicum, the smaller"]["bytes_per_event"] < by_name["JSON lines + zstd-19"]["bytes_per_event"]
    for result in document["results"]:
        assert result["verified"] or result["note"].startswith("not installed: pip install ")
    assert plot.read_text().startswith("<svg")
    assert "bytes/event" in capsys.readouterr().out


def test_a_missing_path_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/nowhere/at/all.csv"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_invented_persons_are_the_same_for_the_same_seed() -> None:
    for one, other in zip(invented(3)[6:8], invented(3)[6:8], strict=True):
        assert all(same(a, b) for a, b in zip(cut(one, 60_000), cut(other, 60_000), strict=True))
    assert not np.array_equal(Typist(1).type_for(20_000).t_ms, Typist(2).type_for(20_000).t_ms)


def test_a_faster_replay_has_the_same_path() -> None:
    slow = move_hand(1, 5_000, rate_hz=60)
    quick = faster(slow, 500)
    assert len(quick) > 1.5 * len(slow)
    assert set(quick.kind.tolist()) <= set(slow.kind.tolist())


@pytest.mark.parametrize(("text", "ms"), [("30s", 30_000), ("5min", 300_000), ("1.5 h", 5_400_000), ("200ms", 200)])
def test_durations(text: str, ms: int) -> None:
    assert parse_duration(text) == ms
