"""Spot's user events, typed. What is new to us survives as a Stranger."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from perpdesk.adapters.binance.errors import MalformedAnswer
from perpdesk.adapters.binance.stream_events import Stranger
from perpdesk.adapters.binance.stream_events import Text as Text


class SpotReport(Struct, frozen=True, tag="executionReport", tag_field="e"):
    """An order after something happened to it: happened NEW, CANCELED, REJECTED, TRADE, EXPIRED,
    TRADE_PREVENTION. trade_id -1: no execution. orig_client_id: the order's own name in a cancel's report."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    client_id: str = field(name="c")
    side: str = field(name="S")
    type: str = field(name="o")
    qty: str = field(name="q")
    price: str = field(name="p")
    happened: str = field(name="x")
    status: str = field(name="X")
    order_id: int = field(name="i")
    last_qty: str = field(name="l")
    filled_qty: str = field(name="z")
    last_price: str = field(name="L")
    commission: str | None = field(name="n")
    commission_asset: str | None = field(name="N")
    ms: int = field(name="T")
    trade_id: int = field(name="t")
    is_maker: bool = field(name="m")
    filled_quote: str = field(name="Z")
    last_quote: str = field(name="Y")
    list_id: int = field(name="g", default=-1)
    orig_client_id: str = field(name="C", default="")
    reason: str = field(name="r", default="NONE")
    on_book: bool | UnsetType = field(name="w", default=UNSET)

    @property
    def name(self) -> str:
        """The order's own client id: the report of a cancel carries the cancel's."""
        return self.orig_client_id or self.client_id


class SpotListOrderNamed(Struct, frozen=True):
    """One order of a list."""

    order_id: int = field(name="i")
    client_id: str = field(name="c")


class SpotListStatus(Struct, frozen=True, tag="listStatus", tag_field="e"):
    """A list after something happened to it."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    list_id: int = field(name="g")
    kind: str = field(name="c")
    status_type: str = field(name="l")
    order_status: str = field(name="L")
    client_id: str = field(name="C")
    ms: int = field(name="T")
    orders: list[SpotListOrderNamed] = field(name="O")
    reason: str = field(name="r", default="NONE")


class SpotHeld(Struct, frozen=True):
    """One asset."""

    asset: str = field(name="a")
    free: str = field(name="f")
    locked: str = field(name="l")


class SpotPosition(Struct, frozen=True, tag="outboundAccountPosition", tag_field="e"):
    """The balances that may have changed."""

    event_ms: int = field(name="E")
    ms: int = field(name="u")
    balances: list[SpotHeld] = field(name="B")


class SpotTransfer(Struct, frozen=True, tag="balanceUpdate", tag_field="e"):
    """Money came in or went out."""

    event_ms: int = field(name="E")
    asset: str = field(name="a")
    change: str = field(name="d")
    ms: int = field(name="T")


SpotKnown = SpotReport | SpotListStatus | SpotPosition | SpotTransfer


class Pushed(Struct, frozen=True, rename="camel"):
    """A message of the WebSocket API: an answer (id, status) or an event of a subscription."""

    id: str | int | None | UnsetType = UNSET
    status: int | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    event: Raw | UnsetType = UNSET


class _Named(Struct):
    e: str


_PUSHED = msgspec.json.Decoder(Pushed)
_KNOWN = msgspec.json.Decoder(SpotKnown, strict=False)
_NAME = msgspec.json.Decoder(_Named)


def pushed(raw: bytes) -> Pushed:
    """One message. Raises MalformedAnswer."""
    try:
        return _PUSHED.decode(raw)
    except msgspec.DecodeError as error:
        raise MalformedAnswer(f"{error}: {raw[:120]!r}") from error


def event_of(raw: bytes) -> SpotKnown | Stranger:
    """One event. Raises MalformedAnswer for what is no event at all."""
    try:
        known: SpotKnown = _KNOWN.decode(raw)
        return known
    except msgspec.ValidationError:
        try:
            return Stranger(_NAME.decode(raw).e, raw)
        except msgspec.DecodeError as error:
            raise MalformedAnswer(f"{error}: {raw[:120]!r}") from error
    except msgspec.DecodeError as error:
        raise MalformedAnswer(f"{error}: {raw[:120]!r}") from error
