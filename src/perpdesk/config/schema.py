"""Every section and key: its type, default, range and the code of its error.

Codes: E00 form of the file or value · E01 names · E02 scorer · E03 scan grid · E04 score threshold ·
E05 entry mode · E06 size, leverage, position count · E09 protective exits · E10 risk limits and
cooldowns · E12 costs and simulation · E13 averages ·
E14 grid (``grid.py``) · E15 open interest (``oi.py``). Fractions are price moves or shares (0.03 is 3 %),
money is USDT. ``config/perpdesk.yaml`` holds the same defaults with a comment on each.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

import msgspec

from perpdesk.config.grid import Grid
from perpdesk.config.oi import Oi
from perpdesk.config.rules import Items, Name, Number, Word, fraction, money, whole

# 1e9 USDT are 1e17 in the kernel's units: a hundred such sums still stay below 2^62 (4.6e18).
MONEY_MAX = 1_000_000_000
# As many as the kernel's records hold.
TIMED_STOPS_MAX = 4
TIMEOUTS_MAX = 4
SECONDS_A_DAY = 86_400
MINUTES_MAX = 7 * 24 * 60

# Sections and keys that belong to later work: refused by name, so that nobody believes they act.
LATER = {
    "oi": ("margin_base", "on_trip", "adopt", "daily_loss_fraction", "worst_case_fraction", "fixed_stop"),
    "score": (
        "symbols",
        "position_mode",
        "opposite_side_policy",
        "heartbeat_max_age_s",
        "price_max_age_s",
    ),
    "score.guardian": ("partial_exits",),
}

_MOVE_CODE = "E09"
Loss = Annotated[
    Decimal, fraction(_MOVE_CODE, at_least="-0.5", below=0, noun="a negative fraction of the entry price")
]
Move = Annotated[Decimal, fraction(_MOVE_CODE, above=0, below="0.5", noun="a fraction of the entry price")]
Share = Annotated[Decimal, fraction(_MOVE_CODE, above=0, below=1)]
Fee = Annotated[Decimal, fraction("E12", at_least=0, at_most="0.01")]
Leverage = Annotated[int, whole("E06", "a whole number", 1, 20)]
PositionCount = Annotated[int, whole("E06", "a whole number", 1, 200)]
Seconds = Annotated[int, whole("E10", "whole seconds", 0, SECONDS_A_DAY)]
ScanInterval = Annotated[int, whole("E03", "whole seconds", 60, SECONDS_A_DAY, multiple_of=60)]


Multiplier = Annotated[Decimal, fraction("E11", at_least=0, at_most=1)]
HardStops = Annotated[int, whole("E11", "a whole number", 1, 1000)]
RatingLoss = Annotated[Decimal, money("E11", above=0, at_most=MONEY_MAX)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: frozen, no unknown keys."""


class Account(Section, frozen=True, kw_only=True):
    """Whose money it is and what the exchange charges for its use."""

    name: Annotated[
        str,
        Name("E01", re.compile(r"[a-z0-9][a-z0-9_-]{0,29}"), "1 to 30 of a-z, 0-9, '_' and '-'"),
    ] = "main"
    balance_usdt: Annotated[Decimal, money("E06", above=0, at_most=MONEY_MAX)] = Decimal(10_000)
    leverage: Leverage = 5
    margin_mode: Annotated[str, Word("E06", ("isolated", "cross"))] = "isolated"
    maker_fee: Fee = Decimal("0.0002")
    taker_fee: Fee = Decimal("0.0005")


class Disaster(Section, frozen=True, kw_only=True):
    """The stop that stands behind all others: how far away, and how near to liquidation, at most."""

    max: Share = Decimal("0.1")
    liq_share: Share = Decimal("0.8")


class Risk(Section, frozen=True, kw_only=True):
    """Limits of the account, over all strategies."""

    positions_max: PositionCount = 20
    max_total_notional_usdt: Annotated[Decimal, money("E10", above=0, at_most=MONEY_MAX)] = Decimal(20_000)
    daily_loss_limit: Annotated[Decimal, fraction("E10", above=0, at_most=1)] | None = Decimal("0.2")
    worst_case_fraction: Annotated[Decimal, fraction("E10", above=0, at_most=1)] = Decimal("0.5")
    disaster: Disaster = Disaster()


class Paper(Section, frozen=True, kw_only=True):
    """What the simulated exchange assumes, in backtest and paper alike."""

    slippage: Annotated[Decimal, fraction("E12", at_least=0, at_most="0.01")] = Decimal("0.0005")
    volume_share: Annotated[Decimal, fraction("E12", above=0, at_most=1)] | None = Decimal("0.1")
    speed: (
        Annotated[
            Decimal,
            Number(
                "E12", "a number", above=Decimal(0), at_most=Decimal(1_000_000), places=3, none_word="max"
            ),
        ]
        | None
    ) = None


class SmaCross(Section, frozen=True, kw_only=True):
    """Long while the fast average is above the slow one; stop and trailing exit rest on the exchange."""

    interval: Annotated[str, Word("E13", ("1m",), later=("5m", "15m", "1h", "4h", "1d"))] = "1m"
    fast: Annotated[int, whole("E13", "a whole number of bars", 1, 510)] = 20
    slow: Annotated[int, whole("E13", "a whole number of bars", 2, 511)] = 100
    notional_usdt: Annotated[Decimal, money("E06", at_least=1, at_most=20_000_000)] = Decimal(1_000)
    leverage: Leverage | None = None
    positions_max: PositionCount = 5
    stop: Move = Decimal("0.03")
    trail_activation: Move = Decimal("0.03")
    trail_callback: Annotated[Decimal, fraction(_MOVE_CODE, at_least="0.001", at_most="0.2")] | None = (
        Decimal("0.015")
    )
    take_profit: Move | None = None
    take_profit_share: Annotated[Decimal, fraction(_MOVE_CODE, at_least="0.01", at_most="0.99")] = Decimal(
        "0.5"
    )
    timeout_minutes: Annotated[int, whole(_MOVE_CODE, "whole minutes", 0, MINUTES_MAX)] = 0
    cooldown_s: Seconds = 0


class V2Params(Section, frozen=True, kw_only=True):
    """What the V2 scorer decides with, of 100 points."""

    min_score_to_trade: Annotated[
        Decimal, Number("E04", "a score", above=Decimal(0), at_most=Decimal(100), places=6)
    ] = Decimal(60)


V3Score = Annotated[Decimal, Number("E04", "a score", above=Decimal(0), at_most=Decimal(42), places=6)]


class V3Params(Section, frozen=True, kw_only=True):
    """What the V3 scorer decides with, of 42 points. The signals enter below the threshold."""

    min_score_long: V3Score = Decimal(28)
    min_score_short: V3Score = Decimal(22)
    sudden_move: bool = False
    pull_back: bool = False


class Version(Section, frozen=True, kw_only=True):
    """One scorer version: its scan grid and sizing. It owns its own positions."""

    name: Annotated[
        str,
        Name("E01", re.compile(r"[a-z][a-z0-9_]{0,19}"), "a-z first, then up to 19 of a-z, 0-9 and '_'"),
    ]
    enabled: bool = True
    # Scans fall on steps, and steps on whole minutes.
    scan_interval_s: ScanInterval = 600
    start_offset_s: Annotated[int, whole("E03", "whole seconds", 0, SECONDS_A_DAY, multiple_of=60)] = 0
    entry_mode: Annotated[str, Word("E05", ("market", "confirm_5m", "ladder"))] = "market"
    margin_usdt: Annotated[Decimal, money("E06", at_least=1, at_most=1_000_000)] = Decimal(400)
    leverage: Leverage | None = 5
    max_positions: PositionCount = 20

    @property
    def scorer(self) -> str:
        """The word in the file that tells one form of a version from the other."""
        return str(self.__struct_config__.tag)


class V2Version(Version, frozen=True, kw_only=True, tag_field="scorer", tag="v2"):
    """A version of the V2 scorer."""

    params: V2Params = V2Params()


class V3Version(Version, frozen=True, kw_only=True, tag_field="scorer", tag="v3"):
    """A version of the V3 scorer."""

    scan_interval_s: ScanInterval = 300
    params: V3Params = V3Params()


class TimedStop(Section, frozen=True, kw_only=True):
    """A stop that acts only while the position is at most so old."""

    within_s: Annotated[int, whole(_MOVE_CODE, "whole seconds", 1, SECONDS_A_DAY)]
    level: Loss


class Trailing(Section, frozen=True, kw_only=True):
    """Armed at ``activation``, leaves ``retrace`` below the peak, never below ``floor``."""

    activation: Move = Decimal("0.03")
    retrace: Move = Decimal("0.015")
    floor: Move = Decimal("0.0015")


class Timeout(Section, frozen=True, kw_only=True):
    """The longest life of a position whose entry score was at least ``ratio`` of the maximum."""

    ratio: Annotated[
        Decimal, fraction(_MOVE_CODE, at_least=0, at_most=1, noun="a share of the highest score")
    ]
    minutes: Annotated[int, whole(_MOVE_CODE, "whole minutes", 1, MINUTES_MAX)]


class Guardian(Section, frozen=True, kw_only=True):
    """The exits of every score position."""

    fixed_stop: Loss = Decimal("-0.03")
    timed_stops: Annotated[tuple[TimedStop, ...], Items(_MOVE_CODE, TIMED_STOPS_MAX)] = (
        TimedStop(within_s=600, level=Decimal("-0.025")),
        TimedStop(within_s=1800, level=Decimal("-0.035")),
        TimedStop(within_s=3600, level=Decimal("-0.04")),
    )
    trailing: Trailing = Trailing()
    fixed_tp: Annotated[Decimal, fraction(_MOVE_CODE, above=0, below=5)] | None = None
    timeouts: Annotated[tuple[Timeout, ...], Items(_MOVE_CODE, TIMEOUTS_MAX)] = (
        Timeout(ratio=Decimal("0.9"), minutes=360),
        Timeout(ratio=Decimal("0.8"), minutes=300),
        Timeout(ratio=Decimal("0.7"), minutes=240),
        Timeout(ratio=Decimal(0), minutes=180),
    )


class Rating(Section, frozen=True, kw_only=True):
    """What a symbol that keeps losing is worth. Three figures each: of levels 1, 2 and 3 (3 is a ban)."""

    enabled: bool = True
    multipliers: Annotated[tuple[Multiplier, ...], Items("E11", 2)] = (Decimal("0.25"), Decimal("0.125"))
    bonuses: Annotated[tuple[Multiplier, ...], Items("E11", 2)] = (Decimal("0.05"), Decimal("0.1"))
    hard_stops: Annotated[tuple[HardStops, ...], Items("E11", 3)] = (3, 5, 8)
    losses_usdt: Annotated[tuple[RatingLoss, ...], Items("E11", 3)] = (
        Decimal(100),
        Decimal(200),
        Decimal(400),
    )


class Score(Section, frozen=True, kw_only=True):
    """The score trader: versions that scan in parallel, one guardian for all of them."""

    versions: Annotated[tuple[V2Version | V3Version, ...], Items("E01", 8)] = (
        V2Version(name="v2", start_offset_s=120),
        V3Version(name="v3"),
    )
    guardian: Guardian = Guardian()
    cooldown_s: Seconds = 900
    cooldown_manual_s: Seconds = 3600
    rating: Rating = Rating()


class Config(Section, frozen=True, kw_only=True):
    """The whole of ``config/perpdesk.yaml``."""

    account: Account = Account()
    risk: Risk = Risk()
    paper: Paper = Paper()
    sma_cross: SmaCross = SmaCross()
    score: Score = Score()
    oi: Oi = Oi()
    grid: Grid = Grid()


def leverage_of(config: Config, part: Version | SmaCross) -> int:
    """The leverage that a version or strategy uses: its own, else the account's."""
    return config.account.leverage if part.leverage is None else part.leverage
