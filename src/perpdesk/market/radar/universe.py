"""Which symbols are polled: perpetuals in USDT that trade, the most traded first."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from perpdesk.market.radar.source import Contract


def choose(
    contracts: Iterable[Contract], blacklist: Collection[str], most: int | None, always: Collection[str] = ()
) -> tuple[str, ...]:
    """At most ``most`` symbols (None: all) by falling 24-hour volume, then name; and those of ``always`` that
    are listed at all: a symbol with a position stays, whatever became of it.

    blacklist: exact names.
    """
    listed = list(contracts)
    fit = [one for one in listed if _is_eligible(one) and one.symbol not in blacklist]
    fit.sort(key=lambda one: (-one.quote_volume, one.symbol))
    chosen = [one.symbol for one in (fit if most is None else fit[:most])]
    known = {one.symbol for one in listed}
    return (*chosen, *sorted(set(always) & known - set(chosen)))


def _is_eligible(one: Contract) -> bool:
    return (one.status, one.kind, one.quote, one.margin) == ("TRADING", "PERPETUAL", "USDT", "USDT")
