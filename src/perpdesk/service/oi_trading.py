"""Between the radar and the desk that trades what it sees.

A poll's rows go into the strategy's inboxes and re-enter their step at once; new settings reach the strategy
between two polls. Positions keep the exits that they were opened with. An entry is looked at a last time
right before the wire: with the mark of now, and with its age.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from perpdesk.config.oi import Oi
from perpdesk.config.oi_records import NAME, guard, params
from perpdesk.engine.sleeve import Sleeve
from perpdesk.kernel.records import SLOT_ENTRY, zeros
from perpdesk.kernel.replay import Books
from perpdesk.live import Plan
from perpdesk.market.interest import Arrivals, row_of
from perpdesk.market.radar.judge import RATIO_AGE_MAX_MS
from perpdesk.market.radar.poll import Poll
from perpdesk.market.radar.radar import Seen
from perpdesk.market.radar.source import FUNDING_HOURS, NO_RATIOS
from perpdesk.market.universe import Universe
from perpdesk.ports import NewOrder
from perpdesk.strategies.oi_breakout import sight_dt, take
from perpdesk.strategies.oi_breakout.points import change, chase_distance
from perpdesk.strategies.oi_breakout.verdict import needs_sentiment

LOG = logging.getLogger(__name__)
SIGNAL_STALE, PRICE_MOVED, CHASE_LIMIT = "SIGNAL_STALE", "PRICE_MOVED", "CHASE_LIMIT"
ALGO_SLOTS = "ALGO_SLOTS"
# An entry goes out this soon after its decision, on open interest not older than that.
DECISION_AGE_MS, ROW_AGE_MS = 15_000, 60_000
MOVED_MAX = 0.01
# Conditional orders that a position needs, and how many of an account are planned with.
SLOTS_OF_POSITION, SLOTS_MAX = 6, 190
# What acts on positions that are open already is not changed under them.
_OF_OPEN_POSITIONS = ("trail_callback_ppm", "stage_share_ppm")

Again = Callable[[int, Sequence[int], int], Awaitable[None]]


@dataclass
class InterestTrading:
    """One sleeve of oi_breakout on a desk. now_ms: the exchange's time; again: tells the desk that rows are
    there (``LiveDesk.again``); conditional_orders: how many are open on the account."""

    sleeve: Sleeve
    books: Books
    universe: Universe
    now_ms: Callable[[], int]
    again: Again | None = None
    conditional_orders: Callable[[], int] = lambda: 0
    _settings: Oi | None = None
    _places: dict[str, int] = field(init=False)
    _decided_ms: dict[int, int] = field(default_factory=dict)
    _slot_ms: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._places = {symbol: s for s, symbol in enumerate(self.universe.symbols)}
        self._arrivals = Arrivals(self.sleeve.mind.states)

    async def seen(self, seen: Seen) -> None:
        """A poll: its rows go where the strategy looks for them."""
        poll, came = seen.poll, []
        self._change_exits_if_flat()
        for row in poll.rows:
            s = self._places.get(row.symbol)
            if s is None or row.amount is None or row.mark is None:  # no mark price: nothing is scored
                continue
            ratios = seen.ratios.get(row.symbol, NO_RATIOS)
            if poll.slot_ms - ratios.told_ms > RATIO_AGE_MAX_MS:
                ratios = NO_RATIOS
            made = row_of(
                poll.slot_ms,
                row.amount,
                row.mark.rate,
                seen.funding_hours.get(row.symbol, FUNDING_HOURS),
                (ratios.top_position, ratios.taker, ratios.top_account, ratios.crowd),
                poll.is_degraded,
            )
            if self._arrivals.put(s, made):
                came.append(s)
                self._slot_ms[s], self._decided_ms[s] = poll.slot_ms, self.now_ms()
        if came and self.again is not None:
            await self.again(self.sleeve.index, came, poll.slot_ms)

    def asks(self, poll: Poll) -> Collection[str]:
        """Symbols that sentiment will decide about: their rows are tried on a copy of what is known."""
        mine, wanted = self.sleeve.mind, []
        sight = zeros(1, sight_dt)
        for row in poll.rows:
            s = self._places.get(row.symbol)
            if s is None or row.amount is None:
                continue
            sight[0] = mine.states[s].sight
            mark = float(self.books.heads[self.sleeve.index, s].last)
            if row.mark is not None and self.books.heads[self.sleeve.index, s].step_ms < poll.slot_ms:
                mark = float(row.mark.price) * 10 ** self.universe.price_digits[s]
            news = take(mine.params[0], sight[0], poll.slot_ms, poll.slot_ms, float(row.amount), mark)
            if news and needs_sentiment(mine.params[0], sight[0].periods):
                wanted.append(row.symbol)
        return wanted

    def why_not(self, order: NewOrder, mark: int) -> str | None:
        """Is what the entry was decided on still so? mark 0: not known, somebody else refuses that."""
        if order.sleeve != self.sleeve.index:
            return None
        s, now_ms = order.symbol, self.now_ms()
        state = self.sleeve.mind.states[s]
        decided_ms = max(int(state.judged_ms), self._decided_ms.get(s, 0))
        if now_ms - decided_ms > DECISION_AGE_MS or now_ms - self._slot_ms.get(s, 0) > ROW_AGE_MS:
            return SIGNAL_STALE
        if self.conditional_orders() + SLOTS_OF_POSITION > SLOTS_MAX:
            return ALGO_SLOTS
        if mark <= 0:
            return None
        sight = state.sight
        if not abs(change(float(mark), float(sight.price))) <= MOVED_MAX:
            return PRICE_MOVED
        low, high = min(float(sight.low), mark), max(float(sight.high), mark)
        chase = chase_distance(order.side, float(mark), low, high)
        return None if chase <= self.sleeve.mind.params[0].chase_reject_above else CHASE_LIMIT

    def take_settings(self, oi: Oi) -> None:
        """Decide by these from now on. Exits change when nothing is held."""
        fresh, mine = params(oi), self.sleeve.mind.params
        for name in fresh.dtype.names or ():
            if name not in _OF_OPEN_POSITIONS:
                mine[name] = fresh[name]
        limits = self.books.sleeves[self.sleeve.index]
        limits["cooldown_ms"], limits["positions_max"] = oi.cooldown_s * 1_000, oi.max_positions
        self._settings = oi
        self._change_exits_if_flat()

    def _change_exits_if_flat(self) -> None:
        oi, v = self._settings, self.sleeve.index
        if oi is None or self.books.positions["lots"][v].any():
            return
        if self.books.slots["kind"][v, :, SLOT_ENTRY].any():
            return
        self.sleeve.mind.params[:], self.sleeve.mind.guards[:] = params(oi), guard(oi)
        self._settings = None


def interest_member(made: Plan) -> Sleeve | None:
    """The sleeve that trades open interest, None if none does."""
    for v, (one, code, mind) in enumerate(zip(made.setup.sleeves, made.codes, made.setup.minds, strict=True)):
        if one.strategy.name == NAME:
            return Sleeve(v, one.name, code, mind)
    return None
