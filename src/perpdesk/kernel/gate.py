"""Risk: what may be opened now, and why not. One door for every entry.

Entries wanted in one step are candidates, and so are the batches of an entry that is being built. They are
judged in the order of score / maximum score, then universe order, then sleeve order, each with the
reservations of the former: never in order of arrival.
"""

from numba import njit

from perpdesk.kernel.book import put_market
from perpdesk.kernel.building import begin_plan, end_plan, planned_lots
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
    NONE,
    OPPOSITE_SIDE,
    POSITION_EXISTS,
    RATING_BANNED,
    SLOT_ENTRY,
    SLOT_STOP,
    STOP,
    STOP_BEYOND_LIQUIDATION,
    SYMBOL_TAKEN,
    TAG_ENTRY,
    TAG_MANUAL,
    TRADING_DISABLED,
    VERDICT_NONE,
    WORST_CASE,
)
from perpdesk.kernel.sizing import entry_lots, size_verdict

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
        if head.cand_batch > 0:
            lots = head.cand_batch
            verdict = _batch_verdict(account, instruments, positions, slots, heads, v, s)
        else:
            verdict, lots = _verdict(account, sleeves, instruments, positions, slots, heads, v, s, now_ms)
        head.verdict = verdict
        head.verdict_ms = now_ms
        head.verdict_side = head.cand_side
        account.verdicts[verdict] += 1
        if head.cand_batch > 0:
            if verdict == APPROVED:
                put_market(slots[v, s, SLOT_ENTRY], head.cand_side, lots, 0, TAG_ENTRY)
                head.approved_ms = now_ms
                approved += 1
            else:
                end_plan(slots[v, s], head)
            band(slots[v, s], head)
        elif verdict == APPROVED:
            approved += 1
            position = positions[v, s]
            position.leverage = head.cand_leverage
            position.entry_score = head.cand_score
            position.entry_score_max = head.cand_score_max
            position.entry_timeout_ms = head.cand_timeout_ms
            position.entry_stop_ppm = head.cand_stop_ppm
            if head.cand_plan:
                begin_plan(slots[v, s], head, instruments[s], lots, now_ms)
            else:
                put_market(slots[v, s, SLOT_ENTRY], head.cand_side, lots, 0, TAG_ENTRY)
            head.approved_ms = now_ms
            head.next_ms = min(head.next_ms, now_ms + 1)
            band(slots[v, s], head)
        head.cand_side = 0


@njit(cache=True)
def tell_entries(account, heads, now_ms):
    """Tell every sleeve whether own slots may open: the account's rules reach them, too.

    Where the word changes, everybody is asked at the next step.
    """
    on = 0 if account.gate_shut or account.tripped or not account.trading_enabled else 1
    if heads[0, 0].entries_on != on:
        for v in range(heads.shape[0]):
            for s in range(heads.shape[1]):
                heads[v, s].entries_on = on
                heads[v, s].next_ms = min(heads[v, s].next_ms, now_ms)


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
def _occupied(positions, slots, heads, v, s):
    """Held, or an entry on its way or planned."""
    return positions[v, s].lots != 0 or slots[v, s, SLOT_ENTRY].kind != NONE or heads[v, s].plan.lots != 0


@njit(cache=True)
def _open_risk_e8(account, instrument, position, entering, slot_stop, head):
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
    if entering != 0:
        notional = entering * price * unit
        risk += mul_div_ceil(notional, position.entry_stop_ppm + 2 * costs, _PPM)
    return risk


@njit(cache=True)
def _batch_verdict(account, instruments, positions, slots, heads, v, s):
    """May the next batch of an approved entry go out? Its size and place were judged with the whole entry."""
    head = heads[v, s]
    if account.gate_shut:
        return GATE_SHUT
    if not account.trading_enabled:
        return TRADING_DISABLED
    if head.margin_cut_ppm >= _PPM:
        return RATING_BANNED
    if head.cand_veto != VERDICT_NONE:
        return head.cand_veto
    if account.exposure_max_e8 > 0:
        exposure = 0
        for u in range(positions.shape[0]):
            for i in range(positions.shape[1]):
                if _occupied(positions, slots, heads, u, i):
                    lots = abs(positions[u, i].lots) + planned_lots(positions[u, i], slots[u, i], heads[u, i])
                    exposure += lots * heads[u, i].last * instruments[i].unit_e8
        if exposure > account.exposure_max_e8:
            return EXPOSURE_LIMIT
    return DAILY_LOSS if account.tripped else APPROVED


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
    if head.margin_cut_ppm >= _PPM:
        return RATING_BANNED, 0
    if _occupied(positions, slots, heads, v, s):
        return POSITION_EXISTS, 0
    for u in range(positions.shape[0]):
        if sleeves[u].family != sleeves[v].family and _occupied(positions, slots, heads, u, s):
            return SYMBOL_TAKEN, 0
        entering = slots[u, s, SLOT_ENTRY].side if slots[u, s, SLOT_ENTRY].kind != NONE else 0
        if heads[u, s].plan.lots != 0:
            entering = heads[u, s].plan.side
        if positions[u, s].lots * head.cand_side < 0 or entering * head.cand_side < 0:
            return OPPOSITE_SIDE, 0  # the exchange nets: the other version would be closed
    cooldown_ms = sleeves[v].cooldown_ms
    if position.closed_tag == TAG_MANUAL:  # a person knows something
        cooldown_ms = max(cooldown_ms, sleeves[v].cooldown_manual_ms)
    if (
        position.closed_ms > 0
        and position.closed_side == head.cand_side
        and now_ms - position.closed_ms < cooldown_ms
    ):
        return COOLDOWN, 0
    if head.cand_veto != VERDICT_NONE:
        return head.cand_veto, 0

    used = 0
    used_all = 0
    exposure = 0
    pending_margin = 0
    unrealised = 0
    risk = 0
    for u in range(positions.shape[0]):
        for i in range(positions.shape[1]):
            if not _occupied(positions, slots, heads, u, i):
                continue
            used_all += 1
            if u == v:
                used += 1
            other = positions[u, i]
            entering = planned_lots(other, slots[u, i], heads[u, i])
            price = heads[u, i].last
            exposure += abs(other.lots) * price * instruments[i].unit_e8
            unrealised += unrealised_e8(other, instruments[i], price)
            if entering != 0:
                notional = entering * price * instruments[i].unit_e8
                exposure += notional
                pending_margin += -(-notional // max(1, other.leverage)) + fee_e8(
                    notional, instruments[i].taker_ppm
                )
            risk += _open_risk_e8(
                account, instruments[i], other, entering, slots[u, i, SLOT_STOP], heads[u, i]
            )
    if used >= sleeves[v].positions_max or used_all >= account.positions_max > 0:
        return MAX_POSITIONS, 0

    unit = instrument.unit_e8
    lots = entry_lots(head.cand_notional_e8, head.margin_cut_ppm, head.last * unit)
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

    most = min(instrument.market_lots_max, instrument.lots_max)
    size = size_verdict(lots, notional, instrument.lots_min, most, instrument.notional_min_e8)
    if size != APPROVED:
        return size, 0
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
