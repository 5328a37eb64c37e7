"""The vectors V1 … V24 of the specification; the layers of V23 are in tests/config/test_volume.py."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.strategies.volume_target.build import D, new_pair

from perpdesk.domain.errors import InputError, Refused
from perpdesk.strategies.volume_target import guards, losses, prices, volume
from perpdesk.strategies.volume_target.facts import Fill, Leg, Order, Seen
from perpdesk.strategies.volume_target.modes import (
    CountSide,
    MulPointMode,
    PriceMode,
    TargetScope,
    convert,
    local_volume,
    mul_point,
    unit,
)
from perpdesk.strategies.volume_target.pair import counted_by_day
from perpdesk.strategies.volume_target.prices import TokenRules
from perpdesk.strategies.volume_target.self_trade import Quotes, TokenBook, ask
from perpdesk.strategies.volume_target.start import StartPlan, start_plan
from perpdesk.strategies.volume_target.volume import Claims, Day

REAL, CREDITED, LEGACY = MulPointMode
PROFIT, ON_BUY, ON_MARKET = PriceMode


def pairs(mode: MulPointMode, missing: str, m: str, amount: str = "30") -> int:
    return volume.loop_count(D(missing), unit(mode, D(amount), D(m), 1))


@pytest.mark.parametrize(
    ("missing", "m", "legacy", "real", "credited"),
    [
        ("1500", "4", 200, 50, 13),
        ("50", "4", 7, 2, 1),
        ("1000", "1", 34, 34, 34),
        ("100", "1", 4, 4, 4),
        ("10000", "4", 1334, 334, 84),
        ("20", "4", 3, 1, 1),
    ],
)
def test_v1_loop_counts(missing: str, m: str, legacy: int, real: int, credited: int) -> None:
    assert pairs(LEGACY, missing, m) == legacy
    assert pairs(REAL, missing, m) == real
    assert pairs(CREDITED, missing, m) == credited


def test_v2_the_rest_is_rounded_up_and_nothing_is_nothing() -> None:
    assert [pairs(REAL, rest, "1") for rest in ("30", "30.00000001", "0")] == [1, 2, 0]


def test_v3_what_each_mode_does_to_a_display() -> None:
    def plan(mode: MulPointMode) -> tuple[Decimal, Decimal, int]:
        shown = convert(mode, D(8500), D(4))
        missing = volume.remaining(D(10000), shown)
        return shown, missing, volume.loop_count(missing, unit(mode, D(30), D(4), 1))

    assert plan(REAL) == (2125, 7875, 263)
    assert plan(CREDITED) == (8500, 1500, 13)
    assert 8500 + 13 * 30 * 4 == 10060
    assert plan(LEGACY) == (8500, 1500, 200)
    assert 8500 + 200 * 30 * 4 == 32500


def test_v4_users_at_the_target_are_skipped() -> None:
    readings = {1: D(8500), 2: D(10200), 3: D(0), 4: D(10000)}
    plan = start_plan([1, 2, 3, 4], readings, dict.fromkeys(readings, D(10000)), TargetScope.PER_USER)
    assert plan == StartPlan(skipped=(2, 4), queued=(1, 3))


def test_a_failed_query_skips_nobody_at_the_start() -> None:
    readings = {1: None, 2: D(10000)}
    targets = {1: D(10000), 2: D(10000)}
    assert start_plan([1, 2], readings, targets, TargetScope.PER_USER).queued == (1,)
    assert start_plan([1, 2], readings, targets, TargetScope.ALL_USERS).queued == (1, 2)
    known = {1: D(1), 2: D(9999)}
    assert start_plan([1, 2], known, targets, TargetScope.ALL_USERS).skipped == (1, 2)


@pytest.mark.parametrize(("shown", "count"), [("9925", 10), ("9950", 7), ("9980", 3)])
def test_v5_the_documents_requery(shown: str, count: int) -> None:
    missing = volume.remaining(D(10000), convert(LEGACY, D(shown), D(4)))
    assert volume.loop_count(missing, unit(LEGACY, D(30), D(4), 1)) == count


def test_v6_own_fills_count_where_the_counter_lags() -> None:
    day = Day(0, best=D(400), baseline=D(100), quote=D(630))
    first = volume.v_star(REAL, day, D(1))
    assert first == 730
    assert volume.remaining(D(1000), first) == 270
    second = volume.v_star(REAL, day.with_reading(D(760))[0], D(1))
    assert second is not None
    assert volume.remaining(D(1000), second) == 240


def test_v7_the_same_in_credited_volume() -> None:
    day = Day(0, best=D(8740), baseline=D(8500), quote=D("299.1"))
    found = volume.v_star(CREDITED, day, D(4))
    assert found == D("9696.4")
    assert volume.remaining(D(10000), found) == D("303.6")


def quoted(mode: PriceMode, p: str, tick: str) -> tuple[Decimal, Decimal]:
    return prices.prices(mode, D(p), D("0.005"), D("0.01"), D(tick))


def test_v8_v9_v10_prices() -> None:
    assert quoted(PROFIT, "100", "0.001") == (D("100.500"), D("101.505"))
    assert quoted(PROFIT, "100", "0.01") == (D("100.50"), D("101.50"))
    assert quoted(ON_BUY, "100", "0.01") == (D("100.50"), D("99.49"))
    assert quoted(ON_MARKET, "100", "0.01") == (D("100.50"), D("99.00"))
    assert quoted(PROFIT, "0.22690469", "0.00000001") == (D("0.22803921"), D("0.23031960"))
    with pytest.raises(Refused, match="OFFSET_BELOW_TICK"):
        quoted(PROFIT, "0.0000123", "0.0000001")
    with pytest.raises(Refused, match="BAD_PRICE"):
        quoted(PROFIT, "0.001", "0.1")


def rules(step: str, **changes: str) -> TokenRules:
    found = {"tick": "0.01", "min_qty": step, "max_qty": "100000", "min_notional": "1", "taker_fee": "0.001"}
    numbers = {key: D(value) for key, value in {**found, **changes}.items()}
    return TokenRules(step=D(step), pending_by_venue=False, **numbers)  # type: ignore[arg-type]


def test_v11_quantities() -> None:
    assert prices.quantity(D(30), D("100.5"), D("0.0001")) == D("0.2985")
    assert D("0.2985") * D("100.5") == D("29.99925")
    assert prices.quantity(D(200), D("0.23"), D("0.01")) == D("869.56")
    assert D("869.56") * D("0.23") == D("199.9988")
    with pytest.raises(Refused, match="FILTER_MIN_QTY"):
        prices.plan_pair(PROFIT, D(100), D("0.005"), D("0.01"), D(30), rules("1"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"max_qty": "0.2"}, "FILTER_MAX_QTY"),
        ({"min_notional": "30"}, "FILTER_MIN_NOTIONAL"),
        ({"max_notional": "29"}, "FILTER_MAX_NOTIONAL"),
        ({"min_qty": "0.2985"}, "FILTER_MIN_QTY"),  # the SELL is smaller by the fee
    ],
)
def test_an_order_that_does_not_fit_is_refused(changes: dict[str, str], code: str) -> None:
    with pytest.raises(Refused, match=code):
        prices.plan_pair(PROFIT, D(100), D("0.005"), D("0.01"), D(30), rules("0.0001", **changes))


def test_what_a_plan_loses_at_its_limits() -> None:
    plan = prices.plan_pair(PriceMode.DISCOUNT_ON_BUY, D(100), D("0.005"), D("0.01"), D(30), rules("0.0001"))
    assert (plan.buy_price, plan.sell_price, plan.sell_qty) == (D("100.50"), D("99.49"), D("0.2982"))
    assert prices.planned_loss(plan, D("0.001")) == D("0.360999918")
    gains = prices.plan_pair(PROFIT, D(100), D("0.005"), D("0.01"), D(30), rules("0.0001"))
    assert prices.planned_loss(gains, D("0.001")) < 0


def test_the_percent_band() -> None:
    band = prices.Band(D("0.9"), D("1.004"), D("0.9"), D("1.1"))
    narrow = TokenRules(**{**_fields(rules("0.0001")), "band": band})
    with pytest.raises(Refused, match="FILTER_PERCENT_PRICE"):
        prices.plan_pair(PROFIT, D(100), D("0.005"), D("0.01"), D(30), narrow)
    assert prices.plan_pair(PROFIT, D(100), D("0.004"), D("0.01"), D(30), narrow).buy_price == D("100.40")


def _fields(one: TokenRules) -> dict[str, object]:
    return {name: getattr(one, name) for name in TokenRules.__slots__}


def fill(qty: str, price: str, commission: str, *, base: bool = False, trade: int = 1, ms: int = 0) -> Fill:
    quote = (D(qty) * D(price)).quantize(D("1e-8"), rounding="ROUND_DOWN")
    return Fill(trade, D(qty), D(qty), D(price), quote, ms, D(commission), base)


def filled(leg: Leg, *fills: Fill) -> Order:
    total = sum((one.qty for one in fills), D(0))
    return Order(leg.value, leg, total, None, seen=Seen.FILLED, cum_qty=total, fills=fills)


def test_v12_the_captured_pair() -> None:
    buy = filled(Leg.BUY, fill("869.56", "0.22690469", "0.086956", base=True))
    rest = fill("669.47", "0.22690468", "0.01519059", trade=2)
    sell = filled(Leg.SELL, fill("200", "0.22690468", "0.00453809"), rest)
    assert buy.quote == D("197.30724223")
    assert sell.quote == D("45.38093600") + D("151.90587611")
    assert prices.floor_to(D("869.56") - D("0.086956"), D("0.01")) == D("869.47")
    averages = [prices.floor_to(one.quote / one.qty, D("1e-9")) for one in (*buy.fills, *sell.fills)]
    assert averages == [D("0.226904689"), D("0.226904680"), D("0.226904679")]
    assert losses.residue((buy, sell)) == D("0.003044")
    loss = losses.pair_loss((buy, sell))
    assert loss == D("0.04015880")
    basis_points = volume.cost_bp(loss, buy.quote)
    assert basis_points is not None
    assert prices.floor_to(basis_points, D("0.001")) == D("2.035")


def test_v13_pending_quantity() -> None:
    assert prices.pending_quantity(D("0.2985"), D("0.001"), D("0.0001")) == D("0.2982")


@pytest.mark.parametrize(
    ("low", "high", "calm"), [("100", "105", True), ("100", "105.01", False), ("0.5", "0.5251", False)]
)
def test_v14_volatility(low: str, high: str, calm: bool) -> None:
    assert guards.is_calm((D(low), D(high)), D("0.05")) is calm


def test_volatility_that_is_not_known_is_not_calm() -> None:
    assert not guards.is_calm(None, D("0.05"))
    assert not guards.is_calm((D(0), D(1)), D("0.05"))
    assert guards.volatility(D(0), D(1)) is None
    assert guards.volatility(D(100), D(105)) == D("0.05")


def test_calm_must_last_ten_seconds() -> None:
    wild, calm = (D(100), D(106)), (D(100), D(101))
    allowed, blocked = guards.volatility_allows(wild, D("0.05"), None, 1_000)
    assert (allowed, blocked) == (False, 1_000)
    assert guards.volatility_allows(calm, D("0.05"), blocked, 10_999) == (False, 1_000)
    assert guards.volatility_allows(calm, D("0.05"), blocked, 11_000) == (True, None)


def test_v15_progress() -> None:
    assert volume.progress(D("1234.56"), D(16384)) == "7.53%"
    users = [D("456.78"), D("389.12"), D("388.66")]
    assert volume.progress_per_user(users, D(16384)) == "2.51%"
    assert volume.progress(D("16383.99"), D(16384)) == "99.99%"
    assert volume.progress(D(17000), D(16384)) == "100.00%"
    assert volume.progress_per_user([D(100), D(0)], D(50)) == "50.00%"


def test_v16_all_users_share_the_rest() -> None:
    units = [unit(REAL, D(amount), D(1), 1) for amount in (50, 30, 20)]
    assert volume.loop_count(D(16384), sum(units, D(0))) == 164
    assert volume.loop_count(D(16384), units[1]) == 547


def test_v17_claims() -> None:
    claims = Claims(D(16384), {1: D(16330), 2: D(0), 3: D(0)}, {})
    claims, first = claims.claim(1, D(50))
    claims, second = claims.claim(2, D(30))
    claims, third = claims.claim(3, D(20))
    assert (first, second, third) == (True, True, False)
    assert claims.claim(1, D(50))[1] is False
    settled = claims.settle(1, D("16330")).settle(2, D(0))
    assert settled.claim(3, D(20))[1] is True
    unknown = settled.settle(1, None)
    assert unknown.total() is None
    assert unknown.claim(3, D(20))[1] is False


def test_v18_a_timed_out_buy() -> None:
    buy = filled(Leg.BUY, fill("0.1013", "100.2", "0.0001013", base=True))
    held = losses.residue((buy,))
    exits = filled(Leg.EXIT, fill("0.1011", "99.9", "0.01009989"))
    assert prices.floor_to(held, D("0.0001")) == D("0.1011")
    assert losses.residue((buy, exits)) == D("0.0000987")
    assert losses.pair_loss((buy, exits)) == D("0.06046989")


def test_v19_open_loss() -> None:
    def held(bid: str) -> Decimal:
        quote, inventory = D("0.2985") * D("100.5"), D("0.2985") * D("0.999")
        return losses.open_loss(quote, D(0), D(0), inventory, D(bid), D("0.001"))

    assert held("97.20") == D("1.0430493858")
    assert held("97.35") == D("0.998363891025")


def test_v20_the_loss_of_a_day() -> None:
    assert losses.loss_allows(D("19.00"), D(1), D(20))
    assert not losses.loss_allows(D("19.10"), D(1), D(20))
    assert losses.day_loss([D(3), D(-5), D(2)]) == 2


@pytest.mark.parametrize(("sell", "allowed"), [("101.50", True), ("100.50", False), ("99.49", False)])
def test_v21_self_trade(sell: str, allowed: bool) -> None:
    book = TokenBook(live=(Quotes("other", 2, None, D(sell)),))
    assert ask(book, Quotes("mine", 1, D("100.50"), D("101.50")))[1] is allowed


def test_v22_price_age() -> None:
    assert guards.price_is_fresh(2000, 2000, 2000)
    assert not guards.price_is_fresh(2001, 0, 2000)
    assert not guards.price_is_fresh(0, 2001, 2000)
    assert not guards.price_is_fresh(0, None, 2000)


def test_v24_fills_belong_to_the_day_of_their_venue_time() -> None:
    day_ms = volume.DAY_MS
    pair = new_pair(day_ms - 200)
    before = Fill(1, D("0.149"), D("0.149"), D("100.5"), D(15), day_ms - 100, D(0))
    after = Fill(2, D("0.298"), D("0.149"), D("100.5"), D(15), day_ms + 100, D(0))
    for one in (after, before):
        pair = _with_buy(pair, pair.buy.with_fill(one))
    assert counted_by_day(pair, CountSide.BUY) == {0: D(15), 1: D(15)}
    assert counted_by_day(pair, CountSide.SELL) == {}


def _with_buy(pair, order):
    from dataclasses import replace

    return replace(pair, buy=order)


@pytest.mark.parametrize("value", [None, "4x", 0, "0", "-1", "", True, "NaN"])
def test_an_unknown_multiplier_is_never_one(value: object) -> None:
    with pytest.raises(Refused, match="MUL_POINT_UNKNOWN"):
        mul_point(value, "KOGE")


def test_multipliers() -> None:
    assert mul_point("2.5", "KOGE") == D("2.5")
    assert mul_point(4, "AOP") == 4
    assert local_volume(REAL, D(30), D(4)) == 30
    assert local_volume(CREDITED, D(30), D(4)) == 120
    assert local_volume(LEGACY, D(30), D(4)) == D("7.5")
    with pytest.raises(Refused, match="MUL_POINT_UNKNOWN"):
        convert(REAL, D(1), D(0))
    with pytest.raises(InputError, match="count_side"):
        unit(LEGACY, D(30), D(4), 2)
    assert unit(CREDITED, D(30), D(4), CountSide.BOTH.sides) == 240


def test_a_counter_that_goes_down_is_not_believed() -> None:
    day, down = Day(0).with_reading(D(500))
    assert not down
    day, down = day.with_reading(D(0))
    assert down
    assert (day.best, day.baseline) == (500, 500)
    day = day.with_fill(D(400))
    assert volume.v_star(REAL, day, D(1)) == 900
    assert volume.v_star(REAL, Day(0, quote=D(400)), D(1)) is None


def test_eta() -> None:
    assert volume.eta_seconds(10, volume.mean_pair_seconds([1000, 1000])) is None
    assert volume.eta_seconds(10, volume.mean_pair_seconds([9_000_000] + [1500] * 20)) == 15
    assert volume.eta_all_users(D(100), [(D(30), D(1)), (D(20), D(1))]) == 2
    assert volume.eta_all_users(D(100), [(D(30), D(1)), (D(20), None)]) is None
