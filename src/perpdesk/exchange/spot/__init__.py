"""The Spot half of the simulated exchange: assets, order lists, and the Alpha-like market.

pairs      what may be ordered and what it costs
orders     orders and order lists as plain records
wallets    free and locked assets of an account
events     what an account is told, as small records
book       one pair's market: quotes around which it trades, resting orders, prints
bars       seconds and minutes of prices
world      everything together: accounts, books, ids, outbox
fills      what one execution moves, to the last digit
matching   a taker meets the book; quotes pass through resting orders
lists      how the orders of a list depend on each other
entry      placing and taking back
checks     a request's parameters, in the exchange's own sequence and words
views      rows and events as JSON
counters   the volume counter that lags
alpha      the Alpha-like market: tokens, multipliers, price paths
refusals   Binance's Spot refusals

Amounts, prices and quantities are integers of 1e-8; nothing here is a float except the counter's display.
Everything is synchronous and knows no clock: the caller says what time it is.
"""
