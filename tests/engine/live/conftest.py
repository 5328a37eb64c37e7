"""A fresh database file for each test, copied from one that was migrated once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.engine.live.kept import template


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("database"))


@pytest.fixture
def file(empty_database: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_database, tmp_path / "books.db"))
