"""Volume by price: the common tick grid of three frames, its smoothing and its value area.

A bucket is an odd number of ticks wide and bucket 0 is centred on the last price, so that mirroring all
prices at the last price mirrors the profile. Driven by scanner.scan.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.kernel.intervals import HIGH, LOW, VOLUME_LOTS

VALUE_AREA = 0.70


@njit(cache=True)
def bucket_width(price, bucket_ppm):
    """Ticks per bucket: odd, near price * bucket_ppm, at least 1."""
    return 2 * (price * bucket_ppm // 2_000_000) + 1


@njit(cache=True)
def bucket_of(price, centre, width):
    """The bucket a tick lies in; bucket k spans centre + k * width ± (width - 1) / 2."""
    return (2 * (price - centre) + width) // (2 * width)


@njit(cache=True)
def spread(bars, centre, width, first, share):
    """Add the volume of bars (int64 [n, 7]) to share[k - first], then divide by their whole volume.

    A bar's volume is spread evenly over its ticks. Answers the whole volume in lots; with 0 nothing is
    divided.
    """
    total = 0
    for place in range(len(bars)):
        low = bars[place, LOW]
        high = bars[place, HIGH]
        volume = float(bars[place, VOLUME_LOTS])
        total += bars[place, VOLUME_LOTS]
        ticks = high - low + 1
        for k in range(bucket_of(low, centre, width), bucket_of(high, centre, width) + 1):
            middle = centre + k * width
            overlap = min(high, middle + (width - 1) // 2) - max(low, middle - (width - 1) // 2) + 1
            share[k - first] += volume * overlap / ticks
    if total > 0:
        for place in range(len(share)):
            share[place] /= total
    return total


@njit(cache=True)
def smooth(counts):
    """The triangular mean over five buckets; outside the range there is nothing."""
    size = len(counts)
    out = np.empty(size)
    for k in range(size):
        two = (counts[k - 2] if k >= 2 else 0.0) + (counts[k + 2] if k + 2 < size else 0.0)
        one = (counts[k - 1] if k >= 1 else 0.0) + (counts[k + 1] if k + 1 < size else 0.0)
        out[k] = (two + 2.0 * one + 3.0 * counts[k]) / 9.0
    return out


@njit(cache=True)
def plateaus(smoothed):
    """int64 [m, 2]: first and last index of every top whose two neighbours on both sides are lower."""
    size = len(smoothed)
    found = np.empty((size, 2), np.int64)
    count = 0
    i = 0
    while i < size:
        j = i
        while j + 1 < size and smoothed[j + 1] == smoothed[i]:
            j += 1
        top = smoothed[i]
        is_top = top > 0.0
        for away in range(1, 3):
            left = smoothed[i - away] if i >= away else 0.0
            right = smoothed[j + away] if j + away < size else 0.0
            is_top = is_top and left < top and right < top
        if is_top:
            found[count, 0] = i
            found[count, 1] = j
            count += 1
        i = j + 1
    return found[:count]


@njit(cache=True)
def sum_between(counts, first, low, high):
    """Sum of the buckets low … high, added outward from bucket 0, so that a mirror image adds up alike."""
    size = len(counts)
    total = 0.0
    for away in range(max(abs(first), abs(first + size - 1)) + 1):
        right = away - first
        left = -away - first
        pair = 0.0
        if away <= high and away >= low and 0 <= right < size:
            pair += counts[right]
        if away > 0 and -away >= low and -away <= high and 0 <= left < size:
            pair += counts[left]
        total += pair
    return total


@njit(cache=True)
def point_of_control(counts, first):
    """The fullest bucket (a number, not an index); on a tie the one nearest bucket 0, then the lower."""
    best = 0
    for place in range(1, len(counts)):
        nearer = abs(place + first) < abs(best + first)
        if counts[place] > counts[best] or (counts[place] == counts[best] and nearer):
            best = place
    return best + first


@njit(cache=True)
def value_area(counts, first, start, total):
    """(low, high, share): buckets around start holding at least 70 % of total, the fuller neighbour first."""
    low = start - first
    high = low
    held = counts[low]
    while q9(held / total) < VALUE_AREA and (low > 0 or high + 1 < len(counts)):
        below = counts[low - 1] if low > 0 else -1.0
        above = counts[high + 1] if high + 1 < len(counts) else -1.0
        if below >= above:
            low -= 1
            held += below
        else:
            high += 1
            held += above
    return low + first, high + first, held / total


@njit(cache=True)
def vpvr_rows(opens, closes, lows, highs, volumes, low, height, rows):
    """(up, down) volume per row of ``height`` ticks from ``low``; a bar without a direction is half each."""
    up = np.zeros(rows)
    down = np.zeros(rows)
    for place in range(len(opens)):
        ticks = highs[place] - lows[place] + 1
        rising = 1.0 if closes[place] > opens[place] else 0.0 if closes[place] < opens[place] else 0.5
        for row in range((lows[place] - low) // height, (highs[place] - low) // height + 1):
            begin = low + row * height
            overlap = min(highs[place], begin + height - 1) - max(lows[place], begin) + 1
            part = volumes[place] * overlap / ticks
            up[row] += part * rising
            down[row] += part * (1.0 - rising)
    return up, down
