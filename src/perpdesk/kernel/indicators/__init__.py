"""Indicators, streaming and windowed, over integer prices.

A streaming indicator is a record (``*_dt``) and a ``*_push`` that takes the next value. A zeroed record
is a fresh indicator; the period is an argument of every push and must not change during a record's life.
A windowed form (``*_window``) reads one array and nothing older, seeded at the window's first bar:
that is the truth where a rule fixes the window.

averages    simple and exponential moving average
rsi         Wilder's relative strength
macd        difference of two exponential averages, its signal, the histogram
atr         Wilder's average true range
bollinger   mean and population deviation of the last closes, rank of the band's width
extremes    highest and lowest of the last values
"""

from perpdesk.kernel.indicators.atr import atr_dt, atr_push, atr_window
from perpdesk.kernel.indicators.averages import ema_dt, ema_push, sma_dt, sma_push, tail_total
from perpdesk.kernel.indicators.bollinger import bollinger_dt, bollinger_push, width_rank_window
from perpdesk.kernel.indicators.extremes import extreme_dt, highest_push, lowest_push
from perpdesk.kernel.indicators.macd import macd_dt, macd_push, macd_window
from perpdesk.kernel.indicators.rsi import rsi_dt, rsi_push, rsi_window

__all__ = [
    "atr_dt",
    "atr_push",
    "atr_window",
    "bollinger_dt",
    "bollinger_push",
    "ema_dt",
    "ema_push",
    "extreme_dt",
    "highest_push",
    "lowest_push",
    "macd_dt",
    "macd_push",
    "macd_window",
    "rsi_dt",
    "rsi_push",
    "rsi_window",
    "sma_dt",
    "sma_push",
    "tail_total",
    "width_rank_window",
]
