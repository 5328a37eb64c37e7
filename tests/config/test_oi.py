"""What the section ``oi`` refuses, by key; and that a mapping of thresholds is replaced as a whole."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpdesk.config import Config, lint, loads
from perpdesk.domain.errors import ConfigError

BAD = [
    ("oi: {thresholds: {}}", "oi.thresholds", "must have 1 to 8 entries, has 0"),
    ("oi: {thresholds: {'60': 0}}", "oi.thresholds.60", "percent points with 0.1 <= x <= 50"),
    ("oi: {thresholds: {'60': -3}}", "oi.thresholds.60", "percent points with 0.1 <= x <= 50"),
    ("oi: {thresholds: {'120': 3, '60': 3}}", "oi.thresholds", "periods must ascend"),
    ("oi: {thresholds: {'90': 3}}", "oi.thresholds", "multiple of polling_interval_ms"),
    ("oi: {thresholds: {'7260': 3}}", "oi.thresholds", "15 to 7200 seconds"),
    ("oi: {thresholds: {sixty: 3}}", "oi.thresholds.sixty", "whole seconds"),
    ("oi: {symbol_blacklist: ['BTC*']}", "oi.symbol_blacklist[0]", "no pattern"),
    ("oi: {symbol_blacklist: [BTCUSDT, BTCUSDT]}", "oi.symbol_blacklist", "twice"),
    ("oi: {severity_thresholds: {medium: 30, high: 15}}", "oi.severity_thresholds", "high must be above"),
    ("oi: {max_monitored_symbols: 1150}", "oi.max_monitored_symbols", "at most 1144 fit"),
    ("oi: {max_monitored_symbols: 0}", "oi.max_monitored_symbols", "1 <= x <= 2000, or max"),
    ("oi: {polling_interval_ms: 10000}", "oi.polling_interval_ms", "15000 <= x <= 600000"),
    ("oi: {trailing: {share: 0.5}}", "oi.tp_legs", "must add up to 1"),
    ("oi: {tp_legs: [{share: 0.3, move: 0.1}, {share: 0.3, move: 0.05}]}", "oi.tp_legs", "further away"),
]


@pytest.mark.parametrize(("text", "field", "message"), BAD, ids=[row[0] for row in BAD])
def test_nonsense_is_refused_by_key(text: str, field: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert (caught.value.rule, caught.value.field) == ("E15", field)
    assert message in caught.value.problem


def test_thresholds_are_replaced_not_merged() -> None:
    file = 'oi: {thresholds: {"60": 0.3, "120": 0.4}}'
    assert loads(file).config.oi.thresholds == {"60": Decimal("0.3"), "120": Decimal("0.4")}
    over = loads(file, options=['oi.thresholds={"300": 5}'])
    assert over.config.oi.thresholds == {"300": Decimal(5)}


def test_as_many_symbols_as_the_budget_allows() -> None:
    assert loads("oi: {max_monitored_symbols: 1144}").config.oi.max_monitored_symbols == 1144
    assert loads("oi: {max_monitored_symbols: max}").config.oi.max_monitored_symbols is None


def findings(*options: str) -> list[str]:
    config = loads("", options=[f"oi.{option}" for option in options]).config
    return [f"{one.code}{one.severity}" for one in lint(config, strategies=("oi",))]


def test_the_defaults_yield_exactly_four_notes() -> None:
    assert [one.code for one in lint(Config(), strategies=("oi",))] == ["O03", "O04", "O05", "O06"]


@pytest.mark.parametrize(
    ("options", "finding"),
    [(["trailing.activation=0.02"], "O01E"), (["breakeven_roi=0.009"], "O02E"), (["leverage=20", "max_positions=9"], "O07W"),
     (["initial_balance_usdt=5"], "O08W"), (["leverage=20"], "O09E"), (["dedup_change_diff_threshold=6"], "O11W")],
)  # fmt: skip
def test_what_is_wrong_together(options: list[str], finding: str) -> None:
    assert finding in findings(*options)
    assert finding not in findings()
