"""What the kernel gets is what the configuration says, in its integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from tests.config.configs import configs

from perpdesk.config import Config, loads
from perpdesk.config.oi_records import oi_sleeve
from perpdesk.config.records import (
    FAMILY_SCORE,
    FAMILY_SMA_CROSS,
    account_record,
    fees_ppm,
    in_universe,
    score_sleeves,
    sma_cross_sleeve,
)
from perpdesk.kernel.records import CROSS, ISOLATED, account_dt, guard_dt, sleeve_dt
from perpdesk.strategies.oi_breakout import params_dt as oi_params_dt
from perpdesk.strategies.oi_breakout import params_record as oi_params_record
from perpdesk.strategies.score_v2 import params_dt as v2_params_dt
from perpdesk.strategies.score_v3 import params_dt as v3_params_dt
from perpdesk.strategies.sma_cross import params_dt as sma_params_dt


def told(record: np.recarray) -> dict[str, object]:
    """The fields that are not zero."""
    row = record[0]
    names = record.dtype.names or ()
    return {name: np.asarray(row[name]).tolist() for name in names if np.any(row[name])}


def config(*options: str) -> Config:
    return loads("", options=options).config


def test_account() -> None:
    assert told(account_record(config())) == {
        **dict.fromkeys(
            ("initial_e8", "cash_e8", "equity_e8", "equity_peak_e8", "equity_floor_e8", "day_start_e8"),
            10_000 * 10**8,
        ),
        "worst_case_base_e8": 10_000 * 10**8,
        "trading_enabled": 1,
        "slippage_ppm": 500,
        "positions_max": 20,
        "volume_share_ppm": 100_000,
        "exposure_max_e8": 20_000 * 10**8,
        "daily_loss_ppm": 200_000,
        "worst_case_ppm": 500_000,
        "liquidation_share_ppm": 800_000,
    }


def test_account_modes_and_limits_that_are_off() -> None:
    record = account_record(
        config("account.margin_mode=cross", "risk.daily_loss_limit=null", "paper.volume_share=null"),
        trading_enabled=False,
    )
    assert record.margin_mode[0] == CROSS != ISOLATED
    assert (record.daily_loss_ppm[0], record.volume_share_ppm[0], record.trading_enabled[0]) == (0, 0, 0)


def test_fees() -> None:
    assert fees_ppm(config("account.maker_fee=0.00018")) == (180, 500)


def test_sma_cross() -> None:
    sleeve = sma_cross_sleeve(config("sma_cross.timeout_minutes=120", "sma_cross.cooldown_s=60"))
    assert (sleeve.name, sleeve.strategy.name) == ("sma_cross", "sma_cross")
    assert told(sleeve.guard) == {
        "stop_ppm": 30_000,
        "trail_activation_ppm": 30_000,
        "trail_callback_ppm": 15_000,
        "timeout_ms": 7_200_000,
    }
    assert told(sleeve.params) == {
        "fast": 20,
        "slow": 100,
        "notional_e8": 1_000 * 10**8,
        "leverage": 5,
        "stop_ppm": 30_000,
        "timeout_ms": 7_200_000,
    }
    assert told(sleeve.limits) == {"family": FAMILY_SMA_CROSS, "positions_max": 5, "cooldown_ms": 60_000}


def test_sma_cross_without_a_trailing_order() -> None:
    assert told(sma_cross_sleeve(config("sma_cross.trail_callback=null")).guard) == {"stop_ppm": 30_000}


def test_score() -> None:
    sleeve, _ = score_sleeves(config())
    assert (sleeve.name, sleeve.strategy.name) == ("v2", "score_v2")
    assert told(sleeve.guard) == {
        "stop_ppm": 40_000,
        "ratchet_ppm": 1_500,
        "fixed_stop": -0.03,
        "trailing_activation": 0.03,
        "trailing_retrace": 0.015,
        "trailing_floor": 0.0015,
        "timed_within_ms": [600_000, 1_800_000, 3_600_000, 0],
        "timed_level": [-0.025, -0.035, -0.04, 0.0],
    }
    assert told(sleeve.params) == {
        "margin_e8": 400 * 10**8,
        "leverage": 5,
        "scan_interval_ms": 600_000,
        "scan_offset_ms": 120_000,
        "stop_ppm": 40_000,
        "min_score": 60.0,
        "timeout_ratio": [0.9, 0.8, 0.7, 0.0],
        "timeout_ms": [21_600_000, 18_000_000, 14_400_000, 10_800_000],
    }
    assert told(sleeve.limits) == {
        "family": FAMILY_SCORE,
        "positions_max": 20,
        "cooldown_ms": 900_000,
        "cooldown_manual_ms": 3_600_000,
    }


def test_score_v3() -> None:
    v2, sleeve = score_sleeves(config("score.versions.v3.params.pull_back=true"))
    assert (sleeve.name, sleeve.strategy.name) == ("v3", "score_v3")
    assert told(sleeve.params) == {
        "margin_e8": 400 * 10**8,
        "leverage": 5,
        "scan_interval_ms": 300_000,
        "stop_ppm": 40_000,
        "pull_back": 1,
        "coins": [-1, -1, -1, -1],
        "min_score_long": 28.0,
        "min_score_short": 22.0,
        "timeout_ratio": [0.9, 0.8, 0.7, 0.0],
        "timeout_ms": [21_600_000, 18_000_000, 14_400_000, 10_800_000],
    }
    for name in ("guard", "limits"):
        assert told(getattr(sleeve, name)) == told(getattr(v2, name))


def test_a_sleeve_learns_where_its_coins_are() -> None:
    v2, v3 = score_sleeves(config())
    symbols = ("ADAUSDT", "BNBUSDT", "BTCUSDT", "SOLUSDT")
    assert in_universe(v2, symbols) is v2
    placed = in_universe(v3, symbols)
    assert told(placed.params) == {**told(v3.params), "coins": [2, -1, 1, 3]}
    assert v3.params.coins[0].tolist() == [-1, -1, -1, -1]


def test_score_without_the_optional_exits() -> None:
    sleeve, _ = score_sleeves(
        config("score.guardian.timed_stops=[]", "score.guardian.timeouts=[]", "score.guardian.fixed_tp=0.06")
    )
    guard, params = told(sleeve.guard), told(sleeve.params)
    assert (guard["stop_ppm"], params["stop_ppm"], guard["fixed_tp"]) == (30_000, 30_000, 0.06)
    assert "timed_level" not in guard
    assert "timeout_ms" not in params


def test_one_sleeve_for_each_enabled_version() -> None:
    versions = (
        "score.versions=[{name: a, scorer: v2, leverage: null}, {name: b, scorer: v2, enabled: false},"
        " {name: c, scorer: v2, leverage: 2, max_positions: 150}]"
    )
    first, last = score_sleeves(config(versions, "account.leverage=3"))
    assert (first.name, last.name) == ("a", "c")
    assert (first.params.leverage[0], last.params.leverage[0]) == (3, 2)
    assert last.limits.positions_max[0] == 20  # risk.positions_max


@pytest.mark.parametrize("count", [1, 4])
def test_timed_stops_keep_their_order(count: int) -> None:
    entries = ", ".join(f"{{within_s: {60 * (i + 1)}, level: -0.0{i + 1}}}" for i in range(count))
    sleeve, _ = score_sleeves(config(f"score.guardian.timed_stops=[{entries}]"))
    assert list(sleeve.guard.timed_within_ms[0][:count]) == [60_000 * (i + 1) for i in range(count)]


@settings(max_examples=60, deadline=None)
@given(config=configs())
def test_every_valid_config_becomes_records_far_below_the_limit(config: Config) -> None:
    """No amount of a run starts beyond 1e17, of 2^62 = 4.6e18: neither one entry nor all that is open."""
    account = account_record(config)
    sleeves = [sma_cross_sleeve(config), *score_sleeves(config), oi_sleeve(config)]
    assert account.dtype == account_dt
    for sleeve in sleeves:
        assert (sleeve.guard.dtype, sleeve.limits.dtype) == (guard_dt, sleeve_dt)
        assert sleeve.params.dtype in (sma_params_dt, v2_params_dt, v3_params_dt, oi_params_dt)
        params = sleeve.params[0]
        single = params.notional_e8 if sleeve.name == "sma_cross" else params.margin_e8 * params.leverage
        assert 0 < single <= 20_000_000 * 10**8
        assert 0 < sleeve.guard.stop_ppm[0] < 1_000_000
    assert 0 < account.exposure_max_e8[0] <= 10**17
    assert 0 < account.initial_e8[0] <= 10**17


def test_the_defaults_of_oi_are_those_of_the_specification() -> None:
    sleeve = oi_sleeve(Config())
    assert sleeve.params.tobytes() == oi_params_record().tobytes()
    guard = sleeve.guard[0]
    assert list(guard.stage_ppm) == [70_000, 138_000]
    assert (guard.ratchet_ppm, guard.trail_activation_ppm, guard.timeout_ms) == (1_500, 50_000, 7_200_000)
    assert (guard.trailing_activation, guard.stop_ppm) == (0.016666667, 113_331)
    assert (sleeve.limits.positions_max[0], sleeve.limits.cooldown_ms[0]) == (5, 900_000)
