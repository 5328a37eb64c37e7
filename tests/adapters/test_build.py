"""The build hash changes with any source of the package: the engine's as well as the kernel's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perpdesk.adapters import build


@pytest.mark.parametrize("name", ["engine/delivery.py", "kernel/loop.py", "service/live.py", "cli/live.py"])
def test_an_edit_anywhere_is_another_build(tmp_path: Path, name: str) -> None:
    package = tmp_path / "perpdesk"
    shutil.copytree(Path(build.__file__).parent.parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = build.hash_of(package)
    assert before == build.hash_of(package) == build.build_hash()
    with (package / name).open("a") as file:
        file.write("#\n")
    edited = build.hash_of(package)
    assert edited != before
    (package / name).rename(package / "moved.py")
    assert build.hash_of(package) not in (before, edited)
