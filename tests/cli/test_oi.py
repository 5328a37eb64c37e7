"""perpdesk oi: what the commands say of a database that a radar has filled, and the radar itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import polars as pl
import pytest
from tests.cli.exchanges import exchange
from tests.market.radar.exchanges import START_MS, Exchange, minutes, radar_of

from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.cli.main import run_command
from perpdesk.market.radar.recorder import Recorder


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    """An hour and more of two symbols; one of them breaks out, the other's ratios are missing."""
    url = f"sqlite:///{tmp_path}/desk.sqlite"
    upgrade(url)

    async def fill() -> None:
        market = Exchange("AAAUSDT", "BBBUSDT")
        async with await SqlStore.open(url) as store:
            radar = await radar_of(market, Recorder(store, 20))
            await minutes(radar, market, 70)
            market.ratio_texts["BBBUSDT"] = (None,) * 4
            for symbol in ("AAAUSDT", "BBBUSDT"):
                market.amounts[symbol], market.prices[symbol] = 1040.0, 102.0
            await minutes(radar, market, 2)

    asyncio.run(fill())
    return url


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict:
    assert run_command([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_anomalies_since_as_json_and_as_a_table(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "oi", "anomalies", "--database", recorded, "--since", str(START_MS))["anomalies"]
    assert [(one["symbol"], one["period_seconds"], one["reject_code"]) for one in found] == [
        *(("AAAUSDT", period, None) for period in (60, 120, 300)),
        *(("BBBUSDT", period, "SENTIMENT_UNAVAILABLE") for period in (60, 120, 300)),
    ]
    assert found[0]["signal_score"] == 9.9625
    late = said(capsys, "oi", "anomalies", "--database", recorded, "--since", "2026-01-01")
    assert late["anomalies"] == []
    assert run_command(["oi", "anomalies", "--database", recorded, "--since", str(START_MS)]) == 0
    assert "SENTIMENT_UNAVAILABLE" in capsys.readouterr().out


def test_explain_shows_every_part(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "oi", "anomalies", "--database", recorded, "--since", str(START_MS))["anomalies"]
    group = str(found[0]["group_id"])
    assert run_command(["oi", "explain", group, "--database", recorded]) == 0
    text = capsys.readouterr().out
    for part in ("AAAUSDT", "PASSED", "sentiment", "2.6625", "bonus", "two-hour low", "9.9625", "(primary)"):
        assert part in text
    assert run_command(["oi", "explain", "12345678901234567", "--database", recorded]) == 2
    assert "no anomaly has the group" in capsys.readouterr().err


def test_replay_finds_what_was_recorded_and_other_rules_find_less(
    recorded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = said(capsys, "oi", "replay", "--database", recorded)
    assert (found["polls"], found["rows"], found["recorded"]) == (72, 144, 6)
    assert found["only_replayed"] == found["only_recorded"] == []
    assert [one["signal_score"] for one in found["anomalies"]] == [9.9625] * 3 + [None] * 3
    strict = said(capsys, "oi", "replay", "--database", recorded, "--set", 'oi.thresholds={"60": 5}')
    assert strict["anomalies"] == []
    assert len(strict["only_recorded"]) == 6


def test_export_is_one_file_a_day_with_ratios_where_they_were_asked(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = said(capsys, "oi", "export", "--database", recorded, "--out", str(tmp_path / "oi"))["files"]
    rows = pl.read_parquet(path)
    assert rows.height == 144
    asked = rows.filter(pl.col("sum_toptrader_long_short_ratio").is_not_null())
    assert asked.select("symbol", "sum_open_interest", "count_long_short_ratio").rows() == [
        ("AAAUSDT", 1040.0, 1.3)
    ]


def test_a_setting_is_validated_before_it_is_written(
    recorded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["oi", "set", "thresholds", '{"60": 0}', "--database", recorded]) == 2
    assert "oi.thresholds.60" in capsys.readouterr().err
    assert run_command(["oi", "set", "thresholds", '{"60": 5}', "--database", recorded]) == 0
    capsys.readouterr()
    assert said(capsys, "oi", "replay", "--database", recorded)["anomalies"] == []


@pytest.mark.slow
def test_watch_polls_a_simulated_exchange(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/desk.sqlite"
    upgrade(url)
    with exchange(1) as market:
        found = said(
            capsys, "oi", "watch", "--exchange-url", market.url, "--database", url, "--polls", "1",
            "--set", "oi.polling_interval_ms=15000", "--set", "oi.max_monitored_symbols=3",
        )  # fmt: skip
    assert (found["polls"], found["symbols"]) == (1, 3)
