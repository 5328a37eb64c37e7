"""The open-interest radar: polls every symbol on a fixed grid, judges what changed, writes it down.

source     what is asked of an exchange, and what may come back
universe   which symbols are polled
poll       one poll: marks in one request, open interest symbol by symbol
judge      anomalies, scores and refusals of a poll (strategies/oi_breakout, compiled)
recorder   daily tables, anomalies, holes; what a restart remembers
radar      the grid: refresh, poll, ratios, judge, record
export     recorded days as parquet, for the backtest
"""
