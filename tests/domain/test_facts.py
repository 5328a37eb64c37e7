"""Events, commands and pictures: frozen, and the same after a way through JSON."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest

from perpdesk.domain import commands, events
from perpdesk.domain.books import JournalEntry, Json
from perpdesk.domain.order import OrderKind, Side
from perpdesk.domain.position import AccountView, PositionStatus

D = Decimal
ORDER = {"ms": 1_700_000_000_000, "client_id": "v2-1-k3-e1-1", "symbol": "BTCUSDT"}
EVENTS: list[events.AnyEvent] = [
    events.EntryApproved(
        ms=0,
        version="v2",
        symbol="BTCUSDT",
        side=Side.BUY,
        qty=D("0.01"),
        leverage=5,
        score=74.61,
        score_max=100,
    ),
    events.EntryRefused(ms=0, version="v2", symbol="BTCUSDT", side=Side.BUY, verdict="COOLDOWN"),
    events.OrderAccepted(
        **ORDER,
        kind=OrderKind.STOP_MARKET,
        side=Side.SELL,
        qty=D("0.010"),
        reduce_only=True,
        price=D("26000.0"),
    ),
    events.OrderRefused(**ORDER, reason="MIN_NOTIONAL"),
    events.OrderTriggered(**ORDER),
    events.OrderFilled(
        **ORDER,
        version="v2",
        side=Side.SELL,
        price=D("26000.0"),
        qty=D("0.010"),
        remaining=D("0.000"),
        commission=D("0.13000000"),
        realised=D("-4.00000000"),
        is_taker=True,
        reason="EXCHANGE_STOP",
    ),
    events.OrderCanceled(**ORDER, remaining=D("0.010")),
    events.FundingPaid(ms=1, version="v2", symbol="BTCUSDT", rate=D("-0.00052757"), amount=D("0.1")),
    events.Liquidated(ms=1, version="v2", symbol="BTCUSDT", price=D("1"), qty=D("2"), loss=D("3")),
    events.ExternalFilled(
        ms=1,
        client_id="web_1",
        symbol="BTCUSDT",
        side=Side.SELL,
        price=D("1"),
        qty=D("2"),
        held=D("-2"),
        cause="foreign",
    ),  # fmt: skip
    events.CommandObeyed(ms=1, command="Halt", account="1", by="operator"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_fact_survives_the_journal(event: events.AnyEvent) -> None:
    entry = events.journal_entry(event)
    assert (entry.ms, entry.kind) == (event.ms, type(event).__name__)
    stored = msgspec.structs.replace(entry, payload=json.loads(json.dumps(entry.payload)))
    assert events.event_of(stored) == event


def test_every_kind_of_fact_is_tested() -> None:
    assert {type(event) for event in EVENTS} == set(events.AnyEvent.__args__)


def test_decimals_keep_their_digits() -> None:
    (filled,) = [event for event in EVENTS if isinstance(event, events.OrderFilled)]
    back = events.event_of(events.journal_entry(filled))
    assert isinstance(back, events.OrderFilled)
    assert str(back.qty) == "0.010"


def test_facts_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        EVENTS[0].ms = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("Gossip", {}),
        ("OrderTriggered", {"client_id": "a"}),
        ("OrderTriggered", {"client_id": 1, "symbol": "BTCUSDT"}),
        ("OrderTriggered", []),
    ],
)
def test_what_is_no_fact_is_refused(kind: str, payload: Json) -> None:
    with pytest.raises(msgspec.ValidationError):
        events.event_of(JournalEntry(ms=0, kind=kind, payload=payload))


@pytest.mark.parametrize("wish", commands.AnyCommand.__args__)
def test_a_wish_keeps_who_and_why(wish: type[commands.Command]) -> None:
    command = wish(account="1", by="operator", reason="drill")
    back = msgspec.json.decode(msgspec.json.encode(command), type=commands.AnyCommand)
    assert back == command
    assert type(back) is wish


def test_live_positions_are_those_that_may_be_on_the_exchange() -> None:
    assert [s.value for s in PositionStatus if s.is_live] == ["building", "open", "closing"]


def test_an_account_shows_what_its_books_do_not_explain() -> None:
    books = {"initial": D("100"), "realised": D("10"), "commission": D("2"), "funding": D("-1")}
    rest = {"equity": D("107"), "margin": D("0"), "open_positions": 0, "fills": 2, "liquidations": 0}
    assert AccountView(**books, **rest, cash=D("107")).unexplained == 0
    assert AccountView(**books, **rest, cash=D("106")).unexplained == D("-1")
