"""The command line in this process, and small market files for it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perpdesk.adapters.sqlstore import upgrade
from perpdesk.cli.main import run_command
from perpdesk.market.synthetic import synthetic_market
from perpdesk.market.writing import write_market

MINUTES = 720


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """stdout, which must be one JSON object on one line and nothing else."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1

        def never(word: str) -> None:
            raise AssertionError(f"{word} is no JSON")

        found = json.loads(self.out, parse_constant=never)
        assert isinstance(found, dict)
        return found


Perpdesk = Callable[..., Answer]


@pytest.fixture
def perpdesk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Perpdesk:
    """Runs one command in an empty working directory, without this process's own configuration."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("PERPDESK__"):
            monkeypatch.delenv(name)

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run_command([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return Answer(code, found.out, found.err)

    return run


@pytest.fixture(scope="session")
def market_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``klines_1m/`` (AAAUSDT, BBBUSDT, half a day) and ``funding/``."""
    return write_market(synthetic_market(7, 2, MINUTES), tmp_path_factory.mktemp("market"))


@pytest.fixture
def klines(market_files: Path) -> Path:
    return market_files / "klines_1m"


@dataclass(frozen=True)
class Books:
    """A SQLite file that ``db upgrade`` made."""

    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def counts(self) -> dict[str, int]:
        """How many rows each table has, the bookkeeping of the schema itself left out."""
        connection = sqlite3.connect(self.path)
        try:
            names = [
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            own = [
                n
                for n in names
                if n not in ("alembic_version", "journal_head") and not n.startswith("sqlite_")
            ]
            return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in own}
        finally:
            connection.close()


@pytest.fixture
def books(tmp_path: Path) -> Books:
    made = Books(tmp_path / "books.db")
    upgrade(made.url)
    return made
