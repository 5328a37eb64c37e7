"""Spot's refusals as values; what futures and Spot share is in ``exchange.core.refusals``."""

from __future__ import annotations

from perpdesk.exchange.core.refusals import Refusal

_CLIENT_ID = "^[a-zA-Z0-9-_]{1,36}$"


def rejected(text: str) -> Refusal:
    """The matching engine's no."""
    return Refusal(-2010, text)


def filter_failure(name: str) -> Refusal:
    """A filter of the symbol."""
    return Refusal(-1013, f"Filter failure: {name}")


def too_precise(name: str) -> Refusal:
    """More decimals than the asset has."""
    return Refusal(-1111, f"Parameter '{name}' has too much precision.")


def bad_client_id(name: str) -> Refusal:
    """Characters or length of a client id."""
    return Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{_CLIENT_ID}'.")


def empty(name: str) -> Refusal:
    """A parameter that is there and says nothing."""
    return Refusal(-1105, f"Parameter '{name}' was empty.")


BALANCE = rejected("Account has insufficient balance for requested action.")
DUPLICATE = rejected("Duplicate order sent.")
CLOSED = rejected("Market is closed.")
WOULD_TAKE = rejected("Order would immediately match and take.")
WOULD_TRIGGER = rejected("Order would trigger immediately.")
NO_ICEBERG = rejected("Iceberg orders are not supported for this symbol.")
NO_TRAILING = rejected("Trailing stop orders are not supported for this symbol.")
NO_OCO = rejected("OCO orders are not supported for this symbol.")
NO_OTO = rejected("OTO orders are not supported for this symbol.")
NO_OPO = rejected("OPO orders are not supported for this symbol.")
BAD_RELATION = rejected("The relationship of the prices for the orders is not correct.")
BAD_COMPOSITION = Refusal(-1014, "Unsupported order combination.")
TIF_NOT_REQUIRED = Refusal(-1114, "TimeInForce parameter sent when not required.")
BAD_STP = Refusal(-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid.")
OCO_TYPE = Refusal(-1158, "Order type not supported in OCO.")
BUY_LIMIT_BELOW = Refusal(-1165, "A limit order in a buy OCO must be below.")
SELL_LIMIT_ABOVE = Refusal(-1166, "A limit order in a sell OCO must be above.")
BOTH_LIMITS = Refusal(-1168, "At least one OCO order must be contingent.")
BUY_STOP_ABOVE = Refusal(-1196, "A stop loss order in a buy OCO must be above.")
SELL_STOP_BELOW = Refusal(-1197, "A stop loss order in a sell OCO must be below.")
BUY_PROFIT_BELOW = Refusal(-1198, "A take profit order in a buy OCO must be below.")
SELL_PROFIT_ABOVE = Refusal(-1199, "A take profit order in a sell OCO must be above.")
NO_LIST = Refusal(-2018, "Order list does not exist.")
WINDOW_TOO_LONG = Refusal(-1131, "recvWindow must be less than 60000")
TOO_MANY_HOURS = Refusal(-1127, "More than 24 hours between startTime and endTime.")
BAD_LISTEN_KEY = Refusal(-1125, "This listenKey does not exist.")
