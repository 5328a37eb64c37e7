"""The specification's vectors of the account: size, plan, the day's loss, the worst case, drawdown, weight."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpdesk.config import loads
from perpdesk.config.oi import WEIGHT_BESIDE
from perpdesk.domain.errors import ConfigError
from perpdesk.engine.guardian.breaker import Booking, Breaker, LossLimits, entry_risk_e8, position_risk_e8
from perpdesk.kernel.guard import trigger_price
from perpdesk.kernel.records import DAY_MS, QTY_ZERO, instrument_dt, position_dt, zeros
from perpdesk.kernel.sizing import entry_lots, size_verdict
from perpdesk.research.oi_report import max_drawdown
from perpdesk.strategies.oi_breakout.exits import disaster_ppm, liquidation_distance_ppm, stage_lots

E8 = 10**8
NOON = 20_000 * DAY_MS + DAY_MS // 2


def test_17_thirty_usdt_are_so_many_lots() -> None:
    notional_e8 = 30 * E8
    assert entry_lots(notional_e8, 0, 43_210_000) == 69  # a lot of 1 at 0.4321
    assert entry_lots(notional_e8, 0, 97 * E8) == 0  # a lot of 0.001 at 97,000
    assert size_verdict(0, 0, 1, 10**6, 5 * E8) == QTY_ZERO
    assert entry_lots(notional_e8, 0, 1_234_560) == 2430  # a lot of 1 at 0.0123456


def plan(entry: int, lots: int, liquidation: int, side: int, tick: int = 1, unit_e8: int = 10**4):
    """(stage lots, stage 1, stage 2, activation, break-even, distance of the last stop in ppm, last stop)."""
    position, instrument = zeros(1, position_dt)[0], zeros(1, instrument_dt)[0]
    position.lots, position.cost_e8 = side * lots, lots * entry * unit_e8
    instrument.tick, instrument.unit_e8 = tick, unit_e8
    far = disaster_ppm(liquidation_distance_ppm(entry, liquidation, 6, 25_000), 120_000, 800_000)

    def at(ppm: int) -> int:
        return int(trigger_price(position, instrument, ppm, side))

    return (
        stage_lots(lots, 300_000, 300_000), at(70_000), at(138_000), at(50_000), at(1_500), int(far), at(-int(far))
    )  # fmt: skip


def test_18_a_plan_on_the_tick_in_the_positions_favour() -> None:
    stages, first, second, activation, even, far, last = plan(4321, 69, 3640, 1)
    assert stages == (20, 20, 29)
    assert (first, second, activation, even) == (4624, 4918, 4538, 4328)
    assert liquidation_distance_ppm(4321, 3640, 6, 25_000) == 157_602
    assert (far, last) == (120_000, 3803)


@pytest.mark.parametrize(
    ("lots", "liquidation", "side", "stages", "prices", "far", "last"),
    [
        (10, 8400, 1, (3, 3, 4), (10_700, 11_380, 10_500, 10_015), 120_000, 8800),
        (3, 8400, 1, (0, 0, 3), (10_700, 11_380, 10_500, 10_015), 120_000, 8800),
        (10, 8583, 1, (3, 3, 4), (10_700, 11_380, 10_500, 10_015), 113_360, 8867),
        (10, 11_590, -1, (3, 3, 4), (9300, 8620, 9500, 9985), 120_000, 11_200),
    ],
)
def test_19_plans_at_a_hundred(
    lots: int,
    liquidation: int,
    side: int,
    stages: tuple[int, ...],
    prices: tuple[int, ...],
    far: int,
    last: int,
) -> None:
    got = plan(10_000, lots, liquidation, side)
    assert got[0] == stages
    assert got[1:5] == prices
    assert got[5:] == (far, last)


LIMITS = LossLimits(daily_loss_ppm=200_000, worst_case_ppm=500_000)


def day(realised: float, commission: float, funding: float, now: float, start: float) -> Breaker:
    """A day on a base of 50 that began with ``start`` unrealised."""
    one = Breaker(1, LIMITS)
    one.marked(NOON, round(start * E8), 50 * E8)
    if start < 0:  # a loss that is open at the first look counts from nothing; here the day began before
        one.unrealised_start_e8 = round(start * E8)
    for name, amount in (("r", realised), ("c", -commission), ("f", funding)):
        if amount:
            one.booked(Booking(name, NOON, round(amount * E8)))
    one.marked(NOON + 1, round(now * E8), 50 * E8)
    return one


def test_21_the_days_loss_from_the_ledger() -> None:
    assert day(-6, 0.5, 0, -3.5, 0).pnl_e8 == -10 * E8
    assert day(-6, 0.5, 0, -3.5, 0).is_tripped
    assert not day(-6, 0.5, 0, -3.49, 0).is_tripped
    third = day(-6, 0.5, 0.1, -3.5, 1)
    third.booked(Booking("t", NOON, -20 * E8, is_transfer=True))
    assert third.pnl_e8 == round(-10.9 * E8)
    assert third.is_tripped
    assert day(0, 0, 0, -12, -4).pnl_e8 == -8 * E8
    assert not day(0, 0, 0, -12, -4).is_tripped


def test_22_the_worst_case_of_five() -> None:
    """30 USDT at 12 % and 0.15 % costs: 3.645 each."""
    assert entry_risk_e8(30, 1, 120_000, E8) == 364_500_000
    assert position_risk_e8(300, 1000, 880, E8 // 10_000) == 364_500_000
    five = 5 * 364_500_000
    assert day(-2, 0, 0, 0, 0).why_not_open(five) is None
    assert day(-7, 0, 0, 0, 0).why_not_open(five) == "WORST_CASE"


def test_23_drawdown_of_closed_trades() -> None:
    fifty = Decimal(50)
    assert round(max_drawdown(fifty, [Decimal(x) for x in (2, -1, -3, 4, -2)]), 6) == Decimal("0.076923")
    assert max_drawdown(fifty, []) == 0
    assert max_drawdown(fifty, [Decimal(x) for x in (-1, -1, 5)]) == Decimal("0.04")


def test_24_planned_weight() -> None:
    assert 300 + WEIGHT_BESIDE == 356
    assert 560 + WEIGHT_BESIDE == 616
    with pytest.raises(ConfigError, match="at most 1144"):
        loads("oi: {max_monitored_symbols: 1150}")
