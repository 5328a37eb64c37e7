"""perpdesk oi stats, report, status, breaker: of a run that traded recorded open interest on paper."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.app.markets import synthetic
from tests.parity.overlay import CONFIG, write

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.app import paper
from perpdesk.cli.main import run_command
from perpdesk.config.load import load
from perpdesk.domain.account_books import WHOLE_ACCOUNT, NewBreakerDay
from perpdesk.engine.guardian.breaker import day_name, day_of
from perpdesk.market.interest import read

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Any]:
    """(database, configuration, the run's own result) of a day and a half on paper."""
    folder = tmp_path_factory.mktemp("oi")
    plain = synthetic(2_000, seed=11, symbols=6, warmup=150)
    bars = np.concatenate([plain.warmup, plain.bars])
    write(bars, plain.warmup_ms, plain.universe.symbols, folder / "oi.parquet")
    market = replace(plain, interest=read([folder / "oi.parquet"], plain.universe.symbols))
    url, config = f"sqlite:///{folder}/desk.sqlite", folder / "desk.yaml"
    config.write_text(CONFIG + "  min_score: 4\n  min_confidence: 0.3\n  max_positions: 1\n")
    upgrade(url)
    result = asyncio.run(paper(load(config), ["oi_breakout"], market, database=url))
    return url, str(config), result


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert run_command([*arguments, "--json"]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_totals_are_those_of_the_run(traded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    url, config, result = traded
    found = said(capsys, "oi", "stats", "--database", url, "--config", config)
    assert found["trades"] == result.to_json()["round_trips"] > 3
    parts = [Decimal(found[name]) for name in ("gross", "fees", "funding", "net")]
    assert parts[0] - parts[1] + parts[2] == parts[3]
    assert sum(found["close_reasons"].values()) == found["trades"]
    assert 0 <= found["max_drawdown"] < 1
    assert found["initial_balance"] == "8000"
    none = said(capsys, "oi", "stats", "--database", url, "--config", config, "--days", "1")
    assert (none["trades"], none["win_rate"], none["net"]) == (0, None, "0")
    assert run_command(["oi", "stats", "--database", url, "--config", config]) == 0
    assert "win_rate" in capsys.readouterr().out


def test_days_add_up_to_the_totals(traded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    url, config, _ = traded
    whole = said(capsys, "oi", "stats", "--database", url, "--config", config)
    days = said(capsys, "oi", "report", "daily", "--database", url, "--config", config, "--days", "3660")[
        "days"
    ]
    assert len(days) >= 1
    assert sum(day["trades"] for day in days) == whole["trades"]
    assert sum(Decimal(day["net"]) for day in days) == Decimal(whole["net"])
    assert run_command(["oi", "report", "daily", "--database", url, "--config", config]) == 0
    assert "no position was closed" in capsys.readouterr().out


def test_refusals_of_the_gate_are_counted(traded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Of candidates that passed their own rules: only one position at a time was allowed."""
    url, _, _ = traded
    found = said(capsys, "oi", "report", "rejections", "--database", url, "--hours", "87840")
    assert found["gate"].get("MAX_POSITIONS", 0) > 0
    assert found["radar"] == {}


def test_status_tells_what_is_there_and_what_is_not(traded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    url, config, result = traded
    found = said(capsys, "oi", "status", "--database", url, "--config", config)
    assert found["radar"] == {"last_poll_ms": None, "age_ms": None, "symbols": 0}
    assert found["breaker"] is None
    assert found["totals"]["trades"] == result.to_json()["round_trips"]
    assert run_command(["oi", "status", "--database", url, "--config", config]) == 0
    assert "no poll in two intervals" in capsys.readouterr().out


def test_a_trip_is_shown_and_taken_back_with_a_reason(
    traded: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _, _ = traded
    account = said(capsys, "oi", "stats", "--database", url)["account"]
    now_ms = SystemClock().now_ms()
    day = day_name(day_of(now_ms))

    async def trip() -> None:
        async with await SqlStore.open(url) as store:
            await store.start_breaker_day(
                NewBreakerDay(
                    account_id=account,
                    strategy=WHOLE_ACCOUNT,
                    day=day,
                    base_equity=Decimal(50),
                    created_ms=now_ms,
                )
            )
            await store.trip_breaker(account, WHOLE_ACCOUNT, day, now_ms, pnl=Decimal(-10), reason="loss")

    assert run_command(["oi", "breaker", "reset", "--database", url, "--reason", "a test"]) == 0
    assert "nothing had tripped" in capsys.readouterr().out
    asyncio.run(trip())
    assert said(capsys, "oi", "breaker", "status", "--database", url)["breaker"]["trip_pnl"] == "-10.00000000"
    assert run_command(["oi", "breaker", "reset", "--database", url, "--reason", " "]) == 2
    capsys.readouterr()
    assert run_command(["oi", "breaker", "reset", "--database", url, "--reason", "looked at it"]) == 0
    assert "taken back" in capsys.readouterr().out
    assert said(capsys, "oi", "breaker", "status", "--database", url)["breaker"]["reset_ms"]


def test_a_database_without_a_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/empty.sqlite"
    upgrade(url)
    assert run_command(["oi", "stats", "--database", url]) == 2
    assert "--account" in capsys.readouterr().err
