"""What the account holds as REST says it: complete, exact, and an error where it is neither."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.contract.binance_desk import BinanceDesk, binance_desk
from tests.contract.venue_suite import START, order, trades

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import truth
from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.errors import ExchangeRefused, ExchangeUnreachable, MalformedAnswer
from perpdesk.adapters.binance.limits import Cost, Lane
from perpdesk.domain.order import PositionSide
from perpdesk.exchange.core import closing
from perpdesk.exchange.faults import Fault
from perpdesk.kernel.records import BUY, LIMIT, MARKET, NONE, SELL, STOP, TAKE_PROFIT, TRAILING
from perpdesk.ports import ExternalTraded, LiveVenue, OrderGone, Outcome, VenueFill

BY_HAND = Endpoint("POST", "/fapi/v1/order", Cost(0), signed=True)
DAY_MS = 86_400_000


async def by_hand(desk: BinanceDesk, side: str, lots: int, client_id: str = "web_1", **more: str) -> None:
    """An order of a person in the app."""
    params = [("symbol", "BTCUSDT"), ("side", side), ("type", "MARKET"), ("quantity", f"0.{lots:03d}")]
    reply = await desk.rest.send(
        BY_HAND, [*params, ("newClientOrderId", client_id), *more.items()], Lane.QUERY
    )
    assert reply.is_success, reply.text


def strike(desk: BinanceDesk, kind: str, route: str, **more: Any) -> None:
    desk.server.faults.add(Fault(kind=kind, route=route, **more))


def forced(desk: BinanceDesk, client_id: str, lots: int, price: int = START) -> None:
    """The exchange closes so many lots by an order of its own."""
    world, now_ms = desk.server.world, desk.server.now_ms()
    account = world.accounts[0]
    (position,) = account.held()
    one = closing.order(world, account, position, lots, price, client_id, now_ms)
    closing.against_market(world, account, one, price, 0, now_ms)
    desk.server.flush()


async def fills(desk: BinanceDesk, since_ms: int = 0) -> list[VenueFill]:
    return await desk.venue.fills_since(0, since_ms or desk.server.now_ms() - DAY_MS)


def a_live_venue(desk: BinanceDesk) -> LiveVenue:
    """What mypy is asked for: the venue is a LiveVenue."""
    return desk.venue


# -- fills -------------------------------------------------------------------------------------------


async def test_fills_are_told_with_the_client_id_of_their_order() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        await by_hand(desk, "SELL", 4, "web_77")
        told = await fills(desk)
        assert [(one.client_id, one.side, one.lots) for one in told] == [
            ("entry", BUY, 10),
            ("web_77", SELL, 4),
        ]
        assert sum(one.fee_e8 for one in told) == desk.server.ledger(0)["fees_e8"]
        assert sum(one.realised_e8 for one in told) == desk.server.ledger(0)["realised_e8"]
        assert {one.position_side for one in told} == {PositionSide.BOTH}
        streamed = {one.trade_id for one in await desk.move(START) if hasattr(one, "trade_id")}
        assert streamed == {one.trade_id for one in told}


async def test_a_stop_from_before_this_process_is_told_by_its_own_client_id() -> None:
    """After a restart nothing is known of the order that it became."""
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY))
        await desk.venue.place(order("stop", STOP, SELL, START - 2_000, slot=1, reduce_only=True))
        await desk.move(START - 2_500)
        again = truth.AccountTruth(desk.rest, desk.venue.rules, type(desk.venue._known)())
        told = await again.fills_since(0, desk.server.now_ms() - DAY_MS)
        assert [one.client_id for one in told] == ["entry", "stop"]


async def test_a_child_with_another_client_id_is_found_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY))
        await desk.venue.place(order("stop", STOP, SELL, START - 2_000, slot=1, reduce_only=True))
        await desk.move(START - 2_500)
        for one in desk.server.world.accounts[0].orders.values():
            if one.client_id == "stop":
                one.client_id = "made-by-the-exchange"
        again = truth.AccountTruth(desk.rest, desk.venue.rules, type(desk.venue._known)())
        told = await again.fills_since(0, desk.server.now_ms() - DAY_MS)
        assert [one.client_id for one in told] == ["entry", "stop"]


@pytest.mark.parametrize("page", [1, 2, 3, 7, 1_000])
async def test_fills_come_page_by_page_and_complete(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(truth, "PAGE", page)
    async with binance_desk() as desk:
        for i in range(7):
            await by_hand(desk, "BUY", 2 + i, f"web_{i}")
        told = await fills(desk)
        assert [one.lots for one in told] == [2, 3, 4, 5, 6, 7, 8]
        assert len({one.trade_id for one in told}) == 7


@pytest.mark.parametrize("days", [0, 6, 8, 20])
async def test_fills_are_found_however_long_ago_the_reader_looks(days: int) -> None:
    async with binance_desk(recv_window_mode="skip") as desk:
        since_ms = desk.server.now_ms() - 60_000
        await by_hand(desk, "BUY", 5, "web_old")
        desk.server.skip_time(days * DAY_MS)
        await desk.rest.sync_time()
        await by_hand(desk, "SELL", 2, "web_new")
        told = await desk.venue.fills_since(0, since_ms)
        assert [one.client_id for one in told] == ["web_old", "web_new"]
        later = await desk.venue.fills_since(0, desk.server.now_ms() - 60_000)
        assert [one.client_id for one in later] == (["web_old", "web_new"] if days == 0 else ["web_new"])


async def test_no_fills_are_an_empty_list() -> None:
    async with binance_desk() as desk:
        assert await fills(desk) == []
        assert await desk.venue.fills_since(0, desk.server.now_ms() + 5_000) == []


async def test_fills_of_an_order_that_the_exchange_denies_are_not_taken_for_a_strangers() -> None:
    async with binance_desk() as desk:
        await by_hand(desk, "BUY", 5, "web_1")
        strike(desk, "hide", "GET /fapi/v1/order", ms=60_000)
        assert [one.client_id for one in await fills(desk)] == ["web_1"], "the list has it"
    async with binance_desk() as desk:
        await by_hand(desk, "BUY", 5, "web_1")
        strike(desk, "hide", "GET /fapi/v1/order", ms=60_000)
        strike(desk, "hide", "GET /fapi/v1/allOrders", ms=60_000)
        with pytest.raises(ExchangeUnreachable, match="has fills and is denied"):
            await fills(desk)


async def test_a_short_page_is_found_out_by_the_order() -> None:
    """Two fills of one order, of which the history has one: nothing is told."""
    async with binance_desk() as desk:
        desk.server.set_book("BTCUSDT", {"50000.1": "0.004", "50000.2": "1", "49999.9": "1"})
        await by_hand(desk, "BUY", 10)
        account = desk.server.world.accounts[0]
        assert len(account.fills) == 2
        lost = account.fills.pop()
        with pytest.raises(MalformedAnswer, match="executed 10 lots, its fills say 4"):
            await fills(desk)
        account.fills.append(lost)
        assert sum(one.lots for one in await fills(desk)) == 10


async def test_fees_in_another_asset_are_told_in_the_quote_currency() -> None:
    async with binance_desk(prices={"BTCUSDT": "50000", "ETHUSDT": "2500", "SOLUSDT": "150"}) as desk:
        await by_hand(desk, "BUY", 10)
        fee_e8 = (await fills(desk))[0].fee_e8
        assert fee_e8 == desk.server.ledger(0)["fees_e8"] > 0
        rows = await desk.rest.ask(to.USER_TRADES, (("symbol", "BTCUSDT"),))
        reader = truth.AccountTruth(desk.rest, desk.venue.rules, desk.venue._known)
        priced = reader._fill(0, rows[0], "x", {"USDT": "2.5"})
        assert priced.fee_e8 == fee_e8 * 5 // 2


# -- what people and the exchange do ---------------------------------------------------------------------


async def test_a_human_partial_close_a_reversal_and_an_addition() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        for side, lots, held in (("SELL", 4, 6), ("BUY", 2, 8), ("SELL", 15, -7), ("BUY", 7, 0)):
            await by_hand(desk, side, lots, f"web_{lots}")
            legs = await desk.venue.legs()
            assert [leg.lots for leg in legs] == ([held] if held else [])
            told = await fills(desk)
            assert sum(one.side * one.lots for one in told) == held
            assert told[-1].client_id == f"web_{lots}"


async def test_a_liquidation_is_told_by_its_client_id() -> None:
    async with binance_desk(balance="100") as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=15))
        await desk.move(START, 430_000)
        told = await fills(desk)
        assert await desk.venue.legs() == []
        assert sum(one.side * one.lots for one in told) == 0
        assert all(one.client_id.startswith("autoclose-") for one in told[1:])


@pytest.mark.parametrize("client_id", ["adl_autoclose", "settlement_autoclose-17"])
async def test_deleveraging_and_settlement_are_told_by_their_client_ids(client_id: str) -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        forced(desk, client_id, 10)
        told = await fills(desk)
        assert [one.client_id for one in told] == ["entry", client_id]
        assert await desk.venue.legs() == []


# -- positions ---------------------------------------------------------------------------------------


async def test_a_leg_says_what_the_exchange_says() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, SELL, lots=10))
        (leg,) = await desk.venue.legs()
        assert (leg.symbol, leg.name, leg.lots, leg.position_side) == (0, "BTCUSDT", -10, PositionSide.BOTH)
        (fill,) = await fills(desk)
        assert leg.entry_price == fill.price
        assert leg.mark_price == START
        assert leg.liquidation_price > START
        assert leg.updated_ms == fill.ms
        assert leg.isolated is False
        assert leg.margin_e8 > 0


async def test_a_position_outside_the_universe_is_told_by_its_name() -> None:
    async with binance_desk() as desk:
        params = (("symbol", "ETHUSDT"), ("side", "SELL"), ("type", "MARKET"), ("quantity", "0.100"))
        await desk.rest.send(BY_HAND, params, Lane.QUERY)
        (leg,) = await desk.venue.legs()
        assert (leg.symbol, leg.name, leg.lots) == (-1, "ETHUSDT", -10_000_000)


async def test_an_isolated_leg_says_so() -> None:
    async with binance_desk() as desk:
        params = (("symbol", "BTCUSDT"), ("marginType", "ISOLATED"))
        await desk.rest.ask(to.MARGIN_TYPE, params)
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        (leg,) = await desk.venue.legs()
        assert leg.isolated is True
        assert (await desk.venue.settings()).isolated[0] is True


async def test_hedge_mode_has_two_legs() -> None:
    async def hedge(_: object, rest: Any) -> None:
        await rest.sync_time()
        await rest.ask(to.POSITION_MODE_SET, (("dualSidePosition", True),))

    async with binance_desk(prepare=hedge) as desk:
        await by_hand(desk, "BUY", 10, "web_1", positionSide="LONG")
        await by_hand(desk, "SELL", 3, "web_2", positionSide="SHORT")
        legs = {leg.position_side: leg.lots for leg in await desk.venue.legs()}
        assert legs == {PositionSide.LONG: 10, PositionSide.SHORT: -3}
        told = {one.client_id: one.position_side for one in await fills(desk)}
        assert told == {"web_1": PositionSide.LONG, "web_2": PositionSide.SHORT}
        answer = await desk.venue.close_position_stop(0, "grd-1-a-dz-0", SELL, START - 5_000)
        assert answer.outcome is Outcome.ACCEPTED
        (stop,) = await desk.venue.open_orders()
        assert (stop.close_position, stop.reduce_only, stop.side) == (True, True, SELL)
        assert (await desk.venue.limit_ioc(0, "s1-1-a-xm-0", BUY, 3)).outcome is Outcome.ACCEPTED
        assert [leg.lots for leg in await desk.venue.legs()] == [10]
        assert (await desk.venue.settings()).hedge is True


# -- orders ------------------------------------------------------------------------------------------


async def test_open_orders_are_those_of_both_books_in_our_units() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=20))
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000, lots=7))
        await desk.venue.place(order("stop", STOP, SELL, START - 2_000, lots=5, reduce_only=True))
        await desk.venue.place(order("take", TAKE_PROFIT, SELL, START + 2_000, lots=5, reduce_only=True))
        await desk.venue.place(
            order(
                "trail",
                TRAILING,
                SELL,
                lots=4,
                reduce_only=True,
                activation=START + 3_000,
                callback_ppm=5_000,
            )
        )
        await desk.venue.close_position_stop(0, "grd-1-a-dz-0", SELL, START - 40_003)
        found = {one.client_id: one for one in await desk.venue.open_orders()}
        shapes = {
            name: (one.kind, one.side, one.price, one.lots, one.reduce_only, one.is_conditional)
            for name, one in found.items()
        }
        assert shapes == {
            "rest": (LIMIT, BUY, START - 1_000, 7, False, False),
            "stop": (STOP, SELL, START - 2_000, 5, True, True),
            "take": (TAKE_PROFIT, SELL, START + 2_000, 5, True, True),
            "trail": (TRAILING, SELL, 0, 4, True, True),
            "grd-1-a-dz-0": (STOP, SELL, START - 40_003, 0, found["grd-1-a-dz-0"].reduce_only, True),
        }
        assert (found["trail"].activation, found["trail"].callback_ppm) == (START + 3_000, 5_000)
        assert [name for name, one in found.items() if one.close_position] == ["grd-1-a-dz-0"]
        assert all(abs(one.placed_ms - desk.server.now_ms()) < 60_000 for one in found.values())


async def test_a_partly_filled_order_has_what_is_left() -> None:
    async with binance_desk() as desk:
        desk.server.set_book("BTCUSDT", {"50000.1": "0.004", "49999.9": "1"})
        await desk.venue.place(order("rest", LIMIT, BUY, START + 1, lots=10))
        (found,) = await desk.venue.open_orders()
        assert (found.client_id, found.lots, found.status) == ("rest", 6, "PARTIALLY_FILLED")


async def test_a_foreign_stop_limit_has_a_kind_of_its_own() -> None:
    async with binance_desk() as desk:
        params = (
            ("symbol", "BTCUSDT"), ("side", "SELL"), ("algoType", "CONDITIONAL"), ("type", "STOP"),
            ("quantity", "0.005"), ("price", "48000"), ("triggerPrice", "48500"), ("clientAlgoId", "web_9"),
        )  # fmt: skip
        reply = await desk.rest.send(to.ALGO, params, Lane.QUERY)
        assert reply.is_success, reply.text
        (found,) = await desk.venue.open_orders()
        assert (found.client_id, found.kind, found.price) == ("web_9", NONE, 485_000)


async def test_an_order_that_triggers_between_the_two_reads_is_told_once() -> None:
    """The conditional book is read first: what leaves it is in the other one."""
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        await desk.venue.place(order("stop", STOP, SELL, START - 2_000, lots=5, reduce_only=True))
        asked: list[str] = []
        ask = desk.rest.ask

        async def between(endpoint: Endpoint, *arguments: Any) -> Any:
            answer = await ask(endpoint, *arguments)
            asked.append(endpoint.path)
            if endpoint is to.OPEN_ALGOS_ALL:
                desk.server.set_book("BTCUSDT", {"50000.1": "1", "100": "0.001"})  # nobody takes it all
                desk.server.tick("BTCUSDT", "49700")
            return answer

        desk.rest.ask = between  # type: ignore[method-assign]
        found = await desk.venue.open_orders()
        assert asked == ["/fapi/v1/openAlgoOrders", "/fapi/v1/openOrders"]
        assert [one.client_id for one in found if one.client_id == "stop"] == ["stop"]


# -- the wallet --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [3, 4, 1_000])
async def test_income_is_complete_and_adds_up_to_the_wallet(
    monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    async with binance_desk(recv_window_mode="skip") as desk:
        desk.server.skip_time(1_000)  # the first balance is a booking too
        since_ms = desk.server.now_ms()
        opening_e8 = await desk.venue.wallet_e8()
        for i in range(4):
            await by_hand(desk, "BUY" if i % 2 == 0 else "SELL", 10, f"web_{i}")
            desk.server.skip_time(1_000)
        desk.server.deposit(0, "12.5")
        desk.server.skip_time(9 * DAY_MS)
        await desk.rest.sync_time()
        await by_hand(desk, "BUY", 10, "web_late")
        monkeypatch.setattr(truth, "PAGE", page)
        rows = await desk.venue.income_since(since_ms)
        assert opening_e8 + sum(row.amount_e8 for row in rows) == await desk.venue.wallet_e8()
        assert {"COMMISSION", "REALIZED_PNL", "TRANSFER"} <= {row.kind for row in rows}
        assert len({(row.kind, row.symbol, row.key) for row in rows}) == len(rows)
        assert [row.ms for row in rows] == sorted(row.ms for row in rows)


async def test_more_bookings_in_a_millisecond_than_a_page_holds_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(truth, "PAGE", 1)
    async with binance_desk() as desk:
        await by_hand(desk, "BUY", 10)
        await by_hand(desk, "SELL", 10)
        for row in desk.server.world.accounts[0].income:
            row["time"] = desk.server.now_ms() - 10
        with pytest.raises(MalformedAnswer, match="cannot be read"):
            await desk.venue.income_since(desk.server.now_ms() - DAY_MS)


async def test_a_crowded_millisecond_is_read_kind_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    async with binance_desk() as desk:
        opening_e8 = await desk.venue.wallet_e8()
        for i in range(4):
            await by_hand(desk, "BUY" if i % 2 == 0 else "SELL", 10, f"web_{i}")
        booked = desk.server.world.accounts[0].income
        fresh = [row for row in booked if row["incomeType"] in ("COMMISSION", "REALIZED_PNL")]
        for row in fresh:
            row["time"] = desk.server.now_ms() - 10
        monkeypatch.setattr(truth, "PAGE", len(fresh) - 1)
        rows = await desk.venue.income_since(desk.server.now_ms() - 11)
        rows = [row for row in rows if row.kind != "TRANSFER"]
        assert len(rows) == len(fresh)
        assert opening_e8 + sum(row.amount_e8 for row in rows) == await desk.venue.wallet_e8()


# -- answers that are none ---------------------------------------------------------------------------

READS: dict[str, tuple[str, Callable[[BinanceDesk], Awaitable[object]]]] = {
    "legs": ("GET /fapi/v3/positionRisk", lambda desk: desk.venue.legs()),
    "orders": ("GET /fapi/v1/openOrders", lambda desk: desk.venue.open_orders()),
    "algos": ("GET /fapi/v1/openAlgoOrders", lambda desk: desk.venue.open_orders()),
    "fills": ("GET /fapi/v1/userTrades", lambda desk: fills(desk)),
    "income": (
        "GET /fapi/v1/income",
        lambda desk: desk.venue.income_since(desk.server.now_ms() - DAY_MS),
    ),
    "settings": ("GET /fapi/v1/symbolConfig", lambda desk: desk.venue.settings()),
}
BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("garble", {"form": "truncate"}),
    ("garble", {"form": "html"}),
    ("garble", {"form": "empty"}),
    ("garble", {"form": "binary"}),
    ("drop-req", {}),
    ("drop-resp", {}),
    ("reply", {"http": 503, "body": "Service Unavailable."}),
    ("reply", {"http": 400, "code": -1001, "msg": "Internal error"}),
    ("reply", {"http": 200, "body": '{"code":-1000,"msg":"?"}'}),
    ("reply", {"http": 200, "body": '[{"symbol":"BTCUSDT"}]'}),
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("kind", "more"), BROKEN, ids=[f"{k}-{'-'.join(map(str, m.values()))[:20]}" for k, m in BROKEN]
)
async def test_a_read_that_failed_raises(read: str, kind: str, more: dict[str, Any]) -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        route, ask = READS[read]
        strike(desk, kind, route, count=-1, **more)
        with pytest.raises((ExchangeUnreachable, ExchangeRefused)):
            await ask(desk)


@pytest.mark.parametrize(
    "row",
    [
        {"positionAmt": "NaN"},
        {"positionAmt": "0.0005"},
        {"positionAmt": "1E-3x"},
        {"positionSide": "SIDEWAYS"},
        {"entryPrice": "-1e400"},
    ],
)
async def test_a_position_row_that_cannot_be_read_makes_the_answer_unreadable(row: dict[str, str]) -> None:
    async with binance_desk() as desk:
        good = {"symbol": "BTCUSDT", "positionAmt": "0.010", "entryPrice": "50000.0", "positionSide": "BOTH"}
        body = msgspec.json.encode([good | row]).decode()
        strike(desk, "reply", "GET /fapi/v3/positionRisk", http=200, body=body)
        with pytest.raises(MalformedAnswer, match="cannot be read"):
            await desk.venue.legs()


async def test_two_rows_of_one_position_are_an_error() -> None:
    async with binance_desk() as desk:
        row = '{"symbol":"BTCUSDT","positionAmt":"0.010","entryPrice":"5","positionSide":"BOTH"}'
        strike(desk, "reply", "GET /fapi/v3/positionRisk", http=200, body=f"[{row},{row}]")
        with pytest.raises(MalformedAnswer, match="two rows"):
            await desk.venue.legs()


async def test_fills_of_another_symbol_are_an_error() -> None:
    async with binance_desk() as desk:
        await by_hand(desk, "BUY", 5)
        rows = await desk.rest.ask(to.USER_TRADES, (("symbol", "BTCUSDT"),))
        body = msgspec.json.encode(rows).decode().replace("BTCUSDT", "ETHUSDT")
        strike(desk, "reply", "GET /fapi/v1/userTrades", http=200, body=body)
        with pytest.raises(MalformedAnswer, match="got ETHUSDT"):
            await fills(desk)


# -- last resorts ------------------------------------------------------------------------------------


async def test_the_disaster_stop_closes_everything_on_the_mark_and_belongs_to_no_sleeve() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        answer = await desk.venue.close_position_stop(0, "grd-1-a-dz-0", SELL, START - 3_000)
        assert answer.outcome is Outcome.ACCEPTED
        resting = await desk.rest.ask(to.ALGO_QUERY, (("clientAlgoId", "grd-1-a-dz-0"),))
        assert (resting.working_type, resting.trigger_price) == ("MARK_PRICE", "49700.0")
        second = await desk.venue.close_position_stop(0, "grd-1-a-dz-1", SELL, START - 4_000)
        assert (second.outcome, second.code) == (Outcome.REFUSED, -4130)
        await by_hand(desk, "BUY", 5)
        told = await desk.move(START - 3_500)
        closes = [one for one in told if isinstance(one, ExternalTraded) and one.side == SELL]
        assert [(one.client_id, one.lots) for one in closes] == [("grd-1-a-dz-0", 15)]
        assert [one.client_id for one in trades(told)] == ["entry"]
        assert await desk.venue.legs() == []


async def test_a_disaster_stop_that_a_person_cancels_is_told_as_gone() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        await desk.venue.close_position_stop(0, "grd-1-a-dz-0", SELL, START - 3_000)
        await desk.rest.send(to.CANCEL_OPEN_ALGOS, (("symbol", "BTCUSDT"),), Lane.QUERY)
        told = await desk.move(START)
        assert [(one.client_id, one.sleeve) for one in told if isinstance(one, OrderGone)] == [
            ("grd-1-a-dz-0", -1)
        ]


async def test_a_disaster_stop_behind_the_market_is_refused() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        answer = await desk.venue.close_position_stop(0, "grd-1-a-dz-0", SELL, START + 100)
        assert (answer.outcome, answer.code) == (Outcome.REFUSED, -2021)
        assert desk.rest.governor.conditional_free("test", Lane.CLOSE) == 200


@pytest.mark.parametrize("side", [BUY, SELL])
async def test_the_limit_closes_where_the_market_order_is_refused(side: int) -> None:
    def place_of(client_id: str) -> tuple[int, int] | None:
        return (0, 2) if client_id.startswith("s1-") else None

    async with binance_desk(place_of=place_of) as desk:
        await desk.venue.place(order("entry", MARKET, side, lots=10))
        best = "48100" if side == BUY else "51900"  # beyond what a market order may take, inside the band
        desk.server.contract("BTCUSDT").take_bound_ppm = 10_000
        desk.server.set_book("BTCUSDT", {best: "1", ("60000" if side == BUY else "40000"): "1"})
        refused = await desk.venue.place(order("close", MARKET, -side, lots=10, reduce_only=True))
        assert (refused.outcome, refused.code) == (Outcome.REFUSED, -4131)
        answer = await desk.venue.limit_ioc(0, "s1-1-a-xm-1", -side, 10)
        assert answer.outcome is Outcome.ACCEPTED, answer.reason
        await desk.all_told()
        (close,) = [one for one in trades(desk.told) if one.client_id == "s1-1-a-xm-1"]
        assert (close.sleeve, close.slot, close.lots) == (0, 2, 10)
        assert await desk.venue.legs() == []
        assert await desk.venue.open_orders() == []


async def test_the_limit_never_opens_anything() -> None:
    async with binance_desk() as desk:
        answer = await desk.venue.limit_ioc(0, "s1-1-a-xm-1", SELL, 10)
        assert (answer.outcome, answer.code) == (Outcome.REFUSED, -2022)
        assert await desk.venue.legs() == []


async def test_without_a_mark_there_is_no_limit() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=10))
        strike(desk, "garble", "GET /fapi/v1/premiumIndex", form="html")
        answer = await desk.venue.limit_ioc(0, "s1-1-a-xm-1", SELL, 10)
        assert answer.outcome is Outcome.REFUSED
        assert "the band is not known" in answer.reason


# -- small things ------------------------------------------------------------------------------------


async def test_free_slots_count_foreign_orders_too() -> None:
    async with binance_desk() as desk:
        before = await desk.venue.free_conditional_slots()
        params = (
            ("symbol", "BTCUSDT"), ("side", "SELL"), ("algoType", "CONDITIONAL"), ("type", "STOP_MARKET"),
            ("quantity", "0.005"), ("triggerPrice", "48500"), ("clientAlgoId", "web_9"),
        )  # fmt: skip
        await desk.rest.send(to.ALGO, params, Lane.QUERY)
        assert await desk.venue.free_conditional_slots() == before - 1


async def test_the_venue_is_out_of_reach_after_lost_answers_and_in_a_ban() -> None:
    async with binance_desk() as desk:
        assert a_live_venue(desk).reachable()
        strike(desk, "drop-resp", "GET /fapi/v3/positionRisk", count=3)
        for i in range(3):
            assert desk.venue.reachable()
            with pytest.raises(ExchangeUnreachable):
                await desk.venue.legs()
            assert desk.venue.reachable() is (i < 2)
        await desk.venue.legs()
        assert desk.venue.reachable()
        strike(desk, "reply", "GET /fapi/v3/positionRisk", http=418, code=-1003, msg="banned")
        with pytest.raises(ExchangeRefused):
            await desk.venue.legs()
        assert not desk.venue.reachable()


async def test_exchange_time_is_the_exchanges() -> None:
    async with binance_desk(recv_window_mode="skip") as desk:
        desk.server.step_clock(5_000)
        await desk.rest.sync_time()
        assert abs(desk.venue.exchange_ms() - desk.server.shown_ms()) < 500
