"""score_v3: every symbol is scored 0..42 on both sides, with the way the four largest coins go.

params     what can be configured, as a record
points     the five parts of the score, each a pure function of its inputs
regime     which way the four largest coins go, as pure functions of their bars
big4       the windows of the four coins, kept up to date minute by minute
signals    two optional reasons to enter below the threshold
scorer     the score of one window, and of every window of a history
state      the windows of one symbol, kept up to date minute by minute
strategy   when to score, when to scan, when to propose an entry

Exits belong to the shared guard. See docs/strategies/score_v3.md.
"""

from perpdesk.strategies.score_rules.scan import SIGNAL_NAMES, decide
from perpdesk.strategies.score_v3.params import coins_of, params_dt, params_record
from perpdesk.strategies.score_v3.regime import REGIME_NAMES, dominance, regime
from perpdesk.strategies.score_v3.scorer import (
    STATUS_NAMES,
    components,
    score_dt,
    score_v3,
    score_window,
    veto,
)
from perpdesk.strategies.score_v3.signals import pull_back, sudden_move
from perpdesk.strategies.score_v3.state import state_dt
from perpdesk.strategies.score_v3.strategy import STRATEGY

__all__ = [
    "REGIME_NAMES",
    "SIGNAL_NAMES",
    "STATUS_NAMES",
    "STRATEGY",
    "coins_of",
    "components",
    "decide",
    "dominance",
    "params_dt",
    "params_record",
    "pull_back",
    "regime",
    "score_dt",
    "score_v3",
    "score_window",
    "state_dt",
    "sudden_move",
    "veto",
]
