"""A seeded market of invented contracts: for the demo, the benchmarks and the tests.

Every number is an integer from the first random bit on (raw PCG64 words, no floating point), so a seed
gives the same bars, bit for bit, on every machine and with every numpy. Prices move in regimes (range,
trend up, trend down, volatile) with clustered volatility, a daily rhythm, a common market factor and
jumps; volume follows volatility, open interest builds up in trends and is flushed out by jumps, funding
follows the move of the last eight hours. It is a market to exercise rules on, not to tune them on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.domain.instrument import Instrument
from perpdesk.kernel.records import MINUTE_MS, bar_dt, funding_dt, zeros
from perpdesk.market.bars import Records
from perpdesk.market.instruments import bundled, synthetic_symbols
from perpdesk.market.tape import Tape
from perpdesk.market.universe import Universe, unknown_symbol

Ints = NDArray[np.int64]

START_MS = 1_735_689_600_000  # 2025-01-01
FUNDING_INTERVAL_MS = 8 * 3_600_000

# Log prices are counted in 2^-20. Regimes, volatility clusters and the daily rhythm change every 15 minutes.
_ONE = 1 << 20
_BLOCK = 15
_ROWS = 16_384  # bars are written so many at a time, which stays in the processor's cache
_PRICE_FOLD = _ONE * 9 // 4  # prices stay within e^±2.25 of where they began
_INTEREST_FOLD = _ONE * 3 // 4
_NEVER = 1 << 40  # the width of what is not a range
_MARKET_BASE = 420  # the common factor moves 0.04 % a minute

_RANGE, _UP, _DOWN, _VOLATILE = range(4)
# Of 64 draws; duration in blocks (shortest, longest); volatility in 1/256 of the contract's own.
_REGIMES = {
    _RANGE: (28, 24, 288, 150),
    _UP: (12, 16, 144, 200),
    _DOWN: (11, 16, 144, 215),
    _VOLATILE: (13, 4, 48, 520),
}
_REGIME_OF_DRAW = np.repeat(np.arange(4), [_REGIMES[kind][0] for kind in range(4)])

# Volatility by hour (UTC) in 1/256: quiet at night, busy when Europe and America are both awake.
_HOURS = np.array(
    [230, 215, 205, 195, 190, 195, 210, 235, 255, 260, 255, 255, 275, 330, 370, 360]
    + [330, 305, 290, 280, 275, 265, 250, 240],
    np.int64,
)


@dataclass(frozen=True)
class SyntheticMarket:
    """``open_interest[t, s]`` is in lots, at the close of step ``t``; ``funding`` is funding_dt sorted by
    (ms, symbol)."""

    tape: Tape
    funding: Records
    open_interest: Ints


@dataclass(frozen=True)
class SyntheticSymbol:
    """One contract's bars (bar_dt, every minute present), open interest in lots, and funding records with
    symbol 0."""

    instrument: Instrument
    bars: Records
    open_interest: Ints
    funding: Records


def synthetic_tape(seed: int, symbols: int | Sequence[str], minutes: int, start_ms: int = START_MS) -> Tape:
    """The bars of ``synthetic_market`` alone."""
    return synthetic_market(seed, symbols, minutes, start_ms).tape


def synthetic_market(
    seed: int, symbols: int | Sequence[str], minutes: int, start_ms: int = START_MS
) -> SyntheticMarket:
    """So many invented symbols (or these), so many minutes from ``start_ms`` (a whole minute) on.

    A symbol's bars depend on the seed, its name, the length and the start, not on the other symbols.
    Raises InputError for an unknown symbol, or if a number is out of range.
    """
    names = sorted(set(synthetic_symbols(symbols) if isinstance(symbols, int) else symbols))
    if not names:
        raise InputError("the universe is empty: name at least one symbol", field="symbols", rule="universe")
    contracts = [instrument_of(name) for name in names]
    weather = market_weather(seed, minutes, start_ms)
    bars = np.empty((minutes, len(names)), bar_dt).view(np.recarray)
    opaque = bars.view(f"V{bar_dt.itemsize}", np.ndarray)
    interest = np.empty((minutes, len(names)), np.int64)
    funding = []
    for j, contract in enumerate(contracts):
        one = synthetic_symbol(weather, contract)
        opaque[:, j] = one.bars.view(opaque.dtype, np.ndarray)
        interest[:, j] = one.open_interest
        one.funding.symbol = j
        funding.append(one.funding)
    universe = Universe(
        tuple(names),
        tuple(contracts),
        tuple(units.digits_of(contract.price_tick) for contract in contracts),
        tuple(contract.lot_step for contract in contracts),
        tuple(int(bars.high[:, j].max()) for j in range(len(names))),
    )
    every = np.concatenate(funding)
    every = every[np.lexsort((every["symbol"], every["ms"]))].view(np.recarray)
    return SyntheticMarket(Tape(universe, bars, start_ms, bars.size), every, interest)


def instrument_of(symbol: str) -> Instrument:
    """The bundled instrument of a symbol. Raises InputError for one that is not in the table."""
    table = bundled()
    if symbol not in table:
        raise unknown_symbol(symbol, sorted(table), field="symbols")
    return table[symbol]


@dataclass(frozen=True)
class Weather:
    """What all symbols of one market share: the common factor's path (log, 2^-20), its moves and their
    scale a minute, where it jumps and how far, and the daily rhythm by block (1/256)."""

    seed: int
    minutes: int
    start_ms: int
    path: Ints
    moves: Ints
    sigma: Ints
    jump_at: Ints
    jumps: Ints
    rhythm: Ints


def market_weather(seed: int, minutes: int, start_ms: int = START_MS) -> Weather:
    """The common part of a market. Raises InputError for no minutes, or a start that is not a minute."""
    if seed < 0:
        raise InputError(f"must not be negative, was {seed}", field="seed")
    if minutes < 1:
        raise InputError(f"must be at least 1, was {minutes}", field="minutes")
    if start_ms % MINUTE_MS != 0 or start_ms < 0:
        raise InputError(f"must be a whole minute in UTC ms, was {start_ms}", field="start_ms")
    blocks = -(-minutes // _BLOCK)
    hour = (start_ms // 3_600_000 + np.arange(blocks) * _BLOCK // 60) % 24
    rhythm = _HOURS[hour]
    climate = _climate(seed, "market", _MARKET_BASE, rhythm)
    sigma = np.repeat(climate.volatility, _BLOCK)[:minutes]
    words = _words(seed, "market", minutes)
    moves = _drifting(_bell(words) * sigma >> 15, climate)
    jump_at = np.flatnonzero(words[:, 4] < 7)  # about one in 9,400 minutes
    # falls reach 3 %, rises 1.5 %
    size = words[jump_at, 5].astype(np.int64)
    jumps = np.where(words[jump_at, 6] & 1, size * 15_729 >> 16, -(size * 31_457 >> 16))
    moves[jump_at] += jumps
    path = _fold(_reflected(moves, climate), _PRICE_FOLD // 2)
    return Weather(seed, minutes, start_ms, path, np.diff(path, prepend=0), sigma, jump_at, jumps, rhythm)


def synthetic_symbol(weather: Weather, instrument: Instrument) -> SyntheticSymbol:
    """One contract of a market."""
    seed, minutes, symbol = weather.seed, weather.minutes, instrument.symbol
    few = _words(seed, f"{symbol} contract", 1)[0].astype(np.int64)
    words = _words(seed, symbol, minutes)
    beta = 160 + int(few[1] % 220)  # how much of the common factor, in 1/256
    base = 260 + int(few[0] % 420)  # its own move a minute, 0.025 % to 0.065 %
    first_price = 20_000 + int(few[2] * 13 + few[3]) % 880_000

    climate = _climate(seed, symbol, base, weather.rhythm)
    sigma = np.repeat(climate.volatility, _BLOCK)[:minutes]
    moves = _drifting(_bell(words) * sigma >> 15, climate)
    jump_at = np.flatnonzero(words[:, 4] < 14)  # about one in 4,700 minutes
    jumps = (words[jump_at, 5].astype(np.int64) - 32_768) * sigma[jump_at] >> 10
    moves[jump_at] += jumps
    path = _fold(_reflected(moves, climate) + (weather.path * beta >> 8), _PRICE_FOLD)

    moves += weather.moves * beta >> 8
    sigma += weather.sigma * beta >> 9
    lots = _lots_per_minute(few, first_price, instrument)
    bars = np.empty(minutes, bar_dt).view(np.recarray)
    bars.open_ms = weather.start_ms + np.arange(minutes, dtype=np.int64) * MINUTE_MS
    usual = base + (_MARKET_BASE * beta >> 9)
    last = first_price
    for start in range(0, minutes, _ROWS):
        rows = slice(start, start + _ROWS)
        last = _prices(bars[rows], words[rows], path[rows], sigma[rows], first_price, last)
        bars.volume_lots[rows] = _volume(words[rows], moves[rows], sigma[rows], usual, lots)
    flushed = ((jump_at, jumps), (weather.jump_at, weather.jumps))
    interest = _interest(words, moves, climate, flushed) * (lots * 240) >> 20
    return SyntheticSymbol(instrument, bars, interest, _funding(weather.start_ms, path))


def _words(seed: int, stream: str, rows: int) -> NDArray[np.uint16]:
    """Eight random 16-bit words a row, from a stream of its own."""
    name = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
    raw = np.random.PCG64(np.random.SeedSequence((seed, name))).random_raw(2 * rows)
    return raw.astype("<u8", copy=False).view("<u2").reshape(rows, 8)


def _bell(words: NDArray[np.uint16]) -> Ints:
    """The sum of four uniform words, centred: nearly normal, standard deviation 37,837."""
    total = words[:, 0].astype(np.int64)
    for column in (1, 2, 3):
        total += words[:, column]
    return total - 131_070


def _fold(walk: Ints, width: int) -> Ints:
    """Reflect a walk at ±width, so that it stays inside and keeps its steps."""
    return width - np.abs((walk + width) % (4 * width) - 2 * width)


@cache
def _growth_tables() -> tuple[Ints, Ints]:
    """e^x in two steps of a table: coarse (2^-9 apart, 30 fractional bits), fine (2^-20 apart, 24 bits)."""
    with localcontext() as context:
        context.prec = 60
        span = Decimal(_COARSE_HALF) / 512
        coarse, fine = (Decimal(1) / 512).exp(), (Decimal(1) / _ONE).exp()
        value, hi = (-span).exp(), []
        for _ in range(2 * _COARSE_HALF + 1):
            hi.append(int(value * (1 << 30)))
            value *= coarse
        value, lo = Decimal(1), []
        for _ in range(2048):
            lo.append(int(value * (1 << 24)))
            value *= fine
    return np.array(hi, np.int64), np.array(lo, np.int64)


_COARSE_HALF = 512 * 5 // 2  # the tables reach e^±2.5


def _grow(first: int, path: Ints) -> Ints:
    """first × e^path (path in 2^-20, within ±2.5; first below 2^20), cut down to an integer, at least 1."""
    hi, lo = _growth_tables()
    at = path + (_COARSE_HALF << 11)
    grown = first * hi[at >> 11] >> 18
    whole: Ints = np.maximum(grown * lo[at & 2047] >> 36, 1)
    return whole


@dataclass(frozen=True)
class _Climate:
    """The regimes of one path. ``starts`` and ``lengths`` are in minutes; ``slope`` is the drift a minute,
    ``width`` how far a range reaches, both in 2^-20; ``volatility`` is by block."""

    starts: Ints
    lengths: Ints
    slope: Ints
    width: Ints
    volatility: Ints


def _climate(seed: int, name: str, base: int, rhythm: Ints) -> _Climate:
    blocks = rhythm.size
    draws = _words(seed, f"{name} blocks", blocks).astype(np.int64)
    kinds, starts = [], []
    at = 0
    while at < blocks:
        kind = int(_REGIME_OF_DRAW[draws[at, 2] % 64])
        _, shortest, longest, _ = _REGIMES[kind]
        kinds.append(kind)
        starts.append(at)
        at += shortest + int(draws[at, 3]) % (longest - shortest)
    kind_of, start_of = np.array(kinds, np.int64), np.array(starts, np.int64)
    lengths = np.diff(start_of, append=blocks)
    factor = np.array([_REGIMES[kind][3] for kind in range(4)], np.int64)[kind_of]
    cluster = _fold(np.cumsum((draws[:, 0] + draws[:, 1] - 65_535) * 3 >> 1), _ONE * 5 // 8)
    volatility = base * np.repeat(factor, lengths) * rhythm >> 16
    volatility = np.maximum(volatility * _grow(1 << 12, cluster) >> 12, 40)
    here = volatility[start_of]
    strength = here * (6 + draws[start_of, 4] % 10) >> 7
    slope = np.where(kind_of == _UP, strength, np.where(kind_of == _DOWN, -strength, 0))
    width = np.where(kind_of == _RANGE, here * (12 + draws[start_of, 5] % 40), _NEVER)
    return _Climate(start_of * _BLOCK, lengths * _BLOCK, slope, width, volatility)


def _drifting(noise: Ints, climate: _Climate) -> Ints:
    return noise + np.repeat(climate.slope, climate.lengths)[: noise.size]


def _reflected(moves: Ints, climate: _Climate) -> Ints:
    """The walk of ``moves``, reflected inside each range at ±width around where the range began."""
    starts, size = climate.starts, moves.size
    walk = np.cumsum(moves)
    before = np.where(starts > 0, walk[starts - 1], 0)
    lengths = np.diff(starts, append=size)
    inside: Ints = walk - np.repeat(before, lengths)
    for start, length, width in zip(starts.tolist(), lengths.tolist(), climate.width.tolist(), strict=True):
        if width != _NEVER:
            inside[start : start + length] = _fold(inside[start : start + length], width)
    ends = inside[starts + lengths - 1]
    inside += np.repeat(np.cumsum(ends) - ends, lengths)
    return inside


def _prices(bars: Records, words: NDArray[np.uint16], path: Ints, sigma: Ints, first: int, last: int) -> int:
    """Write open, high, low and close of some bars that follow a close of ``last``; the new last close."""
    close = _grow(first, path)
    opened = np.empty_like(close)
    opened[0], opened[1:] = last, close[:-1]
    # one minute in eight opens away from the last close, by up to half a usual move
    away = np.flatnonzero((words[:, 6] & 7) == 0)
    shift = (words[away, 6].astype(np.int64) - 32_768) * sigma[away] >> 16
    opened[away] = np.maximum(opened[away] + (opened[away] * shift >> 20), 1)
    up = words[:, 5].astype(np.int64)
    down = words[:, 4].astype(np.int64)
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    high += high * ((up * up >> 16) * sigma >> 16) >> 20
    low -= low * ((down * down >> 16) * sigma >> 16) >> 20
    bars.open, bars.high, bars.low, bars.close = opened, high, np.maximum(low, 1), close
    return int(close[-1])


def _lots_per_minute(few: Ints, first_price: int, instrument: Instrument) -> int:
    """Lots of a usual minute: worth 0.2 to 4 million of the quote currency."""
    unit = units.unit_e8(units.digits_of(instrument.price_tick), instrument.lot_step, instrument.symbol)
    wanted = units.money_e8(200_000 + int(few[4] * 29 + few[5]) % 3_800_000)
    return max(50, wanted // (first_price * unit))


def _volume(words: NDArray[np.uint16], moves: Ints, sigma: Ints, base: int, lots: int) -> Ints:
    """More when it is volatile, more when this very minute moves, and uneven."""
    calm = (sigma << 7) // base
    heat = np.abs(moves) * 96 // base
    uneven = words[:, 7].astype(np.int64)
    uneven = 24 + (uneven * uneven >> 24)
    wanted: Ints = lots * (calm + heat) * uneven >> 15
    return np.maximum(wanted, 1)


def _interest(
    words: NDArray[np.uint16], moves: Ints, climate: _Climate, flushed: tuple[tuple[Ints, Ints], ...]
) -> Ints:
    """Open interest as a factor with 20 fractional bits: trends open positions, jumps close them."""
    size = moves.size
    change = (words[:, 7].astype(np.int64) - 32_768) >> 8
    direction = np.sign(climate.slope)
    change += moves * np.repeat(direction, climate.lengths)[:size] >> 3
    for start, trend in zip(climate.starts.tolist(), direction.tolist(), strict=True):
        if trend:
            # new positions come first: 3 % to 6 % more within half an hour
            change[start : start + 30] += 1_000 + int(words[start, 0]) // 66
    change -= np.repeat(np.where(direction == 0, 6, 0), climate.lengths)[:size]
    for at, jumps in flushed:
        change[at] -= np.abs(jumps) >> 1
    return _grow(_ONE - 1, _fold(np.cumsum(change), _INTEREST_FOLD))


def _funding(start_ms: int, path: Ints) -> Records:
    """Every eight hours: 0.01 % plus half a percent of the last eight hours' move, within ±0.075 %."""
    every = FUNDING_INTERVAL_MS // MINUTE_MS
    at = np.arange(-start_ms % FUNDING_INTERVAL_MS // MINUTE_MS, path.size, every)
    out = zeros(at.size, funding_dt)
    move = path[at] - path[np.maximum(at - every, 0)]
    out.ms = start_ms + at * MINUTE_MS
    out.rate_e8 = np.clip(10_000 + (move * 500_000 >> 20), -75_000, 75_000)
    return out
