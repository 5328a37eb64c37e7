"""volume_target: pairs of one BUY and the SELL that it triggers, until a volume counter shows the target.

arithmetic   34-digit Decimals with named rounding
modes        the choices by name; what a multiplier does to a volume
volume       what is left, in how many pairs; progress and ETA
prices       prices and quantities on the venue's grid, or the filter that they break
facts        what is known of one order, joined from events in any order
losses       what a pair has cost, what it would cost to end it now
pair         one pair as a state machine (pair_events: what it hears and wants)
guards       may a pair start?
run          one user's run as a state machine
start        who is queued when a strategy starts
self_trade   managed accounts never trade with each other

Everything here is a pure function of its arguments: no clock, no chance, no I/O, nothing compiled. It does
not trade by itself. What drives it is the engine's part: a runner that stores each new state durably,
carries out what is wanted at a venue with order lists, and brings back facts, answers and ticks. Neither
that runner nor such a venue nor a command exists yet, so this package has no entry in the table of
strategies. See docs/strategies/volume_target.md.
"""
