"""Rules of the score trader that are no scorer: pure functions of numbers, compiled.

ratings    how a symbol's record moves its level, and what a level means
sizing     from margin and level to lots, in the integers of the kernel
confirm    the 5-minute bar that confirms an entry
ladder     an entry in three batches: how many lots, when the next one

Nothing calls them yet. The rating job and the gate will take ``ratings`` and ``sizing``, the entry modes
``confirm_5m`` and ``ladder`` the other two; each module says where.
"""
