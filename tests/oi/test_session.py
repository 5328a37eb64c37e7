"""The life of a position on the live desk, each story also with a process that dies in the middle of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.oi.stage import Stage, play, theatre

from perpdesk.exchange.faults import Fault
from perpdesk.kernel.records import VERDICT_NAMES
from perpdesk.simulation.database import Files, files

ETH = "ETHUSDT"


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kept() -> Iterator[Files]:
    with files() as made:
        yield made


@pytest.fixture
def one(kept: Files, tmp_path: Path) -> Iterator[Stage]:
    with theatre(kept, tmp_path) as made:
        yield made


@pytest.fixture(params=[False, True], ids=["", "with a death"])
def dies(request: pytest.FixtureRequest) -> bool:
    """Does the process die in the middle?"""
    return bool(request.param)


async def breaks_out(one: Stage, symbol: str = ETH, price: str = "2550") -> None:
    told = one.server.options.open_interest[symbol]
    one.interest_is(symbol, told.amount * 1.04)  # type: ignore[attr-defined]
    one.price(symbol, price)
    await one.minute(2_000)


async def holds(one: Stage) -> int:
    """Started and holding ETH, bought at about 2550; answers the lots."""
    await one.start()
    await one.minute(1_000)
    await one.minute(1_000)
    await breaks_out(one)
    assert one.held(ETH) == one.lots(ETH) > 0
    return one.held(ETH)


async def perhaps_dies(one: Stage, dies: bool) -> None:
    if dies:
        await one.restart()


async def has(one: Stage, lots: int, symbol: str = ETH) -> None:
    await one.until(lambda: one.held(symbol) == one.lots(symbol) == lots)


async def is_over(one: Stage, symbol: str = ETH) -> None:
    """Flat on both sides, and nothing of it stands any more."""
    await has(one, 0, symbol)
    await one.until(lambda: one.conditionals(symbol) == [])


def reason(one: Stage, symbol: str = ETH) -> tuple[str, str]:
    """(status, close reason) of the newest row."""
    rows = one.file.read(
        "SELECT status, close_reason FROM futures_positions WHERE symbol = ? ORDER BY id DESC LIMIT 1", symbol
    )
    return str(rows[0][0]), str(rows[0][1])


async def told(one: Stage, status: str, why: str, symbol: str = ETH) -> None:
    await one.until(lambda: reason(one, symbol) == (status, why))


def stop_of(one: Stage, symbol: str = ETH) -> tuple[int, str]:
    """(lots, trigger) of the sleeve's own stop."""
    ((_, lots, trigger, _),) = [r for r in one.conditionals(symbol) if r[0] == "STOP_MARKET" and not r[3]]
    return lots, trigger


def test_stages_fill_in_order_and_the_rest_trails(one: Stage, dies: bool) -> None:
    async def story(one: Stage) -> None:
        lots = await holds(one)
        stage = lots * 30 // 100
        one.price(ETH, "2735")
        await has(one, lots - stage)
        await perhaps_dies(one, dies)
        await one.until(lambda: stop_of(one)[0] == lots - stage)
        one.price(ETH, "2910")
        await has(one, lots - 2 * stage)
        await perhaps_dies(one, dies)
        one.price(ETH, "3000")
        await one.passes(3_000)
        assert one.held(ETH) == lots - 2 * stage
        one.price(ETH, "2905")  # 3 % below the peak
        await is_over(one)
        await told(one, "closed", "TRAILING")
        assert len({fill["orderId"] for fill in one.fills(ETH)}) == 4

    play(one, story)


def test_a_gap_over_two_stages_sells_both_and_no_more(one: Stage, dies: bool) -> None:
    async def story(one: Stage) -> None:
        lots = await holds(one)
        if dies:
            await one.kill()
        one.jump(ETH, "2950")
        if dies:
            await one.start()
        await has(one, lots - 2 * (lots * 30 // 100))
        await one.until(lambda: stop_of(one)[0] == one.held(ETH))
        trailing = [row for row in one.conditionals(ETH) if row[0] == "TRAILING_STOP_MARKET"]
        assert sum(row[1] for row in trailing) == one.held(ETH)

    play(one, story)


def test_break_even_after_ten_percent_of_the_margin(one: Stage, dies: bool) -> None:
    async def story(one: Stage) -> None:
        lots = await holds(one)
        before = stop_of(one)
        entry = float(one.fills(ETH)[0]["price"]) / 100
        one.price(ETH, f"{entry * 1.0155:.2f}")
        await one.passes(5_000)
        assert stop_of(one) == before, "9.3 % are not enough"
        one.price(ETH, f"{entry * 1.018:.2f}")
        await one.until(lambda: float(stop_of(one)[1]) > entry)
        assert float(stop_of(one)[1]) == pytest.approx(entry * 1.0015, abs=0.02)
        await perhaps_dies(one, dies)
        one.price(ETH, f"{entry * 1.002:.2f}")
        await one.passes(5_000)
        assert stop_of(one)[0] == lots
        assert float(stop_of(one)[1]) > entry, "it never goes back"
        one.price(ETH, f"{entry * 1.001:.2f}")
        await is_over(one)
        await told(one, "closed", "EXCHANGE_STOP")

    play(one, story)


def test_the_timeout_acts_without_any_price(one: Stage, dies: bool) -> None:
    """No marks, no candles, no klines over REST: after two hours it is sold all the same."""

    async def story(one: Stage) -> None:
        lots = await holds(one)
        opened_ms = one.fills(ETH)[0]["time"]
        await one.passes(115 * 60_000)
        one.is_silent = True
        one.server.faults.add(
            Fault(kind="reply", http=503, body="no market", route="GET /fapi/v1/klines", count=-1)
        )
        await perhaps_dies(one, dies)
        await one.passes(opened_ms + 119 * 60_000 - one.loop.now_ms)
        assert one.held(ETH) == lots
        await one.passes(3 * 60_000)
        assert one.held(ETH) == 0
        await told(one, "closed", "TIMEOUT")

    play(one, story)


def test_closed_in_the_app(one: Stage, dies: bool) -> None:
    async def story(one: Stage) -> None:
        await holds(one)
        if dies:
            await one.kill()
        one.person("close", symbol=ETH)
        if dies:
            await one.start()
        await is_over(one)
        await told(one, "closed", "MANUAL")

    play(one, story)


def test_part_of_it_closed_in_the_app(one: Stage, dies: bool) -> None:
    """What is left keeps a stop of its size, and exits that never sell more than is held."""

    async def story(one: Stage) -> None:
        lots = await holds(one)
        if dies:
            await one.kill()
        one.person("close_part", symbol=ETH)
        if dies:
            await one.start()
        left = lots - -(-lots // 2)
        await has(one, left)
        await one.until(lambda: stop_of(one)[0] == left)
        exits = [row for row in one.conditionals(ETH) if row[0] != "STOP_MARKET"]
        assert sum(row[1] for row in exits) == left
        one.price(ETH, "2735")
        await one.until(lambda: one.held(ETH) < left)
        await one.until(lambda: one.held(ETH) == one.lots(ETH))

    play(one, story)


def test_liquidated(one: Stage, dies: bool) -> None:
    """Somebody took every stop back, and the price fell through before one could be put back."""

    async def story(one: Stage) -> None:
        await holds(one)
        if dies:
            await one.kill()
        one.person("cancel_all", symbol=ETH)
        one.jump(ETH, "2050")
        if dies:
            await one.start()
        await is_over(one)
        await told(one, "liquidated", "LIQUIDATION")

    play(one, story)


def test_the_day_is_over_while_risk_is_open(kept: Files, tmp_path: Path, dies: bool) -> None:
    """One position loses more than the day may; the other one is managed on, nothing more is bought."""
    config = """
account: {balance_usdt: 10000, leverage: 6, margin_mode: isolated}
risk: {daily_loss_limit: 0.03}
oi: {initial_balance_usdt: 8000}
"""

    async def story(one: Stage) -> None:
        await holds(one)
        await breaks_out(one, "SOLUSDT", "153")
        assert one.lots("SOLUSDT") > 0
        one.price(ETH, "2255")
        await is_over(one)
        await one.until(lambda: one.desk.money.breaker.is_tripped)
        await perhaps_dies(one, dies)
        assert one.desk.money.breaker.is_tripped
        lots = one.held("SOLUSDT")
        await one.minute(1_000)
        await breaks_out(one, "BTCUSDT", "51000")
        assert one.code("BTCUSDT") == "PASSED"
        assert one.held("BTCUSDT") == 0
        s = one.universe.symbols.index("BTCUSDT")
        assert VERDICT_NAMES[int(one.books.heads[0, s].verdict)] == "DAILY_LOSS"
        one.price("SOLUSDT", "164.1")
        await has(one, lots - lots * 30 // 100, "SOLUSDT")

    with theatre(kept, tmp_path, config) as one:
        play(one, story)


def test_a_death_between_the_entry_and_its_exits(one: Stage) -> None:
    """The process dies as soon as the exchange has filled the entry: the next one gives it its stop and stages."""

    async def story(one: Stage) -> None:
        await one.start()
        await one.minute(1_000)
        await one.minute(1_000)
        one.interest_is(ETH, 1.04e5)
        one.price(ETH, "2550")
        incarnation = one.process.incarnation
        one.network.on_request = lambda sent, answer: (
            one.loop.kill(incarnation) if sent.path == "/fapi/v1/order" and sent.method == "POST" else None
        )
        await one.minute(500)
        assert incarnation.is_dead
        one.network.on_request = None
        lots = one.held(ETH)
        assert lots > 0
        assert one.conditionals(ETH) == []
        await one.start()
        await has(one, lots)
        await one.until(lambda: len(one.conditionals(ETH)) == 5)
        assert stop_of(one)[0] == lots
        assert len(one.fills(ETH)) == 1

    play(one, story)
