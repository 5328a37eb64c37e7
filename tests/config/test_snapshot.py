"""Equal configurations have equal hashes, whoever set the values and however they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.config.configs import configs, padded, plain, scientific, written

from perpdesk.config import Account, Config, SmaCross, loads, read_snapshot, show_rows, snapshot
from perpdesk.domain.errors import InputError


def test_the_layer_leaves_no_trace() -> None:
    by_file = loads("sma_cross: {stop: 0.02}")
    by_variable = loads("", environment={"PERPDESK__SMA_CROSS__STOP": "0.02"})
    by_option = loads("sma_cross: {stop: 0.07}", options=["sma_cross.stop=0.02"])
    by_hand = Config(sma_cross=SmaCross(stop=Decimal("0.02")))
    hashes = {
        snapshot(c).params_hash for c in (by_file.config, by_variable.config, by_option.config, by_hand)
    }
    assert len(hashes) == 1
    assert hashes != {snapshot(Config()).params_hash}


@pytest.mark.parametrize("text", ["0.02", "0.020", ".02", "2e-2", "+0.02", "0.0200000000"])
def test_the_spelling_leaves_no_trace(text: str) -> None:
    assert snapshot(loads(f"sma_cross: {{stop: {text}}}").config) == snapshot(
        Config(sma_cross=SmaCross(stop=Decimal("0.02")))
    )


@pytest.mark.parametrize("zero", ["0", "0.0", "-0.0", "0.000000", "0e-5"])
def test_there_is_one_zero(zero: str) -> None:
    loaded = loads(f"paper: {{slippage: {zero}}}")
    assert json.loads(snapshot(loaded.config).json)["paper"]["slippage"] == "0"


def test_the_order_of_keys_leaves_no_trace() -> None:
    one = loads("risk: {positions_max: 3, worst_case_fraction: 0.4}\naccount: {leverage: 2}")
    other = loads("account: {leverage: 2}\nrisk: {worst_case_fraction: 0.4, positions_max: 3}")
    assert snapshot(one.config) == snapshot(other.config)


def test_the_hash_is_the_sha256_of_the_canonical_json() -> None:
    frozen = snapshot(Config())
    decoded = json.loads(frozen.json)
    assert frozen.json == json.dumps(decoded, sort_keys=True, separators=(",", ":"))
    assert frozen.params_hash == hashlib.sha256(frozen.json.encode()).hexdigest()
    assert decoded["risk"]["daily_loss_limit"] == "0.2"
    assert decoded["score"]["versions"][0]["leverage"] == 5


def test_a_part_has_a_snapshot_of_its_own() -> None:
    assert json.loads(snapshot(Account()).json) == json.loads(snapshot(Config()).json)["account"]


def test_a_changed_snapshot_is_not_read() -> None:
    frozen = snapshot(Config())
    changed = frozen.json.replace('"positions_max":5', '"positions_max":6')
    assert changed != frozen.json
    with pytest.raises(InputError, match="changed after the run"):
        read_snapshot(changed, frozen.params_hash)


def test_a_config_is_frozen() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        Config().account.leverage = 7  # type: ignore[misc]


@settings(max_examples=60, deadline=None)
@given(config=configs(), spell=st.sampled_from([plain, padded, scientific]))
def test_every_valid_config_survives_yaml_and_snapshot(
    config: Config, spell: Callable[[Decimal], str]
) -> None:
    loaded = loads(written(config, spell))
    assert loaded.config == config
    frozen = snapshot(config)
    assert snapshot(loaded.config) == frozen
    assert read_snapshot(frozen.json, frozen.params_hash) == config
    assert {row.layer for row in show_rows(loaded)} == {"file"}


@settings(max_examples=40, deadline=None)
@given(config=configs(), other=configs())
def test_different_configs_have_different_hashes(config: Config, other: Config) -> None:
    assert (config == other) == (snapshot(config).params_hash == snapshot(other).params_hash)


@settings(max_examples=40, deadline=None)
@given(config=configs())
def test_options_alone_can_build_every_config(config: Config) -> None:
    options = [f"{name}={written(part, plain)}" for name, part in msgspec.structs.asdict(config).items()]
    assert loads("", options=options).config == config
