"""The layers of trading_config.yaml: who set each value, what a user may change, how a reload swaps."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.config.volume import (
    VolumeConfig,
    VolumeConfigError,
    VolumeConfigs,
    load_volume,
    quick_start,
    read_volume,
    restart_problems,
)
from perpdesk.config.volume_terms import pair_plan, pair_terms, run_terms
from perpdesk.config.volume_tokens import Listing, resolve_tokens
from perpdesk.domain.errors import Refused
from perpdesk.strategies.volume_target.modes import MulPointMode
from perpdesk.strategies.volume_target.prices import TokenRules

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "trading_config.yaml"
D = Decimal


def strategy(**keys: object) -> str:
    found: dict[str, object] = {
        "strategy_id": "s",
        "strategy_name": "S",
        "enabled": "true",
        "target_token": "KOGE",
        "target_chain": "BSC",
        "target_volume": 1000,
        "user_ids": [1, 2, 3],
        **keys,
    }
    return "{" + ", ".join(f"{key}: {value}" for key, value in found.items() if value is not None) + "}"


def config(*, global_settings: str = "{}", overrides: str = "[]", **keys: object) -> str:
    return (
        f"global_settings: {global_settings}\nstrategies: [{strategy(**keys)}]\nuser_overrides: {overrides}\n"
    )


def over(user: int, keys: str, name: str = "s") -> str:
    return f"{{user_id: {user}, strategies: {{{name}: {{{keys}}}}}}}"


def test_v23_layers_and_who_set_each_value() -> None:
    text = config(
        global_settings="{default_single_trade_amount_usdt: 30}",
        overrides=f"[{over(1, 'single_trade_amount_usdt: 50')}, {over(3, 'single_trade_amount_usdt: 20')}]",
        single_trade_amount_usdt=30,
    )
    users = read_volume(text).strategies["s"].users
    found = {user: users[user].settings["single_trade_amount_usdt"] for user in (1, 2, 3)}
    assert [setting.value for setting in found.values()] == [50, 30, 20]
    assert [setting.origin for setting in found.values()] == [
        "user_overrides[0].strategies.s",
        "strategies[0]",
        "user_overrides[1].strategies.s",
    ]
    assert str(found[1].source) == "text:3"


def test_the_strategy_wins_over_the_globals_and_they_over_the_defaults() -> None:
    only_globals = read_volume(config(global_settings="{default_single_trade_amount_usdt: 40}"))
    setting = only_globals.strategies["s"].users[1].settings["single_trade_amount_usdt"]
    assert (setting.value, setting.origin) == (40, "global_settings")
    both = config(global_settings="{default_single_trade_amount_usdt: 40}", single_trade_amount_usdt=7)
    assert read_volume(both).strategies["s"].users[1].number("single_trade_amount_usdt") == 7
    setting = read_volume(config()).strategies["s"].users[1].settings["single_trade_amount_usdt"]
    assert (setting.value, setting.origin) == (30, "default")


def test_the_shipped_file() -> None:
    loaded = load_volume(SHIPPED)
    shown = loaded.strategies["koge_volume_boost"].users[1].show()
    assert shown["values"]["single_trade_amount_usdt"] == {  # type: ignore[index]
        "value": "50",
        "from": "user_overrides[0].strategies.koge_volume_boost",
    }
    assert [warning.code for warning in loaded.warnings] == ["W_SELL_ABOVE_MARKET"]
    assert "1.505 %" in str(loaded.warnings[0])


def test_the_defaults_are_those_of_the_specification() -> None:
    user = read_volume(config()).strategies["s"].users[1]
    rest = (
        "buy_offset_percentage",
        "sell_profit_percentage",
        "trade_interval_seconds",
        "order_timeout_seconds",
    )
    assert [user.number(name) for name in rest] == [D("0.5"), 1, 1, 300]
    limits = ("max_loss_per_trade_usdt", "max_loss_per_day_usdt", "max_loss_per_day_all_users_usdt")
    assert [user.number(name) for name in limits] == [1, 20, 200]
    assert user.fraction("buy_offset_percentage") == D("0.005")
    assert user.ms("trade_interval_seconds") == 1_000
    assert [user[name] for name in ("venue", "target_scope", "price_mode", "count_side")] == [
        "sim",
        "per_user",
        "profit_on_buy",
        "buy",
    ]
    assert read_volume(config()).max_concurrent_users == 10


def test_the_hash_is_of_what_acts_and_not_of_how_it_is_written() -> None:
    a = read_volume(config(single_trade_amount_usdt="50")).strategies["s"].users
    b = read_volume(config(single_trade_amount_usdt="5.0e1", user_ids=[2, 1])).strategies["s"].users
    c = read_volume(config(overrides=f"[{over(1, 'single_trade_amount_usdt: 50.00')}]")).strategies["s"].users
    assert a[1].config_hash == b[1].config_hash == c[1].config_hash
    assert a[1].config_hash != a[2].config_hash
    assert a[1].config_hash == sha256(a[1].json.encode()).hexdigest()
    assert '"single_trade_amount_usdt":"50"' in a[1].json
    assert " " not in a[1].json


@given(st.decimals(D("0.00000001"), D(10_000), places=8))
def test_numbers_are_what_is_written(amount: Decimal) -> None:
    text = config(single_trade_amount_usdt=format(amount, "f"))
    assert read_volume(text).strategies["s"].users[1].number("single_trade_amount_usdt") == amount


# What a user may change.


@pytest.mark.parametrize(
    ("keys", "allowed"),
    [
        ("single_trade_amount_usdt: 10000", True),
        ("trade_interval_seconds: 0.2", True),
        ("order_timeout_seconds: 10", True),
        ("enabled: false", True),
        ("enabled: true", False),
        ("target_volume: 5", True),
        ("max_price_volatility_percentage: 5", True),
        ("max_price_volatility_percentage: 5.1", False),
        ("max_loss_per_trade_usdt: 0.5", True),
        ("max_loss_per_trade_usdt: 2", False),
        ("max_loss_per_day_usdt: 21", False),
        ("max_loss_per_day_all_users_usdt: 1", False),
        ("venue: sim", False),
        ("mul_point_mode: REAL", False),
        ("target_token: AOP", False),
        ("max_batch_pairs: 1", False),
        ("on_day_rollover: restart", False),
    ],
)
def test_what_a_user_may_change(keys: str, allowed: bool) -> None:
    text = config(overrides=f"[{over(1, keys)}]")
    if allowed:
        read_volume(text)
        return
    with pytest.raises(VolumeConfigError) as caught:
        read_volume(text)
    assert caught.value.codes == ["NOT_OVERRIDABLE"]
    assert keys.split(":")[0] in str(caught.value)


def test_a_common_target_is_nobodys_own() -> None:
    text = config(target_scope="all_users", overrides=f"[{over(1, 'target_volume: 5')}]")
    with pytest.raises(VolumeConfigError, match="only with target_scope per_user"):
        read_volume(text)


# Warnings.


def test_warnings() -> None:
    def codes(**keys: object) -> list[str]:
        return [warning.code for warning in read_volume(config(**keys)).warnings]

    assert codes() == ["W_SELL_ABOVE_MARKET"]
    assert codes(price_mode="discount_on_buy") == ["W_LANE"]
    assert codes(price_mode="discount_on_market", trade_interval_seconds="0.5") == ["W_LANE", "W_RATE"]
    two = f"strategies: [{strategy()}, {strategy(strategy_id='t', user_ids=[3, 4])}]"
    shared = [str(warning) for warning in read_volume(two).warnings if warning.code == "W_SAME_TOKEN"]
    assert len(shared) == 1
    assert "user 3 trades this token in s already" in shared[0]


# Tokens.

KOGE = Listing("sim", "BSC", "KOGE", "0x1", 1)


def tokens(*listings: Listing, **keys: object):
    return resolve_tokens(read_volume(config(**keys)), listings)


def test_a_token_and_its_multiplier() -> None:
    found, warnings = tokens(KOGE)
    assert (found["s"].m, found["s"].mode, warnings) == (1, MulPointMode.REAL, ())
    four = Listing("sim", "BSC", "KOGE", "0x1", "4")
    found, warnings = tokens(four, mul_point_mode="legacy_v22")
    assert found["s"].m == 4
    assert [warning.code for warning in warnings] == ["W_LEGACY"]
    assert "16 times" in str(warnings[0])
    assert tokens(Listing("sim", "BSC", "KOGE", "0x1", "2.5"), mul_point_mode="CREDITED")[0]["s"].m == D(
        "2.5"
    )


@pytest.mark.parametrize(
    ("listings", "keys", "code", "text"),
    [
        ([], {}, "UNKNOWN_TOKEN", "KOGE"),
        ([Listing("sim", "ETH", "KOGE", "0x1", 1)], {}, "UNKNOWN_TOKEN", "chain BSC"),
        ([Listing("binance_spot", "BSC", "KOGE", "0x1", 1)], {}, "UNKNOWN_TOKEN", "sim"),
        ([KOGE, Listing("sim", "BSC", "KOGE", "0x2", 1)], {}, "AMBIGUOUS_TOKEN", "0x1, 0x2"),
        ([KOGE], {"target_contract": "'0x3'"}, "UNKNOWN_TOKEN", "KOGE"),
        ([Listing("sim", "BSC", "KOGE", "0x1", None)], {}, "MUL_POINT_UNKNOWN", "None"),
        ([Listing("sim", "BSC", "KOGE", "0x1", "4x")], {}, "MUL_POINT_UNKNOWN", "4x"),
        ([Listing("sim", "BSC", "KOGE", "0x1", 0)], {}, "MUL_POINT_UNKNOWN", "0"),
        ([Listing("sim", "BSC", "KOGE", "0x1", 4)], {}, "MUL_POINT_MODE_REQUIRED", "4 times"),
    ],
)
def test_tokens_that_do_not_resolve(
    listings: list[Listing], keys: dict[str, object], code: str, text: str
) -> None:
    with pytest.raises(VolumeConfigError) as caught:
        tokens(*listings, **keys)
    assert caught.value.codes == [code]
    assert text in str(caught.value)


def test_the_contract_decides_between_two() -> None:
    both = (KOGE, Listing("sim", "BSC", "KOGE", "0x2", 1))
    found, _ = tokens(*both, target_contract="'0x2'")
    assert found["s"].listing.contract == "0x2"


# Reload.


def test_a_reload_swaps_whole_or_not_at_all() -> None:
    texts = [config()]
    configs = VolumeConfigs(lambda: read_volume(texts[-1]))
    first = configs.current
    texts.append(config(single_trade_amount_usdt=-1))
    with pytest.raises(VolumeConfigError):
        configs.reload()
    assert configs.current is first
    texts.append(config(single_trade_amount_usdt=12))
    assert configs.reload(frozenset({"s"})) is configs.current
    assert configs.current.strategies["s"].users[1].number("single_trade_amount_usdt") == 12
    assert first.strategies["s"].users[1].number("single_trade_amount_usdt") == 30


@pytest.mark.parametrize(
    "change",
    [
        {"target_token": "AOP"},
        {"target_chain": "ETH"},
        {"target_contract": "'0x1'"},
        {"mul_point_mode": "CREDITED"},
        {"target_scope": "all_users"},
        {"count_side": "sell"},
        {"venue": "binance_spot", "target_chain": "SPOT"},
    ],
)
def test_a_running_strategy_keeps_its_identity(change: dict[str, object]) -> None:
    old, new = read_volume(config()), read_volume(config(**change))
    problems = restart_problems(old, new, frozenset({"s"}))
    assert {problem.code for problem in problems} == {"NEEDS_RESTART"}
    assert {problem.path for problem in problems} == {f"strategies[0].{key}" for key in change}
    assert restart_problems(old, new, frozenset()) == []
    configs = VolumeConfigs(iter([old, new]).__next__)
    with pytest.raises(VolumeConfigError, match="stop it first"):
        configs.reload(frozenset({"s"}))
    assert configs.current is old


def test_a_removed_strategy_needs_no_restart() -> None:
    assert restart_problems(read_volume(config()), read_volume(""), frozenset({"s"})) == []


# Quick start and terms.


def quick(**options: str) -> VolumeConfig:
    given_options = {
        "token": "KOGE",
        "chain": "BSC",
        "volume": "100",
        "amount": "10",
        "user": "1",
        "interval": "1",
    }
    return quick_start(**{**given_options, **options})


def test_quick_start() -> None:
    found = quick().strategies["quick_koge_1"]
    assert list(found.users) == [1]
    assert found.users[1].number("target_volume") == 100
    assert found.users[1].settings["target_volume"].source.place == "--volume"
    base = read_volume("global_settings: {default_buy_offset_percentage: 0.1}")
    again = quick_start(token="K", chain="B", volume="1", amount="1", user="2", interval="1", base=base)
    assert again.strategies["quick_k_2"].users[2].number("buy_offset_percentage") == D("0.1")


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("volume", "-5", "OUT_OF_RANGE"),
        ("volume", "lots", "BAD_NUMBER"),
        ("interval", "0", "OUT_OF_RANGE"),
        ("amount", "0", "OUT_OF_RANGE"),
        ("amount", "NaN", "BAD_NUMBER"),
        ("user", "0", "OUT_OF_RANGE"),
        ("user", "me", "BAD_NUMBER"),
        ("token", "", "OUT_OF_RANGE"),
        ("mul_point_mode", "DOUBLE", "OUT_OF_RANGE"),
    ],
)
def test_quick_start_names_the_option(option: str, value: str, code: str) -> None:
    with pytest.raises(VolumeConfigError) as caught:
        quick(**{option: value})
    assert code in caught.value.codes
    assert f"--{option.replace('_', '-')}" in str(caught.value)
    assert caught.value.exit_code == 2


def test_terms() -> None:
    loaded = read_volume(config(single_trade_amount_usdt=50, overrides=f"[{over(2, 'enabled: false')}]"))
    token = resolve_tokens(loaded, [KOGE])[0]["s"]
    users = loaded.strategies["s"].users
    run = run_terms(users[1], token)
    assert (run.target, run.amount, run.unit, run.check_delay_ms, run.stop_grace_ms) == (
        1000,
        50,
        50,
        60_000,
        5_000,
    )
    rules = TokenRules(D("0.01"), D("0.0001"), D("0.0001"), D(1000), D(5), D("0.001"), False)
    pair = pair_terms(users[1], rules, 5_000)
    assert (pair.order_timeout_ms, pair.max_loss, pair.price_max_age_ms) == (300_000, 1, 2_000)
    assert pair_plan(users[1], D(100), rules).buy_price == D("100.50")
    with pytest.raises(Refused, match="disabled for user 2"):
        pair_plan(users[2], D(100), rules)
