"""What may be ordered and what it costs: one pair of assets with its filters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.exchange.core.numbers import fixed, short

E8 = 100_000_000
PPM = 1_000_000
STP_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
SPOT_FEE_PPM, ALPHA_FEE_PPM = 1_000, 100
_MAX_E8 = 10**9 * E8


@dataclass(slots=True)
class Pair:
    """Prices, quantities and money in 1e-8, shares in parts per million.

    multiplier: what the volume counter shows for one real unit, as the venue writes it; None where the venue
    does not say. pays_from_free: a commission in the bought asset is taken from what is free, if that is
    enough, and not from what an order list has bought for its pending order.
    """

    index: int
    symbol: str
    base: str
    quote: str
    tick_e8: int
    step_e8: int
    price_max_e8: int = _MAX_E8
    qty_min_e8: int = 0
    qty_max_e8: int = _MAX_E8
    market_qty_max_e8: int = _MAX_E8
    notional_min_e8: int = 5 * E8
    notional_max_e8: int = 9_000_000 * E8
    band_up_ppm: int = 5 * PPM
    band_down_ppm: int = PPM // 5
    maker_ppm: int = SPOT_FEE_PPM
    taker_ppm: int = SPOT_FEE_PPM
    orders_max: int = 200
    lists_max: int = 20
    conditional_max: int = 5
    oco_allowed: bool = True
    oto_allowed: bool = True
    opo_allowed: bool = True
    stp_modes: tuple[str, ...] = STP_MODES
    status: str = "TRADING"
    pays_from_free: bool = True
    is_alpha: bool = False
    token: str = ""
    chain: str = ""
    contract: str = ""
    multiplier: str | None = "1"
    counter_lag_ms: int = 30_000

    @property
    def price_digits(self) -> int:
        """Decimals of a price."""
        return places(self.tick_e8)

    @property
    def qty_digits(self) -> int:
        """Decimals of a quantity."""
        return places(self.step_e8)

    @property
    def qty_floor_e8(self) -> int:
        """The smallest quantity: a minimum of 0 means one step."""
        return self.qty_min_e8 or self.step_e8

    def filters(self) -> list[dict[str, object]]:
        """As exchangeInfo says them."""
        lot = {"minQty": fixed(self.qty_floor_e8, 8), "stepSize": fixed(self.step_e8, 8)}
        up, down = short(self.band_up_ppm, 6), short(self.band_down_ppm, 6)
        return [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": fixed(self.tick_e8, 8),
                "maxPrice": fixed(self.price_max_e8, 8),
                "tickSize": fixed(self.tick_e8, 8),
            },
            {"filterType": "LOT_SIZE", "maxQty": fixed(self.qty_max_e8, 8), **lot},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": fixed(0, 8),
                "maxQty": fixed(self.market_qty_max_e8, 8),
                "stepSize": fixed(0, 8),
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": up,
                "bidMultiplierDown": down,
                "askMultiplierUp": up,
                "askMultiplierDown": down,
                "avgPriceMins": 0,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": fixed(self.notional_min_e8, 8),
                "applyMinToMarket": True,
                "maxNotional": fixed(self.notional_max_e8, 8),
                "applyMaxToMarket": False,
                "avgPriceMins": 0,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": self.orders_max},
            {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": self.lists_max},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": self.conditional_max},
        ]


def places(step_e8: int) -> int:
    """Decimals that a step needs."""
    digits = 8
    while digits and step_e8 % 10 == 0:
        step_e8 //= 10
        digits -= 1
    return digits


def e8(text: object, field: str = "amount") -> int:
    """A number as 1e-8 units, exactly. Raises InputError for more decimals."""
    return units.to_units(text, 8, field)


def numbered(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs with their places in the list. Raises InputError for one symbol twice."""
    listed = list(pairs)
    seen: set[str] = set()
    for i, pair in enumerate(listed):
        if pair.symbol in seen:
            raise InputError(f"{pair.symbol} is listed twice", field="symbol")
        if pair.tick_e8 <= 0 or pair.step_e8 <= 0:
            raise InputError(f"{pair.symbol}: tick and step must be positive", field="tick")
        seen.add(pair.symbol)
        pair.index = i
    return listed
