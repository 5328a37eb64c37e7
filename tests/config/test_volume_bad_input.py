"""Everything that is wrong with a trading_config.yaml is reported at once, with place and allowed range."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.test_volume import config, over, strategy

from perpdesk.config.volume import VolumeConfigError, load_volume, read_volume


def refused(text: str) -> VolumeConfigError:
    with pytest.raises(VolumeConfigError) as caught:
        read_volume(text, "trading_config.yaml")
    assert caught.value.exit_code == 2
    return caught.value


def amount(text: str) -> str:
    return config(single_trade_amount_usdt=text)


# text, code, part of the message
BAD = [
    ("strategies: []\nstrategies: []", "DUPLICATE_KEY", "trading_config.yaml:2: strategies"),
    ("a: &x 1\nb: *x", "YAML_UNSAFE", "trading_config.yaml:1: file: must not use anchors"),
    (
        "strategies:\n  - !!python/name:os.system x",
        "YAML_UNSAFE",
        "trading_config.yaml:2: file: must not use tags",
    ),
    ("strategies: !secret []", "YAML_UNSAFE", "tags"),
    ("strategies:\n\t- a", "YAML_INVALID", "trading_config.yaml:2"),
    ("strategies: [", "YAML_INVALID", "not valid YAML"),
    ("a: 1\n---\nb: 2", "YAML_INVALID", "not valid YAML"),
    ("#" + "x" * (2 << 20), "YAML_UNSAFE", "1048576"),
    ("strategies: " + "[" * 17 + "]" * 17, "YAML_UNSAFE", "deeper than 16"),
    ("[1, 2]", "BAD_VALUE", "must be a mapping"),
    ("5", "BAD_VALUE", "must be a mapping"),
    ("strategies: {a: 1}", "BAD_VALUE", "must be a list"),
    ("strategies: [5]", "BAD_VALUE", "must be a mapping"),
    ("{1: 2}", "UNKNOWN_KEY", "keys must be words"),
    ("strategy: []", "UNKNOWN_KEY", "did you mean strategies?"),
    (config(single_trade_amount="5"), "UNKNOWN_KEY", "did you mean single_trade_amount_usdt?"),
    ("global_settings: {order_timeout: 5}", "UNKNOWN_KEY", "did you mean order_timeout_seconds?"),
    ("global_settings: {target_volume: 5}", "UNKNOWN_KEY", "unknown key"),
    ("global_settings: {mul_point_mode: REAL}", "UNKNOWN_KEY", "unknown key"),
    (config(max_concurrent_users=5), "UNKNOWN_KEY", "max_concurrent_users"),
    (amount("yes"), "BAD_NUMBER", "the text 'yes'"),
    (amount("true"), "BAD_NUMBER", "was true"),
    (amount(".nan"), "BAD_NUMBER", ".nan"),
    (amount(".inf"), "BAD_NUMBER", ".inf"),
    (amount("1e400"), "BAD_NUMBER", "exponent"),
    (amount("1e16"), "BAD_NUMBER", "exponent"),
    (amount("1e-16"), "BAD_NUMBER", "exponent"),
    (amount("0.000000001"), "BAD_NUMBER", "8 decimal places"),
    (amount('"٣"'), "BAD_NUMBER", "must be a number without quotes"),
    (amount("٣"), "BAD_NUMBER", "must be a number"),
    (amount('"30"'), "BAD_NUMBER", "without quotes"),
    (amount(""), "BAD_NUMBER", "empty (null)"),
    (amount("[5]"), "BAD_NUMBER", "a list"),
    (amount("1_000"), "BAD_NUMBER", "1_000"),
    (amount("0"), "OUT_OF_RANGE", "allowed is (0, 10000]"),
    (amount("-1"), "OUT_OF_RANGE", "was -1"),
    (amount("10000.01"), "OUT_OF_RANGE", "allowed is (0, 10000]"),
    (config(trade_interval_seconds="0.19"), "OUT_OF_RANGE", "[0.2, 3600]"),
    (config(order_timeout_seconds="9"), "OUT_OF_RANGE", "[10, 3600]"),
    (config(max_batch_pairs="1.5"), "BAD_NUMBER", "whole number"),
    (config(confirm_attempts="101"), "OUT_OF_RANGE", "[0, 100]"),
    (config(target_volume="1000000001"), "OUT_OF_RANGE", "(0, 1000000000]"),
    (config(enabled="yes"), "BAD_VALUE", "true or false"),
    (config(venue="binance"), "OUT_OF_RANGE", "sim | binance_spot"),
    (config(mul_point_mode="double"), "OUT_OF_RANGE", "REAL | CREDITED | legacy_v22"),
    (config(price_mode="5"), "BAD_VALUE", "must be a text"),
    (config(strategy_id="A-b"), "OUT_OF_RANGE", "a-z, 0-9 and _"),
    (config(strategy_name='""'), "OUT_OF_RANGE", "1 to 100 characters"),
    (config(strategy_id=None), "MISSING_KEY", "strategies[0].strategy_id"),
    (config(target_volume=None), "MISSING_KEY", "strategies[0].target_volume"),
    (config(user_ids="[]"), "OUT_OF_RANGE", "1 to 1000"),
    (config(user_ids="[1, 1]"), "DUPLICATE_KEY", "stands there twice"),
    (config(user_ids="[0]"), "OUT_OF_RANGE", "user_ids[0]"),
    (config(user_ids="5"), "BAD_VALUE", "a list of user ids"),
    (config(user_ids=list(range(1, 1002))), "OUT_OF_RANGE", "was 1001"),
    (config(venue="binance_spot"), "CHAIN_VENUE_MISMATCH", "SPOT only"),
    (config(mul_point_mode="legacy_v22", count_side="both"), "OUT_OF_RANGE", "counts one side"),
    (f"strategies: [{strategy()}, {strategy()}]", "DUPLICATE_STRATEGY", "strategies[1].strategy_id"),
    (config(overrides=f"[{over(1, '', 'x')}]"), "UNKNOWN_STRATEGY", "there is no strategy x"),
    (config(overrides=f"[{over(9, 'single_trade_amount_usdt: 5')}]"), "USER_NOT_IN_STRATEGY", "user 9"),
    (config(overrides=f"[{over(1, 'amount: 5')}]"), "UNKNOWN_KEY", "unknown key"),
    (config(overrides=f"[{over(1, 'single_trade_amount_usdt: 0')}]"), "OUT_OF_RANGE", "(0, 10000]"),
    (config(overrides=f"[{over(1, '')}, {over(1, '')}]"), "DUPLICATE_KEY", "overrides already"),
    (config(overrides="[{user_id: 1}]"), "MISSING_KEY", "user_overrides[0].strategies"),
    (config(overrides="[{strategies: {}}]"), "MISSING_KEY", "user_overrides[0].user_id"),
    (config(overrides="[{user_id: '1', strategies: {}}]"), "BAD_NUMBER", "user_overrides[0].user_id"),
    (config(overrides="[{user_id: 1, strategies: []}]"), "BAD_VALUE", "a mapping of strategy ids"),
    (config(overrides="[{user_id: 1, strategies: {s: 5}}]"), "BAD_VALUE", "must be a mapping"),
]


@pytest.mark.parametrize(("text", "code", "part"), BAD, ids=[f"{i}-{row[1]}" for i, row in enumerate(BAD)])
def test_bad_input(text: str, code: str, part: str) -> None:
    error = refused(text)
    assert error.codes == [code]
    assert part in str(error)
    assert str(error).startswith("trading_config.yaml")


def test_everything_is_reported_at_once() -> None:
    error = refused(
        "global_settings: {order_timeout_seconds: 1}\n"
        f"strategies: [{strategy(target_volume=-1, venue='x', zzz=1)}]\n"
        "user_overrides: [{user_id: x, strategies: {}}]\n"
    )
    assert sorted(error.codes) == [
        "BAD_NUMBER",
        "OUT_OF_RANGE",
        "OUT_OF_RANGE",
        "OUT_OF_RANGE",
        "UNKNOWN_KEY",
    ]
    assert {problem.source.line for problem in error.problems} == {1, 2, 3}


def test_files(tmp_path: Path) -> None:
    with pytest.raises(VolumeConfigError, match="FILE_MISSING"):
        load_volume(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    with pytest.raises(VolumeConfigError, match="UTF-8"):
        load_volume(tmp_path / "latin.yaml")


@given(st.text(max_size=80) | st.text("{}[]:,-\n &*!'\"#abc01.", max_size=60))
def test_any_text_is_a_configuration_or_a_named_error(text: str) -> None:
    with suppress(VolumeConfigError):
        read_volume(text)
        return
    error = refused(text)
    assert error.codes
    assert str(error).replace("\n", "").isprintable()
