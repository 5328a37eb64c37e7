"""A run that nothing automatic may go on with, ended by a person.

Its rows and its bars do not tell the same story any more, or its code is gone. The rows are what was done:
what they hold is closed at the last close, with slippage and the taker's fee, and that is written down as
well. Never back to ACTIVE.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from perpdesk.config import grid_records
from perpdesk.domain import units
from perpdesk.domain.books import BooksContradiction, JournalEntry, StateRow
from perpdesk.domain.errors import Refused
from perpdesk.domain.grid_books import GridFill, GridRun
from perpdesk.domain.order import Side
from perpdesk.domain.signal_books import GridOrder
from perpdesk.engine.ids import base36
from perpdesk.grid_desk.executing import STRATEGY
from perpdesk.grid_desk.place import Place
from perpdesk.grid_desk.running import CLOSE
from perpdesk.kernel.cache import sources_hash
from perpdesk.kernel.ledger import fee_e8, settle
from perpdesk.kernel.matching import slipped
from perpdesk.kernel.records import TAG_MANUAL, account_dt, position_dt, tag_name, zeros
from perpdesk.strategies.grid.machine import MANUAL
from perpdesk.strategies.grid.snapshot import read_snapshot

RESOLVED = "RESOLVED"


@dataclass(frozen=True)
class Resolved:
    """How a run was ended. lots: what it held by its rows (> 0 long), closed at price."""

    run: GridRun
    why: str
    lots: int
    price: int
    realised_e8: int
    fee_e8: int


async def resolve(place: Place, account_id: int, text: str) -> Resolved | None:
    """End the symbol's broken run at the end of the minutes at hand; None: no run is open.

    Raises Refused for a run that is not broken.
    """
    runs = [run for run in await place.store.grid_runs(account_id, place.symbol) if run.state != "IDLE"]
    if not runs:
        return None
    run = runs[0]
    why = _broken(run)
    if why is None:
        raise Refused("NOT_IN_ERROR", f"run {run.run_id} is {run.state}: `perpdesk grid close` ends it")
    now_ms = place.minutes.end_ms
    last = place.minutes.close_at(now_ms)
    if last <= 0:
        raise Refused("NO_PRICE", f"{place.symbol} has no bar in the last day before the end of --data")
    done = _closing(place, run, await place.store.grid_fills(run.run_id), last, now_ms, why)
    await _write(place, account_id, done, now_ms, text)
    return done


def _broken(run: GridRun) -> str | None:
    """Why nothing automatic may go on with it; None: it may."""
    if run.state == "ERROR":
        return "ERROR"
    if run.kernel_hash != sources_hash():
        return "BUILD_CHANGED"
    try:
        read_snapshot(run.document, run.document_hash)
    except ValueError:
        return "EDITED"
    return None


def _closing(place: Place, run: GridRun, fills: list[GridFill], last: int, now_ms: int, why: str) -> Resolved:
    instrument = place.minutes.instrument
    digits = place.minutes.market.universe.price_digits[0]
    account, position = zeros(1, account_dt)[0], zeros(1, position_dt)[0]
    for fill in fills:
        side = 1 if fill.side is Side.BUY else -1
        price = units.price_to_units(fill.price, digits)
        settle(account, position, instrument, side, price, fill.lots, 0, TAG_MANUAL, fill.venue_ms)
    held = int(position.lots)
    price = fee = realised = 0
    if held:
        account_record = grid_records.account_of(place.loaded.config)[0]
        side = -1 if held > 0 else 1
        price = int(slipped(side, last, int(account_record.slippage_ppm), int(instrument.tick)))
        taker_ppm = grid_records.fees_ppm(place.loaded.config)[1]
        fee = int(fee_e8(abs(held) * price * int(instrument.unit_e8), taker_ppm))
        realised = int(settle(account, position, instrument, side, price, abs(held), fee, TAG_MANUAL, now_ms))
    ended = msgspec.structs.replace(
        run, state="IDLE", ended_ms=now_ms, close_reason=RESOLVED, updated_ms=place.clock.now_ms()
    )
    return Resolved(ended, why, held, price, realised, fee)


async def _write(place: Place, account_id: int, done: Resolved, now_ms: int, text: str) -> None:
    run, written_ms = done.run, place.clock.now_ms()
    assert place.lease is not None
    live = await place.store.grid_orders(run.run_id, live_only=True)
    number = len(await place.store.grid_fills(run.run_id)) + 1
    async with place.store.unit() as unit:
        await unit.fence_grid_lease(place.lease, written_ms + place.lease_ms)
        for order in live:
            await unit.save_grid_order(
                msgspec.structs.replace(order, status="CANCELED", terminal=True, updated_ms=written_ms)
            )
        if done.lots:
            order = _order(place, account_id, done, written_ms)
            if not await unit.save_grid_order(order):
                raise BooksContradiction(
                    f"run {run.run_id} has been resolved before: order {order.client_id}"
                )
            await unit.record_grid_fills([_fill(place, done, order, number, now_ms)])
        await unit.save_grid_run(run)
        await unit.save_state(
            StateRow(
                account_id=account_id,
                strategy=STRATEGY,
                symbol=place.symbol,
                state={
                    "last_ms": now_ms,
                    "ended_ms": now_ms,
                    "end_reason": MANUAL,
                    "run_id": None,
                },
                params_hash=place.params_hash,
                updated_ms=now_ms,
            )
        )
        await unit.append_journal(
            [
                JournalEntry(
                    kind="grid_run_resolved",
                    ms=now_ms,
                    payload={"run_id": run.run_id, "why": done.why, "text": text, "lots": done.lots},
                )
            ]
        )


def _order(place: Place, account_id: int, done: Resolved, written_ms: int) -> GridOrder:
    run = done.run
    return GridOrder(
        client_id=f"grid-{base36(account_id)}-{base36(run.run_id)}-resolve",
        run_id=run.run_id,
        account_id=account_id,
        symbol=run.symbol,
        level=0,
        intent=CLOSE,
        attempt=0,
        side=Side.SELL if done.lots > 0 else Side.BUY,
        price=None,
        lots=abs(done.lots),
        cum_lots=abs(done.lots),
        status="FILLED",
        terminal=True,
        lease_epoch=place.epoch,
        params_hash=run.params_hash,
        created_ms=written_ms,
        updated_ms=written_ms,
        sent_ts_ms=written_ms,
    )


def _fill(place: Place, done: Resolved, order: GridOrder, number: int, now_ms: int) -> GridFill:
    return GridFill(
        run_id=done.run.run_id,
        trade_id=number,
        client_id=order.client_id,
        level=0,
        side=order.side,
        lots=order.lots,
        price=units.price_of(done.price, place.minutes.market.universe.price_digits[0]),
        fee=units.money_of(done.fee_e8),
        realized=units.money_of(done.realised_e8),
        is_maker=False,
        reason=tag_name(TAG_MANUAL),
        venue_ms=now_ms,
        params_hash=done.run.params_hash,
    )
