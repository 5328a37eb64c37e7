"""State machines as rows, and back: the whole state as a document, the rest of the columns for people."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal

import msgspec

from perpdesk.domain.volume_books import (
    VolumeDay,
    VolumeFill,
    VolumeOrder,
    VolumePair,
    VolumeReading,
    VolumeRun,
)
from perpdesk.engine.ids import base36
from perpdesk.strategies.volume_target.arithmetic import ZERO
from perpdesk.strategies.volume_target.facts import Fill, Leg, Order
from perpdesk.strategies.volume_target.modes import CountSide
from perpdesk.strategies.volume_target.pair import Pair, counted_by_day, next_pair
from perpdesk.strategies.volume_target.pair_events import Resolve
from perpdesk.strategies.volume_target.run import Run
from perpdesk.strategies.volume_target.volume import Day

_encode = msgspec.json.Encoder().encode
_PAIR = msgspec.json.Decoder(Pair)
_RUN = msgspec.json.Decoder(Run)
_PLACE = Decimal("1e-18")
_ERROR_MAX = 200
_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


def pair_id(user_id: int, run_id: int, created_ms: int, seq: int) -> str:
    """``pv{user}-{run}-{seq}``: the list's client id, and what its orders' ids begin with.

    The run's part has its time of birth, so that a new or restored database never uses a name again: a venue
    answers a query by the newest order of a name, which must not be one of an earlier life.
    """
    return f"pv{base36(user_id)}-{base36(created_ms)}{base36(run_id)}-{base36(seq)}"


def pair_of(client_id: str) -> str | None:
    """The pair that an order's client id belongs to; None: it is none of ours."""
    parts = client_id.split("-")
    return "-".join(parts[:3]) if len(parts) == 4 and parts[0].startswith("pv") else None


def stored(value: Decimal) -> Decimal:
    """As many places as the ledger has."""
    exponent = value.as_tuple().exponent
    return value if isinstance(exponent, int) and exponent >= -18 else value.quantize(_PLACE, context=_WIDE)


def run_row(
    run: Run,
    *,
    run_id: int,
    strategy_id: str,
    user_id: int,
    token_key: str,
    config_hash: str,
    created_ms: int,
    lease_epoch: int,
) -> VolumeRun:
    """A run as a row."""
    return VolumeRun(
        run_id=run_id,
        strategy_id=strategy_id,
        user_id=user_id,
        token_key=token_key,
        day=run.day.day,
        state=run.state.value,
        reason=f"{run.reason.value} {run.detail}".strip()[:80],
        target=run.terms.target,
        scope=run.terms.scope.value,
        mode=run.terms.mode.value,
        pairs=run.pairs,
        failures=run.failures,
        config_hash=config_hash,
        lease_epoch=lease_epoch,
        created_ms=created_ms,
        updated_ms=run.now_ms,
        ended_ms=run.now_ms if run.state.is_over else None,
        document=_encode(run).decode(),
    )


def run_of(row: VolumeRun) -> Run:
    """The run that a row keeps."""
    return _RUN.decode(row.document)


def pair_row(
    pair: Pair,
    *,
    run_id: int,
    seq: int,
    user_id: int,
    token_key: str,
    side: CountSide,
    created_ms: int,
) -> VolumePair:
    """A pair as a row."""
    return VolumePair(
        pair_id=pair.client_id,
        run_id=run_id,
        seq=seq,
        user_id=user_id,
        token_key=token_key,
        state=pair.state.value,
        outcome=None if pair.outcome is None else pair.outcome.value,
        p_ref=stored(pair.plan.reference),
        buy_price=pair.plan.buy_price,
        sell_price=pair.plan.sell_price,
        qty=pair.plan.qty,
        sent_ms=None if pair.request is None else pair.request.sent_ms,
        recv_window_ms=pair.terms.recv_window_ms,
        buy_deadline_ms=pair.buy_deadline_ms,
        sell_deadline_ms=pair.sell_deadline_ms,
        dust=stored(pair.dust),
        loss_usdt=stored(pair.loss),
        counted_usdt=stored(sum(counted_by_day(pair, side).values(), ZERO)),
        config_hash=pair.config_hash,
        created_ms=created_ms,
        updated_ms=pair.now_ms,
        ended_ms=None if pair.is_live else pair.now_ms,
        document=_encode(pair).decode(),
    )


def pair_from(row: VolumePair) -> Pair:
    """The pair that a row keeps."""
    return _PAIR.decode(row.document)


def order_row(pair: Pair, order: Order, user_id: int, token_key: str) -> VolumeOrder:
    """An order of a pair as a row."""
    return VolumeOrder(
        client_id=order.client_id,
        pair_id=pair.client_id,
        user_id=user_id,
        token_key=token_key,
        leg=order.leg.value,
        attempt=int(order.client_id.rsplit("-x", 1)[1]) if order.leg is Leg.EXIT else 0,
        venue_order_id=order.venue_id,
        price=order.price,
        qty=order.qty,
        cum_qty=order.cum_qty,
        cum_quote=stored(order.quote),
        status=order.seen.name,
        terminal=order.seen.is_terminal,
        config_hash=pair.config_hash,
    )


def new_fills(before: Pair | None, after: Pair, user_id: int, token_key: str) -> Iterator[VolumeFill]:
    """The executions whose commission is known now and was not before."""
    for order in after.orders:
        old: tuple[Fill, ...] = () if before is None else _fills(before, order.client_id)
        if order.fills is old or order.fills == old:
            continue
        known = {fill.key for fill in old if fill.commission is not None}
        for fill in order.fills:
            if fill.commission is not None and fill.key not in known:
                yield VolumeFill(
                    client_id=order.client_id,
                    trade_id=fill.trade_id,
                    cum_qty=fill.cum_qty,
                    user_id=user_id,
                    token_key=token_key,
                    leg=order.leg.value,
                    qty=fill.qty,
                    price=fill.price,
                    quote=fill.quote,
                    commission=fill.commission,
                    in_base=fill.in_base,
                    venue_ms=fill.ms,
                )


def _fills(pair: Pair, client_id: str) -> tuple[Fill, ...]:
    return next((order.fills for order in pair.orders if order.client_id == client_id), ())


def new_counted(before: Pair, after: Pair, side: CountSide) -> dict[int, Decimal]:
    """Quote of counted executions, by UTC day, that ``after`` knows and ``before`` did not."""
    if all(old.fills is new.fills for old, new in zip(before.orders, after.orders, strict=False)) and len(
        before.orders
    ) == len(after.orders):
        return {}
    told = counted_by_day(before, side)
    return {
        day: quote - told.get(day, ZERO)
        for day, quote in counted_by_day(after, side).items()
        if quote != told.get(day, ZERO)
    }


def day_row(day: Day, loss: Decimal, user_id: int, token_key: str) -> VolumeDay:
    """A day as a row."""
    return VolumeDay(
        user_id=user_id,
        token_key=token_key,
        day=day.day,
        baseline=stored(day.baseline),
        best=None if day.best is None else stored(day.best),
        quote=stored(day.quote),
        rebased=stored(day.rebased),
        loss_usdt=stored(loss),
    )


def day_from(row: VolumeDay) -> Day:
    """The day that a row keeps."""
    return Day(row.day, row.best, row.baseline, row.quote, row.rebased)


def reading_row(
    user_id: int, token_key: str, day: int, displayed: Decimal | None, error: str | None, read_ms: int
) -> VolumeReading:
    """What the counter has shown, or (displayed None) why it could not be read."""
    return VolumeReading(
        user_id=user_id,
        token_key=token_key,
        day=day,
        displayed=None if displayed is None else stored(displayed),
        read_ms=read_ms,
        error=None if error is None else "".join(c for c in error[:_ERROR_MAX] if c.isprintable()),
    )


def settled_again(row: VolumePair, now_ms: int) -> VolumePair:
    """A quarantined pair as a person lets it be reconciled again."""
    pair, _ = next_pair(pair_from(row), Resolve(now_ms))
    return msgspec.structs.replace(
        row, state=pair.state.value, updated_ms=now_ms, document=_encode(pair).decode()
    )
