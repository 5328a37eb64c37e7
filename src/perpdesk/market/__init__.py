"""Market data: bars, funding and instruments read, checked and turned into the kernel's records.

- ``sources``: which files hold the data; file names become symbols.
- ``columns``: one parquet, CSV or zip file as batches of numpy columns.
- ``bars``: one table of 1-minute bars → integer records, with every check on the way.
- ``cache``: converted bars on disk, memory-mapped, keyed by content and scale.
- ``instruments``: exchangeInfo and bracket files, the bundled table.
- ``universe``: the symbols of a run, their price scale and lot, and their instrument records.
- ``tape``: all symbols side by side, minute by minute: whole (``read_tape``) or in chunks (``stream_tape``).
- ``funding``: funding rates and the marks they are charged at.
- ``synthetic``: a seeded market of invented contracts. ``writing``: bars in the layout the readers take.
- ``findings``: warnings and notes about data that was accepted.
"""
