"""The ceilings before the wire."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.engine.guardian.cases import entry_order

from perpdesk.engine.guardian.limits import COMPILED_IN, Ceilings, WireLimits
from perpdesk.kernel.records import LIMIT, TRAILING

E8 = 100_000_000
BTC = SimpleNamespace(unit_e8=E8 // 1000, lots_max=10_000, market_lots_max=5_000)  # 0.001 a lot
MARK = 60_000


def limits(ceilings: Ceilings = COMPILED_IN, held: tuple[int, int] = (1, 0)) -> WireLimits:
    return WireLimits([BTC, BTC], {0}, lambda _: held, ceilings)


def why(order, *, mark: int = MARK, **more) -> str | None:
    return limits(**more).why_not(order, mark, 0)


LIMIT_AT = {"kind": LIMIT, "price": MARK}
REFUSALS = [
    ("a usual one", entry_order(lots=100), None),
    ("a limit in the collar", entry_order(lots=100, kind=LIMIT, price=48_000), None),
    ("a limit below the collar", entry_order(lots=100, kind=LIMIT, price=47_999), "ORDER_PRICE"),
    ("a limit above the collar", entry_order(lots=100, kind=LIMIT, price=72_001), "ORDER_PRICE"),
    ("a limit without a price", entry_order(lots=100, kind=LIMIT), "ORDER_PRICE"),
    ("a negative price", entry_order(lots=100, kind=LIMIT, price=-60_000), "ORDER_PRICE"),
    ("a symbol not listed", entry_order(1, lots=100), "SYMBOL_NOT_LISTED"),
    ("nothing", entry_order(lots=0), "ORDER_QUANTITY"),
    ("less than nothing", entry_order(lots=-5), "ORDER_QUANTITY"),
    ("too much for a market order", entry_order(lots=5_001), "ORDER_QUANTITY"),
    ("that much as a limit", entry_order(lots=5_001, **LIMIT_AT), None),
    ("too much for any order", entry_order(lots=10_001, **LIMIT_AT), "ORDER_QUANTITY"),
    ("leverage 21", entry_order(lots=1, leverage=21), "LEVERAGE_CAP"),
    ("leverage 0", entry_order(lots=1, leverage=0), "LEVERAGE_CAP"),
]


@pytest.mark.parametrize(("name", "order", "reason"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_refusals(name: str, order, reason: str | None) -> None:
    assert why(order) == reason


def test_no_mark_no_entry() -> None:
    assert why(entry_order(), mark=0) == "NO_MARK"


def test_the_notional_counts_at_the_higher_of_mark_and_price() -> None:
    low = Ceilings(order_notional_e8=6_000 * E8)
    assert why(entry_order(lots=100), ceilings=low) is None
    assert why(entry_order(lots=101), ceilings=low) == "ORDER_NOTIONAL"
    dear = entry_order(lots=100, kind=LIMIT, price=60_001)
    assert why(dear, ceilings=low) == "ORDER_NOTIONAL"
    cheap = entry_order(lots=100, side="sell", kind=LIMIT, price=59_000)
    assert why(cheap, ceilings=low) is None


def test_an_activation_is_a_price_too() -> None:
    far = replace(entry_order(lots=1, kind=TRAILING), activation=90_000, callback_ppm=10_000)
    assert why(far) == "ORDER_PRICE"


def test_positions_and_exposure_with_this_order_in_them() -> None:
    low = Ceilings(positions=3, exposure_e8=1_000)
    assert why(entry_order(), ceilings=low, held=(3, 1_000)) is None
    assert why(entry_order(), ceilings=low, held=(4, 0)) == "MAX_POSITIONS"
    assert why(entry_order(), ceilings=low, held=(3, 1_001)) == "EXPOSURE_LIMIT"


def test_a_configuration_cannot_raise_a_ceiling() -> None:
    """0.5 meant as 0.5 %, or a zero too many (CFG-02): the program's own limit stays."""
    wild = Ceilings(order_notional_e8=10**30, leverage=125, orders_per_minute=10**6, collar_ppm=10**9)
    assert limits(wild).ceilings == COMPILED_IN
    assert COMPILED_IN.lowered(leverage=125, positions=3) == replace(COMPILED_IN, positions=3)
    assert why(entry_order(lots=1, leverage=125), ceilings=wild) == "LEVERAGE_CAP"


def test_every_order_counts_within_its_minute() -> None:
    one = limits(Ceilings(orders_per_minute=3))
    for ms in (0, 100, 200):
        assert one.why_not(entry_order(), MARK, ms) is None
        one.sent(ms)
    assert one.why_not(entry_order(), MARK, 59_999) == "ORDER_RATE"
    assert one.why_not(entry_order(), MARK, 60_000) is None
    assert one.sent_in_all == 3
