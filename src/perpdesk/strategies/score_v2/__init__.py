"""score_v2: every symbol is scored 0..100 on both sides; the better side is traded if it is good enough.

params     what can be configured, as a record
points     the five dimensions of the score, each a pure function of its inputs
scorer     the score of one window, and of every window of a history
state      the windows of one symbol, kept up to date minute by minute
strategy   when to score, when to scan, when to propose an entry

Exits belong to the shared guard. See docs/strategies/score_v2.md.
"""

from perpdesk.strategies.score_rules.scan import decide
from perpdesk.strategies.score_v2.params import params_dt, params_record
from perpdesk.strategies.score_v2.scorer import (
    STATUS_NAMES,
    components,
    score_dt,
    score_v2,
    score_window,
)
from perpdesk.strategies.score_v2.state import state_dt
from perpdesk.strategies.score_v2.strategy import STRATEGY

__all__ = [
    "STATUS_NAMES",
    "STRATEGY",
    "components",
    "decide",
    "params_dt",
    "params_record",
    "score_dt",
    "score_v2",
    "score_window",
    "state_dt",
]
