"""What happened on the account, told once: from the user stream, or from REST where the stream was silent.

Reports may come twice, late and out of order. A fill is known by (symbol, trade id), and state only goes
forward: what a report repeats changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from msgspec import UnsetType

from perpdesk.adapters.binance import stream_events as ev
from perpdesk.adapters.binance.payloads import UserTrade

# Fills and bookings remembered for telling doubles apart; the oldest are forgotten beyond this many.
SEEN_MAX = 50_000
# The exchange's own client ids: liquidation, auto-deleveraging, delisting.
FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of the account, from either source. client_id "": REST tells only the order's number."""

    symbol: str
    client_id: str
    order_id: int
    trade_id: int
    side: str
    price: str
    qty: str
    commission: str
    commission_asset: str
    realized: str
    is_maker: bool
    ms: int
    position_side: str = "BOTH"
    lots_left: int | None = None  # of the position, where the stream has told it with this fill

    @property
    def is_forced(self) -> bool:
        """Did the exchange itself close?"""
        return self.client_id.startswith(FORCED)


class Seen:
    """Keys that were told before, the newest SEEN_MAX of them."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[str, int | str], None] = OrderedDict()

    def is_new(self, kind: str, key: int | str) -> bool:
        """Is this the first time? Asking counts as telling."""
        pair = (kind, key)
        if pair in self._keys:
            return False
        self._keys[pair] = None
        if len(self._keys) > SEEN_MAX:
            self._keys.popitem(last=False)
        return True

    def has(self, kind: str, key: int | str) -> bool:
        """Was it told? Asks without telling."""
        return (kind, key) in self._keys


def text(value: str | None | UnsetType, default: str = "0") -> str:
    """A field that may be missing or empty."""
    return value if isinstance(value, str) and value else default


def fill_of_report(report: ev.OrderReport) -> Fill | None:
    """The fill that an order report tells, None if it tells none."""
    if report.execution not in ("TRADE", "CALCULATED") or report.trade_id <= 0:
        return None
    return Fill(
        symbol=report.symbol,
        client_id=report.client_id,
        order_id=report.order_id,
        trade_id=report.trade_id,
        side=report.side,
        price=report.last_price,
        qty=report.last_qty,
        commission=text(report.commission),
        commission_asset=text(report.commission_asset, ""),
        realized=text(report.realized),
        is_maker=report.is_maker is True,
        ms=report.traded_ms,
        position_side=text(report.position_side, "BOTH"),
    )


def fill_of_trade(trade: UserTrade) -> Fill:
    """The fill that a row of userTrades tells."""
    return Fill(
        symbol=trade.symbol,
        client_id="",
        order_id=trade.order_id,
        trade_id=trade.id,
        side=trade.side,
        price=trade.price,
        qty=trade.qty,
        commission=trade.commission,
        commission_asset=trade.commission_asset,
        realized=trade.realized_pnl,
        is_maker=trade.maker is True,
        ms=trade.time,
        position_side=text(trade.position_side, "BOTH"),
    )
