"""Bad input: exit code 2, one sentence on stderr that names the field, file or row, and nothing is left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.cli.conftest import Answer, Books, Perpdesk

from perpdesk.market.synthetic import START_MS

SMA = ("--strategy", "sma_cross")


def refused(answer: Answer, *words: str) -> str:
    """The one error sentence of a refusal, which holds all the words."""
    assert answer.code == 2, answer
    assert answer.out == ""
    errors = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in errors[0], (word, errors[0])
    return errors[0]


@dataclass(frozen=True)
class Ground:
    """What a bad input may use: good files, an empty folder of its own, the command line."""

    klines: Path
    folder: Path
    run: Perpdesk
    books: Books

    def paper(self, *options: object, data: Path | None = None, strategy: str = "sma_cross") -> Answer:
        """A paper run with one thing wrong, and a database where nothing may be left."""
        rest = ("--data", self.klines if data is None else data, "--database", self.books.url)
        return self.run("paper", "--strategy", strategy, *rest, *options)

    def config(self, text: str) -> Path:
        path = self.folder / "mine.yaml"
        path.write_text(text)
        return path

    def bars(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
        """The klines with AAAUSDT's rows changed."""
        folder = self.folder / "klines"
        shutil.copytree(self.klines, folder)
        (path,) = folder.glob("AAAUSDT*")
        change(pl.read_parquet(path)).write_parquet(path)
        return folder


@pytest.fixture
def ground(klines: Path, tmp_path: Path, perpdesk: Perpdesk, books: Books) -> Ground:
    folder = tmp_path / "ground"
    folder.mkdir()
    return Ground(klines, folder, perpdesk, books)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(books: Books, tmp_path: Path):  # type: ignore[no-untyped-def]
    """After every test of this file the database has no row, and no other has appeared."""
    yield
    counts = books.counts()
    assert len(counts) > 8
    assert {name: count for name, count in counts.items() if count} == {}
    assert sorted(path.name for path in tmp_path.rglob("*.db")) == ["books.db"]


# -- configuration -----------------------------------------------------------------------------------


def test_an_unknown_key(ground: Ground) -> None:
    path = ground.config("sma_cross: {stop: 0.02, stopp: 0.03}\n")
    refused(ground.paper("--config", path), str(path), "sma_cross.stopp", "stop")
    refused(ground.paper("--set", "sma_cross.stopp=0.03"), "sma_cross.stopp")
    refused(ground.paper("--set", "smacross.stop=0.03"), "smacross")


def test_a_duplicate_key(ground: Ground) -> None:
    path = ground.config("sma_cross:\n  stop: 0.02\n  fast: 10\n  stop: 0.03\n")
    refused(ground.paper("--config", path), str(path), "stop", "4")


@pytest.mark.parametrize(
    "value", ["NaN", ".nan", "Infinity", ".inf", "-.inf", "-0.03", "3%", "0,03", "true", "null"]
)
def test_what_is_no_fraction(value: str, ground: Ground) -> None:
    refused(ground.paper("--set", f"sma_cross.stop={value}"), "sma_cross.stop")
    path = ground.config(f"sma_cross: {{stop: {json.dumps(value) if ',' in value else value}}}\n")
    refused(ground.paper("--config", path), str(path), "sma_cross.stop")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-5", "0", "ten", "1e400", "", "3%"])
def test_what_is_no_balance(value: str, ground: Ground) -> None:
    refused(ground.paper("--balance", value), "account.balance_usdt")


def test_a_file_that_is_not_there(ground: Ground) -> None:
    refused(ground.paper("--config", ground.folder / "none.yaml"), "none.yaml", "--config")


def test_an_environment_variable_that_names_nothing(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPDESK__SMA_CROSS__STOPP", "0.02")
    refused(ground.paper(), "PERPDESK__SMA_CROSS__STOPP", "sma_cross.stopp")


def test_a_stop_beyond_liquidation(ground: Ground) -> None:
    settings = ("--set", "sma_cross.leverage=20", "--set", "sma_cross.stop=0.05")
    refused(ground.paper(*settings), "sma_cross.stop", "liquidation", "L06")
    # what another strategy would be refused for does not matter here
    assert ground.run("backtest", "--strategy", "score_v2", "--data", ground.klines, *settings).code == 0


def test_the_linter_tells_dominated_rules_and_refuses_what_is_beyond_liquidation(ground: Ground) -> None:
    told = ground.run("config", "lint")
    assert told.code == 0
    assert "L03 W score.guardian.timed_stops[1]" in told.out
    assert "dominated stop" in told.out
    assert "accepted" in told.out
    found = ground.run("config", "lint", "--json").json
    assert found["ok"] is True
    assert ("L03", "W", "score.guardian.timed_stops[2]") in [
        (f["code"], f["severity"], f["field"]) for f in found["findings"]
    ]
    settings = ("--set", "sma_cross.leverage=20", "--set", "sma_cross.stop=0.05")
    beyond = ground.run("config", "lint", *settings)
    assert beyond.code == 2
    assert "L06 E sma_cross.stop" in beyond.out
    assert "refused" in beyond.out
    as_json = ground.run("config", "lint", *settings, "--json")
    assert as_json.code == 2
    assert as_json.json["ok"] is False
    path = ground.config("sma_cross: {stopp: 1}\n")
    refused(ground.run("config", "lint", "--config", path), "sma_cross.stopp")
    refused(ground.run("config", "show", "--config", path), "sma_cross.stopp")


# -- what to run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sma", "score", "score_v4", "SMA_CROSS", ""])
def test_an_unknown_strategy(name: str, ground: Ground) -> None:
    refused(ground.paper(strategy=name), "--strategy", "score_v2, score_v3, sma_cross")


def test_which_strategies_go_together(ground: Ground) -> None:
    refused(ground.paper("--strategy", "sma_cross"), "--strategy", "twice")
    data = ("--data", ground.klines)
    refused(ground.run("backtest", *data), "--strategy", "sma_cross")
    refused(ground.run("parity", *data), "--strategy")


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "nan", "inf", ""])
def test_what_is_no_speed(speed: str, ground: Ground) -> None:
    refused(ground.paper("--speed", speed), "--speed")


# -- universe and span -------------------------------------------------------------------------------


def test_an_unknown_symbol(ground: Ground) -> None:
    refused(ground.paper("--symbols", "AAAUSDT,AABUSDT"), "--symbols", "'AABUSDT'", "AAAUSDT")


@pytest.mark.parametrize("symbols", ["", ",", " , "])
def test_an_empty_universe(symbols: str, ground: Ground) -> None:
    refused(ground.paper("--symbols", symbols), "--symbols")


def test_no_data(ground: Ground) -> None:
    refused(ground.run("paper", *SMA, "--database", ground.books.url), "--data")
    empty = ground.folder / "empty"
    empty.mkdir()
    refused(ground.paper(data=empty), str(empty))
    refused(ground.paper(data=ground.folder / "nowhere"), "nowhere")


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize(
    "text", ["2025-13-01", "2025-02-30", "yesterday", "24.05.2025", "2025-01-01T25:00", ""]
)
def test_what_is_no_date(option: str, text: str, ground: Ground) -> None:
    refused(ground.paper(option, text), option, repr(text))


@pytest.mark.parametrize(
    ("span", "field"),
    [
        (("--from", "2025-01-01T05:00", "--to", "2025-01-01T04:00"), "--to"),
        (("--from", "2025-01-01T05:00", "--to", "2025-01-01T05:00"), "--to"),
        (("--from", "2026-01-01"), "--from"),
        (("--from", 10**20), "--from"),
        (("--to", "2024-01-01"), "--to"),
        (("--to", START_MS), "--to"),
    ],
)
def test_a_span_without_bars(span: tuple[object, ...], field: str, ground: Ground) -> None:
    refused(ground.paper(*span), field)


# -- files -------------------------------------------------------------------------------------------


def test_unsorted_bars(ground: Ground) -> None:
    def swapped(bars: pl.DataFrame) -> pl.DataFrame:
        order = np.arange(len(bars))
        order[[100, 101]] = order[[101, 100]]
        return bars[order.tolist()]

    refused(ground.paper(data=ground.bars(swapped)), "AAAUSDT", "row 102")


def test_duplicated_bars(ground: Ground) -> None:
    def doubled(bars: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([bars[:300], bars[299:]])

    refused(ground.paper(data=ground.bars(doubled)), "AAAUSDT", "row 301")


def test_a_minute_in_two_files(ground: Ground) -> None:
    refused(ground.paper("--data", ground.bars(lambda bars: bars[700:])), "AAAUSDT", "row 1")


@pytest.mark.parametrize(
    ("column", "value"), [("high", 0.5), ("low", 1e9), ("open", float("nan")), ("close", -1.0), ("volume", -3.0), ("close", float("inf"))]
)  # fmt: skip
def test_bars_that_cannot_be(column: str, value: float, ground: Ground) -> None:
    def broken(bars: pl.DataFrame) -> pl.DataFrame:
        values = bars[column].to_numpy().copy()
        values[41] = value
        return bars.with_columns(pl.Series(column, values))

    refused(ground.paper(data=ground.bars(broken)), "AAAUSDT", "row 42")


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_truncated_parquet(kept: float, ground: Ground) -> None:
    folder = ground.bars(lambda bars: bars)
    (path,) = folder.glob("AAAUSDT*")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refused(ground.paper(data=folder), path.name)


def test_a_file_that_is_something_else(ground: Ground) -> None:
    folder = ground.bars(lambda bars: bars)
    (path,) = folder.glob("AAAUSDT*")
    path.write_text("this is no parquet")
    refused(ground.paper(data=folder), path.name)
    folder = ground.folder / "funding"
    folder.mkdir()
    (folder / "rates.parquet").write_bytes(b"neither")
    refused(ground.paper("--funding", folder), "rates.parquet")


def test_instruments_that_cannot_be_read(ground: Ground) -> None:
    path = ground.folder / "info.json"
    refused(ground.paper("--instruments", path), "info.json")
    path.write_text("{")
    refused(ground.paper("--instruments", path), "info.json")
    path.write_text('{"symbols": [{"symbol": "AAAUSDT"}]}')
    refused(ground.paper("--instruments", path), "info.json", "AAAUSDT")
    refused(ground.paper("--brackets", ground.folder / "none.json"), "none.json")


def test_numbers_that_the_kernel_cannot_count(ground: Ground) -> None:
    """Known only when the universe is counted in integers; still before anything is written."""
    path = ground.folder / "info.json"
    huge = "100000000000"
    path.write_text(json.dumps({"symbols": [exchange_info(name, huge) for name in ("AAAUSDT", "BBBUSDT")]}))
    refused(ground.paper("--instruments", path), "AAAUSDT")


def exchange_info(symbol: str, qty_min: str) -> dict[str, object]:
    lot = {"stepSize": "0.001", "minQty": qty_min, "maxQty": qty_min}
    return {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "baseAsset": symbol[:3],
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": 1,
        "quantityPrecision": 3,
        "liquidationFee": "0.0125",
        "marketTakeBound": "0.05",
        "triggerProtect": "0.05",
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC"],
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.1", "minPrice": "0.1", "maxPrice": "1000000"},
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
        ],
    }


# -- databases ---------------------------------------------------------------------------------------


def test_a_database_that_is_not_migrated(ground: Ground, tmp_path: Path) -> None:
    none = f"sqlite:///{tmp_path / 'none.sqlite'}"
    run = ("paper", *SMA, "--data", ground.klines, "--database", none)
    for command in (run, ("status", "--database", none), ("report", "--database", none)):
        refused(ground.run(*command), f"run `perpdesk db upgrade --database {none}`", "no perpdesk tables")
    assert not (tmp_path / "none.sqlite").exists()
    (tmp_path / "empty.sqlite").touch()
    refused(ground.run(*run[:-1], f"sqlite:///{tmp_path / 'empty.sqlite'}"), "perpdesk db upgrade")
    assert (tmp_path / "empty.sqlite").stat().st_size == 0


@pytest.mark.parametrize("url", ["books", "oracle://there", "sqlite:///", "postgresql://127.0.0.1:1/none"])
def test_what_is_no_database(url: str, ground: Ground) -> None:
    answer = ground.run("paper", *SMA, "--data", ground.klines, "--database", url)
    if url == "sqlite:///":  # SQLite in memory: allowed, and gone afterwards
        assert answer.code == 0
        return
    refused(answer)


def test_a_run_that_was_never_made(ground: Ground) -> None:
    refused(ground.run("report", "--database", ground.books.url, "--run", 99), "--run", "99")
