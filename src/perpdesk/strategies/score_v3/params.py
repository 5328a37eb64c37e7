"""What score_v3 can be told, as one record."""

from __future__ import annotations

from typing import Any

import numpy as np

from perpdesk.kernel.records import zeros
from perpdesk.strategies.score_rules.params import COMMON_FIELDS, check, fill_common
from perpdesk.strategies.score_v3.regime import BIG4

# A coin that the universe does not have.
NOWHERE = -1

# coins: where the coins of BIG4 stand in the universe, NOWHERE: absent. sudden_move, pull_back: 0 or 1.
params_dt = np.dtype(
    [
        *COMMON_FIELDS,
        ("sudden_move", "i8"),
        ("pull_back", "i8"),
        ("coins", "i8", (len(BIG4),)),
        ("min_score_long", "f8"),
        ("min_score_short", "f8"),
    ],
    align=True,
)


def params_record(
    *,
    min_score_long: float = 28.0,
    min_score_short: float = 22.0,
    sudden_move: bool = False,
    pull_back: bool = False,
    coins: tuple[int, ...] = (NOWHERE,) * len(BIG4),
    scan_interval_ms: int = 300_000,
    scan_offset_ms: int = 0,
    **common: Any,
) -> np.recarray:
    """One params record (shape (1,)).

    min_score_*: of 42. sudden_move, pull_back: may these signals enter below the threshold? coins: index of
    each coin of ``BIG4`` in the universe (``coins_of``); with -1 for all of them the regime is never known
    and nothing is ever entered. The rest: see ``score_rules.params.fill_common``.

    Raises ValueError naming the parameter that is out of its range.
    """
    record = zeros(1, params_dt)
    fill_common(
        record, "score_v3", scan_interval_ms=scan_interval_ms, scan_offset_ms=scan_offset_ms, **common
    )
    for name, least in (("min_score_long", min_score_long), ("min_score_short", min_score_short)):
        check("score_v3", name, least, 0 < least <= 42, "above 0 and at most 42")
    there = [place for place in coins if place != NOWHERE]
    check(
        "score_v3",
        "coins",
        coins,
        len(coins) == len(BIG4) and all(place >= 0 for place in there) and len(set(there)) == len(there),
        f"the places of {', '.join(BIG4)} in the universe, -1 for one that is not there",
    )
    record.min_score_long = min_score_long
    record.min_score_short = min_score_short
    record.sudden_move = int(sudden_move)
    record.pull_back = int(pull_back)
    record.coins[0] = coins
    return record


def coins_of(symbols: tuple[str, ...]) -> tuple[int, ...]:
    """Where the coins of ``BIG4`` stand among the symbols of a universe, ``NOWHERE`` for an absent one."""
    return tuple(symbols.index(coin) if coin in symbols else NOWHERE for coin in BIG4)
