"""The rule as a freqtrade strategy: averages as columns, stop, trailing and timeout as settings."""

from __future__ import annotations

import talib
from freqtrade.strategy import IStrategy
from work import ARM_FRACTION, FAST, RETRACE_FRACTION, SLOW, STOP_FRACTION


class SmaCross(IStrategy):
    """freqtrade_w1w2.py sets minimal_roi: a table entry of -1 after so many minutes is a timeout."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    stoploss = -STOP_FRACTION
    trailing_stop = True
    trailing_stop_positive = RETRACE_FRACTION
    trailing_stop_positive_offset = ARM_FRACTION
    trailing_only_offset_is_reached = True
    startup_candle_count = 0

    def populate_indicators(self, dataframe, metadata):
        dataframe["above"] = talib.SMA(dataframe["close"], FAST) > talib.SMA(dataframe["close"], SLOW)
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        known = dataframe.index > SLOW
        dataframe.loc[
            known & dataframe["above"] & ~dataframe["above"].shift(1, fill_value=False), "enter_long"
        ] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        known = dataframe.index > SLOW
        dataframe.loc[
            known & ~dataframe["above"] & dataframe["above"].shift(1, fill_value=False), "exit_long"
        ] = 1
        return dataframe
