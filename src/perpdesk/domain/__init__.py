"""The words of the desk. Nothing here reads, writes, waits or knows numpy.

- ``units``: the only door between Decimal (outside) and integers (kernel): ticks, lots, money.
- ``instrument``: what may be ordered and what it costs, as the exchange describes it.
- ``order``: order kinds, sides, and the order's life as a table.
- ``position``: a position's status, and an account's books as people see them.
- ``books``: the rows that a store keeps, and their life as tables.
- ``events``: facts, in the past tense. ``commands``: wishes, in the imperative.
- ``errors``: a tree; each class says what the operator must do.
"""
