"""What a start reads of the market: contracts, marks, closed minutes page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.history import (
    read_brackets,
    read_contracts,
    read_marks,
    read_minutes,
    requests_for,
    universe_of,
)
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.clocks import SystemClock
from perpdesk.domain.errors import InputError, Refused
from perpdesk.domain.secret import Secret
from perpdesk.exchange.server import RunningServer, ServeOptions, serve
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS
from perpdesk.market.synthetic import synthetic_tape
from perpdesk.market.tape import Tape

HISTORY = 1_500


@pytest.fixture(scope="module")
def tape() -> Tape:
    return synthetic_tape(7, 3, HISTORY + 10)


@pytest.fixture
async def server(tape: Tape) -> AsyncIterator[RunningServer]:
    options = ServeOptions(
        clock=SystemClock(), tape=tape, start_step=HISTORY, lockstep=True, recv_window_mode="skip"
    )
    async with serve(options) as running:
        yield running


@pytest.fixture
async def rest(server: RunningServer) -> AsyncIterator[Rest]:
    keys = server.accounts[0]
    made = Gateway(simulated(server.rest_url), SystemClock()).rest(
        Credentials(Secret(keys.api_key), Secret(keys.secret)), "main"
    )
    await made.sync_time()
    yield made
    await made.close()


async def test_minutes_are_the_tape_s_page_by_page(rest: Rest, tape: Tape) -> None:
    symbols = tape.universe.symbols
    instruments, rules = await read_contracts(rest, symbols[:2], await read_brackets(rest))
    bars, begin_ms = await read_minutes(rest, SystemClock(), rules, HISTORY - 100)
    assert begin_ms == tape.start_ms + 100 * MINUTE_MS
    assert bars.shape == (HISTORY - 100, 2)
    shown = [tuple(row) for row in bars[:, 0]]
    digits = tape.universe.price_digits[0]
    scale = 10 ** (digits - universe_of(instruments, [1, 1], bars).price_digits[0])
    recorded = [
        (row[0], *(price // scale for price in tuple(row)[1:5]), row[5]) for row in tape.bars[100:HISTORY, 0]
    ]
    assert shown == recorded


async def test_minutes_before_the_first_are_absent(rest: Rest, tape: Tape) -> None:
    _, rules = await read_contracts(rest, tape.universe.symbols)
    bars, _ = await read_minutes(rest, SystemClock(), rules, HISTORY + 50)
    assert (bars["open_ms"][:50] == ABSENT_MS).all()
    assert (bars["open_ms"][50:] != ABSENT_MS).all()


async def test_the_universe_has_the_largest_price_of_bars_and_marks(rest: Rest, tape: Tape) -> None:
    instruments, rules = await read_contracts(rest, tape.universe.symbols)
    marks = await read_marks(rest, rules)
    assert all(mark > 0 for mark in marks)
    bars, _ = await read_minutes(rest, SystemClock(), rules, 10)
    universe = universe_of(instruments, marks, bars)
    assert universe.price_max == tuple(
        max(mark, int(high)) for mark, high in zip(marks, bars["high"].max(axis=0), strict=True)
    )
    assert universe_of(instruments, marks, bars[:0]).price_max == tuple(marks)
    assert np.all(universe.records()["lots_max"] > 0)


async def test_unknown_and_halted_contracts_are_refused(
    rest: Rest, server: RunningServer, tape: Tape
) -> None:
    with pytest.raises(InputError, match="did you mean"):
        await read_contracts(rest, ["AAAUSDD"])
    symbol = tape.universe.symbols[0]
    server.contract(symbol).status = "SETTLING"
    server.publisher.contract_changed(server.contract(symbol))
    with pytest.raises(Refused, match="NOT_TRADING"):
        await read_contracts(rest, [symbol])
    instruments, _ = await read_contracts(rest, [symbol], must_trade=False)
    assert instruments[0].symbol == symbol


def test_pages_are_counted() -> None:
    assert (requests_for(1_000, 3), requests_for(1_001, 3), requests_for(1, 1)) == (3, 6, 1)
