"""Compiled truth: the step that backtest, paper and live share.

cache       where compiled code is kept, keyed by a hash of the sources
records     the shape of everything hot
exact       integer multiply-divide without overflow
book        order slots: place, keep, clear
indicators  streaming and windowed indicators
intervals   1-minute bars to longer ones
matching    the bar path, when and at what price an order fills
ledger      fills, fees, funding, margin, liquidation in integer money
guard       protective exits
gate        risk: what may be opened now, and why not
loop        the step (guard → want → gate) and its loop, instantiated once per strategy by bind
strategy    what a strategy is: records and two or three functions
venue       the exchange's side of the same matching, one event at a time
bind        one module of compiled code per strategy
replay      the Python door to the compiled loop
"""

from perpdesk.kernel import cache as cache  # first: chooses the folder before anything compiles
