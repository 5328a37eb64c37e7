"""W4, the ladder, that every contestant of it works: its numbers.

21 prices 0.5 % apart around the price: 10 buys below, 10 sells above. What is bought at a price is sold one
price higher, what is sold short is bought back one price lower; then the level's first order rests again.
Orders are placed at the close of a 1-minute bar and fill at their price when a later bar trades through it
(no volume limit). When the price reaches an end of the ladder, everything is closed at market and the ladder
is laid out anew around the close.
"""

from __future__ import annotations

LEVELS = 10  # a side
STEP_FRACTION = 0.005
NOTIONAL = 1_000.0  # USDT per level
MAKER_FRACTION = 0.0002
TAKER_FRACTION = 0.0005
SLIPPAGE_FRACTION = 0.00075  # of the market order at an end of the ladder
