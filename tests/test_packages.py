"""deploy/packages: quick when there is nothing to do, and one clear sentence when it may do nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "deploy" / "packages"
NOBODY = 65534


def run(
    target: str, *, script: str | None = None, user: int | None = None, path: str = os.environ["PATH"]
) -> subprocess.CompletedProcess[str]:
    """Run the script (from its text, so that a user who may not enter the checkout can run it too)."""
    return subprocess.run(
        ["/bin/sh", "-s", target],
        input=script if script is not None else SCRIPT.read_text(),
        capture_output=True,
        text=True,
        env={"PATH": path, "LC_ALL": "C.UTF-8"},
        user=user,
        group=user,
        extra_groups=[] if user is not None else None,
        cwd="/",
        check=False,
        timeout=120,
    )


def with_needs(*lines: str) -> str:
    """Return the script with more lines in its table."""
    text = SCRIPT.read_text()
    assert text.count("\nLIST\n") == 1
    return text.replace("\nLIST\n", "\n" + "\n".join(lines) + "\nLIST\n")


def nobody() -> int:
    """Return the id of a user without permissions: nobody for root, else whoever runs the tests, if sudo asks them."""
    if os.geteuid() == 0:
        return NOBODY
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        pytest.skip("this user may install packages without a password")
    return os.geteuid()


def test_it_is_a_plain_posix_script() -> None:
    assert os.access(SCRIPT, os.X_OK)
    subprocess.run(["/bin/sh", "-n", str(SCRIPT)], check=True)


@pytest.mark.parametrize("target", ["python", "demo"])
def test_it_says_nothing_and_is_quick_when_everything_is_there(target: str) -> None:
    first = run(target, user=nobody())
    if first.stderr:
        pytest.skip(f"not everything is there: {first.stderr.splitlines()[0]}")
    started = time.monotonic()
    again = run(target, user=nobody())
    took_s = time.monotonic() - started
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert took_s < 1.0, f"took {took_s:.2f} s; it runs before every `make test`"


def test_without_permission_it_names_exactly_what_is_missing_and_the_command() -> None:
    script = with_needs(
        "demo nonesuch-player cmd:nonesuch may playing trumpets", "test nonesuch-lib lib:libnone.so must x"
    )
    told = run("test", script=script, user=nobody())
    assert told.returncode == 1
    sentence = told.stderr.splitlines()[0]
    if shutil.which("apt-get"):
        assert "only root may install packages here" in sentence
        assert sentence.endswith("apt-get install --no-install-recommends nonesuch-lib nonesuch-player")
    assert "nonesuch-player: playing trumpets" in told.stderr


def test_the_demo_goes_on_with_less_where_it_may_not_install() -> None:
    told = run("demo", script=with_needs("demo nonesuch-player cmd:nonesuch must playing trumpets"), user=nobody())
    assert told.returncode == 0
    assert "nonesuch-player: playing trumpets" in told.stderr


def test_a_need_of_the_tests_alone_is_not_asked_for_by_the_demo() -> None:
    told = run("demo", script=with_needs("test nonesuch-lib lib:libnone.so must x"), user=nobody())
    assert "nonesuch-lib" not in told.stderr


def test_without_a_package_manager_it_says_so(tmp_path: Path) -> None:
    # A PATH with the script's own few tools only. It adds the sbin folders itself; apt-get is in none of them.
    for tool in ("cat", "id", "sed", "grep", "mktemp", "rm"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    if any((Path(folder) / "apt-get").exists() for folder in ("/usr/local/sbin", "/usr/sbin", "/sbin")):
        pytest.skip("apt-get lies in an sbin folder here")
    told = run("test", script=with_needs("test nonesuch cmd:nonesuch must x"), path=str(tmp_path))
    assert told.returncode == 1
    assert "there is no apt-get here" in told.stderr
    assert "your package manager" in told.stderr


def test_an_old_python_is_refused_by_its_version(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && { echo Python 3.9.2; exit 0; }\nexit 1\n')
    old.chmod(0o755)
    told = run("python", path=f"{tmp_path}:/usr/bin:/bin")
    assert told.returncode == 1
    assert "needs Python 3.11 or newer; python3 is Python 3.9.2" in told.stderr


def test_an_unknown_target_is_a_usage_error() -> None:
    told = run("everything")
    assert told.returncode == 2
    assert "python|demo|test" in told.stderr


def test_every_need_has_a_sign_a_weight_and_a_reason() -> None:
    table = SCRIPT.read_text().split("cat <<'LIST'\n")[1].split("\nLIST\n")[0].splitlines()
    assert len(table) > 20
    for line in table:
        group, package, sign, weight, *reason = line.split()
        assert group in {"demo", "test"}, line
        assert sign.split(":")[0] in {"cmd", "lib", "file"}, line
        assert weight in {"must", "may"}, line
        assert reason, package


def test_every_program_that_a_test_needs_is_installed_by_the_script() -> None:
    table = SCRIPT.read_text().split("cat <<'LIST'\n")[1].split("\nLIST\n")[0]
    installed = {program for signs in re.findall(r"cmd:(\S+)", table) for program in signs.split(",")}
    installed |= PARTS.keys()
    asked: dict[str, str] = {}
    for path in sorted(SCRIPT.parent.parent.glob("tests/**/*.py")):
        if path.name != Path(__file__).name:
            for call in re.findall(r"\b(?:needs?|which)\(([^()]*)\)", path.read_text()):
                asked |= dict.fromkeys(re.findall(r"\"([\w.-]+)\"", call), path.name)
    assert "xdotool" in asked, "the search finds nothing any more"
    missing = {program: name for program, name in asked.items() if program not in installed}
    assert not missing, f"tests would be skipped where these are not installed: {missing}"


PARTS = {
    "dbus-monitor": "dbus",
    "mount": "every Debian",
    "nsenter": "util-linux",
    "NetworkManager": "network-manager",
    "sudo": "optional",
    "umockdev-wrapper": "umockdev",
    "xwininfo": "x11-utils",
    "xdpyinfo": "x11-utils",
}
"""Programs that come with a package whose sign is another one."""
