"""The conformance ids, what each is about, and why some do not apply."""

from __future__ import annotations


def _numbered(prefix: str, count: int, about: str) -> dict[str, str]:
    return {f"{prefix}-{i}": about for i in range(1, count + 1)}


IDS: dict[str, str] = {
    **_numbered("SIG", 7, "signatures"),
    **_numbered("TIM", 4, "timestamps"),
    **_numbered("PAR", 2, "parameters"),
    **_numbered("LIM", 5, "limits"),
    **_numbered("FIL", 9, "filters"),
    **_numbered("ORD", 14, "orders"),
    **_numbered("RED", 4, "reduce only"),
    **_numbered("ALG", 10, "conditional orders"),
    **_numbered("POS", 6, "positions"),
    **_numbered("MAR", 5, "margin"),
    **_numbered("LIQ", 5, "liquidation"),
    **_numbered("FUN", 4, "funding"),
    **_numbered("MKT", 6, "market data"),
    **_numbered("WS", 8, "streams"),
    **_numbered("UDS", 7, "user stream"),
    **_numbered("WSA", 5, "WebSocket API"),
    **_numbered("CLI", 6, "stranger clients"),
    **_numbered("FLT", 8, "faults"),
    **_numbered("SPO", 3, "Spot order lists"),
}

# Ids that nothing here claims, with the reason.
NOT_APPLICABLE: dict[str, str] = {}

# Which stranger proves which CLI id.
CLIENT_IDS: dict[str, tuple[str, ...]] = {
    "CLI-1": ("ccxt async", "ccxt sync", "ccxt pro", "ccxt spot"),
    "CLI-2": ("official SDK",),
    "CLI-3": ("python-binance",),
    "CLI-4": ("node binance",),
    "CLI-5": ("node ccxt",),
    "CLI-6": ("freqtrade",),
}
