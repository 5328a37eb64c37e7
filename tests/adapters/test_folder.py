"""The control folder on disk: whole files or none, locks that end with their process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perpdesk.adapters.folder import SIZE_MAX, DiskFolder, MemoryDisk, MemoryFolder, control_folder
from perpdesk.domain.errors import InputError
from perpdesk.ports import Folder


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return DiskFolder(tmp_path) if request.param == "disk" else MemoryFolder(MemoryDisk())


def test_a_file_is_replaced_and_its_stamp_with_it(folder: Folder) -> None:
    assert folder.read("a") is None
    assert folder.stamp("a") is None
    seen = set()
    for content in (b"one", b"two", b"two", b""):
        folder.replace("a", content)
        assert folder.read("a") == content
        seen.add(folder.stamp("a"))
        assert folder.stamp("a") == folder.stamp("a")
    assert len(seen) == 4
    folder.replace("a", b"x" * 70_000, durable=False)
    assert folder.read("a") == b"x" * 70_000


def test_lines_are_added(folder: Folder) -> None:
    folder.append("log", b"one")
    folder.append("log", b"two")
    assert (folder.read("log") or b"").split() == [b"one", b"two"]


def test_a_lock_has_one_holder(folder: Folder) -> None:
    first = folder.lock("l")
    assert first is not None
    assert folder.lock("l") is None
    assert folder.lock("other") is not None
    first.release()
    first.release()
    assert folder.lock("l") is not None


def test_nothing_but_the_files_is_left(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path)
    folder.replace("a", b"1")
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match="b"):
        folder.replace("b", b"2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o600


def test_a_folder_that_is_gone_is_not_an_empty_one(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path / "gone")
    for look in (folder.read, folder.stamp):
        with pytest.raises(NotADirectoryError):
            look("a")
    assert DiskFolder.made(tmp_path / "gone").read("a") is None
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--control-dir"):
        DiskFolder.made(tmp_path / "file" / "below")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * (SIZE_MAX + 1))
    with pytest.raises(OSError, match="larger"):
        DiskFolder(tmp_path).read("a")


def test_a_killed_process_has_let_its_lock_go(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from perpdesk.adapters.folder import DiskFolder; "
        f"held = DiskFolder(Path({str(tmp_path)!r})).lock('l'); print(held is not None, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        folder = DiskFolder(tmp_path)
        assert folder.lock("l") is None
        holder.send_signal(signal.SIGSTOP)
        assert folder.lock("l") is None  # frozen is not dead
        holder.kill()
        holder.wait()
        assert folder.lock("l") is not None


def test_everybody_means_the_same_folder() -> None:
    given = Path("mine")
    assert control_folder(given, {"PERPDESK_CONTROL_DIR": "x"}) == given
    assert control_folder(None, {"PERPDESK_CONTROL_DIR": "x", "HOME": "h"}) == Path("x")
    assert control_folder(None, {"XDG_STATE_HOME": "s", "HOME": "h"}) == Path("s/perpdesk/control")
    assert control_folder(None, {"HOME": "h"}) == Path("h/.local/state/perpdesk/control")
    with pytest.raises(InputError, match="PERPDESK_CONTROL_DIR"):
        control_folder(None, {})
