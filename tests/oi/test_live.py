"""The live desk with the radar: what the radar sees, the desk buys, and exits stand in stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.oi.stage import Stage, play, theatre

from perpdesk.service.oi_status import figures, line
from perpdesk.simulation.database import Files, files

TIGHT = '[{"share": 0.3, "move": 0.01}, {"share": 0.3, "move": 0.02}]'
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kept() -> Iterator[Files]:
    with files() as made:
        yield made


@pytest.fixture
def one(kept: Files, tmp_path: Path) -> Iterator[Stage]:
    with theatre(kept, tmp_path) as made:
        yield made


async def breaks_out(one: Stage, symbol: str = "ETHUSDT", price: str = "2550", share: float = 1.04) -> None:
    """Open interest and price rise together; the next poll sees it."""
    told = one.server.options.open_interest[symbol]
    one.interest_is(symbol, told.amount * share)  # type: ignore[attr-defined]
    one.price(symbol, price)
    await one.minute(2_000)


def test_a_breakout_is_bought_at_once_and_its_exits_stand_in_stages(one: Stage) -> None:
    async def story(one: Stage) -> None:
        await one.start()
        await one.minute(1_000)
        await one.minute(1_000)
        await breaks_out(one)
        lots = one.held("ETHUSDT")
        assert one.code("ETHUSDT") == "PASSED"
        assert lots == one.lots("ETHUSDT") == 1882
        (entry,) = one.fills("ETHUSDT")
        assert entry["time"] % 60_000 < 1_000
        kinds = {(kind, size, whole) for kind, size, _, whole in one.conditionals("ETHUSDT")}
        assert kinds == {
            ("STOP_MARKET", lots, False),
            ("STOP_MARKET", 0, True),  # the account's last stop
            ("TAKE_PROFIT_MARKET", lots * 30 // 100, False),
            ("TRAILING_STOP_MARKET", lots - 2 * (lots * 30 // 100), False),
        }
        (row,) = one.file.read("SELECT signal_version, status FROM futures_positions")
        assert tuple(row) == ("oi_breakout", "open")
        told = one.file.read("SELECT reject_code, signal_direction FROM oi_anomaly_records")
        assert {tuple(row) for row in told} == {(None, "LONG")}

    play(one, story)


def test_sentiment_is_asked_for_where_the_desk_sees_more_than_the_radar(one: Stage) -> None:
    """The desk decides by closes and the poll's own time; its need for ratios counts, too."""

    async def story(one: Stage) -> None:
        await one.start()
        await one.minute(1_000)
        await one.minute(1_000)
        assert one.process.radar is not None
        radar = one.process.radar.radar
        assert radar is not None
        radar.judge.asks_for_ratios = lambda symbol: False  # type: ignore[method-assign]
        await breaks_out(one)
        assert one.held("ETHUSDT") > 0

    play(one, story)


def test_new_settings_decide_at_once_and_positions_keep_their_exits(one: Stage) -> None:
    """A higher least score refuses the next breakout; the timeout of what is held stays as it was."""

    async def story(one: Stage) -> None:
        await one.start()
        await one.minute(1_000)
        await one.minute(1_000)
        await breaks_out(one)
        stood = one.conditionals("ETHUSDT")
        for key, value in (("min_score", "9.99"), ("timeout_min", "1"), ("tp_legs", TIGHT)):
            await one.file.write(
                "INSERT INTO oi_monitoring_config (config_key, config_value, is_active, updated_ms) "
                "VALUES (?, ?, 1, 0)", key, value,
            )  # fmt: skip
        await one.passes(35_000)
        one.interest_is("SOLUSDT", 1.04e5, ("1.3", "1.15", "1.6", "1.3"))
        one.price("SOLUSDT", "153")
        await one.minute(2_000)
        assert one.code("SOLUSDT") == "SIGNAL_SCORE_TOO_LOW"
        await one.passes(3 * 60_000)
        assert one.conditionals("ETHUSDT") == stood
        assert one.held("ETHUSDT") > 0, "its timeout was two hours when it was bought"
        one.person("close", symbol="ETHUSDT")
        await one.until(lambda: one.lots("ETHUSDT") == 0)
        await one.minute(2_000)
        guard = one.desk.engine.sleeves[0].mind.guards
        assert int(guard.stage_ppm[0, 0]) == 10_000, "flat: new exits hold"

    play(one, story)


def test_the_status_line_says_what_holds(one: Stage) -> None:
    async def story(one: Stage) -> None:
        await one.start()
        await one.minute(1_000)
        assert "no position" in line(None, one.desk, one.loop.now_ms)
        assert line(None, one.desk, one.loop.now_ms).startswith("radar DOWN")
        await one.minute(1_000)
        await breaks_out(one)
        assert one.process.radar is not None
        told = line(one.process.radar.radar, one.desk, one.loop.now_ms)
        for part in (
            "radar 3 symbols",
            "last poll 2 s ago",
            "coverage 100.0%",
            "breaker open",
            "ETHUSDT LONG",
            "PASSED 1",
        ):
            assert part in told, told
        seen = figures(one.process.radar.radar, one.loop.now_ms)
        assert (seen["radar_polls"], seen["radar_coverage"]) == (4, 1.0)
        assert figures(None, 0) == {"radar_is_up": False}

    play(one, story)


def test_a_desk_goes_on_where_it_died(one: Stage) -> None:
    """Windows and news come back from the recorded polls: what was bought is held, nothing is bought twice."""

    async def story(one: Stage) -> None:
        await one.start()
        await one.minute(1_000)
        await one.minute(1_000)
        await breaks_out(one)
        held = one.held("ETHUSDT")
        await one.restart()
        assert one.lots("ETHUSDT") == held
        await one.minute(2_000)
        state = one.desk.engine.sleeves[0].mind.states[1]
        assert int(state.rows_seen) >= 2, "polls from before the death"
        assert one.held("ETHUSDT") == held
        assert len(one.fills("ETHUSDT")) == 1
        assert one.process.radar is not None
        assert one.process.radar.radar is not None

    play(one, story)


def test_positions_live_on_when_the_radar_dies(one: Stage) -> None:
    async def story(one: Stage) -> None:
        await one.start()
        await one.minute(1_000)
        await one.minute(1_000)
        await breaks_out(one)
        held = one.held("ETHUSDT")
        assert one.process.radar is not None
        assert one.process.radar.radar is not None

        async def fails(slot_ms: int) -> None:
            raise RuntimeError("the radar has a bug")

        one.process.radar.radar.poll_once = fails  # type: ignore[method-assign,assignment]
        await one.minute(8_000)
        assert one.process.radar.radar.poll_once is not fails, "a new one polls"
        one.price("ETHUSDT", "2729")  # the first stage
        await one.until(lambda: one.lots("ETHUSDT") == held - held * 30 // 100)
        assert not one.process.is_over

    play(one, story)
