"""Legs and orders in one line each, as the tests of the guardian write them."""

from __future__ import annotations

from perpdesk.engine.guardian.coverage import Sighting
from perpdesk.kernel.records import BUY, SELL, STOP, TRAILING
from perpdesk.ports import Leg, NewOrder, OpenOrder

# A disaster stop's, two sleeves' and a stranger's client ids.
DISASTER, FAST, SLOW, STRANGER = "grd-1-p0aa-dz-0", "fast-1-p1aa-xs-0", "slow-1-p2aa-xs-0", "web_abc"
FAST_OWNER, SLOW_OWNER = ("fast", "p1aa"), ("slow", "p2aa")


def leg(lots: int, *, mark: int = 100, entry: int = 100, liq: int = 0, symbol: int = 0) -> Leg:
    """A position of the exchange; lots < 0 is short."""
    return Leg(symbol, f"S{symbol}", lots, entry, mark, liq, True, 0, 0)


def order(
    side: str,
    price: int,
    lots: int | None = None,
    *,
    client_id: str = FAST,
    status: str = "NEW",
    reduces: bool = True,
    kind: int = STOP,
    symbol: int = 0,
) -> OpenOrder:
    """An open stop; lots None closes the position, whatever it is."""
    return OpenOrder(
        client_id=client_id,
        symbol=symbol,
        kind=kind,
        side={"buy": BUY, "sell": SELL}[side],
        price=price,
        lots=lots or 0,
        reduce_only=reduces,
        activation=0,
        callback_ppm=10_000 if kind == TRAILING else 0,
        close_position=lots is None,
        is_conditional=True,
        status=status,
        placed_ms=0,
    )


def disaster(side: str, price: int, client_id: str = DISASTER, **more: object) -> OpenOrder:
    """The guardian's stop."""
    return order(side, price, None, client_id=client_id, **more)  # type: ignore[arg-type]


def seen(*orders: OpenOrder, ms: int = 0) -> list[Sighting]:
    """All of them seen at one time."""
    return [Sighting(one, ms) for one in orders]


def entry_order(
    symbol: int = 0,
    side: str = "buy",
    lots: int = 1,
    *,
    kind: int = 1,
    price: int = 0,
    reduce_only: bool = False,
    leverage: int = 5,
    sleeve: int = 0,
) -> NewOrder:
    """An order on its way to the wire: a market entry unless told otherwise."""
    return NewOrder(
        client_id=f"fast-1-p1aa-e1-{symbol}",
        symbol=symbol,
        sleeve=sleeve,
        slot=0,
        kind=kind,
        side={"buy": BUY, "sell": SELL}[side],
        price=price,
        lots=lots,
        reduce_only=reduce_only,
        activation=0,
        callback_ppm=0,
        leverage=leverage,
    )
