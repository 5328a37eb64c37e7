"""The simulated exchange.

recorded    a tape of bars, minute by minute, at a chosen speed
spot        assets, order lists and the Alpha-like market, in the process or behind the server
inprocess   a venue in the same process, on kernel.matching: paper and parity
"""
