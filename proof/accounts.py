"""Does the database say of the account what the exchange says, to the last digit?"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from proof.rig import ACCOUNT, Exchange

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import FillQuery, PositionQuery
from perpdesk.domain.secret import Secret
from perpdesk.domain.units import plain
from perpdesk.engine.ids import parse

Sums = dict[str, Decimal]
_PAGE = 1_000


async def _statement(exchange: Exchange) -> dict[tuple[str, str, str], p.Income]:
    """Every line of the exchange's statement, over its public protocol."""
    keys = Credentials(Secret(exchange.keys["api_key"]), Secret(exchange.keys["secret"]))
    rest = Gateway(simulated(exchange.url), SystemClock()).rest(keys, "proof")
    found: dict[tuple[str, str, str], p.Income] = {}
    try:
        await rest.sync_time()
        start_ms = rest.server.now_ms() - 7 * 86_400_000 + 60_000
        while True:
            page: list[p.Income] = await rest.ask(to.INCOME, (("startTime", start_ms), ("limit", _PAGE)))
            for row in page:
                found[row.income_type, str(row.symbol), str(row.tran_id)] = row
            if len(page) < _PAGE:
                return found
            start_ms = max(row.time for row in page)
    finally:
        await rest.close()


def _sums(rows: Mapping[tuple[str, str], Decimal]) -> Sums:
    return {f"{kind} {asset}": amount for (kind, asset), amount in sorted(rows.items())}


async def _compare(exchange: Exchange, database: str, since_ms: int) -> dict[str, Any]:
    statement = await _statement(exchange)
    totals: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in statement.values():
        if row.time < since_ms:
            continue
        totals[row.income_type, str(row.asset)] += Decimal(row.income)
    ledger = exchange.do("ledger")
    theirs = {
        (row["symbol"], int(row["id"])): (
            Decimal(row["qty"]),
            Decimal(row["price"]),
            Decimal(row["commission"]),
        )
        for row in ledger["fills"]
    }
    async with await SqlStore.open(database) as store:
        account = await store.account(ACCOUNT)
        assert account is not None
        number = account.account_id
        fills = await store.fills(FillQuery(account_id=number))
        positions = await store.positions(PositionQuery(account_id=number))
        income = await store.income_totals(number)
        late = await store.adjustments(number)
        check = await store.verify_journal()
    ours = {(one.symbol, one.trade_id): (one.qty, one.price, one.commission) for one in fills}
    entries: dict[str, set[str]] = defaultdict(set)
    for one in fills:
        named = parse(one.client_id or "")
        if named is not None and named.is_entry:
            entries[f"{one.symbol} {named.position_code}"].add(str(one.client_id))
    exchange_sums, database_sums = _sums(totals), _sums(income)
    funding = sum((one.funding for one in positions), Decimal(0))
    funding += sum((one.funding for one in late), Decimal(0))
    booked = {
        "REALIZED_PNL": (sum((one.realized_pnl_venue for one in fills), Decimal(0)), totals, "REALIZED_PNL"),
        "COMMISSION": (-sum((one.commission for one in fills), Decimal(0)), totals, "COMMISSION"),
        # what was charged just before a close and told after it stands beside the finished row
        "FUNDING_FEE": (funding, totals, "FUNDING_FEE"),
    }
    by_fills = {
        name: {"database": plain(mine), "exchange": plain(amounts.get((kind, "USDT"), Decimal(0)))}
        for name, (mine, amounts, kind) in booked.items()
    }
    realised = sum((one.realized_pnl for one in positions), Decimal(0))
    return {
        "income_exchange": {name: plain(value) for name, value in exchange_sums.items()},
        "income_database": {name: plain(value) for name, value in database_sums.items()},
        "income_equal": exchange_sums == database_sums,
        "booked": by_fills,
        "positions_realised": plain(realised),
        "fills_exchange": len(theirs),
        "fills_database": len(ours),
        "fills_equal": theirs == ours,
        "fills_of_nobody": sum(one.position_id is None for one in fills),
        "positions": len(positions),
        "doubled_entries": sorted(code for code, ids in entries.items() if len(ids) > 1),
        "journal_intact": check.is_intact,
    }


def compare(exchange: Exchange, database: str, since_ms: int) -> dict[str, Any]:
    """The exchange's statement (from its time since_ms on, when the first desk started) and fills against the
    database's, and every entry that filled twice."""
    return asyncio.run(_compare(exchange, database, since_ms))
