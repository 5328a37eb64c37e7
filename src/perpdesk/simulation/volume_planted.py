"""Faults of our own, planted into volume_target one at a time: the scenes must find each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from perpdesk.engine.volume import judgement, records, requests
from perpdesk.engine.volume.lanes import Lanes
from perpdesk.engine.volume.ledger import Ledger
from perpdesk.engine.volume.venue import Unread
from perpdesk.strategies.volume_target import pair as pairs
from perpdesk.strategies.volume_target import pair_events as e
from perpdesk.strategies.volume_target import run as runs
from perpdesk.strategies.volume_target.volume import shown


async def _at_once(ledger: Ledger, who: int) -> None:
    """As if everything were durable."""


async def _error_is_absence(one: Any, pair_id: str, client_id: str) -> bool:
    try:
        seen = await one._venue.order(client_id)
    except Unread:
        return False
    if seen is not None:
        report = e.OrderReport(one._now_ms(), client_id, seen.seen, seen.cum_qty, seen.venue_id)
        one._post(requests.OfPair(pair_id, report))
    return seen is not None


async def _error_is_no_fill(one: Any, pair_id: str, client_id: str) -> bool:
    try:
        fills = await one._venue.fills(client_id)
    except Unread:
        return False
    for fill in fills:
        one._post(requests.OfPair(pair_id, e.FillReport(one._now_ms(), client_id, fill)))
    return bool(fills)


def _sent_again(pair: pairs.Pair) -> pairs.Pair:
    """A restart takes what was sent for what was only planned: it is forgotten, and a new one goes out."""
    if pair.state is pairs.PairState.PLACING:
        return pairs._flat(replace(pair, cause=pairs.Outcome.NOT_PLACED))
    return _RESTARTED(pair)


@contextmanager
def _errors_are_absence() -> Iterator[None]:
    with (
        patch.object(requests.Requests, "_status", _error_is_absence),
        patch.object(requests.Requests, "_executions", _error_is_no_fill),
    ):
        yield


def _counter_alone(mode: Any, day: Any, m: Decimal) -> Decimal | None:
    return shown(mode, day, m)


@contextmanager
def _counter_is_everything() -> Iterator[None]:
    with patch.object(runs, "v_star", _counter_alone), patch.object(judgement, "v_star", _counter_alone):
        yield


def _no_fills(*_: object) -> list[object]:
    return []


_RESTARTED = pairs._restarted
PLANTED: dict[str, Callable[[], Any]] = {
    "the wire does not wait for the ledger": lambda: patch.object(Ledger, "settled", _at_once),
    "an error of a query is taken for absence": _errors_are_absence,
    "a probe believes at once": lambda: patch.object(pairs.Request, "fence_ms", lambda one, _: one.sent_ms),
    "a restart forgets what was sent": lambda: patch.object(pairs, "_restarted", _sent_again),
    "the counter alone says what is missing": _counter_is_everything,
    "executions are not kept": lambda: patch.object(records, "new_fills", _no_fills),
    "managed accounts may meet": lambda: patch.object(Lanes, "ask", lambda *_, **__: True),
    "a cancelled pair's rest stays": lambda: patch.object(pairs, "exit_quantity", lambda *_: Decimal(0)),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """With this fault in it."""
    with PLANTED[name]():
        yield
