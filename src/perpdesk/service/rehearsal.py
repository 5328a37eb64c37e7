"""Before a desk owns anything: every piece of compiled code that it will call is loaded, or compiled.

Compiling takes seconds to minutes on a machine that has not done it yet, and nothing else runs meanwhile: no
beat, no stop. So it is done on invented books first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perpdesk.app import Market, set_up
from perpdesk.config import records
from perpdesk.config.load import Loaded
from perpdesk.engine.sleeve import Sleeve
from perpdesk.kernel import venue as doors
from perpdesk.kernel.records import BUY, SELL, SLOT_ENTRY, SLOT_STOP, TAG_ENTRY, TAG_NONE, funding_dt, zeros
from perpdesk.market.interest import recorded
from perpdesk.market.synthetic import synthetic_tape

_MINUTES, _WARM = 8, 4


def rehearse(loaded: Loaded, sleeves: Sequence[records.Sleeve]) -> None:
    """Call what a live desk's step and books call, with arguments of the same types. Keeps nothing."""
    tape = synthetic_tape(1, ["BTCUSDT"], _MINUTES)
    market = Market(
        universe=tape.universe,
        warmup=tape.bars[:_WARM],
        warmup_ms=tape.start_ms,
        bars=tape.bars[_WARM:_WARM],
        from_ms=tape.start_ms,
        funding=zeros(0, funding_dt),
        funding_known=True,
        interest=recorded((), (), tape.universe.symbols),
    )
    setup = set_up(loaded, list(sleeves), market)
    books, ms = setup.books, tape.end_ms
    bars = np.ascontiguousarray(tape.bars[_WARM])
    price = int(bars["close"][0])
    mirror, changed = books.slots.copy(), np.zeros(books.slots.shape[2], np.int64)
    for v, mind in enumerate(setup.minds):
        sleeve = Sleeve(v, setup.versions[v], "x", mind)
        compiled = sleeve.compiled
        ledger = (books.account, books.instruments, books.positions, books.slots, books.heads)
        compiled.advance_step(mind.params, mind.shared, mind.states, books.heads, v, bars, ms, sleeve.asked)
        for in_path in (0, 1):
            compiled.react(
                mind.params, mind.guards, mind.shared, mind.states, books.instruments, books.positions,
                books.slots, books.heads, v, 0, price, ms, in_path,
            )  # fmt: skip
        compiled.book_outside(*ledger, v, 0, BUY, price, 2, 0, TAG_ENTRY, ms)
        compiled.book_fill(*ledger, v, 0, SLOT_ENTRY, BUY, price, 1, 0, TAG_ENTRY, ms)
        compiled.book_funding(*ledger, v, 0, 0, price)
        compiled.book_funding_amount(*ledger, v, 0, 0)
        compiled.book_difference(books.account, books.positions, v, 0, 0)
        compiled.book_trigger(books.positions, books.slots, books.heads, v, 0, SLOT_STOP)
        compiled.book_outside(*ledger, v, 0, SELL, price, 3, 0, TAG_NONE, ms)
        unrealised = compiled.unrealised_now(books.instruments, books.positions, books.heads)
        compiled.close_step(
            books.account, books.sleeves, books.instruments, books.positions, books.slots, books.heads,
            unrealised, 1, ms,
        )  # fmt: skip
        doors.differences(books.slots, mirror, v, 0, changed)
    doors.levels(books.heads, 0)
