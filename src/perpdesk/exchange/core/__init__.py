"""The exchange itself: a synchronous, deterministic state machine. No I/O, no clock; time is an argument.

refusals    Binance's error codes and texts, as values
numbers     Decimal strings at the edge ↔ integers inside
contracts   what may be ordered: filters, brackets, fees
orders      an order and a conditional order
accounts    a client's wallet, positions, settings, history
depth       the synthetic order book around the market price
world       the whole state, its counters and the outbox of events
margin      what an order needs, what is free, where a position is liquidated
events      the user events, rendered when they happen
settling    what a fill does to positions, wallets and reduce-only orders
matching    price-time priority, self-trade prevention, times in force
checks      the validation pipeline of an order, in its one order
entry       place, test, amend and cancel orders
conditional the algo service: trigger, trail, reject
closing     orders of the exchange itself: liquidation, ADL, settlement
liquidation who is liquidated, in which steps; the fund
adl         who closes what the fund cannot bear
delisting   a contract changes or ends
walks       fills by the kernel's bar model
market      what a new price does; funding, timers, liquidation
settings    leverage, margin type, position mode, isolated margin
views       the JSON of orders, positions, accounts
history     what queries may still see
"""
