"""Every key of ``config/trading_config.yaml``: kind, default, range, and who may set it.

The ranges are ceilings against slipped fingers and cannot be configured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum

from perpdesk.domain.units import plain
from perpdesk.strategies.volume_target.modes import (
    CountSide,
    MulPointMode,
    OnDayRollover,
    OnUnconfirmed,
    PriceMode,
    TargetScope,
    VolumeVenue,
)

USERS_MAX = 1_000
PLACES = 8


class Override(Enum):
    """What a user's override may do with a key."""

    NO = "no"
    YES = "yes"
    LOWER = "only lower"
    FALSE = "only false"
    PER_USER = "only with target_scope per_user"


@dataclass(frozen=True)
class NumberKind:
    """A number; ``whole`` for integers, ``open_low`` if the lower bound itself is not allowed."""

    low: Decimal
    high: Decimal
    open_low: bool = False
    whole: bool = False

    @property
    def allowed(self) -> str:
        """``(0, 10000]``"""
        bracket = "(" if self.open_low else "["
        noun = "a whole number in " if self.whole else ""
        return f"{noun}{bracket}{plain(self.low)}, {plain(self.high)}]"

    def allows(self, value: Decimal) -> bool:
        """Is it within the bounds?"""
        return (value > self.low if self.open_low else value >= self.low) and value <= self.high


@dataclass(frozen=True)
class WordKind:
    """One of the words of an enum."""

    words: type[StrEnum]

    @property
    def allowed(self) -> str:
        """``REAL | CREDITED``"""
        return " | ".join(word.value for word in self.words)


@dataclass(frozen=True)
class TextKind:
    """A text of a fixed form."""

    pattern: re.Pattern[str]
    allowed: str


@dataclass(frozen=True)
class BoolKind:
    """true or false."""

    allowed: str = "true | false"


@dataclass(frozen=True)
class UsersKind:
    """The list of user ids."""

    allowed: str = f"1 to {USERS_MAX} different whole numbers, each at least 1"


Kind = NumberKind | WordKind | TextKind | BoolKind | UsersKind
Value = Decimal | int | bool | str | tuple[int, ...] | None


@dataclass(frozen=True)
class Key:
    """One key. ``in_globals``: its name in global_settings, None if it does not belong there.

    ``required``: a strategy must have it. A key that is neither required nor has a default may be left out.
    """

    kind: Kind
    default: Value = None
    required: bool = False
    in_globals: str | None = None
    override: Override = Override.NO
    in_strategy: bool = True


def _number(low: str, high: str, *, open_low: bool = False) -> NumberKind:
    return NumberKind(Decimal(low), Decimal(high), open_low)


def _whole(low: int, high: int) -> NumberKind:
    return NumberKind(Decimal(low), Decimal(high), whole=True)


_TOKEN = TextKind(re.compile(r"[^\s\x00-\x20\x7f]{1,64}"), "1 to 64 characters without blanks")


def _policy(name: str, kind: Kind, default: Value, override: Override = Override.NO) -> dict[str, Key]:
    """A key with a default that global_settings may set under its own name."""
    return {name: Key(kind, default, in_globals=name, override=override)}


def _defaulted(name: str, kind: Kind, default: Value) -> dict[str, Key]:
    """A key that global_settings calls ``default_…`` and that users may override."""
    return {name: Key(kind, default, in_globals=f"default_{name}", override=Override.YES)}


KEYS: dict[str, Key] = {
    "strategy_id": Key(TextKind(re.compile(r"[a-z0-9_]{1,64}"), "1 to 64 of a-z, 0-9 and _"), required=True),
    "strategy_name": Key(
        TextKind(re.compile(r"[^\x00-\x1f\x7f]{1,100}"), "1 to 100 characters"), required=True
    ),
    "enabled": Key(BoolKind(), required=True, override=Override.FALSE),
    "venue": Key(WordKind(VolumeVenue), VolumeVenue.SIM),
    "target_token": Key(_TOKEN, required=True),
    "target_chain": Key(_TOKEN, required=True),
    "target_contract": Key(_TOKEN),
    "target_volume": Key(
        _number("0", "1000000000", open_low=True), required=True, override=Override.PER_USER
    ),
    "target_scope": Key(WordKind(TargetScope), TargetScope.PER_USER),
    "mul_point_mode": Key(WordKind(MulPointMode)),
    "price_mode": Key(WordKind(PriceMode), PriceMode.PROFIT_ON_BUY),
    "count_side": Key(WordKind(CountSide), CountSide.BUY),
    "user_ids": Key(UsersKind(), required=True),
    **_defaulted("single_trade_amount_usdt", _number("0", "10000", open_low=True), Decimal(30)),
    **_defaulted("trade_interval_seconds", _number("0.2", "3600"), Decimal(1)),
    **_defaulted("buy_offset_percentage", _number("0", "10"), Decimal("0.5")),
    **_defaulted("sell_profit_percentage", _number("0", "50"), Decimal(1)),
    **_policy("order_timeout_seconds", _number("10", "3600"), Decimal(300), Override.YES),
    **_policy(
        "max_price_volatility_percentage", _number("0", "50", open_low=True), Decimal(5), Override.LOWER
    ),
    "max_concurrent_users": Key(_whole(1, 1_000), 10, in_globals="max_concurrent_users", in_strategy=False),
    **_policy("volatility_window_seconds", _whole(10, 600), 60),
    **_policy("price_max_age_ms", _whole(100, 10_000), 2_000),
    **_policy("max_spread_percentage", _number("0", "10", open_low=True), Decimal(1)),
    **_policy("volume_check_delay_seconds", _number("0", "600"), Decimal(60)),
    **_policy("retry_delay_seconds", _number("0.5", "600"), Decimal(5)),
    **_policy("max_consecutive_failures", _whole(1, 100), 5),
    **_policy("max_batch_pairs", _whole(1, 100_000), 5_000),
    **_policy("confirm_attempts", _whole(0, 100), 5),
    **_policy("max_loss_per_trade_usdt", _number("0", "1000", open_low=True), Decimal(1), Override.LOWER),
    **_policy("max_loss_per_day_usdt", _number("0", "10000", open_low=True), Decimal(20), Override.LOWER),
    **_policy("max_loss_per_day_all_users_usdt", _number("0", "100000", open_low=True), Decimal(200)),
    **_policy("on_unconfirmed", WordKind(OnUnconfirmed), OnUnconfirmed.STOP),
    **_policy("on_day_rollover", WordKind(OnDayRollover), OnDayRollover.STOP),
    **_policy("stop_grace_seconds", _number("0", "300"), Decimal(5)),
    **_policy("soft_wait_max_seconds", _number("10", "86400"), Decimal(600)),
}

GLOBAL_NAMES = {key.in_globals: name for name, key in KEYS.items() if key.in_globals is not None}
STRATEGY_NAMES = [name for name, key in KEYS.items() if key.in_strategy]
