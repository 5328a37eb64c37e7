"""One symbol of one sleeve beside the four coins, asked the way the step asks."""

from __future__ import annotations

from tests.strategies.score_v3.series import still, trending, universe

from perpdesk.kernel.records import ABSENT_MS, APPROVED, MINUTE_MS, head_dt, position_dt, slot_dt, zeros
from perpdesk.strategies.score_v3 import REGIME_NAMES, STATUS_NAMES, STRATEGY, coins_of, params_record

SYMBOLS = ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
COINS = coins_of(SYMBOLS)
BTC, ETH, TRADED = 1, 2, 4
UP = 0.00004  # per minute: 7 % in the 30 hours by which a coin is judged


def steps(count, *, coin_slope=UP, slope=UP, seed=1):
    """So many steps of the five symbols: the coins with one slope, the traded symbol with another.

    A slope of None: the price stands still.
    """
    coins = [still(count) if coin_slope is None else trending(seed + k, count, coin_slope) for k in range(4)]
    return universe(*coins, still(count) if slope is None else trending(seed + 9, count, slope))


class Desk:
    """Feeds steps and asks about the last symbol."""

    def __init__(self, *, symbol=TRADED, **params):
        params.setdefault("coins", COINS)
        self.params = params_record(**params)[0]
        self.shareds = zeros(1, STRATEGY.shared_dt)
        self.shared = self.shareds[0]
        self.states = zeros(1, STRATEGY.state_dt)
        self.state = self.states[0]
        self.position = zeros(1, position_dt)[0]
        self.slots = zeros(STRATEGY.slots, slot_dt)
        self.head = zeros(1, head_dt)[0]
        self.symbol = symbol
        self.now_ms = 0

    def step(self, bars):
        """One step; True if the strategy asks to be asked."""
        STRATEGY.observe(self.params, self.shared, bars)
        bar = bars[self.symbol]
        if bar.open_ms == ABSENT_MS:
            return False
        self.now_ms = int(bar.open_ms) + MINUTE_MS
        return bool(STRATEGY.advance(self.params, self.shared, self.state, bar))

    def want(self, in_path=0):
        """The side proposed now, 0 for none or one that the regime forbids."""
        self.head.cand_side = 0
        self.head.cand_veto = 0
        books = self.position, self.slots, self.head
        STRATEGY.want(self.params, self.shared, self.state, *books, 1, self.now_ms, in_path)
        return 0 if self.head.cand_veto else int(self.head.cand_side)

    def feed(self, rows):
        """Step through the rows; the times at which it asked and proposed what the regime allows."""
        return [self.now_ms for bars in rows if self.step(bars) and self.want()]

    def judge(self, verdict):
        """What the gate does with the proposal."""
        self.head.verdict = verdict
        self.head.verdict_ms = self.now_ms
        if verdict == APPROVED:
            self.head.approved_ms = self.now_ms

    @property
    def status(self):
        return STATUS_NAMES[self.state.status]

    @property
    def regime(self):
        return REGIME_NAMES[self.shared.direction]
