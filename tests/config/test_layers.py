"""Defaults < file < environment < options, and every value remembers who set it."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from perpdesk.config import Loaded, load, loads, show_rows, show_text
from perpdesk.config.show import Row
from perpdesk.domain.errors import ConfigError

FILE = """
sma_cross:
  fast: 11
  slow: 111
  stop: 0.02
score:
  versions:
    - {name: v2, scorer: v2, leverage: 4}
    - {name: calm, scorer: v2, enabled: false, params: {min_score_to_trade: 70}}
"""
ENVIRONMENT = {"PERPDESK__SMA_CROSS__SLOW": "112", "PERPDESK__SMA_CROSS__STOP": "0.025", "HOME": "/x"}
OPTIONS = ["sma_cross.stop=0.04"]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    path = tmp_path / "desk.yaml"
    path.write_text(FILE)
    return load(path, environment=ENVIRONMENT, options=OPTIONS)


def row(loaded: Loaded, field: str) -> Row:
    (found,) = [row for row in show_rows(loaded) if row.field == field]
    return found


@pytest.mark.parametrize(
    ("field", "value", "layer", "place"),
    [
        ("sma_cross.positions_max", 5, "default", None),
        ("sma_cross.fast", 11, "file", "desk.yaml:3"),
        ("sma_cross.slow", 112, "environment", "environment PERPDESK__SMA_CROSS__SLOW"),
        ("sma_cross.stop", "0.04", "option", "option sma_cross.stop"),
        ("score.versions[0].leverage", 4, "file", "desk.yaml:8"),
        ("score.versions[0].max_positions", 20, "default", None),
        ("score.versions[1].params.min_score_to_trade", "70", "file", "desk.yaml:9"),
        ("score.versions[0].params.min_score_to_trade", "60", "default", None),
        ("score.guardian.timed_stops[1].level", "-0.035", "default", None),
    ],
)
def test_the_highest_layer_wins_and_is_named(
    loaded: Loaded, field: str, value: object, layer: str, place: str | None
) -> None:
    found = row(loaded, field)
    assert (found.value, found.layer) == (value, layer)
    assert found.place is None if place is None else str(found.place).endswith(place)


def test_a_list_replaces_the_list_below_it(loaded: Loaded) -> None:
    assert [version.name for version in loaded.config.score.versions] == ["v2", "calm"]
    assert [version.start_offset_s for version in loaded.config.score.versions] == [0, 0]


@pytest.mark.parametrize("entry", [".calm", ".1", "[1]"])
def test_an_entry_of_a_list_is_named_or_counted(entry: str) -> None:
    config = loads(FILE, options=[f"score.versions{entry}.leverage=9"]).config
    assert [version.leverage for version in config.score.versions] == [4, 9]


def test_the_environment_reaches_into_lists() -> None:
    environment = {"PERPDESK__SCORE__VERSIONS__V2__PARAMS__MIN_SCORE_TO_TRADE": "71.5"}
    config = loads("", environment=environment).config
    assert config.score.versions[0].params.min_score_to_trade == Decimal("71.5")
    assert config.score.versions[0].start_offset_s == 120


def test_options_take_lists_mappings_and_null() -> None:
    options = [
        "score.guardian.timed_stops=[{within_s: 60, level: -0.01}]",
        "score.guardian.trailing={activation: 0.04}",
        "risk.daily_loss_limit=null",
        "sma_cross.trail_callback=",
        "paper.speed=max",
    ]
    config = loads("paper: {speed: 5}", options=options).config
    assert [stop.within_s for stop in config.score.guardian.timed_stops] == [60]
    assert config.score.guardian.trailing.activation == Decimal("0.04")
    assert config.score.guardian.trailing.retrace == Decimal("0.015")
    assert config.risk.daily_loss_limit is None
    assert config.sma_cross.trail_callback is None
    assert config.paper.speed is None


def test_of_two_options_for_a_key_the_later_wins() -> None:
    assert loads("", options=["sma_cross.fast=3", "sma_cross.fast=4"]).config.sma_cross.fast == 4


def test_a_whole_section_in_the_environment_yields_to_its_single_keys() -> None:
    environment = {"PERPDESK__SMA_CROSS__FAST": "3", "PERPDESK__SMA_CROSS": "{fast: 2, slow: 9}"}
    config = loads("", environment=environment).config
    assert (config.sma_cross.fast, config.sma_cross.slow) == (3, 9)


def test_other_variables_are_nobody_s_business() -> None:
    environment = {**os.environ, "PERPDESK_DATA": "/data", "perpdesk__sma_cross__fast": "x"}
    assert loads("", environment=environment).config == loads("").config


@pytest.mark.parametrize(
    ("name", "value", "field", "part"),
    [
        ("PERPDESK__SMA_CROSS__STOP", "3%", "sma_cross.stop", "write 0.03"),
        ("PERPDESK__SMA_CROSS__STOPP", "1", "sma_cross.stopp", "did you mean stop?"),
        ("PERPDESK__SMACROSS__STOP", "1", "smacross", "unknown section"),
        ("PERPDESK__", "1", None, "must name a key"),
        ("PERPDESK__SMA_CROSS____STOP", "1", None, "must name a key"),
        ("PERPDESK__SCORE__VERSIONS__V9__LEVERAGE", "1", "score.versions", "counted from 0, named v2"),
        ("PERPDESK__SCORE__COOLDOWN_S__X", "1", "score.cooldown_s", "no keys below it"),
        ("PERPDESK__SMA_CROSS__STOP", "[", "sma_cross.stop", "not valid YAML"),
        ("PERPDESK__SMA_CROSS", "{fast: 1, fast: 2}", "sma_cross.fast", "duplicate key"),
    ],
)  # fmt: skip
def test_a_bad_variable_is_named(name: str, value: str, field: str | None, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads("", environment={name: value})
    assert caught.value.field == field
    assert caught.value.file == f"environment {name}"
    assert caught.value.row is None
    assert part in caught.value.problem


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("sma_cross.stop", "must read section.key=value"),
        ("=5", "must name a key"),
        ("sma_cross..stop=5", "must name a key"),
        ("sma_cross.stop.x=5", "no keys below it"),
        ("score.versions[7].leverage=5", "has no entry '7'"),
    ],
)
def test_a_bad_option_is_named(option: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads("", options=[option])
    assert str(caught.value.file).startswith("option ")
    assert part in caught.value.problem


def test_the_table_shows_field_value_and_layer(loaded: Loaded) -> None:
    lines = {line.split()[0]: line.split()[1:] for line in show_text(loaded).splitlines()}
    assert lines["field"] == ["value", "set", "by"]
    assert lines["sma_cross.stop"] == ["0.04", "option", "option", "sma_cross.stop"]
    assert lines["sma_cross.cooldown_s"] == ["0", "default"]
    assert lines["score.versions[1].enabled"][0] == "false"
    assert lines["score.guardian.fixed_tp"] == ["null", "default"]


def test_an_empty_list_is_shown() -> None:
    found = row(loads("score: {versions: []}"), "score.versions")
    assert (found.value, found.layer) == (None, "file")


def test_use_v3_mode_enables_v3_whatever_the_file_says() -> None:
    text = "score: {versions: [{name: v2, scorer: v2}, {name: v3, scorer: v3, enabled: false}]}"
    assert not loads(text, environment={"USE_V3_MODE": "1"}).config.score.versions[1].enabled
    assert loads(text, environment={"USE_V3_MODE": "true"}).config.score.versions[1].enabled
    own = {"USE_V3_MODE": "true", "PERPDESK__SCORE__VERSIONS__V3__ENABLED": "false"}
    assert not loads(text, environment=own).config.score.versions[1].enabled
    with pytest.raises(ConfigError, match="has no entry"):
        loads("score: {versions: [{name: v2, scorer: v2}]}", environment={"USE_V3_MODE": "true"})
