"""Trajectories as OpenCUA's tools read them."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.transport.exports.samples import HEIGHT_PX, ORIGIN, WIDTH_PX, actions
from transport.exports.agentnet import write_agentnet


@pytest.fixture
def trajectories(tmp_path: Path) -> list[dict[str, Any]]:
    write_agentnet(tmp_path, actions(), purpose="computer-use-training")
    return [json.loads(line) for line in (tmp_path / "trajectories.jsonl").read_text(encoding="utf-8").splitlines()]


def test_steps_are_pyautogui_code_with_positions_as_shares(trajectories: list[dict[str, Any]]) -> None:
    assert [step["value"]["code"] for step in trajectories[0]["traj"]] == [
        "pyautogui.click(x=0.25, y=0.25)",
        "pyautogui.rightClick(x=0.0, y=0.99)",
        "pyautogui.doubleClick(x=0.995, y=0.0)",
        "pyautogui.moveTo(x=0.1, y=0.1)\npyautogui.dragTo(x=0.6, y=0.6, button='left')",
        "pyautogui.moveTo(x=0.5, y=0.5)\npyautogui.scroll(3)\npyautogui.hscroll(2)",
        "pyautogui.write(message='')",
        "pyautogui.hotkey(['ctrl', 'shift', 's'])",
        "pyautogui.click(x=0.3, y=0.3)",
    ]
    for trajectory in trajectories:
        for step in trajectory["traj"]:
            ast.parse(step["value"]["code"])


def test_a_choice_stands_at_the_click_that_made_it(trajectories: list[dict[str, Any]]) -> None:
    last = trajectories[0]["traj"][-1]["value"]["modicum"]
    assert last["kind"] == "click"
    assert last["select"]["element"]["role"] == "menu item"
    assert last["select"]["committed"] is True


def test_a_long_pause_begins_another_trajectory(trajectories: list[dict[str, Any]]) -> None:
    assert [len(trajectory["traj"]) for trajectory in trajectories] == [8, 1]
    assert len({trajectory["task_id"] for trajectory in trajectories}) == 2
    assert [[step["index"] for step in trajectory["traj"]] for trajectory in trajectories] == [list(range(8)), [0]]


def test_each_step_has_the_picture_before_it(trajectories: list[dict[str, Any]], tmp_path: Path) -> None:
    for trajectory in trajectories:
        for step in trajectory["traj"]:
            with Image.open(tmp_path / "images" / step["image"]) as image:
                assert image.size == (WIDTH_PX, HEIGHT_PX)
                before_ms = step["value"]["modicum"]["before"]["t_ms"]
                assert image.getpixel((0, 0)) == (30, before_ms // 251 % 251, before_ms % 251)


def test_terms_are_carried_and_what_is_left_out_is_counted(trajectories: list[dict[str, Any]], tmp_path: Path) -> None:
    assert trajectories[0]["modicum"]["consents"] == [ORIGIN.consent.hex()]
    assert trajectories[0]["modicum"]["expires_s"] == ORIGIN.expires_s
    (tmp_path / "again").mkdir()
    counts = write_agentnet(tmp_path / "again", actions(), purpose="computer-use-training")
    assert counts["steps whose screenshot the archive no longer has"] == 1
    assert (counts["trajectories"], counts["steps"]) == (2, 9)
