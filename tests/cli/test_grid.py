"""perpdesk grid: a lease that is held, bad input, looking at the books, and the end of a run in ERROR."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from tests.cli.conftest import Answer, Perpdesk
from tests.grid_desk.places import ACCOUNT, BEGIN_MS, DAYS, SEED, SETTINGS

from perpdesk.adapters.sqlstore import upgrade
from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.synthetic import START_MS, synthetic_market
from perpdesk.market.writing import write_parquet

SYMBOL = "AAAUSDT"


def at(minute: int) -> str:
    """A minute after BEGIN_MS as text."""
    return datetime.fromtimestamp((BEGIN_MS + minute * MINUTE_MS) / 1000, UTC).isoformat()


@pytest.fixture(scope="module")
def minutes(tmp_path_factory):
    """The synthetic market with a signal 105 minutes after BEGIN_MS, as a file."""
    folder = tmp_path_factory.mktemp("minutes")
    write_parquet(synthetic_market(SEED, 1, DAYS * 1440).tape, folder)
    return folder


class Grid:
    """`perpdesk grid …` over a database and a folder of minutes."""

    def __init__(self, run: Perpdesk, data: Path, folder: Path) -> None:
        self.run, self.data, self.folder = run, data, folder
        self.url = f"sqlite:///{folder}/grid.sqlite"
        upgrade(self.url)

    def __call__(self, command: str, minute: int | None = None, *more: object) -> Answer:
        words = ["--symbol", "aaa", "--data", self.data, "--database", self.url, "--json"]
        words += [word for setting in SETTINGS for word in ("--set", setting)]
        if minute is not None:
            words += ["--as-of", at(minute)]
        return self.run("grid", command, *words, *more)

    def look(self, *words: object) -> Answer:
        return self.run("grid", *words, "--database", self.url, "--json")

    def sql(self, text: str) -> None:
        engine = sa.create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(sa.text(text))
        engine.dispose()

    def started(self) -> None:
        """A running grid, two hours old, with fills."""
        for command, minute in (("scanner", 1), ("trigger", 15), ("executor", 15), ("trigger", 120)):
            more = ("--i-know", "test") if command == "executor" else ()
            assert self(command, minute, *more).code == 0
        answer = self("executor", 235, "--i-know", "test")
        assert answer.json["state"] == "ACTIVE", answer
        assert answer.json["fills"] >= 3


@pytest.fixture
def grid(perpdesk: Perpdesk, minutes: Path, tmp_path: Path) -> Grid:
    return Grid(perpdesk, minutes, tmp_path)


def changed(data: Path, folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
    """The minutes with their rows changed."""
    folder.mkdir()
    (path,) = data.glob("*.parquet")
    change(pl.read_parquet(path)).write_parquet(folder / path.name)
    return folder


def test_26_of_two_at_once_one_is_told_that_the_lease_is_held(grid: Grid):
    async def held() -> None:
        async with await SqlStore.open(grid.url) as store:
            now_ms = int(time.time() * 1000)
            assert await store.take_grid_lease(f"grid:executor:{SYMBOL}", "another", "hash", now_ms, 60_000)

    asyncio.run(held())
    answer = grid("executor", 15, "--i-know", "test")
    assert (answer.code, answer.json["status"], answer.json["reason"]) == (0, "skipped", "LEASE_HELD")


# -- bad input -----------------------------------------------------------------------------------


def scan_of(grid: Grid, data: Path, *more: object) -> dict[str, object]:
    """An incomplete scan is an answer: exit 0, no zones, the reason in words."""
    grid.data = data
    answer = grid("scanner", 1, *more)
    assert answer.code == 0, answer
    assert answer.json["status"] == "incomplete"
    assert answer.json["zones"] == []
    assert grid.look("zones", "--symbol", "AAA").json["zones"] == []
    return answer.json


def test_bars_without_volume_make_no_zones(grid: Grid, tmp_path: Path):
    found = scan_of(grid, changed(grid.data, tmp_path / "none", lambda t: t.with_columns(volume=pl.lit(0.0))))
    assert found["scan_status"] == "NO_VOLUME"
    assert "15m" in str(found["reason"])


def test_missing_minutes_are_a_gap_that_is_named(grid: Grid, tmp_path: Path):
    hole_ms = BEGIN_MS - 5 * 60 * MINUTE_MS

    def without_an_hour(table: pl.DataFrame) -> pl.DataFrame:
        ms = pl.col("open_time").cast(pl.Int64)
        return table.filter((ms < hole_ms) | (ms >= hole_ms + 60 * MINUTE_MS))

    found = scan_of(grid, changed(grid.data, tmp_path / "hole", without_an_hour))
    assert found["scan_status"] == "GAP"
    assert "15m: after the bar of 2025-01-21T06:45 UTC minutes are missing" in str(found["reason"])


def test_a_young_contract_has_too_few_bars_for_a_box(grid: Grid, tmp_path: Path):
    ms = pl.col("open_time").cast(pl.Int64)
    data = changed(grid.data, tmp_path / "young", lambda t: t.filter(ms >= START_MS + 10 * 86_400_000))
    found = scan_of(grid, data)
    assert found["scan_status"] == "WARM_UP"
    assert "4h" in str(found["reason"])
    assert "100" in str(found["reason"])


def test_a_market_that_stands_still_starts_nothing(grid: Grid, tmp_path: Path):
    """ATR 0: the box is empty, and no step can be made of it."""
    flat = {name: pl.lit(100.0) for name in ("open", "high", "low", "close")}
    grid.data = changed(grid.data, tmp_path / "flat", lambda t: t.with_columns(**flat))
    answer = grid("scanner", 1)
    assert (answer.json["status"], answer.json["complete"], answer.json["zones"]) == ("ok", False, [])
    assert answer.json["atr_ticks"] == "0"


def instruments(folder: Path, tick: str) -> Path:
    """An instrument file with this tick."""
    row = {
        "symbol": SYMBOL, "status": "TRADING", "contractType": "PERPETUAL", "baseAsset": "AAA",
        "quoteAsset": "USDT", "marginAsset": "USDT", "pricePrecision": 8, "quantityPrecision": 8,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": tick, "minPrice": tick, "maxPrice": "10000000"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "100000"},
            {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "100000"},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
        ],
    }  # fmt: skip
    path = folder / f"instruments-{tick}.json"
    path.write_text(json.dumps({"symbols": [row]}))
    return path


def test_a_tick_that_changes_does_not_move_a_price(grid: Grid, tmp_path: Path):
    """Zones and plans are in ticks: those of another tick are not read as if they were in today's."""
    before, after = instruments(tmp_path, "0.01"), instruments(tmp_path, "0.1")
    old = ("--instruments", before)
    for command, minute in (("scanner", 1), ("trigger", 15), ("executor", 15), ("trigger", 120)):
        more = ("--i-know", "test") if command == "executor" else ()
        assert grid(command, minute, *old, *more).code == 0
    assert grid("executor", 235, *old, "--i-know", "test").json["state"] == "ACTIVE"
    answer = grid("executor", 240, "--instruments", after, "--i-know", "test")
    assert answer.code == 3
    assert "TICK_CHANGED" in answer.err
    assert "ticks of 0.01" in answer.err
    assert "tick is 0.1 now" in answer.err
    assert grid("executor", 240, *old, "--i-know", "test").code == 0  # nothing was changed


def test_prices_between_two_ticks_are_data(grid: Grid, tmp_path: Path):
    """History that was traded in finer ticks than today's: zones are on today's."""
    answer = grid("scanner", 1, "--instruments", instruments(tmp_path, "0.5"))
    assert answer.code == 0
    assert answer.json["zones"]
    for zone in answer.json["zones"]:
        assert float(zone["lo"]) % 0.5 == float(zone["hi"]) % 0.5 == 0.0


def refusal(grid: Grid, *settings: str) -> dict[str, object]:
    """Why no grid starts on the signal, under these settings."""
    more = [word for setting in settings for word in ("--set", setting)]
    for command, minute in (("scanner", 1), ("trigger", 15), ("executor", 15), ("trigger", 120)):
        override = ("--i-know", "test") if command == "executor" else ()
        assert grid(command, minute, *more, *override).code == 0
    answer = grid("executor", 125, *more, "--i-know", "test")
    assert (answer.code, answer.json["state"]) == (0, "IDLE")
    return answer.json


def test_a_step_that_does_not_pay_its_fees_is_refused(grid: Grid):
    found = refusal(grid, "grid.executor.atr_multiplier=0.1", "grid.sim.maker_fee_fraction=0.005")
    assert found["why_not"] == "STEP_TOO_SMALL"
    assert "at least" in str(found["detail"])


def test_a_level_below_the_venues_minimum_names_the_size_that_works(grid: Grid):
    found = refusal(grid, "grid.executor.order_size_usdt=3")
    assert found["why_not"] == "LEVEL_NOTIONAL_TOO_SMALL"
    assert "the smallest that works is" in str(found["detail"])


def test_a_backtest_in_which_nothing_could_begin_says_what_would_help(perpdesk: Perpdesk, minutes: Path):
    words = ["--data", minutes, "--from", at(0), "--to", at(240), "--json"]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    words += ["--set", "grid.executor.order_size_usdt=3"]
    answer = perpdesk("grid", "backtest", "--symbol", "aaa", *words)
    assert answer.code == 0
    assert answer.json["metrics"]["runs"] == 0
    assert answer.json["metrics"]["blocked"] == {"LEVEL_NOTIONAL_TOO_SMALL": 3}
    assert "LEVEL_NOTIONAL_TOO_SMALL: order_size_usdt 3 is below" in answer.err
    assert "the smallest that works is" in answer.err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("grid.executor.atr_multiplier=0", ("atr_multiplier",)),
        ("grid.executor.atr_multiplier=-1", ("atr_multiplier",)),
        ("grid.executor.grid_levels=4", ("grid_levels", "5")),
        ("grid.executor.order_size_usdt=-1", ("order_size_usdt",)),
        ("grid.sim.slippage_fraction=0", ("slippage_fraction", "0.0005")),
        ("grid.sim.taker_fee_fraction=0.05", ("taker_fee_fraction",)),
        ("grid.executor.step=5", ("step",)),
    ],
)
def test_a_parameter_out_of_range_is_named(grid: Grid, setting: str, words: tuple[str, ...]):
    answer = grid("scanner", 1, "--set", setting)
    assert (answer.code, answer.out) == (2, "")
    for word in words:
        assert word in answer.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--symbol", "BTC-PERP"), ("--symbol", "BTC-PERP")),
        (("--i-know", " "), ("--i-know", "say why")),
        (("--data", "nowhere"), ("nowhere",)),
    ],
)
def test_an_option_that_cannot_be_used_is_named(grid: Grid, more: tuple[str, ...], words: tuple[str, ...]):
    answer = grid("executor", 15, *more)
    assert (answer.code, answer.out) == (2, "")
    for word in words:
        assert word in answer.err


def test_a_snapshot_edited_by_hand_is_refused_by_its_hash(grid: Grid):
    grid.started()
    grid.sql('UPDATE grid_scans SET document = replace(document, \'"strength":"0\', \'"strength":"1\')')
    answer = grid("trigger", 240)
    assert answer.code == 4
    assert "grid_scans AAAUSDT" in answer.err
    assert "changed afterwards" in answer.err


# -- looking, and the way out of ERROR -----------------------------------------------------------


def test_zones_signals_and_runs_can_be_looked_at(grid: Grid, perpdesk: Perpdesk):
    grid.started()
    zones = grid.look("zones", "--symbol", "aaa").json["zones"]
    assert [zone["kind"] for zone in zones]
    assert grid.look("zones", "--symbol", "aaa", "--at", at(10_000)).json["zones"] == []
    (used,) = [one for one in grid.look("signals", "--symbol", "aaa").json["signals"] if one["run_id"]]
    assert used["zone"] in {zone["id"] for zone in zones}
    (run,) = grid.look("status").json["runs"]
    assert (run["run_id"], run["state"]) == (used["run_id"], "ACTIVE")
    for words in (("zones", "--symbol", "aaa"), ("signals", "--symbol", "aaa"), ("status",)):
        answer = perpdesk("grid", *words, "--database", grid.url)
        assert answer.code == 0
        assert "AAAUSDT" in answer.out
        assert "0000000" not in answer.out  # prices as people write them


def test_one_process_for_all_three_tells_what_it_began(grid: Grid):
    found = grid("run", 235, "--from", at(0), "--i-know", "test").json
    assert (found["state"], found["started"], found["ended"]) == ("ACTIVE", 1, 0)
    assert found["fills"] >= 3


def test_parameters_are_shown_and_compared(grid: Grid, perpdesk: Perpdesk):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    shown = perpdesk("grid", "params", "show", "--symbol", "aaa", *settings, "--json").json
    assert shown["params"]["executor"]["order_size_usdt"] == "400"
    assert grid("scanner", 1).json["params_hash"] == shown["params_hash"]
    same = grid.look("params", "diff", shown["params_hash"], "--symbol", "aaa", *settings)
    assert same.json["differences"] == []
    other = grid.look("params", "diff", shown["params_hash"], "--symbol", "aaa").json["differences"]
    assert {"parameter": "executor.order_size_usdt", "before": "400", "after": "100"} in other
    unknown = grid.look("params", "diff", "f" * 64)
    assert unknown.code == 2
    assert "BEFORE" in unknown.err


def test_a_run_in_error_ends_flat_by_a_persons_word(grid: Grid):
    grid.started()
    assert grid("resolve", None, "--i-know", "looked at it").code == 3  # it is not broken: close it
    grid.sql("UPDATE grid_fills SET lots = lots + 1 WHERE trade_id = 1")
    broken = grid("executor", 240, "--i-know", "test")
    assert broken.code == 4
    assert "the run is in ERROR" in broken.err
    again = grid("executor", 245, "--i-know", "test")
    assert again.code == 4
    assert "perpdesk grid resolve" in again.err
    held = grid.look("status").json["runs"][0]["held_lots"]
    empty = grid("resolve", None, "--i-know", " ")
    assert (empty.code, "--i-know" in empty.err) == (2, True)
    done = grid("resolve", None, "--i-know", "the first fill was edited").json
    assert (done["status"], done["why"], done["closed_lots"]) == ("ok", "ERROR", held)
    (run,) = grid.look("status").json["runs"]
    assert (run["state"], run["close_reason"]) == ("IDLE", "RESOLVED")
    assert (run["held_lots"], run["live_orders"]) == (0, 0)
    assert grid("resolve", None, "--i-know", "again").json["status"] == "nothing_open"

    async def journal() -> list[str]:
        async with await SqlStore.open(grid.url) as store:
            return [run.state for run in await store.grid_runs(ACCOUNT)]

    assert asyncio.run(journal()) == ["IDLE"]


def test_paper_with_a_database_names_the_right_command(grid: Grid, perpdesk: Perpdesk):
    answer = perpdesk("paper", "--strategy", "grid", "--data", grid.data, "--database", grid.url)
    assert (answer.code, answer.out) == (2, "")
    assert "--database" in answer.err
    assert "perpdesk grid run" in answer.err
