"""Parameters that make sense now and then: the same seed, the same nonsense."""

from __future__ import annotations

import random
import string

from tests.exchange.server.traffic import START_MS

NAMES = [
    "symbol",
    "side",
    "type",
    "positionSide",
    "timeInForce",
    "reduceOnly",
    "quantity",
    "price",
    "newClientOrderId",
    "newOrderRespType",
    "priceMatch",
    "selfTradePreventionMode",
    "goodTillDate",
    "orderId",
    "origClientOrderId",
    "algoType",
    "triggerPrice",
    "workingType",
    "closePosition",
    "priceProtect",
    "activatePrice",
    "callbackRate",
    "clientAlgoId",
    "algoId",
    "batchOrders",
    "orderIdList",
    "origClientOrderIdList",
    "countdownTime",
    "leverage",
    "marginType",
    "dualSidePosition",
    "multiAssetsMargin",
    "feeBurn",
    "amount",
    "startTime",
    "endTime",
    "limit",
    "fromId",
    "interval",
    "pair",
    "contractType",
    "period",
    "incomeType",
    "autoCloseType",
    "modifyId",
    "asset",
]
LIKELY: dict[str, list[str]] = {
    "symbol": ["BTCUSDT", "ETHUSDT", "SOLUSDT", "btcusdt"],
    "pair": ["BTCUSDT"],
    "side": ["BUY", "SELL"],
    "type": [
        "LIMIT",
        "MARKET",
        "STOP",
        "STOP_MARKET",
        "TAKE_PROFIT_MARKET",
        "TRAILING_STOP_MARKET",
        "1",
        "2",
    ],
    "positionSide": ["BOTH", "LONG", "SHORT"],
    "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD", "GTE_GTC"],
    "quantity": ["0.01", "0.1", "1", "5", "1e-3"],
    "price": ["50000", "49900.5", "2500", "150", "51000"],
    "triggerPrice": ["50100", "49900", "2510", "149"],
    "activatePrice": ["50100", "49900"],
    "callbackRate": ["0.1", "1", "20"],
    "algoType": ["CONDITIONAL"],
    "interval": ["1m", "1h", "1d", "1w", "1M"],
    "contractType": ["PERPETUAL"],
    "period": ["5m", "1h", "1d"],
    "leverage": ["1", "20", "125"],
    "marginType": ["ISOLATED", "CROSSED"],
    "priceMatch": ["NONE", "OPPONENT", "QUEUE_5"],
    "selfTradePreventionMode": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    "countdownTime": ["0", "1000"],
    "amount": ["1", "100"],
    "asset": ["USDT", "BNB"],
    "batchOrders": ['[{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":0.01}]', "[1]", "[{}]"],
    "orderIdList": ["[1,2]", "[8000000001]", "[[]]"],
}
FLAGS = ["true", "false"]
NASTY = [
    "",
    "0",
    "-1",
    "NaN",
    "Infinity",
    "1e400",
    "-0",
    "9" * 30,
    "1_000",
    "٣",
    "null",
    "[]",
    "{}",
    "\x00",
    "a" * 500,
    "1.0000000000000000001",
    "0x10",
    " 1",
    "１",
    "9223372036854775807",
    "18446744073709551616",
    "'; --",
    "1E-8",
]


def words(rng: random.Random, name: str) -> str:
    draw = rng.random()
    if draw < 0.75:
        return rng.choice(LIKELY.get(name, FLAGS if draw < 0.6 else ["1", "8000000001", str(START_MS)]))
    if draw < 0.93:
        return rng.choice(NASTY)
    return "".join(rng.choices(string.printable, k=rng.randrange(12)))
