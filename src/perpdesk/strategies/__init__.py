"""The shipped strategies, by the name that ``--strategy`` takes.

sma_cross   moving-average cross: the tutorial and the benchmark
score_v2    the multi-factor score, version V2
score_v3    the multi-factor score, version V3, with the regime of the four largest coins
"""
