"""An entry that is built in batches: the plan, its next batch, its end.

The gate approves and sizes the whole entry once; the plan then proposes each batch as a candidate of its own,
so that the switch, a ban, a veto and the breaker are asked again before every one. Whatever is refused ends
the plan: what is held stays and is guarded, from the first lot on.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.book import put_market
from perpdesk.kernel.ladder import BATCHES, NOTHING, WINDOW_END, ladder_lots, ladder_next
from perpdesk.kernel.records import MARKET, NONE, SLOT_ENTRY, SLOT_EXIT, SLOT_STOP, SLOT_TRAIL, TAG_ENTRY


@njit(cache=True)
def begin_plan(slots, head, instrument, lots, now_ms):
    """Plan an approved entry of so many lots; too few to split are one market order."""
    part, _, _ = ladder_lots(lots, head.last, instrument.unit_e8, instrument.notional_min_e8)
    if part == 0 or part < instrument.lots_min:
        put_market(slots[SLOT_ENTRY], head.cand_side, lots, 0, TAG_ENTRY)
        return
    plan = head.plan
    plan.side = head.cand_side
    plan.lots = lots
    plan.part = part
    plan.held = 0
    plan.filled = 0
    plan.since_ms = now_ms
    plan.fill_ms = 0
    plan.first_price = 0
    plan.quartile = head.cand_quartile
    plan.median = head.cand_median
    if ladder_next(plan.side, 0, 0, 0, head.last, 0, 0, 0, plan.quartile, plan.median) != NOTHING:
        put_market(slots[SLOT_ENTRY], plan.side, part, 0, TAG_ENTRY)


@njit(cache=True)
def end_plan(slots, head):
    """Nothing more is bought; what is held stays."""
    slots[SLOT_ENTRY].kind = NONE
    head.plan.lots = 0


@njit(cache=True)
def planned_lots(position, slots, head):
    """Lots that an entry under way may still add."""
    if head.plan.lots != 0:
        return max(0, head.plan.lots - abs(position.lots))
    return slots[SLOT_ENTRY].lots if slots[SLOT_ENTRY].kind != NONE else 0


@njit(cache=True)
def build(position, slots, head, instrument, now_ms, in_path):
    """Book what the last batch has filled, propose the next, end the plan when it is over."""
    plan = head.plan
    leaving = (
        slots[SLOT_EXIT].kind == MARKET or slots[SLOT_STOP].kind == MARKET or slots[SLOT_TRAIL].kind == MARKET
    )
    closed = position.lots == 0 and position.closed_ms >= plan.since_ms
    if leaving or closed:
        end_plan(slots, head)
        return
    if in_path != 0:
        return
    head.next_ms = min(head.next_ms, now_ms + 1)
    if slots[SLOT_ENTRY].kind != NONE:
        return  # on its way
    held = abs(position.lots)
    if held > plan.held:
        plan.filled += 1
        plan.fill_ms = position.last_fill_ms
        if plan.filled == 1:
            plan.first_price = position.cost_e8 // (held * instrument.unit_e8)
    plan.held = held
    if held >= plan.lots or plan.filled >= BATCHES:
        end_plan(slots, head)
        return
    reason = ladder_next(
        plan.side, plan.filled, now_ms - plan.since_ms, now_ms - plan.fill_ms, head.last, plan.first_price,
        held, position.cost_e8 // instrument.unit_e8, plan.quartile, plan.median,
    )  # fmt: skip
    if reason == NOTHING:
        return
    whole = reason == WINDOW_END or plan.filled == BATCHES - 1
    head.cand_side = plan.side
    head.cand_batch = plan.lots - held if whole else min(plan.part, plan.lots - held)
    head.cand_score = position.entry_score
    head.cand_score_max = position.entry_score_max
