"""Binance's refusals as values: code, live text and HTTP status (reference §5.1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not carried out; nothing was changed."""

    code: int
    msg: str
    http: int = 400

    def body(self) -> dict[str, object]:
        """The JSON that a client sees."""
        return {"code": self.code, "msg": self.msg}


def mandatory(name: str) -> Refusal:
    """A parameter is missing, empty or malformed."""
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def either(first: str, second: str) -> Refusal:
    """One of two parameters is needed."""
    return Refusal(-1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!")


def invalid_value(name: str) -> Refusal:
    """A value outside of what the parameter takes."""
    return Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")


def not_required(name: str) -> Refusal:
    """A parameter that must not be sent here."""
    return Refusal(-1106, f"Parameter '{name}' sent when not required.")


def too_long(days: int) -> Refusal:
    """A query window of more days than the endpoint takes."""
    return Refusal(-4165, f"Maximum time interval is {days} days")


BAD_NUMBER_QUANTITY = Refusal(-1013, "Invalid quantity.")
BAD_NUMBER_PRICE = Refusal(-1013, "Invalid price.")
CLIENT_ID_CHARACTERS = Refusal(
    -1100,
    r"Illegal characters found in parameter 'newClientOrderId'; legal range is '^[\.A-Z\:/a-z0-9_-]{1,36}$'.",
)
PRECISION = Refusal(-1111, "Precision is over the maximum defined for this asset.")
BAD_TIF = Refusal(-1115, "Invalid timeInForce.")
BAD_TYPE = Refusal(-1116, "Invalid orderType.")
BAD_SIDE = Refusal(-1117, "Invalid side.")
BAD_INTERVAL = Refusal(-1120, "Invalid interval.")
BAD_SYMBOL = Refusal(-1121, "Invalid symbol.")
BAD_LISTEN_KEY = Refusal(
    -1125,
    "This listenKey does not exist. Please use `POST /fapi/v1/listenKey` to recreate `listenKey`",
)
BAD_COMBINATION = Refusal(-1128, "Combination of optional parameters invalid.")
BAD_RESPONSE_TYPE = Refusal(-1136, "Invalid newOrderRespType.")
START_AFTER_END = Refusal(-1023, "Start time is greater than end time.")
UNKNOWN_ORDER = Refusal(-2011, "Unknown order sent.")
NO_ORDER = Refusal(-2013, "Order does not exist.")
MARGIN = Refusal(-2019, "Margin is insufficient.")
NO_LIQUIDITY = Refusal(-2020, "Unable to fill.")
WOULD_TRIGGER = Refusal(-2021, "Order would immediately trigger.")
REDUCE_ONLY = Refusal(-2022, "ReduceOnly Order is rejected.")
IN_LIQUIDATION = Refusal(-2023, "User in liquidation mode now.")
TOO_MANY_ORDERS = Refusal(-2025, "Reach max open order limit.")
ABOVE_BRACKET = Refusal(-2027, "Exceeded the maximum allowable position at current leverage.")
LEVERAGE_MARGIN = Refusal(-2028, "Leverage is smaller than permitted: insufficient margin balance.")
PRICE_ABOVE_MAX = Refusal(-4002, "Price greater than max price.")
QUANTITY_ZERO = Refusal(-4003, "Quantity less than or equal to zero.")
QUANTITY_BELOW_MIN = Refusal(-4004, "Quantity less than min quantity.")
QUANTITY_ABOVE_MAX = Refusal(-4005, "Quantity greater than max quantity.")
PRICE_BELOW_MIN = Refusal(-4013, "Price less than min price.")
OFF_TICK = Refusal(-4014, "Price not increased by tick size.")
CLIENT_ID_LENGTH = Refusal(-4015, "Client order id length should not be more than 36 chars")
OFF_STEP = Refusal(-4023, "Qty not increased by step size.")
WORKING_TYPE = Refusal(-4031, "Invalid parameter working type")
CONDITIONAL_LIMIT = Refusal(-4045, "Reach max stop order limit.")
MARGIN_TYPE_SAME = Refusal(-4046, "No need to change margin type.")
MARGIN_TYPE_ORDERS = Refusal(-4047, "Margin type cannot be changed if there exists open orders.")
MARGIN_TYPE_POSITION = Refusal(-4048, "Margin type cannot be changed if there exists position.")
ADD_MARGIN_CROSS = Refusal(-4049, "Add margin only support for isolated position.")
CROSS_INSUFFICIENT = Refusal(-4050, "Cross balance insufficient.")
ISOLATED_INSUFFICIENT = Refusal(-4051, "Isolated balance insufficient.")
NO_POSITION_MARGIN = Refusal(-4054, "Cannot add position margin: position is 0.")
AMOUNT_POSITIVE = Refusal(-4055, "Amount must be positive.")
MODE_SAME = Refusal(-4059, "No need to change position side.")
BAD_POSITION_SIDE = Refusal(-4060, "Invalid position side.")
POSITION_SIDE_MISMATCH = Refusal(-4061, "Order's position side does not match user's setting.")
BAD_REDUCE_ONLY = Refusal(-4062, "Invalid or improper reduceOnly value.")
MODE_ORDERS = Refusal(-4067, "Position side cannot be changed if there exists open orders.")
MODE_POSITION = Refusal(-4068, "Position side cannot be changed if there exists position.")
BATCH_SIZE = Refusal(-4082, "Invalid number of batch place orders.")
DUPLICATE_CLIENT_ID = Refusal(-4116, "clientOrderId is duplicated")
REDUCE_ONLY_CONFLICT = Refusal(
    -4118, "ReduceOnly Order Failed. Please check your existing position and open orders"
)
USE_ALGO = Refusal(
    -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
)
CLOSE_POSITION_EXISTS = Refusal(
    -4130,
    "An open stop or take profit order with GTE and closePosition in the direction is existing.",
)
TAKE_BOUND = Refusal(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")
BAD_ACTIVATION = Refusal(-4135, "Invalid activation price")
CLOSE_WITH_QUANTITY = Refusal(-4137, "Quantity must be zero with closePosition equals true")
CLOSE_WITH_REDUCE_ONLY = Refusal(-4138, "Reduce only must be true with closePosition equals true")
NOT_TRADING = Refusal(-4140, "Invalid symbol status for opening position.")
SYMBOL_CLOSED = Refusal(-4141, "Symbol is closed.")
ISOLATED_REDUCTION = Refusal(
    -4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions."
)
ISOLATED_IN_MULTI = Refusal(-4168, "Unable to adjust to isolated-margin mode under the Multi-Assets mode.")
MULTI_WITH_ISOLATED = Refusal(
    -4167,
    "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode.",
)
MULTI_WITH_ORDERS = Refusal(-4170, "Unable to adjust Multi-Assets Mode with open orders in USDⓈ-M Futures.")
MULTI_MARGIN = Refusal(
    -4169, "Unable to adjust Multi-Assets Mode with insufficient margin balance in USDⓈ-M Futures."
)
MULTI_NEGATIVE = Refusal(
    -4172,
    "Unable to adjust Multi-Assets Mode with a negative wallet balance of margin available asset in "
    "USDⓈ-M Futures account.",
)
MULTI_SAME = Refusal(
    -4171, "Adjusted asset mode is currently set and does not need to be adjusted repeatedly."
)
FOK = Refusal(
    -5021,
    "Due to the order could not be filled immediately, the FOK order has been rejected. "
    "The order will not be recorded in the order history",
)
GTX = Refusal(
    -5022,
    "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history",
)
AMEND_SYMBOL = Refusal(-5024, "Symbol is not in trading status. Order amendment is not permitted.")
AMEND_LIMIT_ONLY = Refusal(-5025, "Only limit order is supported.")
AMEND_TOO_OFTEN = Refusal(-5026, "Exceed maximum modify order limit.")
AMEND_SAME = Refusal(-5027, "No need to modify the order.")
BAD_PRICE_MATCH = Refusal(-5037, "Invalid price match")
PRICE_MATCH_TYPE = Refusal(-5038, "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT")
BAD_STP = Refusal(-5039, "Invalid self trade prevention mode")
BAD_GTD = Refusal(
    -5040,
    "The goodTillDate timestamp must be greater than the current time plus 600 seconds and smaller than "
    "253402300799000 (UTC 9999-12-31 23:59:59)",
)
NO_DEPTH = Refusal(-5041, "No depth matches this BBO order")
AMEND_REDUCE_ONLY = Refusal(-5047, "The original order is not a reduce-only order")


def price_too_high(bound: str) -> Refusal:
    """PERCENT_PRICE: a buy above its bound."""
    return Refusal(-4016, f"Limit price can't be higher than {bound}.")


def price_too_low(bound: str) -> Refusal:
    """PERCENT_PRICE: a sell below its bound."""
    return Refusal(-4024, f"Limit price can't be lower than {bound}.")


def stop_limit_too_high(bound: str) -> Refusal:
    """A conditional order's limit too far above its trigger."""
    return Refusal(-4183, f"Limit price can't be higher than {bound}")


def stop_limit_too_low(bound: str) -> Refusal:
    """A conditional order's limit too far below its trigger."""
    return Refusal(-4184, f"Limit price can't be lower than {bound}")


def notional_too_small(minimum: str) -> Refusal:
    """MIN_NOTIONAL."""
    return Refusal(
        -4164, f"Order's notional must be no smaller than {minimum} (unless you choose reduce only)."
    )


def amend_notional_too_small(minimum: str) -> Refusal:
    """MIN_NOTIONAL of an amended order."""
    return Refusal(-5029, f"Order's notional must be no smaller than {minimum}")


def bad_leverage(leverage: str) -> Refusal:
    """Outside of 1..the symbol's largest."""
    return Refusal(-4028, f"Leverage {leverage} is not valid")


def bad_depth_limit(limit: str) -> Refusal:
    """Not one of the depths that are served."""
    return Refusal(-4021, f"'{limit}' is not valid depth limit.")
