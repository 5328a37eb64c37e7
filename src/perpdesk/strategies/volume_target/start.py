"""Who of a strategy's users is queued when it starts, and who runs next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpdesk.strategies.volume_target.arithmetic import ZERO, exact
from perpdesk.strategies.volume_target.modes import TargetScope
from perpdesk.strategies.volume_target.volume import total_of


@dataclass(frozen=True, slots=True)
class StartPlan:
    """``skipped``: at the target already, no order. ``queued``: in the order of user_ids."""

    skipped: tuple[int, ...]
    queued: tuple[int, ...]


@exact
def start_plan(
    user_ids: Sequence[int],
    volumes: Mapping[int, Decimal | None],
    targets: Mapping[int, Decimal],
    scope: TargetScope,
) -> StartPlan:
    """``volumes``: V(D) by user, None where the query failed. A failed query skips nobody: it asks again."""
    if scope is TargetScope.ALL_USERS:
        total = total_of([volumes.get(user) for user in user_ids])
        reached = total is not None and total >= max(targets.values(), default=ZERO)
        return StartPlan(tuple(user_ids), ()) if reached else StartPlan((), tuple(user_ids))
    skipped = tuple(user for user in user_ids if _reached(volumes.get(user), targets[user]))
    return StartPlan(skipped, tuple(user for user in user_ids if user not in skipped))


def _reached(volume: Decimal | None, target: Decimal) -> bool:
    return volume is not None and volume >= target


def next_users(queued: Sequence[int], active: int, max_concurrent: int) -> tuple[int, ...]:
    """Who gets the free slots; ``active`` counts the runs of all strategies."""
    return tuple(queued[: max(0, max_concurrent - active)])
