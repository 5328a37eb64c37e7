"""The synthetic market: reproducible to the bit, and lively enough to trade on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tests.market.conftest import MINUTE_MS

from perpdesk.domain.errors import InputError
from perpdesk.market import funding
from perpdesk.market.synthetic import START_MS, SyntheticMarket, synthetic_market, synthetic_tape
from perpdesk.market.tape import read_tape
from perpdesk.market.writing import write_market, write_parquet, write_synthetic

DAYS_20 = 20 * 1440


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return synthetic_market(7, 6, DAYS_20)


def test_a_seed_is_a_market_to_the_bit(market: SyntheticMarket) -> None:
    """If this hash changes, every number that rests on the synthetic market changes with it."""
    digest = hashlib.sha256()
    for array in (market.tape.bars, market.open_interest, market.funding):
        digest.update(array.tobytes())
    assert digest.hexdigest()[:16] == "1e3e17766f7e5e0e"


def test_other_seeds_are_other_markets(market: SyntheticMarket) -> None:
    other = synthetic_tape(8, 6, DAYS_20)
    assert (other.bars.close != market.tape.bars.close).mean() > 0.99


def test_a_symbol_does_not_depend_on_its_neighbours(market: SyntheticMarket) -> None:
    alone = synthetic_tape(7, ["CCCUSDT"], DAYS_20)
    assert np.array_equal(alone.bars[:, 0], market.tape.bars[:, 2])


def test_every_bar_is_one(market: SyntheticMarket) -> None:
    bars = market.tape.bars
    assert (bars.open_ms[:, 0] == START_MS + np.arange(DAYS_20) * MINUTE_MS).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.low >= 1).all()
    assert (bars.volume_lots >= 1).all()
    assert (market.open_interest >= 1).all()
    assert market.tape.bar_count == bars.size


def test_it_moves_like_a_market(market: SyntheticMarket) -> None:
    bars = market.tape.bars
    moves = np.diff(np.log(bars.close.astype(float)), axis=0)
    deviation = moves.std(axis=0)
    assert ((deviation > 0.0003) & (deviation < 0.002)).all()
    # fat tails, clusters, volume with volatility, symbols that move together
    assert ((moves**4).mean(axis=0) / deviation**4 > 5).all()
    hourly = np.abs(moves[: DAYS_20 // 60 * 60 - 60]).reshape(-1, 60, 6).mean(axis=1)
    for j in range(6):
        assert np.corrcoef(hourly[1:, j], hourly[:-1, j])[0, 1] > 0.3
        assert np.corrcoef(np.abs(moves[:, j]), bars.volume_lots[1:, j])[0, 1] > 0.3
    together = np.corrcoef(moves.T)[np.triu_indices(6, 1)]
    assert together.mean() > 0.2
    # some bars open beyond the last close, so that jumps are walked
    assert ((bars.open[1:] != bars.close[:-1]).mean(axis=0) > 0.05).all()


def test_open_interest_moves_with_the_market(market: SyntheticMarket) -> None:
    interest = market.open_interest.astype(float)
    assert (interest.max(axis=0) / interest.min(axis=0) > 1.05).all()
    # within a quarter of an hour something builds up by three percent: an anomaly to find
    assert (interest[30:] / interest[:-30]).max() > 1.03


def test_there_are_crosses_to_trade(market: SyntheticMarket) -> None:
    close = market.tape.bars.close.astype(float)
    total = np.cumsum(close, axis=0)
    fast = (total[100:] - total[80:-20]) / 20
    slow = (total[100:] - total[:-100]) / 100
    crosses = (np.diff(np.sign(fast - slow), axis=0) > 0).sum(axis=0)
    assert (crosses > 50).all()


def test_funding_every_eight_hours(market: SyntheticMarket) -> None:
    rates = market.funding
    assert len(rates) == 20 * 3 * 6
    assert (rates.ms % (8 * 3_600_000) == 0).all()
    order = list(zip(rates.ms.tolist(), rates.symbol.tolist(), strict=True))
    assert order == sorted(order)
    assert (np.abs(rates.rate_e8) <= 75_000).all()
    assert np.unique(rates.rate_e8).size > 50


def test_written_and_read_again_it_is_the_same(market: SyntheticMarket, tmp_path: Path) -> None:
    root = write_market(market, tmp_path)
    tape = read_tape([root / "klines_1m"])
    assert np.array_equal(tape.bars, market.tape.bars)
    assert tape.universe == market.tape.universe
    assert (tape.warnings, tape.notes) == ((), ())
    assert np.array_equal(funding.read([root / "funding"], tape.universe), market.funding)


def test_symbol_by_symbol_writes_the_same_files(tmp_path: Path) -> None:
    together = write_parquet(synthetic_tape(3, 3, 3000), tmp_path / "together")
    one_by_one = write_synthetic(tmp_path / "one_by_one", 3, 3, 3000)
    assert [path.name for path in together] == [path.name for path in one_by_one]
    for a, b in zip(together, one_by_one, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_start_anywhere_and_odd_lengths() -> None:
    for count in (1, 2, 14, 15, 16, 1441):
        tape = synthetic_tape(1, 2, count, START_MS + 7 * MINUTE_MS)
        assert tape.bars.shape == (count, 2)
        assert tape.bars.open_ms[0, 0] == START_MS + 7 * MINUTE_MS


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((1, 2, 0), "minutes"),
        ((1, 2, 10, 1), "start_ms"),
        ((-1, 2, 10), "seed"),
        ((1, ["NOUSDT"], 10), "symbols"),
        ((1, [], 10), "symbols"),
        ((1, 5000, 10), "symbols"),
    ],
)
def test_nonsense_is_refused(arguments: tuple[object, ...], field: str) -> None:
    with pytest.raises(InputError) as caught:
        synthetic_market(*arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.field == field
