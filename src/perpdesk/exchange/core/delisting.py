"""A contract changes or ends while it is traded: status, brackets, settlement of every position."""

from __future__ import annotations

from collections.abc import Sequence

from perpdesk.exchange.core import closing, settling
from perpdesk.exchange.core import liquidation as forced
from perpdesk.exchange.core.contracts import PPM, Contract
from perpdesk.exchange.core.orders import ER_DELISTED
from perpdesk.exchange.core.world import World

STATUSES = (
    "PENDING_TRADING",
    "TRADING",
    "PRE_DELIVERING",
    "DELIVERING",
    "DELIVERED",
    "PRE_SETTLE",
    "SETTLING",
    "CLOSE",
)


def settle(world: World, contract: Contract, price: int, now_ms: int) -> int:
    """Delist it: its orders expire (er 7), every position is closed at this price without a fee, and the
    status is SETTLING. Returns how many positions there were."""
    contract.status = "SETTLING"
    count = 0
    for account in world.accounts:
        for order in list(account.open_orders.values()):
            if order.contract == contract.index and order.is_open:
                settling.end_order(world, order, "EXPIRED", "EXPIRED", ER_DELISTED, now_ms)
        for algo in list(account.open_algos.values()):
            if algo.contract == contract.index:
                settling.end_algo(world, algo, "EXPIRED", now_ms)
        for position in account.held(contract.index):
            client_id = f"settlement_autoclose-{now_ms}"
            order = closing.order(
                world, account, position, abs(position.lots), price, client_id, now_ms, forced=False
            )
            closing.against_market(world, account, order, price, 0, now_ms, silent=True)
            settling.tidy(world, account, contract.index, position.side, now_ms)
            count += 1
    return count


def set_brackets(
    world: World, contract: Contract, brackets: Sequence[tuple[int, int, int]], now_ms: int
) -> None:
    """Another ladder: (cap in 1e-8, leverage, rate in ppm) ascending; cumulative amounts follow from it.

    The last bracket has no upper end for maintenance. Positions are judged by it at once. Raises ValueError
    for a ladder that is empty, too long, or not ascending.
    """
    record = contract.record
    if not 1 <= len(brackets) <= len(record.bracket_cap_e8):
        raise ValueError(f"needs 1 to {len(record.bracket_cap_e8)} brackets")
    rows: list[tuple[int, int, int, int]] = []
    for cap, leverage, rate in brackets:
        floor, before, cum = (rows[-1][0], rows[-1][2], rows[-1][3]) if rows else (0, rate, 0)
        if cap <= floor or leverage < 1 or rate < before or rate >= PPM:
            raise ValueError("caps and rates must ascend, leverages be at least 1")
        rows.append((cap, leverage, rate, cum + floor * (rate - before) // PPM))
    contract.brackets = tuple(rows)
    record.bracket_count = len(rows)
    for j, (cap, leverage, rate, cum) in enumerate(rows):
        record.bracket_cap_e8[j] = cap
        record.bracket_leverage[j] = leverage
        record.bracket_mmr_ppm[j] = rate
        record.bracket_cum_e8[j] = cum
    forced.check(world, world.markets[contract.index], now_ms)
    if world.walks is not None:
        world.walks.relevel_all()
