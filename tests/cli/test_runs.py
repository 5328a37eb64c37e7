"""backtest, paper, parity, demo: one JSON object for programs, tables for people, exit codes for both."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.conftest import MINUTES, Books, Perpdesk

import perpdesk.cli.run as run_module
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.synthetic import START_MS

# DESIGN: what programs may rely on.
BACKTEST_KEYS = {
    "strategy", "symbols", "bars", "seconds", "bars_per_second", "fills", "round_trips", "net_pnl", "fees",
    "funding", "max_drawdown", "fills_hash", "params_hash",
}  # fmt: skip
PARITY_KEYS = {"identical", "fills", "first_difference", "fills_hash"}
MONEY_KEYS = ("net_pnl", "fees", "funding", "realised_pnl", "unrealised_pnl", "equity", "initial_balance")
SMA = ("--strategy", "sma_cross")


@pytest.mark.parametrize("command", ["backtest", "paper"])
def test_a_run_as_json(command: str, perpdesk: Perpdesk, klines: Path) -> None:
    answer = perpdesk(command, *SMA, "--data", klines, "--json")
    assert answer.code == 0
    found = answer.json
    assert found.keys() >= BACKTEST_KEYS
    assert found["mode"] == command
    assert found["strategy"] == "sma_cross"
    assert found["symbols"] == ["AAAUSDT", "BBBUSDT"]
    assert found["bars"] == 2 * MINUTES
    assert found["fills"] > 5
    for name in MONEY_KEYS:
        assert isinstance(found[name], str)
        assert Decimal(found[name]).as_tuple().exponent == -8
    for name in ("bars", "fills", "round_trips"):
        assert isinstance(found[name], int)
    for name in ("seconds", "max_drawdown"):
        assert isinstance(found[name], float)
    assert len(found["fills_hash"]) == len(found["params_hash"]) == 64
    assert found["funding_known"] is False
    assert "funding: no rates given, counted as 0" in found["notes"]


def test_backtest_and_paper_say_the_same(perpdesk: Perpdesk, market_files: Path) -> None:
    options = (*SMA, "--data", market_files / "klines_1m", "--funding", market_files / "funding", "--json")
    tested, traded = perpdesk("backtest", *options).json, perpdesk("paper", *options).json
    walked = perpdesk("backtest", *options, "--no-skip").json
    different = {"mode", "seconds", "bars_per_second"}
    assert {k: v for k, v in tested.items() if k not in different} == {
        k: v for k, v in traded.items() if k not in different
    }
    assert walked["fills_hash"] == tested["fills_hash"]
    assert tested["funding_known"] is True
    assert Decimal(tested["funding"]) != 0


def test_parity_as_json(perpdesk: Perpdesk, klines: Path) -> None:
    answer = perpdesk("parity", *SMA, "--data", klines, "--json")
    assert answer.code == 0
    found = answer.json
    assert found.keys() >= PARITY_KEYS
    assert found["identical"] is True
    assert found["first_difference"] is None
    assert found["fills"] > 5
    assert found["fills_hash"] == perpdesk("backtest", *SMA, "--data", klines, "--json").json["fills_hash"]


def test_parity_that_fails_says_where_and_exits_with_1(perpdesk: Perpdesk, klines: Path) -> None:
    answer = perpdesk("parity", *SMA, "--data", klines, "--venue-taker-ppm", 600, "--json")
    assert answer.code == 1
    assert answer.json["identical"] is False
    assert answer.json["first_difference"]["index"] == 0
    assert answer.json["first_difference"]["field"] == "fee_e8"
    people = perpdesk("parity", *SMA, "--data", klines, "--venue-taker-ppm", 600)
    assert people.code == 1
    assert "parity DIFFERENT" in people.out
    assert "first difference: fill 0: fee_e8 is" in people.out


def test_for_people_there_are_tables_on_stdout_and_notices_on_stderr(
    perpdesk: Perpdesk, klines: Path
) -> None:
    answer = perpdesk("backtest", "--strategy", "score_v2", "--data", klines)
    assert answer.code == 0
    for word in (
        "fills",
        "net PnL, USDT",
        "max drawdown",
        "by version",
        "v2",
        "note: funding: no rates given",
    ):
        assert word in answer.out
    assert "L03 W score.guardian.timed_stops[1]" in answer.err
    assert "L03" not in answer.out
    receipt = perpdesk("parity", *SMA, "--data", klines)
    assert receipt.code == 0
    assert receipt.out.startswith("parity identical: sma_cross, ")
    as_json = perpdesk("backtest", "--strategy", "score_v2", "--data", klines, "--json")
    assert "L03" in as_json.err
    assert as_json.json["fills"] == 0


def test_a_span_is_cut_out(perpdesk: Perpdesk, klines: Path) -> None:
    def span(*options: object) -> tuple[int, int, int]:
        found = perpdesk("backtest", *SMA, "--data", klines, *options, "--json").json
        return found["from_ms"] - START_MS, found["to_ms"] - START_MS, found["bars"]

    hour = 60 * MINUTE_MS
    assert span() == (0, 12 * hour, 2 * MINUTES)
    assert span("--from", "2025-01-01T02:00") == (2 * hour, 12 * hour, 1200)
    assert span("--from", "2025-01-01T04:00+02:00") == (2 * hour, 12 * hour, 1200)
    assert span("--to", "2025-01-01T03:00") == (0, 3 * hour, 360)
    assert span("--from", START_MS + hour, "--to", START_MS + 2 * hour) == (hour, 2 * hour, 120)
    assert span("--from", "2024-01-01", "--to", "2026-01-01") == (0, 12 * hour, 2 * MINUTES)
    assert span("--symbols", "bbbusdt, AAAUSDT") == (0, 12 * hour, 2 * MINUTES)
    assert span("--symbols", "bbbusdt") == (0, 12 * hour, MINUTES)


def test_options_beat_environment_beats_file(
    perpdesk: Perpdesk, klines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "perpdesk.yaml").write_text("account: {balance_usdt: 2000}\n")

    def balance(*options: object) -> str:
        return str(perpdesk("backtest", *SMA, "--data", klines, *options, "--json").json["initial_balance"])

    assert balance() == "2000.00000000"
    monkeypatch.setenv("PERPDESK__ACCOUNT__BALANCE_USDT", "3000")
    assert balance() == "3000.00000000"
    assert balance("--set", "account.balance_usdt=4000") == "4000.00000000"
    assert balance("--set", "account.balance_usdt=4000", "--balance", "5000") == "5000.00000000"


# -- speed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "speed"),
    [
        ((), 0.0),
        (("--speed", "max"), 0.0),
        (("--speed", "60"), 60.0),
        (("--set", "paper.speed=240"), 240.0),
        (("--set", "paper.speed=240", "--speed", "max"), 0.0),
    ],
)
def test_the_speed_of_paper(
    options: tuple[str, ...], speed: float, perpdesk: Perpdesk, klines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    paper = run_module.paper

    async def at_once(*args, **options):  # type: ignore[no-untyped-def]
        asked.append(options.pop("speed"))
        return await paper(*args, **options)

    monkeypatch.setattr(run_module, "paper", at_once)
    span = ("--to", START_MS + 5 * MINUTE_MS)
    assert perpdesk("paper", *SMA, "--data", klines, *span, *options, "--json").code == 0
    assert asked == [speed]


# -- records -----------------------------------------------------------------------------------------


def test_a_paper_run_can_be_looked_at_afterwards(perpdesk: Perpdesk, klines: Path, books: Books) -> None:
    run = perpdesk("paper", *SMA, "--data", klines, "--database", books.url, "--json").json
    connection = sqlite3.connect(books.path)
    rows = connection.execute(
        "SELECT symbol, status, close_reason FROM futures_positions WHERE signal_version = 'sma_cross'"
    ).fetchall()
    connection.close()
    assert len(rows) == run["round_trips"] + run["open_positions"]
    assert {status for _, status, _ in rows} <= {"closed", "open", "closing", "building"}
    assert all(reason for _, status, reason in rows if status == "closed")

    status = perpdesk("status", "--database", books.url, "--json").json
    assert status["runs"] == 1
    assert status["run"]["mode"] == "paper"
    assert status["run"]["params_hash"] == run["params_hash"]
    assert status["trading_control"] == "enabled by run:paper"
    assert len(status["live_positions"]) == run["open_positions"]
    assert status["journal"].startswith("intact")

    report = perpdesk("report", "--database", books.url, "--json").json
    (version,) = report["versions"]
    assert version["version"] == "sma_cross"
    assert version["trades"] == run["round_trips"]
    finished = [
        Decimal(text) for text in (version["realized_pnl"], version["commission"], version["funding"])
    ]
    assert Decimal(version["net_pnl"]) == finished[0] - finished[1] + finished[2]

    people = perpdesk("status", "--database", books.url)
    assert people.code == 0
    assert "newest: run 1 paper of sma_cross" in people.out
    people = perpdesk("report", "--database", books.url, "--by-day")
    assert "2025-01-01" in people.out


def test_runs_do_not_meet_in_one_database(perpdesk: Perpdesk, klines: Path, books: Books) -> None:
    results = [
        perpdesk("paper", *SMA, "--data", klines, "--database", books.url, "--json").json for _ in range(2)
    ]
    assert results[0]["fills_hash"] == results[1]["fills_hash"]
    counts = books.counts()
    assert counts["runs"] == 2
    assert counts["fills"] == 2 * results[0]["fills"]
    assert counts["params_snapshots"] == 1
    assert perpdesk("status", "--database", books.url, "--json").json["run"]["id"] == 2
    newest, first = (
        perpdesk("report", "--database", books.url, *which, "--json").json for which in ((), ("--run", "1"))
    )
    assert newest == first


def test_db_upgrade(perpdesk: Perpdesk, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    first = perpdesk("db", "upgrade", "--database", url, "--json")
    assert first.code == 0
    assert (tmp_path / "new.db").exists()
    assert perpdesk("db", "upgrade", "--database", url, "--json").json == first.json
    assert "database is at revision" in perpdesk("db", "upgrade", "--database", url).out
    empty = perpdesk("status", "--database", url, "--json").json
    assert (empty["runs"], empty["run"], empty["live_positions"]) == (0, None, [])
    assert perpdesk("report", "--database", url).out == "no finished positions\n"


# -- demo --------------------------------------------------------------------------------------------


def test_the_demo_ends_with_a_report_and_the_proof(perpdesk: Perpdesk, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'var' / 'demo.sqlite'}"
    small = ("--symbols", "2", "--days", "1", "--database", url)
    people = perpdesk("demo", *small)
    assert people.code == 0
    for word in (
        "fills", "round trips", "net PnL, USDT", "fees, USDT", "funding, USDT", "max drawdown", "by version",
        "sma_cross", "v2", "parity identical: sma_cross", "parity identical: score_v2",
    ):  # fmt: skip
        assert word in people.out
    again = perpdesk("demo", *small, "--json")
    assert again.code == 0
    found = again.json
    assert found.keys() >= BACKTEST_KEYS
    assert found["mode"] == "demo"
    assert [receipt["identical"] for receipt in found["parity"]] == [True, True]
    assert perpdesk("status", "--database", url, "--json").json["runs"] == 2


# -- configuration -----------------------------------------------------------------------------------


def test_config_show(perpdesk: Perpdesk, klines: Path) -> None:
    answer = perpdesk("config", "show", "--set", "sma_cross.stop=0.02", "--json")
    rows = {row["field"]: row for row in answer.json["values"]}
    assert rows["sma_cross.stop"]["value"] == "0.02"
    assert rows["sma_cross.stop"]["layer"] == "option"
    assert rows["sma_cross.fast"]["layer"] == "default"
    run = perpdesk("backtest", *SMA, "--data", klines, "--set", "sma_cross.stop=0.02", "--json").json
    assert run["params_hash"] == answer.json["params_hash"]
    assert "sma_cross.stop" in perpdesk("config", "show").out


def test_no_command_shows_what_there_is(perpdesk: Perpdesk) -> None:
    for arguments in ((), ("--help",)):
        answer = perpdesk(*arguments)
        assert answer.code == (0 if arguments else 2)
        for command in ("demo", "backtest", "paper", "parity", "config", "db", "status", "report"):
            assert command in answer.out
