"""The service files: systemd's, launchd's and the Task Scheduler's, each well-formed and each without more rights."""

from __future__ import annotations

import plistlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from capture.errors import CaptureError, Exit
from capture.service import FINAL_EXITS, TASKS, Facts, launchd_plist, systemd_unit, task_xml
from capture.service_setup import place

FACTS = Facts(
    command=("/opt/with space/modicum",),
    config="/home/a/100% mine.toml",
    consent="/home/a/.local/state/modicum/consent.json",
    writable=("/home/a/.local/state/modicum", "/run/user/1000/modicum"),
    farewell="/home/a/.local/state/modicum/farewell",
)


def test_the_unit_says_what_it_runs_and_when() -> None:
    unit = systemd_unit(FACTS)
    assert 'ExecStart="/opt/with space/modicum" run --config "/home/a/100%% mine.toml"\n' in unit
    assert "ConditionPathExists=|/home/a/.local/state/modicum/consent.json\n" in unit
    assert "ConditionPathExists=|/home/a/.local/state/modicum/farewell\n" in unit
    assert "Type=notify" in unit
    assert "NoNewPrivileges=yes" in unit
    for line in unit.splitlines():
        assert not line or line[0] in "[#" or "=" in line, line


def test_what_cannot_be_mended_by_trying_again_is_not_tried_again() -> None:
    assert set(FINAL_EXITS) == {Exit.USAGE, Exit.NO_CONSENT, Exit.NO_PERMISSION}
    assert "RestartPreventExitStatus=2 3 5\n" in systemd_unit(FACTS)


def test_launchds_file_is_a_property_list_that_runs_without_root() -> None:
    said = plistlib.loads(launchd_plist(FACTS, log="x.log"))
    assert said["ProgramArguments"] == ["/opt/with space/modicum", "run", "--config", FACTS.config]
    assert said["KeepAlive"]["PathState"] == {FACTS.consent: True}
    assert said["ProcessType"] == "Background"
    assert "UserName" not in said


def test_the_task_is_xml_of_its_schema_with_the_least_rights() -> None:
    task = ET.fromstring(task_xml(FACTS, user="PC\\Ann & Bob"))  # noqa: S314 - our own
    names = {"t": TASKS}
    assert task.tag == f"{{{TASKS}}}Task"
    order = [child.tag.rpartition("}")[2] for child in task]
    assert order == ["RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"]
    assert task.findtext("t:Principals/t:Principal/t:RunLevel", namespaces=names) == "LeastPrivilege"
    assert task.findtext("t:Principals/t:Principal/t:UserId", namespaces=names) == "PC\\Ann & Bob"
    assert task.findtext("t:Settings/t:DisallowStartIfOnBatteries", namespaces=names) == "false"
    arguments = task.findtext("t:Actions/t:Exec/t:Arguments", namespaces=names)
    assert arguments == 'run --config "/home/a/100% mine.toml"'


def test_each_platform_has_its_place() -> None:
    home = {"HOME": "/home/a"}
    assert place(home, "linux") == Path("/home/a/.config/systemd/user/modicum.service")
    assert place({**home, "XDG_CONFIG_HOME": "/c"}, "linux") == Path("/c/systemd/user/modicum.service")
    assert place(home, "darwin").name == "org.modicum.agent.plist"
    with pytest.raises(CaptureError, match="sunos"):
        place(home, "sunos5")
