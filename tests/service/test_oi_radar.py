"""Settings of the database while the radar runs: the whole new set or the whole old one, and always a word."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.clocks import VirtualClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.adapters.sqlstore.migrate import upgrade
from perpdesk.config import load, loads
from perpdesk.config.oi import contradiction
from perpdesk.domain.errors import ConfigError
from perpdesk.domain.signal_books import OiSetting
from perpdesk.exchange.server import ServeOptions, serve
from perpdesk.service.oi_radar import RadarRun, Settings, terms_of

START_MS = 1_763_640_000_000


def row(key: str, value: object, active: bool = True) -> OiSetting:
    return OiSetting(config_key=key, config_value=json.dumps(value), updated_ms=START_MS, is_active=active)


def settings_of(tmp_path: Path, text: str = "", **environment: str) -> Settings:
    path = tmp_path / "desk.yaml"
    path.write_text(text)
    return Settings(path, [], environment)


def test_the_order_is_file_database_environment_option(tmp_path: Path) -> None:
    file = settings_of(tmp_path, "oi: {max_monitored_symbols: 10, min_score: 7}")
    rows = [row("max_monitored_symbols", 20), row("min_score", 9), row("leverage", 3, active=False)]
    oi = file.load(rows).config.oi
    assert (oi.max_monitored_symbols, oi.min_score, oi.leverage) == (20, 9, 6)
    by_environment = settings_of(tmp_path, OI_MAX_MONITORED_SYMBOLS="max").load(rows).config.oi
    assert by_environment.max_monitored_symbols is None
    option = load(
        tmp_path / "desk.yaml", environment={}, options=["oi.min_score=5"], rows=[("min_score", "9")]
    )
    assert option.config.oi.min_score == 5


def test_thresholds_of_the_table_are_percent_points(tmp_path: Path) -> None:
    rows = [row("thresholds", {"60": 0.3, "120": 0.4, "300": 0.5, "900": 0.8})]
    terms = terms_of(settings_of(tmp_path).load(rows).config.oi)
    assert list(terms.params.threshold[0][:4]) == [0.003, 0.004, 0.005, 0.008]


@pytest.mark.parametrize(
    ("key", "value"),
    [("thresholds", '{"60": -1}'), ("thresholds", "not json {"), ("thresholds", '{"60": 3, "60": 4}'),
     ("min_score", "NaN"), ("min_score", "true"), ("nonsense", "1"), ("oi.min_score", "1"), ("symbol_blacklist", '["BTC*"]')],
)  # fmt: skip
def test_nonsense_names_key_and_place(tmp_path: Path, key: str, value: str) -> None:
    bad = OiSetting(config_key=key, config_value=value, updated_ms=START_MS)
    with pytest.raises(ConfigError) as caught:
        settings_of(tmp_path).load([bad])
    assert "oi_monitoring_config" in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(("min_score", "leverage", "thresholds", "zzz")), st.text(max_size=8)))
def test_any_rows_are_a_whole_configuration_or_an_error(rows: dict[str, str]) -> None:
    try:
        loaded = load(None, environment={}, rows=list(rows.items()))
    except ConfigError:
        return
    assert contradiction(loaded.config.oi) is None
    assert 1 <= loaded.config.oi.leverage <= 20
    assert 0 <= loaded.config.oi.min_score <= 10


async def test_an_edit_holds_from_the_next_poll_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    clock, url = VirtualClock(START_MS), f"sqlite:///{tmp_path}/desk.sqlite"
    upgrade(url)
    async with serve(ServeOptions(clock=clock)) as server, await SqlStore.open(url) as store:
        run = RadarRun(simulated(server.rest_url), clock, settings_of(tmp_path), store)

        async def during(_: object) -> None:
            clock.advance_to(clock.now_ms() + 60_000)

        run.on_seen = during
        radar = await run.run(polls=1)
        first = radar.terms
        await store.save_oi_setting(row("thresholds", {"60": 0.5}))
        await run.reread_once()
        assert radar.terms is first, "not before the next poll"
        await radar.poll_once(clock.now_ms())
        assert list(radar.terms.params.threshold[0][:2]) == [0.005, 0.0]
        good = radar.terms
        await store.save_oi_setting(row("min_score", 9))
        await store.save_oi_setting(row("leverage", 400))
        await run.reread_once()
        await run.reread_once()
        await radar.poll_once(clock.now_ms())
        assert radar.terms is good, "all of them or none"
        assert "oi.leverage" in run.settings.rejected
        await store.save_oi_setting(row("leverage", 400, active=False))
        await run.reread_once()
        await radar.poll_once(clock.now_ms())
        assert radar.terms.params.min_score[0] == 9
        assert run.settings.rejected == ""
        assert (await store.verify_journal()).rows == 3, "an edit, a refusal, an edit"
        assert await store.params_snapshot(radar.terms.config_hash) is not None
        await radar.close()


def test_the_hash_is_that_of_the_section() -> None:
    assert (
        terms_of(loads("").config.oi).config_hash
        != terms_of(loads("oi: {min_score: 9}").config.oi).config_hash
    )
    assert loads("oi: {min_score: 9}").config.oi.min_score == Decimal(9)
