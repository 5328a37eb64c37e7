"""Compiled truth: the step that backtest, paper and live share.

cache       where compiled code is kept, keyed by a hash of the sources
records     the shape of everything hot
exact       integer multiply-divide without overflow
indicators  streaming and windowed indicators, the multi-interval bar builder
matching    the bar path, when and at what price an order fills
ledger      fills, fees, funding, margin, liquidation in integer money
guard       protective exits
gate        risk: what may be opened now, and why not
react       guard → want, for one symbol
loop        the compiled step loop, instantiated once per strategy by bind
bind        one module of compiled code per strategy
replay      the Python door to the compiled loop
"""

from perpdesk.kernel import cache as cache  # first: chooses the folder before anything compiles
