"""What `score explain` reads of an account, and how it tells why the account would not enter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.cli.console import out
from perpdesk.config.load import Loaded
from perpdesk.config.records import Sleeve
from perpdesk.domain.account_books import BreakerDay
from perpdesk.domain.books import SIMULATED_ACCOUNTS, PositionQuery
from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide
from perpdesk.engine.heartbeat import is_fresh
from perpdesk.research.account_gates import Gate, Standing, gates, said_then
from perpdesk.research.scanner import Reading

_MARKS = {True: "NO ", False: "ok ", None: "?  "}


async def standing(
    database: str, account: int | None, symbol: str, at_ms: int, names: Sequence[str]
) -> Standing:
    """An account as its database has it. account: None is the newest run's. Raises InputError."""
    async with await SqlStore.open(database) as store:
        if account is None:
            runs = await store.runs(1)
            if not runs:
                raise InputError("the database has no run: name an account", field="--account")
            account = runs[0].account_id
        is_real = account < SIMULATED_ACCOUNTS
        beats = [one for one in await store.heartbeats(account) if one.strategy in names]
        now_ms = SystemClock().now_ms()
        day = await store.breaker_day(
            account, "*", datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
        )
        owners = {one.symbol: one.strategy for one in await store.symbol_owners(account)}
        return Standing(
            account_id=account,
            switch=await store.trading_control(account),
            positions=await store.positions(PositionQuery(account_id=account, until_ms=at_ms + 1)),
            rating=(await store.ratings()).get(symbol) if is_real else None,
            rated=is_real,
            beats_fresh=bool(beats) and all(is_fresh(one, now_ms) for one in beats) if is_real else None,
            tripped=isinstance(day, BreakerDay) and day.is_tripped,
            owner=owners.get(symbol),
            external=any(
                one.symbol == symbol and one.qty and one.acknowledged_ms is None
                for one in await store.external_lots(account)
            ),
            signals=await store.score_signals(account, None, symbol, at_ms, at_ms + 1),
        )


def side_of(reading: Reading) -> PositionSide:
    """The side to judge: the one that is wanted, else the one that leads."""
    if reading.side != "-":
        return PositionSide[reading.side]
    leads_long = (reading.long_score or 0.0) >= (reading.short_score or 0.0)
    return PositionSide.LONG if leads_long else PositionSide.SHORT


def found(one: Standing, loaded: Loaded, sleeve: Sleeve, reading: Reading) -> list[Gate]:
    """The account's rules for what a version wants of the symbol."""
    return list(gates(one, loaded, sleeve, reading.symbol, side_of(reading), reading.now_ms))


def as_json(one: Standing, rules: Sequence[Gate], reading: Reading) -> dict[str, object]:
    """For programs."""
    refused = next((rule.code for rule in rules if rule.refuses), None)
    return {
        "account": one.account_id,
        "side": side_of(reading).value,
        "refused": refused,
        "gates": [asdict(rule) for rule in rules],
        "recorded": said_then(one, reading.version, side_of(reading), reading.now_ms),
    }


def tell(one: Standing, rules: Sequence[Gate], reading: Reading) -> None:
    """For people: the first rule that refuses is the reason."""
    side = side_of(reading).value
    refused = next((rule for rule in rules if rule.refuses), None)
    verdict = "none of these rules would refuse" if refused is None else f"refused by {refused.code}"
    out.print(f"  account {one.account_id}, {side}: {verdict}", markup=False)
    for rule in rules:
        out.print(f"    {_MARKS[rule.refuses]} {rule.code:<17} {rule.text}", markup=False)
    said = said_then(one, reading.version, side_of(reading), reading.now_ms)
    if said is not None:
        out.print(f"  the run itself wrote at this moment: {said}", markup=False)
