"""exchangeInfo: what may be ordered, as Binance describes it (reference §9.1)."""

from __future__ import annotations

from typing import Any

from perpdesk.domain.units import plain
from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.numbers import fixed, short
from perpdesk.exchange.server.call import Answer, Call


def exchange_info(call: Call) -> Answer:
    """GET exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": call.now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": call.server.limits.rules(),
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [symbol_row(contract) for contract in call.world.contracts],
    }


def symbol_row(contract: Contract) -> dict[str, Any]:
    """One element of ``symbols``."""
    one = contract.instrument
    step = plain(one.lot_step)
    return {
        "symbol": one.symbol,
        "pair": one.symbol,
        "contractType": one.contract_type,
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": contract.onboard_ms,
        "status": contract.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": one.base,
        "quoteAsset": one.quote,
        "marginAsset": one.quote,
        "pricePrecision": contract.price_precision,
        "quantityPrecision": contract.qty_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"] if one.base == "BTC" else [],
        "triggerProtect": fixed(contract.trigger_protect_ppm // 100, 4),
        "liquidationFee": fixed(contract.liquidation_fee_ppm, 6),
        "marketTakeBound": short(contract.take_bound_ppm, 6, 2),
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": contract.price_text(contract.price_min),
                "maxPrice": contract.price_text(contract.price_max),
                "tickSize": contract.price_text(contract.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": contract.qty_text(contract.lots_min),
                "maxQty": contract.qty_text(contract.lots_max),
                "stepSize": step,
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": contract.qty_text(contract.lots_min),
                "maxQty": contract.qty_text(contract.market_lots_max),
                "stepSize": step,
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": contract.orders_max},
            {"filterType": "MIN_NOTIONAL", "notional": short(contract.notional_min_e8, 8)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": fixed(contract.percent_up_ppm // 100, 4),
                "multiplierDown": fixed(contract.percent_down_ppm // 100, 4),
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY", "RPI", "DCA", "PSB"],
    }
