"""Risk: what may be opened now, and why not. One door for every entry.

Entries wanted in one step are candidates. They are judged in the order of score / maximum score, then
universe order, then sleeve order, each with the reservations of the former: never in order of arrival.
"""

from numba import njit

from perpdesk.kernel.book import put_market
from perpdesk.kernel.exact import mul_div_ceil
from perpdesk.kernel.ledger import bracket_of, fee_e8, leverage_cap_e8, unrealised_e8
from perpdesk.kernel.matching import band
from perpdesk.kernel.records import (
    APPROVED,
    COOLDOWN,
    DAILY_LOSS,
    EXPOSURE_LIMIT,
    GATE_SHUT,
    INSUFFICIENT_BALANCE,
    LEVERAGE_BRACKET,
    MAX_POSITIONS,
    MIN_NOTIONAL,
    NONE,
    OPPOSITE_SIDE,
    POSITION_EXISTS,
    QTY_ABOVE_MAX,
    QTY_BELOW_MIN,
    QTY_ZERO,
    SLOT_ENTRY,
    SLOT_STOP,
    STOP,
    STOP_BEYOND_LIQUIDATION,
    SYMBOL_TAKEN,
    TAG_ENTRY,
    TRADING_DISABLED,
    WORST_CASE,
)

_PPM = 1_000_000


@njit(cache=True)
def judge_step(account, sleeves, instruments, positions, slots, heads, now_ms):
    """Judge all candidates of one step; approved ones become entry slots. Returns how many were approved.

    Shapes: sleeves [V], instruments [N], positions and heads [V, N], slots [V, N, K].
    """
    approved = 0
    while True:
        v, s = _next_candidate(heads)
        if v < 0:
            return approved
        head = heads[v, s]
        verdict, lots = _verdict(account, sleeves, instruments, positions, slots, heads, v, s, now_ms)
        head.verdict = verdict
        head.verdict_ms = now_ms
        head.verdict_side = head.cand_side
        account.verdicts[verdict] += 1
        if verdict == APPROVED:
            approved += 1
            position = positions[v, s]
            position.leverage = head.cand_leverage
            position.entry_score = head.cand_score
            position.entry_score_max = head.cand_score_max
            position.entry_timeout_ms = head.cand_timeout_ms
            position.entry_stop_ppm = head.cand_stop_ppm
            put_market(slots[v, s, SLOT_ENTRY], head.cand_side, lots, 0, TAG_ENTRY)
            head.approved_ms = now_ms
            head.next_ms = min(head.next_ms, now_ms + 1)
            band(slots[v, s], head)
        head.cand_side = 0


@njit(cache=True)
def _next_candidate(heads):
    best_v = -1
    best_s = -1
    best = 0.0
    for s in range(heads.shape[1]):
        for v in range(heads.shape[0]):
            head = heads[v, s]
            if head.cand_side != 0:
                strength = head.cand_score / head.cand_score_max
                if best_v < 0 or strength > best:
                    best = strength
                    best_v = v
                    best_s = s
    return best_v, best_s


@njit(cache=True)
def _occupied(positions, slots, v, s):
    """Held, or an entry on its way."""
    return positions[v, s].lots != 0 or slots[v, s, SLOT_ENTRY].kind != NONE


@njit(cache=True)
def _open_risk_e8(account, instrument, position, slot_entry, slot_stop, head):
    """What this symbol can still lose from its mark to its exchange stop, costs of the exit included."""
    price = head.last
    unit = instrument.unit_e8
    costs = account.slippage_ppm + instrument.taker_ppm
    risk = 0
    if position.lots != 0:
        notional = abs(position.lots) * price * unit
        if slot_stop.kind == STOP:
            distance = price - slot_stop.price if position.lots > 0 else slot_stop.price - price
            risk += max(0, distance) * abs(position.lots) * unit + mul_div_ceil(notional, costs, _PPM)
        else:  # no stop seen: all of it
            risk += notional
    if slot_entry.kind != NONE:
        notional = slot_entry.lots * price * unit
        risk += mul_div_ceil(notional, position.entry_stop_ppm + 2 * costs, _PPM)
    return risk


@njit(cache=True)
def _verdict(account, sleeves, instruments, positions, slots, heads, v, s, now_ms):
    """(verdict, lots) for one candidate; the first rule that fails is the reason."""
    head = heads[v, s]
    instrument = instruments[s]
    position = positions[v, s]
    if account.gate_shut:
        return GATE_SHUT, 0
    if not account.trading_enabled:
        return TRADING_DISABLED, 0
    if _occupied(positions, slots, v, s):
        return POSITION_EXISTS, 0
    for u in range(positions.shape[0]):
        if sleeves[u].family != sleeves[v].family and _occupied(positions, slots, u, s):
            return SYMBOL_TAKEN, 0
        entering = slots[u, s, SLOT_ENTRY].side if slots[u, s, SLOT_ENTRY].kind != NONE else 0
        if positions[u, s].lots * head.cand_side < 0 or entering * head.cand_side < 0:
            return OPPOSITE_SIDE, 0  # the exchange nets: the other version would be closed
    if (
        position.closed_ms > 0
        and position.closed_side == head.cand_side
        and now_ms - position.closed_ms < sleeves[v].cooldown_ms
    ):
        return COOLDOWN, 0

    used = 0
    used_all = 0
    exposure = 0
    pending_margin = 0
    unrealised = 0
    risk = 0
    for u in range(positions.shape[0]):
        for i in range(positions.shape[1]):
            if not _occupied(positions, slots, u, i):
                continue
            used_all += 1
            if u == v:
                used += 1
            other = positions[u, i]
            entry = slots[u, i, SLOT_ENTRY]
            price = heads[u, i].last
            exposure += abs(other.lots) * price * instruments[i].unit_e8
            unrealised += unrealised_e8(other, instruments[i], price)
            if entry.kind != NONE:
                notional = entry.lots * price * instruments[i].unit_e8
                exposure += notional
                pending_margin += -(-notional // max(1, other.leverage)) + fee_e8(
                    notional, instruments[i].taker_ppm
                )
            risk += _open_risk_e8(account, instruments[i], other, entry, slots[u, i, SLOT_STOP], heads[u, i])
    if used >= sleeves[v].positions_max or used_all >= account.positions_max > 0:
        return MAX_POSITIONS, 0

    unit = instrument.unit_e8
    lots = head.cand_notional_e8 // (head.last * unit)
    notional = lots * head.last * unit
    if account.exposure_max_e8 > 0 and exposure + notional > account.exposure_max_e8:
        return EXPOSURE_LIMIT, 0
    if account.tripped:
        return DAILY_LOSS, 0
    costs = account.slippage_ppm + instrument.taker_ppm
    risk += mul_div_ceil(notional, head.cand_stop_ppm + 2 * costs, _PPM)
    if account.worst_case_ppm > 0:
        today = account.cash_e8 + unrealised - account.day_start_e8
        limit = mul_div_ceil(account.worst_case_base_e8, account.worst_case_ppm, _PPM)
        if today - risk < -limit:
            return WORST_CASE, 0

    if lots == 0:
        return QTY_ZERO, 0
    if lots < instrument.lots_min:
        return QTY_BELOW_MIN, 0
    if lots > instrument.market_lots_max or lots > instrument.lots_max:
        return QTY_ABOVE_MAX, 0
    if notional < instrument.notional_min_e8:
        return MIN_NOTIONAL, 0
    if notional > leverage_cap_e8(instrument, head.cand_leverage):
        return LEVERAGE_BRACKET, 0
    # the stop must act before 'liquidation_share' of the way to liquidation is gone
    mmr = instrument.bracket_mmr_ppm[bracket_of(instrument, notional)]
    room = _PPM // head.cand_leverage - mmr
    if room * account.liquidation_share_ppm // _PPM <= head.cand_stop_ppm:
        return STOP_BEYOND_LIQUIDATION, 0
    available = account.cash_e8 + min(0, unrealised) - account.margin_e8 - pending_margin
    needed = -(-notional // head.cand_leverage) + mul_div_ceil(notional, costs, _PPM)
    if needed > available:
        return INSUFFICIENT_BALANCE, 0
    return APPROVED, lots
