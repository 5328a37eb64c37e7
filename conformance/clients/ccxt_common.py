"""ccxt pointed at the local server, as its users would do it."""

from __future__ import annotations

from life import REST, WS


def options(api_key: str, secret: str) -> dict:
    """Constructor arguments."""
    return {
        "apiKey": api_key,
        "secret": secret,
        "options": {"defaultType": "swap", "fetchCurrencies": False},
        "urls": {
            "api": {
                "fapiPublic": REST + "/fapi/v1",
                "fapiPublicV2": REST + "/fapi/v2",
                "fapiPublicV3": REST + "/fapi/v3",
                "fapiPrivate": REST + "/fapi/v1",
                "fapiPrivateV2": REST + "/fapi/v2",
                "fapiPrivateV3": REST + "/fapi/v3",
                "fapiData": REST + "/futures/data",
                "sapi": REST + "/sapi/v1",
                "public": REST + "/api/v3",
                "private": REST + "/api/v3",
                "ws": {"linear": WS + "/ws", "ws-api": {"linear": WS + "/ws-fapi/v1"}},
            }
        },
    }
