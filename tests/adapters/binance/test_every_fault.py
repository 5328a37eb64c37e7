"""Every fault primitive of the simulated exchange, each with its effect as our client sees it.

One row of ``CASES`` is one primitive (and form): what is broken, and what must be seen then. Each row ends
with the same question: do wallet, position and fees of the client equal the exchange's ledger?
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.adapters.binance.test_venue import balances
from tests.contract.binance_desk import BinanceDesk, binance_desk
from tests.contract.venue_suite import START, order, trades

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import modes, standing, user_stream
from perpdesk.adapters.binance.errors import ExchangeUnreachable, MalformedAnswer
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.server_clock import ALARM_MS
from perpdesk.adapters.binance.standing import Standing
from perpdesk.exchange.faults import FORMS, REQUEST_KINDS, STREAM_KINDS, Fault
from perpdesk.exchange.server import actor
from perpdesk.exchange.server.control import ACTIONS
from perpdesk.kernel.records import BUY, FAR, LIMIT, MARKET, SELL, STOP
from perpdesk.ports import (
    Answer,
    ExternalTraded,
    Fate,
    ForcedClose,
    FundingCharged,
    Message,
    OrderGone,
    Outcome,
)

ACCEPTED, REFUSED, UNKNOWN = Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNKNOWN
PLACE, POSITIONS = "POST /fapi/v1/order", "GET /fapi/v3/positionRisk"
LONG_AGO_MS = 3_600_000

See = Callable[[BinanceDesk], Awaitable[None]]


class Case(NamedTuple):
    """primitive: as the documents name it. faults: set before ``see``. sweep_ms: how often REST is asked."""

    primitive: str
    name: str
    see: See
    faults: tuple[dict[str, Any], ...] = ()
    sweep_ms: int = 3_600_000


# -- what a person, the market or a test does ------------------------------------------------------


async def control(desk: BinanceDesk, do: str, **arguments: Any) -> dict[str, Any]:
    """The control channel, over its socket."""
    async with desk.rest.session.post(
        f"{desk.server.rest_url}/control", json={"do": do, **arguments}
    ) as answer:
        said: dict[str, Any] = await answer.json()
        assert said["ok"], said
        return said


async def enter(desk: BinanceDesk, client_id: str = "entry", slot: int = 0) -> Answer:
    return await desk.venue.place(order(client_id, MARKET, BUY, slot=slot))


def lots(desk: BinanceDesk) -> int:
    return sum(desk.server.ledger(0)["positions"].values())


async def told_of(desk: BinanceDesk, kind: type[Message]) -> Any:
    """The first message of a kind, whenever it comes."""
    await desk.until(lambda: any(isinstance(one, kind) for one in desk.told))
    return next(one for one in desk.told if isinstance(one, kind))


def heard(desk: BinanceDesk, *names: str) -> list[str]:
    """The user events that came over the wire, in their order: NAME/STATUS."""
    found = []
    for raw in desk.wire.heard:
        said = msgspec.json.decode(raw)
        if isinstance(said, dict) and said.get("e") in names:
            found.append(said["e"] + ("/" + said["o"]["X"] if "o" in said else ""))
    return found


REPORTS = ("ORDER_TRADE_UPDATE", "ACCOUNT_CONFIG_UPDATE")


# -- requests --------------------------------------------------------------------------------------


async def never_arrived(desk: BinanceDesk) -> None:
    answer = await enter(desk)
    assert answer.outcome is UNKNOWN
    assert lots(desk) == 0
    assert (await desk.venue.settle(0, "entry", answer.fence_ms - LONG_AGO_MS)) is Fate.ABSENT


async def done_but_not_answered(desk: BinanceDesk) -> None:
    answer = await enter(desk)
    assert answer.outcome is UNKNOWN
    await desk.until(lambda: trades(desk.told))
    assert lots(desk) == 10
    assert (await desk.venue.settle(0, "entry", answer.fence_ms)) is Fate.ENDED


async def done_later(desk: BinanceDesk) -> None:
    answer = await enter(desk)
    assert answer.outcome is UNKNOWN
    assert answer.reason.startswith("-1007")
    assert lots(desk) == 0  # not yet
    await desk.until(lambda: trades(desk.told))
    assert lots(desk) == 10


async def proven_refusal(desk: BinanceDesk) -> None:
    assert (await enter(desk, "one")).outcome is REFUSED
    assert (await enter(desk, "two")).outcome is ACCEPTED
    assert lots(desk) == 10


async def denied_but_alive(desk: BinanceDesk) -> None:
    assert (await desk.venue.place(order("stop", STOP, BUY, START + 1_000))).outcome is ACCEPTED
    assert (await standing.look(desk.rest, "BTCUSDT", "stop")).standing is Standing.UNKNOWN
    assert (await desk.venue.settle(0, "stop", desk.rest.server.now_ms())) is Fate.ALIVE


async def cancel_denied_but_alive(desk: BinanceDesk) -> None:
    await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
    answer = await desk.venue.cancel(0, "rest")
    assert answer.outcome is REFUSED
    assert answer.reason.startswith("-2011")
    assert await desk.venue.open_client_ids(0) == {"rest"}  # -2011 is not "cancelled"


async def old_answers(desk: BinanceDesk) -> None:
    await desk.rest.ask(to.POSITIONS, ())  # flat: what is told again later
    desk.server.faults.add(Fault(kind="stale", route=POSITIONS, ms=60_000, count=-1))
    await enter(desk)
    await desk.until(lambda: trades(desk.told))
    assert await desk.rest.ask(to.POSITIONS, ()) == []
    with pytest.raises(ExchangeUnreachable, match="disagree"):  # the fills know better
        await desk.venue.positions()
    desk.server.faults.clear()


async def empty_answers(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.until(lambda: trades(desk.told))
    for route in (POSITIONS, "GET /fapi/v3/account"):
        desk.server.faults.add(Fault(kind="empty", route=route))
    assert await desk.rest.ask(to.POSITIONS, ()) == []
    with pytest.raises(ExchangeUnreachable):
        await desk.venue.wallet_e8()
    desk.server.faults.add(Fault(kind="empty", route=POSITIONS))
    with pytest.raises(ExchangeUnreachable, match="disagree"):
        await desk.venue.positions()


async def unreadable(desk: BinanceDesk) -> None:
    answer = await enter(desk)
    assert answer.outcome is UNKNOWN  # 200, and nothing that says that it was taken
    await desk.until(lambda: trades(desk.told))
    desk.server.faults.add(Fault(kind="garble", route=POSITIONS, form="truncate"))
    with pytest.raises(MalformedAnswer):
        await desk.rest.ask(to.POSITIONS, ())


async def fields_of_tomorrow(desk: BinanceDesk) -> None:
    desk.server.faults.add(Fault(kind="garble", route="GET /fapi/v1/order", form="schema"))
    assert (await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))).outcome is ACCEPTED
    found = await standing.look(desk.rest, "BTCUSDT", "rest")
    assert found.order is not None
    assert found.order.status == "PENDING_REVIEW"
    assert found.standing is Standing.ALIVE  # a word that is new to us is not the end


async def waited_for(desk: BinanceDesk) -> None:
    assert (await enter(desk)).outcome is ACCEPTED
    assert lots(desk) == 10


async def fill_before_its_answer(desk: BinanceDesk) -> None:
    """WS-10: the stream knows the order before its answer does."""
    answer = await enter(desk)
    assert answer.outcome is ACCEPTED
    assert [fill.slot for fill in trades(desk.told)] == [0]  # told while the answer was waited for


# -- stream messages -------------------------------------------------------------------------------


async def told_by_rest(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.until(lambda: trades(desk.told))
    assert "ORDER_TRADE_UPDATE/FILLED" not in heard(desk, "ORDER_TRADE_UPDATE")


async def told_once_though_heard_twice(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.all_told()
    assert heard(desk, "ORDER_TRADE_UPDATE").count("ORDER_TRADE_UPDATE/FILLED") == 2
    assert len(trades(desk.told)) == 1


async def fill_before_its_new(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.until(lambda: len(heard(desk, "ORDER_TRADE_UPDATE")) == 2)
    assert heard(desk, "ORDER_TRADE_UPDATE") == ["ORDER_TRADE_UPDATE/FILLED", "ORDER_TRADE_UPDATE/NEW"]
    await desk.all_told()
    assert [fill.client_id for fill in trades(desk.told)] == ["entry"]
    assert not [one for one in desk.told if isinstance(one, OrderGone)]


async def fill_before_its_account_update(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.all_told()
    names = ["ORDER_TRADE_UPDATE/NEW", "ORDER_TRADE_UPDATE/FILLED", "ACCOUNT_UPDATE"]
    assert heard(desk, "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE") == names
    assert [fill.client_id for fill in trades(desk.told)] == ["entry"]


async def told_late(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.all_told()
    await desk.until(lambda: trades(desk.told))
    names = heard(desk, *REPORTS)
    assert names.index("ACCOUNT_CONFIG_UPDATE") < names.index("ORDER_TRADE_UPDATE/FILLED")


async def silent_socket(desk: BinanceDesk) -> None:
    await enter(desk)  # its NEW silences the connection
    await desk.until(lambda: trades(desk.told))
    assert heard(desk, "ORDER_TRADE_UPDATE") == []


async def closed_socket(desk: BinanceDesk) -> None:
    assert desk.venue.user is not None
    state = desk.venue.user.line.state
    before = state.connects
    await enter(desk)
    await desk.until(lambda: state.connects > before and trades(desk.told))
    await desk.all_told()
    assert len(trades(desk.told)) == 1


# -- listen keys, clock, market, people ------------------------------------------------------------


async def key_expired_and_said_so(desk: BinanceDesk) -> None:
    assert desk.venue.user is not None
    before = desk.venue.user.line.state.renewals
    await control(desk, "expire_listen_key", account=0)
    await desk.until(lambda: desk.venue.user.line.state.renewals > before)  # type: ignore[union-attr]
    await desk.until(lambda: desk.venue.user.line.state.is_open)  # type: ignore[union-attr]
    await enter(desk)
    await desk.until(lambda: trades(desk.told))
    assert "listenKeyExpired" in heard(desk, "listenKeyExpired")


async def key_expired_without_a_word(desk: BinanceDesk) -> None:
    """WS-04 and WS-05: the next keep-alive is refused with -1125, and a new key is made."""
    assert desk.venue.user is not None
    before = desk.venue.user.line.state.renewals
    await control(desk, "expire_listen_key", account=0, silently=True)
    await enter(desk)
    await desk.until(lambda: desk.venue.user.line.state.renewals > before)  # type: ignore[union-attr]
    await desk.until(lambda: trades(desk.told))  # by REST, or by the new socket
    assert heard(desk, "listenKeyExpired") == []


async def clock_stepped(desk: BinanceDesk) -> None:
    await control(desk, "clock", ms=60_000)
    answer = await enter(desk, "one")
    assert answer.outcome is REFUSED
    assert "-1021" in answer.reason
    assert (await enter(desk, "two")).outcome is ACCEPTED  # after measuring the time anew
    assert desk.rest.server.is_alarming
    await control(desk, "clock", ms=-60_000)
    assert (await enter(desk, "three", 1)).outcome is REFUSED  # now it is ahead
    assert (await enter(desk, "four", 1)).outcome is ACCEPTED


async def clock_drifted(desk: BinanceDesk) -> None:
    outcomes = []
    for i in range(6):
        await control(desk, "clock", ms=1_500)
        outcomes.append((await desk.venue.place(order(f"o{i}", LIMIT, BUY, START - 1_000, slot=i))).outcome)
    assert set(outcomes) == {ACCEPTED, REFUSED}
    assert outcomes.count(REFUSED) == 1
    best = desk.rest.server.best
    assert best is not None
    assert best.offset_ms > ALARM_MS


async def gap_through_a_stop(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.venue.place(order("stop", STOP, SELL, START - 1_000, slot=1, reduce_only=True))
    await control(desk, "tick", symbol="BTCUSDT", price="48000")
    await desk.all_told()
    stopped = next(fill for fill in trades(desk.told) if fill.slot == 1)
    assert stopped.price < START - 10_000  # far beyond its trigger


async def mark_parted_from_last(desk: BinanceDesk) -> None:
    await desk.venue.watch(0, START - 1_000, FAR, -FAR, FAR)
    await control(desk, "mark", symbol="BTCUSDT", price="49000")
    await desk.until(lambda: desk.levels)
    assert desk.levels[0].price <= START - 1_000
    assert trades(desk.told) == []


async def liquidated(desk: BinanceDesk) -> None:
    await desk.venue.place(order("entry", MARKET, BUY, lots=1_500))
    await desk.all_told()
    await control(desk, "tick", symbol="BTCUSDT", price="43500", walk=True)
    forced = await told_of(desk, ForcedClose)
    assert forced.side == SELL
    await desk.all_told()
    assert [one.lots_left for one in desk.told if isinstance(one, ForcedClose)][-1] == 0


async def funded(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.all_told()
    await control(desk, "funding", symbol="BTCUSDT", rate="0.0001")
    await control(desk, "skip_time", ms=8 * 3_600_000)
    assert (await told_of(desk, FundingCharged)).amount_e8 < 0


async def thin_book(desk: BinanceDesk) -> None:
    await control(desk, "book", symbol="BTCUSDT", levels={"50000.1": "0.004"})
    assert (await enter(desk)).outcome is ACCEPTED
    await desk.all_told()
    assert sum(fill.lots for fill in trades(desk.told)) == 4
    assert (await told_of(desk, OrderGone)).reason == "EXPIRED 9"
    await control(desk, "book", symbol="BTCUSDT", levels=None)


async def trading_halted(desk: BinanceDesk) -> None:
    await control(desk, "contract", symbol="BTCUSDT", set={"status": "SETTLING"})
    answer = await enter(desk)
    assert answer.outcome is REFUSED
    assert answer.reason.startswith(("-4140", "-4141"))


async def filters_changed(desk: BinanceDesk) -> None:
    await control(desk, "contract", symbol="BTCUSDT", set={"lots_min": 50})
    answer = await enter(desk)
    assert answer.outcome is REFUSED
    assert answer.reason.startswith("-4004")


async def money_moved(desk: BinanceDesk) -> None:
    before_e8 = await desk.venue.wallet_e8()
    await control(desk, "deposit", account=0, amount="-250")
    assert await desk.venue.wallet_e8() == before_e8 - 250 * 10**8


async def person_ordered(desk: BinanceDesk) -> None:
    params = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.003"}
    await control(desk, "actor", account=0, action="order", params=params)
    traded = await told_of(desk, ExternalTraded)
    assert (traded.side, traded.lots) == (SELL, 3)


async def person_closed(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.all_told()
    await control(desk, "actor", account=0, action="close")
    assert (await told_of(desk, ExternalTraded)).lots == 10
    assert [position.lots for position in await desk.venue.positions()] == [0]


async def person_cancelled(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.venue.place(order("stop", STOP, SELL, START - 1_000, slot=1, reduce_only=True))
    await control(desk, "actor", account=0, action="cancel_all")
    assert (await told_of(desk, OrderGone)).client_id == "stop"


async def person_in_the_app(desk: BinanceDesk, action: str, **more: Any) -> Any:
    done = (await control(desk, "actor", account=0, action=action, **more))["done"]
    assert done
    assert not [one for one in done if isinstance(one, dict) and one.get("code", 200) not in (200, "200")], (
        done
    )
    return done


async def person_placed_a_stop(desk: BinanceDesk) -> None:
    params = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "STOP_MARKET",
        "quantity": "0.003",
        "triggerPrice": "51000",
    }
    await person_in_the_app(desk, "stop", params=params)
    await desk.all_told()
    assert desk.rest.governor.conditional_free("test", Lane.CLOSE) == 199  # it takes one of our slots
    await desk.move(START + 11_000)
    assert lots(desk) == 3


async def person_closed_half(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.all_told()
    await person_in_the_app(desk, "close_part")
    traded = await told_of(desk, ExternalTraded)
    assert (traded.side, traded.lots) == (SELL, 5)


async def person_added(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.all_told()
    await person_in_the_app(desk, "add", qty="0.004")
    traded = await told_of(desk, ExternalTraded)
    assert (traded.side, traded.lots) == (BUY, 4)


async def person_reversed(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.all_told()
    await person_in_the_app(desk, "reverse")
    assert (await told_of(desk, ExternalTraded)).side == SELL
    assert [position.lots for position in await desk.venue.positions()] == [-10]


async def person_cancelled_one(desk: BinanceDesk) -> None:
    await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
    await person_in_the_app(desk, "cancel", params={"symbol": "BTCUSDT", "origClientOrderId": "rest"})
    assert (await told_of(desk, OrderGone)).client_id == "rest"


async def person_cancelled_a_stop(desk: BinanceDesk) -> None:
    await desk.venue.place(order("stop", STOP, BUY, START + 1_000))
    await person_in_the_app(desk, "cancel_stop", params={"clientAlgoId": "stop"})
    assert (await told_of(desk, OrderGone)).client_id == "stop"
    assert desk.rest.governor.conditional_free("test", Lane.CLOSE) == 200


async def person_changed_leverage(desk: BinanceDesk) -> None:
    await person_in_the_app(desk, "leverage", symbol="BTCUSDT", leverage=3)
    await desk.until(lambda: desk.venue.leverages.get("BTCUSDT") == 3)


async def person_changed_margin_type(desk: BinanceDesk) -> None:
    await person_in_the_app(desk, "margin_type", symbol="BTCUSDT", margin_type="ISOLATED")
    assert (await modes.margin_types(desk.rest))["BTCUSDT"] == "ISOLATED"


async def person_changed_position_mode(desk: BinanceDesk) -> None:
    await person_in_the_app(desk, "position_mode", hedge=True)
    assert await modes.is_hedged(desk.rest)
    answer = await enter(desk)
    assert answer.outcome is REFUSED
    assert "-4061" in answer.reason  # an order of the other mode opens nothing


async def person_added_margin(desk: BinanceDesk) -> None:
    await modes.require_margin_type(desk.rest, "BTCUSDT", "ISOLATED")
    await enter(desk)
    await desk.all_told()
    (before,) = await desk.rest.ask(to.POSITIONS, ())
    await person_in_the_app(desk, "position_margin", params={"symbol": "BTCUSDT", "amount": "5", "type": "1"})
    (after,) = await desk.rest.ask(to.POSITIONS, ())
    assert Decimal(after.isolated_wallet) - Decimal(before.isolated_wallet) == 5


async def person_took_money(desk: BinanceDesk) -> None:
    before_e8 = await desk.venue.wallet_e8()
    await control(desk, "actor", account=0, action="transfer", amount="-100")
    assert await desk.venue.wallet_e8() == before_e8 - 100 * 10**8


async def person_deleted_the_key(desk: BinanceDesk) -> None:
    kept = dict(desk.server.gate.keys)
    await control(desk, "actor", account=0, action="delete_key")
    answer = await enter(desk)
    assert answer.outcome is REFUSED
    assert "-2015" in answer.reason or "-2014" in answer.reason
    assert "account test" in (await enter(desk, "again")).reason
    desk.server.gate.keys.update(kept)
    desk.rest.key_refused = None


async def symbol_halted(desk: BinanceDesk) -> None:
    await control(desk, "status", symbol="BTCUSDT", status="SETTLING")
    answer = await enter(desk)
    assert answer.outcome is REFUSED
    assert answer.reason.startswith(("-4140", "-4141"))


async def symbol_delisted(desk: BinanceDesk) -> None:
    await enter(desk)
    await desk.all_told()
    await control(desk, "settle", symbol="BTCUSDT", price="49000")
    forced = await told_of(desk, ForcedClose)
    assert (forced.price, forced.lots) == (490_000, 10)
    assert lots(desk) == 0


async def other_brackets(desk: BinanceDesk) -> None:
    ladder = [{"cap": "400", "leverage": 20, "rate": "0.01"}, {"cap": "800", "leverage": 5, "rate": "0.02"}]
    await control(desk, "brackets", symbol="BTCUSDT", brackets=ladder)
    answer = await enter(desk)  # 500 USDT at 10 times
    assert answer.outcome is REFUSED
    assert "-2027" in answer.reason or "-4028" in answer.reason


async def key_revoked(desk: BinanceDesk) -> None:
    key = desk.server.accounts[0].api_key
    keys = desk.server.gate.keys[key]
    await control(desk, "revoke_key", api_key=key)
    assert "-2015" in (await enter(desk)).reason
    sent = await enter(desk, "again")
    assert sent.outcome is REFUSED
    assert "account test" in sent.reason  # not sent at all: the account halts
    desk.server.gate.keys[key] = keys
    desk.rest.key_refused = None


async def rights_changed(desk: BinanceDesk) -> None:
    key = desk.server.accounts[0].api_key
    await control(desk, "key_rights", api_key=key, set={"enableWithdrawals": True})
    assert (await desk.rest.ask(to.KEY_RIGHTS, ())).enable_withdrawals is True


def fault(kind: str, route: str = PLACE, **more: Any) -> tuple[dict[str, Any], ...]:
    return ({"kind": kind, "route": route, **more},)


TROUBLED = "Unknown error, please check your request or try again later."
QUICK = 50
FILLED = {"skip": 1}  # of the reports of a market order, the one after NEW
CASES = [
    Case("drop-req", "the request is lost", never_arrived, fault("drop-req")),
    Case("drop-resp", "the answer is lost", done_but_not_answered, fault("drop-resp")),
    Case("late-exec", "-1007, and it is done later", done_later, fault("late-exec", ms=300)),
    Case("reply", "503 A, done", done_but_not_answered, fault("reply", body=TROUBLED, executes=True)),
    Case("reply", "503 A, not done", never_arrived, fault("reply", body=TROUBLED)),
    Case("reply", "503 B", proven_refusal, fault("reply", body="Service Unavailable.")),
    Case("reply", "-1008", proven_refusal, fault("reply", code=-1008, msg="Request throttled")),
    Case("reply", "-1001, done", done_but_not_answered, fault("reply", code=-1001, msg="?", executes=True)),
    Case("reply", "403 of a firewall", never_arrived, fault("reply", http=403, body="<html>WAF</html>")),
    Case("hide", "queries deny a stop", denied_but_alive, fault("hide", "GET /fapi/v1/*rder", ms=200, count=-1)),
    Case("hide", "a cancel is denied", cancel_denied_but_alive, fault("hide", "DELETE *", ms=200, count=-1)),
    Case("stale", "positions of before", old_answers),
    Case("empty", "nothing in it", empty_answers),
    *(
        Case("garble", form, unreadable, fault("garble", form=form))
        for form in ("truncate", "html", "empty", "binary")
    ),
    Case("garble", "schema", fields_of_tomorrow, fault("garble", form="schema")),
    Case("slow", "the request", waited_for, fault("slow", ms=200)),
    Case("slow", "the answer", fill_before_its_answer, fault("slow", ms=300, form="answer")),
    Case("ws-skip", "a fill", told_by_rest, fault("ws-skip", "user:ORDER_TRADE_UPDATE", **FILLED), QUICK),
    Case("ws-dup", "a fill", told_once_though_heard_twice, fault("ws-dup", "user:ORDER_TRADE_UPDATE", **FILLED)),
    Case("ws-reorder", "a fill before its balance", fill_before_its_account_update,
         fault("ws-reorder", "user:ACCOUNT_UPDATE")),
    Case("ws-lag", "a fill before its NEW", fill_before_its_new, fault("ws-lag", "user:ORDER_TRADE_UPDATE", ms=300)),
    Case("ws-lag", "a fill", told_late, fault("ws-lag", "user:ORDER_TRADE_UPDATE", ms=400, **FILLED)),
    Case("ws-silent", "from NEW on", silent_socket, fault("ws-silent", "user:ORDER_TRADE_UPDATE"), QUICK),
    Case("ws-close", "at NEW", closed_socket, fault("ws-close", "user:ORDER_TRADE_UPDATE", code=1006)),
    Case("expire_listen_key", "told", key_expired_and_said_so),
    Case("expire_listen_key", "silent", key_expired_without_a_word),
    Case("clock", "step", clock_stepped),
    Case("clock", "drift", clock_drifted),
    Case("tick", "a gap through a stop", gap_through_a_stop),
    Case("tick", "a liquidation", liquidated),
    Case("mark", "parted from the last price", mark_parted_from_last),
    Case("funding", "a settlement", funded, sweep_ms=QUICK),
    Case("book", "a thin book", thin_book),
    Case("contract", "not trading", trading_halted),
    Case("contract", "other filters", filters_changed),
    Case("deposit", "money out", money_moved),
    *(
        Case("actor", action, see)
        for action, see in {
            "order": person_ordered, "stop": person_placed_a_stop, "close": person_closed,
            "close_part": person_closed_half, "add": person_added, "reverse": person_reversed,
            "cancel": person_cancelled_one, "cancel_stop": person_cancelled_a_stop, "cancel_all": person_cancelled,
            "leverage": person_changed_leverage, "margin_type": person_changed_margin_type,
            "position_mode": person_changed_position_mode, "position_margin": person_added_margin,
            "transfer": person_took_money, "delete_key": person_deleted_the_key,
        }.items()
    ),
    Case("status", "not trading", symbol_halted),
    Case("settle", "delisted with a position", symbol_delisted),
    Case("brackets", "a smaller ladder", other_brackets),
    Case("revoke_key", "in the middle of a session", key_revoked),
    Case("key_rights", "a right too many", rights_changed),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.primitive}: {case.name}")
async def test_the_client_sees_it_and_the_books_balance(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "LOOK_AGAIN_MS", 50)
    if case.name == "silent":
        monkeypatch.setattr(user_stream, "KEEP_MS", 100)
    async with binance_desk(sweep_ms=case.sweep_ms, control=True, balance="10000") as desk:
        for one in case.faults:
            desk.server.faults.add(Fault(**one))
        await case.see(desk)
        for one in case.faults:
            assert desk.server.faults.fired[one["kind"]] >= 1, "it never struck"
        desk.server.faults.clear()
        await desk.rest.sync_time()
        await desk.until(lambda: not desk.venue.untold)
        await balances(desk)


DOCS = Path(__file__).parents[3] / "docs" / "exchange.md"
# What the control channel does that breaks nothing: it makes accounts, asks, and moves time and tape.
HARMLESS = {
    "account",
    "ledger",
    "fault",
    "clear_faults",
    "fired",
    "step",
    "skip_time",
    "watch",
    "rank",
    "exposure",
}


def test_every_primitive_has_a_row() -> None:
    shown = {case.primitive for case in CASES}
    assert shown >= {*REQUEST_KINDS, *STREAM_KINDS}
    assert {case.name for case in CASES if case.primitive == "garble"} == set(FORMS)
    futures = {name for name in ACTIONS if not name.startswith("spot_")}  # Spot has tests of its own
    assert futures - HARMLESS <= shown
    assert {case.name for case in CASES if case.primitive == "actor"} == set(actor.ACTIONS)
    table = re.findall(
        r"^\| ((?:`[\w-]+`(?:, )?)+) \| (?:requests|messages) ", DOCS.read_text(), re.MULTILINE
    )
    documented = {name for row in table for name in re.findall(r"`([\w-]+)`", row)}
    assert {*REQUEST_KINDS, *STREAM_KINDS} <= documented <= shown
