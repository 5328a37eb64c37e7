"""The official SDK: its REST client is blocking, so that its users run it in threads."""

from __future__ import annotations

from typing import Any

import lap
from binance_common.configuration import ConfigurationRestAPI
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
    DerivativesTradingUsdsFutures,
)

told = lap.options()
client = DerivativesTradingUsdsFutures(
    config_rest_api=ConfigurationRestAPI(api_key=told.api_key, api_secret=told.secret, base_path=told.url)
)


def place(client_id: str, side: str) -> Any:
    """One market order, its answer read as the SDK does."""
    return client.rest_api.new_order(
        symbol=lap.SYMBOL,
        side=side,
        type="MARKET",
        quantity=float(lap.QUANTITY),
        new_client_order_id=client_id,
    ).data()


lap.serve_blocking("official SDK", told, place)
