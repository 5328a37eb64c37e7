"""The grid's commands over a database: scanner, trigger, executor, and what looks back at them.

place      what a command works with: database, lease, symbol, minutes, parameters
scanning   the scanner: a scan and its zones, once
watching   the trigger: bars after the last judged one, signals and their fates
running    the executor: one grid replayed minute by minute on the engine and the simulated venue
executing  the executor: may a run start, how far has it come, what is written down
gate       backtests on record, and the crash that every grid must survive
explain    from an order back to its bars
report     one run or backtest as a page with pictures
"""
