"""The file seam on a real disk."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.transport.simfs import SimFiles
from transport.errors import Busy
from transport.fs import Files, Open, RealFiles, opened, read_exactly, read_file, replace_file, write_all


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Files, Path]:
    """A real and a simulated file system, which must behave alike."""
    if request.param == "real":
        return RealFiles(), tmp_path
    files = SimFiles()
    files.make_dir(Path("/x"))
    return files, Path("/x")


def test_reading_writing_and_names(place: tuple[Files, Path]) -> None:
    files, folder = place
    with opened(files, folder / "a", Open.CREATE) as handle:
        write_all(handle, b"hello", 3)
        assert handle.size_bytes() == 8
        handle.truncate(6)
        handle.allocate(10)
        assert handle.size_bytes() == 10
        handle.sync()
        assert read_exactly(handle, 100, 0) == b"\0\0\0hel\0\0\0\0"
    with pytest.raises(FileExistsError):
        files.open(folder / "a", Open.CREATE)
    with pytest.raises(FileNotFoundError):
        files.open(folder / "b", Open.WRITE)
    files.link(folder / "a", folder / "b")
    with pytest.raises(FileExistsError):
        files.link(folder / "a", folder / "b")
    files.rename(folder / "b", folder / "c")
    files.make_dir(folder / "d" / "e")
    assert files.list_dir(folder) == ["a", "c", "d"]
    files.unlink(folder / "a")
    with pytest.raises(FileNotFoundError):
        files.unlink(folder / "a")
    assert files.exists(folder / "c")
    assert not files.exists(folder / "a")
    assert read_file(files, folder / "c", limit_bytes=4) == b"\0\0\0he"
    files.sync_dir(folder)
    assert files.free_bytes(folder) > 0


def test_a_lock_is_exclusive_until_it_is_closed(place: tuple[Files, Path]) -> None:
    files, folder = place
    handle = files.lock(folder / "lock")
    with pytest.raises(Busy, match="stop that one first"):
        files.lock(folder / "lock")
    handle.close()
    files.lock(folder / "lock").close()


def test_replacing_is_all_or_nothing(place: tuple[Files, Path]) -> None:
    files, folder = place
    replace_file(files, folder / "f", b"one")
    replace_file(files, folder / "f", b"two")
    assert read_file(files, folder / "f", limit_bytes=100) == b"two"
    assert files.list_dir(folder) == ["f"]


@pytest.mark.parametrize("seed", range(40))
def test_a_replaced_file_is_old_or_new_after_any_crash(seed: int) -> None:
    files = SimFiles(seed)
    files.make_dir(Path("/x"))
    files.synced_dirs |= files.dirs
    replace_file(files, Path("/x/f"), b"old" * 500)
    files.crash_at = 1 + seed % 8
    try:
        replace_file(files, Path("/x/f"), b"new" * 700)
        done = True
    except SimFiles.Killed:
        done = False
    files.cut_power()
    data = read_file(files, Path("/x/f"), limit_bytes=10_000)
    assert data == b"new" * 700 or (not done and data == b"old" * 500)


def test_modes_do_not_depend_on_the_umask_and_links_are_not_followed(tmp_path: Path) -> None:
    files = RealFiles()
    before = os.umask(0)
    try:
        files.make_dir(tmp_path / "p" / "q")
        files.open(tmp_path / "p" / "q" / "f", Open.CREATE).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "p").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "p" / "q" / "f").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "p" / "q" / "f")
    for how in (Open.READ, Open.WRITE):
        with pytest.raises(OSError, match="symbolic links"):
            files.open(tmp_path / "link", how)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, os\nfrom pathlib import Path\nfrom transport.fs import RealFiles\n"
        "held = RealFiles().lock(Path(sys.argv[1]))\nos.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], env={**os.environ, "PYTHONPATH": "."})
    RealFiles().lock(tmp_path / "lock").close()
