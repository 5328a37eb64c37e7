"""Exchange truth against our books: at start, after a crash and every half minute, by the same code.

The parts are pure (attribute, entry_time, adopt, evidence, compare, external, sweep, backfill). ``loop`` asks
the venue and hands findings to a ``ReconcileSink``; ``history`` writes the backfill.
"""
