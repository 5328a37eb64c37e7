"""Exact clustering of prices on a line: a second, independent opinion on where levels are.

Optimal k-means in one dimension by dynamic programming over sorted points (clusters are intervals there),
and the number of clusters by the Bayesian information criterion of the Gaussian mixture.
Source: Wang and Song, "Ckmeans.1d.dp" (2011). Driven by scanner.scan.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

DISTINCT_MIN = 8


@njit(cache=True)
def _sums(xs, weights):
    """Prefix sums of w, w*x, w*x*x; position 0 is nothing."""
    size = len(xs)
    out = np.zeros((3, size + 1))
    for place in range(size):
        out[0, place + 1] = out[0, place] + weights[place]
        out[1, place + 1] = out[1, place] + weights[place] * xs[place]
        out[2, place + 1] = out[2, place] + weights[place] * xs[place] * xs[place]
    return out


@njit(cache=True)
def _cost(sums, first, end):
    """Weighted squared distance of points first … end-1 to their mean."""
    weight = sums[0, end] - sums[0, first]
    moment = sums[1, end] - sums[1, first]
    return max(0.0, sums[2, end] - sums[2, first] - moment * moment / weight)


@njit(cache=True)
def _fill(sums, size, k_max):
    """best[q, e]: least cost of e points in q clusters; begin[q, e]: where its last cluster starts.

    On a tie the last cluster starts further left.
    """
    best = np.full((k_max + 1, size + 1), np.inf)
    begin = np.zeros((k_max + 1, size + 1), np.int64)
    best[0, 0] = 0.0
    for q in range(1, k_max + 1):
        for end in range(q, size + 1):
            for first in range(q - 1, end):
                cost = best[q - 1, first] + _cost(sums, first, end)
                if cost < best[q, end]:
                    best[q, end] = cost
                    begin[q, end] = first
    return best, begin


@njit(cache=True)
def _starts(begin, k, size):
    """Where each of the k clusters starts, and the end."""
    starts = np.empty(k + 1, np.int64)
    starts[k] = size
    for q in range(k, 0, -1):
        starts[q - 1] = begin[q, starts[q]]
    return starts


@njit(cache=True)
def _bic(xs, weights, sums, starts, bars, variance_min):
    k = len(starts) - 1
    total = 0.0
    for place in range(len(xs)):
        likelihood = 0.0
        for q in range(k):
            weight = sums[0, starts[q + 1]] - sums[0, starts[q]]
            mean = (sums[1, starts[q + 1]] - sums[1, starts[q]]) / weight
            variance = max(variance_min, _cost(sums, starts[q], starts[q + 1]) / weight)
            away = xs[place] - mean
            density = math.exp(-away * away / (2.0 * variance)) / math.sqrt(2.0 * math.pi * variance)
            likelihood += weight / bars * density
        total += weights[place] * math.log(max(likelihood, 1e-300))
    return 2.0 * total - (3 * k - 1) * math.log(bars)


@njit(cache=True)
def cluster(xs, weights, bars, k_min, k_max, variance_min):
    """(centres, sum of squares) of the best clustering of ascending, distinct points (float64).

    weights add up to ``bars``. k is the one of k_min … k_max with the largest criterion, the smaller on a
    tie; variance_min: no cluster of the mixture is narrower. Needs at least k_min points.
    """
    size = len(xs)
    sums = _sums(xs, weights)
    most = min(k_max, size)
    best, begin = _fill(sums, size, most)
    chosen = k_min
    highest = -np.inf
    for k in range(k_min, most + 1):
        value = _bic(xs, weights, sums, _starts(begin, k, size), float(bars), variance_min)
        if value > highest:
            highest = value
            chosen = k
    starts = _starts(begin, chosen, size)
    centres = np.empty(chosen)
    for q in range(chosen):
        weight = sums[0, starts[q + 1]] - sums[0, starts[q]]
        centres[q] = (sums[1, starts[q + 1]] - sums[1, starts[q]]) / weight
    return centres, best[chosen, size]


def price_clusters(
    highs: np.ndarray,
    lows: np.ndarray,
    closes: np.ndarray,
    volumes: np.ndarray,
    *,
    centre: int,
    bucket_width: int,
    k_min: int,
    k_max: int,
) -> np.ndarray | None:
    """Cluster centres of three times the typical price (high + low + close), weighted by volume.

    None where fewer than eight prices are distinct: the confirmation is unavailable. Prices are int64 ticks.
    """
    kept = volumes > 0
    points, where = np.unique((highs + lows + closes - 3 * centre)[kept], return_inverse=True)
    if len(points) < max(DISTINCT_MIN, k_min):
        return None
    bars = int(kept.sum())
    weights = np.bincount(where, weights=volumes[kept].astype(np.float64))
    weights *= bars / weights.sum()
    floor = (3 * bucket_width) ** 2 / 12
    centres, _ = cluster(points.astype(np.float64), weights, bars, k_min, k_max, floor)
    return np.asarray(centres + 3 * centre)
