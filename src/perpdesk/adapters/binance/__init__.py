"""The client for Binance USDⓈ-M futures: the one that a user's money goes through.

Requests are signed once and never repeated by themselves, outcomes are refused, accepted or unknown,
one governor keeps the weight of an IP, and both streams are watched, renewed and repaired over REST.
"""
