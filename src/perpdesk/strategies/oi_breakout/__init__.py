"""oi_breakout: anomalies of open interest, scored 0..10, and the breakout account that trades them.

codes      why a symbol was not bought
params     what can be configured, as a record
points     the tables of the score, each a pure function
window     the last polls of a symbol: base rows of periods, extremes of two hours
anomaly    which periods are anomalies, and which of those are news
verdict    score, confidence, and the first rule that refuses
state      a symbol's records, and the two steps of a poll: ``take`` and ``decide``
exits      stages and the distance of the last stop
strategy   the same, driven by closed bars and an inbox of polled rows

The radar (``market/radar``) calls ``take`` and ``decide`` for every symbol of the exchange; the strategy
calls them inside the step. It is one compiled body. See docs/strategies/oi_breakout.md.
"""

from perpdesk.strategies.oi_breakout.codes import CODE_NAMES, DIRECTION_NAMES, SEVERITY_NAMES
from perpdesk.strategies.oi_breakout.params import params_dt, params_record
from perpdesk.strategies.oi_breakout.state import decide, see_price, sight_dt, take
from perpdesk.strategies.oi_breakout.strategy import STRATEGY, row_dt, state_dt

__all__ = [
    "CODE_NAMES",
    "DIRECTION_NAMES",
    "SEVERITY_NAMES",
    "STRATEGY",
    "decide",
    "params_dt",
    "params_record",
    "row_dt",
    "see_price",
    "sight_dt",
    "state_dt",
    "take",
]
