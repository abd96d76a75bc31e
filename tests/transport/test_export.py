"""A whole archive in each format, opened by what the ecosystem reads it with."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from mcap.reader import make_reader
from PIL import Image

from codec.model import Row
from tests.transport.test_reading import CLOCK_MS, PURPOSE, Writer, click, minutes, opened
from tests.x11_display import need
from transport.export import LOSES, Exported, Format, Selection, describe_export, export
from transport.exports import sheet

MINUTES = 7
FRAMES = 10
"""One before the first click, one after each, and the first of each later chunk is the last of the chunk before."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven clicks, a minute apart, each of which turns the screen one level brighter; two devices, and one that refuses."""
    folder = tmp_path_factory.mktemp("archive")
    list(minutes(Writer(folder), MINUTES))
    other = Writer(folder, "d-two", epoch=9)
    other.put(
        CLOCK_MS, CLOCK_MS + 9000, pointer=click(CLOCK_MS + 100), rows=[Row(CLOCK_MS, "focus", {"app": "</script>"})]
    )
    refusing = Writer(folder, "d-three", epoch=9)
    refusing.put(CLOCK_MS, CLOCK_MS + 9000, pointer=click(CLOCK_MS + 100), purposes=("accessibility-research",))
    return folder


def exported(archive: Path, folder: Path, to: Format, device: str = "d-one") -> tuple[Path, Exported]:
    done = export(opened(archive), folder, to=to, devices=(device,))
    return folder / device, done


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def film_levels(path: Path) -> dict[int, int]:
    """Return the grey of each picture of a film by its time in ms."""
    with av.open(str(path)) as video:
        return {
            round((picture.time or 0) * 1000): int(picture.to_ndarray(format="bgra")[24, 32, 0])
            for picture in video.decode(video=0)
        }


def near(level: int) -> Any:
    return pytest.approx(level, abs=3)  # H.264


@pytest.mark.parametrize("to", list(Format))
def test_each_says_its_terms_and_what_it_loses(archive: Path, tmp_path: Path, to: Format) -> None:
    folder, done = exported(archive, tmp_path / "out", to)
    about = json.loads((folder / "about.json").read_text())
    assert about["format"] == to
    assert about["loses"] == LOSES[to]
    assert (about["purpose"], about["purposes"], about["consents"]) == (PURPOSE, [PURPOSE], [bytes(32).hex()])
    assert done.devices == 1
    assert "d-one" not in describe_export(done) or str(tmp_path) in describe_export(done)
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*")), "nobody else may read it"


def test_json_lines_have_everything_and_frames_say_where_they_stand_in_the_film(archive: Path, tmp_path: Path) -> None:
    folder, done = exported(archive, tmp_path / "out", Format.JSONL)
    events, frames, actions = (lines(folder / f"{name}.jsonl") for name in ("events", "frames", "actions"))
    assert [line["x"] for line in events if line["kind"] == "press-left"] == [10] * MINUTES
    assert done.events == 2 * MINUTES
    levels = film_levels(folder / "screens.mp4")
    assert len(frames) == len(levels) == FRAMES
    level_at = {frame["t_ms"]: levels[frame["video_ms"]] for frame in frames}
    clicks = [action for action in actions if action["kind"] == "click"]
    assert len(clicks) == MINUTES
    for number, action in enumerate(clicks):
        assert level_at[action["before"]["t_ms"]] == near(number)
        assert level_at[action["after"]["t_ms"]] == near(number + 1)


def test_parquet_joins_actions_with_their_frames(archive: Path, tmp_path: Path) -> None:
    folder, _ = exported(archive, tmp_path / "out", Format.PARQUET)
    actions = pq.read_table(folder / "actions.parquet").to_pylist()
    places = {row["t_ms"]: row["video_ms"] for row in pq.read_table(folder / "frames.parquet").to_pylist()}
    levels = film_levels(folder / "screens.mp4")
    found = [levels[places[row["before"]["t_ms"]]] for row in actions if row["kind"] == "click"]
    assert found == [near(number) for number in range(MINUTES)]
    assert {row["device"] for row in actions} == {"d-one"}


def test_mcap_has_every_stream(archive: Path, tmp_path: Path) -> None:
    folder, _ = exported(archive, tmp_path / "out", Format.MCAP)
    with (folder / "recording.mcap").open("rb") as file:
        reader = make_reader(file)
        topics: dict[str, int] = {}
        for _, channel, _ in reader.iter_messages():
            topics[channel.topic] = topics.get(channel.topic, 0) + 1
    assert topics["/pointer"] == 2 * MINUTES
    assert topics["/frame"] == FRAMES
    assert topics["/row/pair"] == MINUTES
    assert topics["/action"] >= MINUTES


def test_webdataset_pictures_are_exact(archive: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    folder, _ = exported(archive, tmp_path / "out", Format.WEBDATASET)
    shards = [str(path) for path in folder.glob("*.tar")]
    samples = [json.loads(sample["json"]) | sample for sample in webdataset.WebDataset(shards, shardshuffle=False)]
    clicks = [sample for sample in samples if sample["kind"] == "click"]
    assert len(clicks) == MINUTES
    for number, sample in enumerate(clicks):
        for name, level in (("before.png", number), ("after.png", number + 1)):
            assert (np.asarray(Image.open(io.BytesIO(sample[name]))) == level).all()


def test_agentnet_steps_show_the_screen_before_them(archive: Path, tmp_path: Path) -> None:
    folder, _ = exported(archive, tmp_path / "out", Format.AGENTNET)
    (trajectory,) = lines(folder / "trajectories.jsonl")
    assert [step["value"]["code"] for step in trajectory["traj"]] == ["pyautogui.click(x=0.1562, y=0.4167)"] * MINUTES
    levels = [Image.open(folder / "images" / step["image"]).getpixel((0, 0)) for step in trajectory["traj"]]
    assert levels == [(number,) * 3 for number in range(MINUTES)]


def test_a_browser_plays_the_replay_and_asks_for_nothing(archive: Path, tmp_path: Path) -> None:
    need("chromium")
    folder, _ = exported(archive, tmp_path / "out", Format.HTML)
    page = tmp_path / "replay.html"
    shutil.copy(folder / "replay.html", page)
    shown = dumped(page, tmp_path)
    assert 'data-ready="true"' in shown
    assert shown.count("<li><button") == shown.count("<time>") >= MINUTES
    assert "0:00.0 / 6:05.6</output>" in shown
    text = page.read_text(encoding="utf-8")
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "default-src 'none'" in text


def test_a_title_cannot_end_the_pages_script(archive: Path, tmp_path: Path) -> None:
    need("chromium")
    folder, _ = exported(archive, tmp_path / "out", Format.HTML, "d-two")
    shown = dumped(folder / "replay.html", tmp_path)
    assert "&lt;/script&gt;" in shown, "it is text in the list of actions"


def dumped(page: Path, profile: Path) -> str:
    """Return a page's elements once its script has run."""
    command = [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={profile / 'profile'}",
        "--virtual-time-budget=8000",
        "--dump-dom",
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_what_nobody_agreed_to_is_not_written(archive: Path, tmp_path: Path) -> None:
    folder, done = exported(archive, tmp_path / "out", Format.JSONL, "d-three")
    assert sum(done.left_out.values()) == 1
    assert "nothing was written" in describe_export(done)
    assert (folder / "events.jsonl").read_text() == ""
    assert not (folder / "screens.mp4").exists()


def test_only_the_chosen_application_is_written(archive: Path, tmp_path: Path) -> None:
    done = export(opened(archive), tmp_path / "out", devices=("d-one",), selection=Selection(application="geany"))
    assert done.events == 2 * (MINUTES // 2 + 1)


def test_an_earlier_export_is_not_overwritten(archive: Path, tmp_path: Path) -> None:
    exported(archive, tmp_path / "out", Format.JSONL)
    with pytest.raises(FileExistsError):
        exported(archive, tmp_path / "out", Format.JSONL)


def test_a_sheet_shows_the_recording_at_a_glance(archive: Path) -> None:
    opened_archive = opened(archive)
    glance = sheet.gather(opened_archive.actions(device="d-one"), opened_archive.frames(device="d-one"))
    assert len(glance.thumbs) == FRAMES
    assert {name for _, name in glance.focus} == {"xterm", "geany"}
    assert glance.first_ns <= glance.marks[0] <= glance.last_ns
    image = Image.open(io.BytesIO(sheet.draw(glance, title="d-one")))
    assert image.width > 4 * sheet.THUMB_PX


def test_a_long_recordings_sheet_holds_few_pictures(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.put(CLOCK_MS, CLOCK_MS + 900_000, frames=[(CLOCK_MS + 1000 * n, n % 251) for n in range(300)])
    glance = sheet.gather([], opened(tmp_path).frames())
    assert len(glance.thumbs) < 2 * sheet.COLUMNS * sheet.ROWS
    assert len(glance.thumbs) >= sheet.COLUMNS * sheet.ROWS // 2
    assert glance.thumbs[-1][0] - glance.thumbs[0][0] > 0.8 * 299 * 10**9
