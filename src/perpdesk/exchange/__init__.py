"""The simulated exchange.

recorded    a tape of bars, minute by minute, at a chosen speed
inprocess   a venue in the same process, on kernel.matching: paper and parity
"""
