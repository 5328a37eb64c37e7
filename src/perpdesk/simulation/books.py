"""The invariants of the database, read from its file as a bystander reads it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from perpdesk.domain.books import IntentState
from perpdesk.engine import ids
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.world import World
from perpdesk.simulation.attribution import client_id_of
from perpdesk.simulation.database import DatabaseFile
from perpdesk.simulation.network import Sent
from perpdesk.simulation.observer import Observer
from perpdesk.simulation.sums import differences

_E8 = Decimal(100_000_000)
# A clock that is usual is within this of the exchange's.
_CLOCK_MS = 5_000
# What was judged so long ago is sent unjudged. (Beyond a clock's step nothing can be said.)
_LATE_MS, _CLOCK_STEP_MS = 15_000, 300_000
# By then an intent is settled (L1), give or take a wrong clock.
_SETTLED_MS = 70_000
# The statement is imported every minute.
_IMPORTED_MS = 90_000
_UNPROVEN = (IntentState.NEW.value, IntentState.SENT.value, IntentState.UNKNOWN.value)
_LIVE = ("building", "open", "closing")


class Books:
    """Compares the file with the exchange. at_any_time: after a death; at_the_end: faults are over.

    parts_base: the number of sleeves plus two (the engine numbers parts of a shared fill with it).
    """

    def __init__(self, observer: Observer, file: DatabaseFile, parts_base: int = 3) -> None:
        self._observer, self._file, self._parts_base = observer, file, parts_base

    @property
    def _world(self) -> World:
        return self._observer.server.world

    @property
    def _account(self) -> Account:
        return self._observer.account

    def at_any_time(self) -> None:
        """What holds whatever happens: fills are the exchange's (I3), places are single (I7), nothing was
        called dead before its time (I15), parameters are kept (I22)."""
        self._fills_are_real()
        self._one_live_row()
        self._dead_is_dead()
        self._parameters_are_kept()
        self._days_are_the_exchanges()

    def at_the_end(self, *, whole: bool) -> None:
        """What holds once faults have been over for long enough (L1, L3, L4, I2, I13). whole: the desk keeps
        books of everything; else only of its own intents."""
        self.at_any_time()
        self._nothing_unproven()
        self._dead_never_traded()
        if whole:
            self._all_fills()
            self._positions_agree()
            self._income_agrees()
            self._wallet_agrees()
            before_ms = self._observer.loop.now_ms - _IMPORTED_MS
            for text in differences(self._world, self._account, self._file, before_ms):
                self._broken("I13", text)

    def before_the_wire(self, sent: Sent) -> None:
        """An entry arrives at the exchange: its intent is durable, and says the same quantity (R1, I1)."""
        named = ids.parse(sent.client_id) if sent.method == "POST" else None
        if named is None or not named.is_entry or named.version == ids.GUARDIAN:
            return
        rows = self._file.read(
            "SELECT request, created_ms FROM order_intents WHERE client_id = ?", sent.client_id
        )
        if not rows:
            self._broken("I23", f"entry {sent.client_id} is on the wire and no intent of it is written down")
            return
        age_ms = sent.us // 1000 - rows[0]["created_ms"]
        if _LATE_MS < age_ms < _CLOCK_STEP_MS:
            self._broken("I17", f"entry {sent.client_id} was let pass {age_ms // 1000} s before it was sent")
        said = json.loads(rows[0]["request"]) if rows[0]["request"] else {}
        quantity = said.get("quantity")
        if (
            quantity is not None
            and "quantity" in sent.params
            and Decimal(str(quantity)) != Decimal(sent.params["quantity"])
        ):
            self._broken(
                "I1", f"entry {sent.client_id} asks for {sent.params['quantity']}, its intent says {quantity}"
            )

    # -- at any time -----------------------------------------------------------------------------

    def _fills_are_real(self) -> None:
        real = {
            (self._world.contracts[row["contract"]].symbol, row["id"]): row for row in self._account.fills
        }
        kept: dict[tuple[str, int], list[Any]] = {}
        for row in self._file.read("SELECT * FROM fills"):
            kept.setdefault((row["symbol"], self._trade_id(row["trade_id"])), []).append(row)
        for key, rows in kept.items():
            found = real.get(key)
            if found is None:
                self._broken("I3", f"fill {key} is in the books and not on the exchange")
                continue
            contract = self._world.contracts[found["contract"]]
            quantity = sum((Decimal(row["qty"]) for row in rows), Decimal(0))
            if quantity > Decimal(contract.qty_text(found["lots"])):
                self._broken("I3", f"fill {key} has quantity {quantity} in the books")
            if quantity == Decimal(contract.qty_text(found["lots"])):
                commission = sum((Decimal(row["commission"]) for row in rows), Decimal(0))
                if commission != Decimal(found["fee_e8"]) / _E8:
                    self._broken("I13", f"fill {key} has commission {commission} in the books")

    def _trade_id(self, number: int) -> int:
        """Of a fill that several owners share, each part after the first has a number below 0."""
        return number if number > 0 else -number // self._parts_base

    def _one_live_row(self) -> None:
        marks = ", ".join(f"'{status}'" for status in _LIVE)
        rows = self._file.read(
            "SELECT account_id, symbol, position_side, signal_version, count(*) AS n FROM futures_positions "
            f"WHERE status IN ({marks}) GROUP BY 1, 2, 3, 4 HAVING n > 1"
        )
        for row in rows:
            self._broken("I7", f"{row['n']} live rows of {row['signal_version']} on {row['symbol']}")

    def _dead_is_dead(self) -> None:
        """I15: an intent that was declared dead must not have been accepted afterwards."""
        for row in self._file.read("SELECT * FROM order_intents WHERE state = 'dead'"):
            created_ms = self._created_ms(row["symbol"], row["client_id"])
            if created_ms is not None and _CLOCK_MS < created_ms - row["updated_ms"] < _CLOCK_STEP_MS:
                self._broken("I15", f"intent {row['client_id']} was called dead before the exchange took it")

    def _created_ms(self, symbol: str, client_id: str) -> int | None:
        contract = self._world.by_symbol[symbol].index
        order = self._account.by_client_id.get((contract, client_id))
        if order is not None:
            return order.created_ms
        algo = self._account.algo_by_client_id.get(client_id)
        return None if algo is None else algo.created_ms

    def _parameters_are_kept(self) -> None:
        kept = {
            row["sha256"]: row["params"]
            for row in self._file.read("SELECT sha256, params FROM params_snapshots")
        }
        for sha256, params in kept.items():
            if hashlib.sha256(params.encode()).hexdigest() != sha256:
                self._broken("I22", f"snapshot {sha256[:12]} is not what its hash says")
        for row in self._file.read("SELECT DISTINCT params_hash FROM order_intents"):
            if row["params_hash"] not in kept:
                self._broken("I22", f"no snapshot of parameters {row['params_hash'][:12]} is kept")

    def _days_are_the_exchanges(self) -> None:
        """I25: a trading day is the exchange's UTC day, and never an earlier one after a later."""
        today = datetime.fromtimestamp(self._observer.loop.now_ms / 1000, UTC).date().isoformat()
        newest: dict[str, str] = {}
        for row in self._file.read("SELECT strategy, day FROM breaker_days ORDER BY created_ms, day"):
            if row["day"] > today:
                self._broken("I25", f"{row['day']} has begun in the books and not on the exchange")
            if row["day"] < newest.get(row["strategy"], ""):
                self._broken("I25", f"{row['day']} began after {newest[row['strategy']]}")
            newest[row["strategy"]] = row["day"]

    # -- at the end ------------------------------------------------------------------------------

    def _dead_never_traded(self) -> None:
        """I15: what was called dead has not traded. (Before its fence nobody can know that it has not.)"""
        for row in self._file.read("SELECT * FROM order_intents WHERE state = 'dead'"):
            contract = self._world.by_symbol[row["symbol"]].index
            order = self._account.by_client_id.get((contract, row["client_id"]))
            if order is not None and order.filled:
                self._broken("I15", f"intent {row['client_id']} was called dead, and it has traded")

    def _nothing_unproven(self) -> None:
        marks = ", ".join(f"'{state}'" for state in _UNPROVEN)
        for row in self._file.read(f"SELECT * FROM order_intents WHERE state IN ({marks})"):
            if row["delivery"] == "once" and row["created_ms"] < self._observer.loop.now_ms - _SETTLED_MS:
                self._broken("L1", f"intent {row['client_id']} is still {row['state']}")

    def _all_fills(self) -> None:
        kept: dict[tuple[str, int], Decimal] = {}
        for row in self._file.read("SELECT symbol, trade_id, qty FROM fills"):
            key = (row["symbol"], self._trade_id(row["trade_id"]))
            kept[key] = kept.get(key, Decimal(0)) + Decimal(row["qty"])
        for row in self._account.fills:
            contract = self._world.contracts[row["contract"]]
            key = (contract.symbol, row["id"])
            if kept.get(key) != Decimal(contract.qty_text(row["lots"])):
                client_id = client_id_of(self._account, row["orderId"])
                self._broken("L3", f"fill {key} of {client_id}: {kept.get(key, 0)} of it is in the books")

    def _positions_agree(self) -> None:
        """I2 and L3: the exchange's position is the sum of the live rows and the external lots."""
        sums: dict[str, Decimal] = {}
        marks = ", ".join(f"'{status}'" for status in _LIVE)
        for row in self._file.read(f"SELECT * FROM futures_positions WHERE status IN ({marks})"):
            if not self._had_a_fill(row):
                continue
            signed = Decimal(row["quantity"]) * (1 if row["position_side"] == "LONG" else -1)
            sums[row["symbol"]] = sums.get(row["symbol"], Decimal(0)) + signed
        for row in self._file.read("SELECT * FROM external_lots"):
            signed = Decimal(row["qty"]) * (-1 if row["position_side"] == "SHORT" else 1)
            sums[row["symbol"]] = sums.get(row["symbol"], Decimal(0)) + signed
        for contract in self._world.contracts:
            lots = sum(p.lots for p in self._account.held(contract.index))
            wanted = Decimal(contract.qty_text(lots))
            if sums.get(contract.symbol, Decimal(0)) != wanted:
                found = sums.get(contract.symbol, Decimal(0))
                self._broken("I2", f"{contract.symbol}: the exchange holds {wanted}, the books {found}")

    def _had_a_fill(self, row: Any) -> bool:
        return bool(self._file.read("SELECT 1 FROM fills WHERE position_id = ? LIMIT 1", row["id"]))

    def _income_agrees(self) -> None:
        kept = {
            (row["income_type"], row["tran_id"], row["symbol"]): Decimal(row["amount"])
            for row in self._file.read("SELECT * FROM income_rows")
        }
        if not kept:
            return
        first = min(
            row["time_ms"] for row in self._file.read("SELECT min(time_ms) AS time_ms FROM income_rows")
        )
        for row in self._account.income:
            key = (row["incomeType"], row["tranId"], row["symbol"])
            amount = Decimal(row["amount_e8"]) / _E8
            if first < row["time"] < self._observer.loop.now_ms - _IMPORTED_MS and kept.get(key) != amount:
                said = (
                    f"income {key} of {row['time']} is {amount} on the exchange, {kept.get(key)} in the books"
                )
                self._broken("I13", said)

    def _wallet_agrees(self) -> None:
        """I14: the wallet is what it was when the books began, plus everything that they say has moved it."""
        rows = self._file.read("SELECT time_ms, amount FROM income_rows")
        if not rows:
            return
        first = min(row["time_ms"] for row in rows)
        until = self._observer.loop.now_ms - _IMPORTED_MS
        outside = [row for row in self._account.income if row["time"] <= first or row["time"] >= until]
        known = sum((Decimal(row["amount"]) for row in rows if first < row["time_ms"] < until), Decimal(0))
        opening = Decimal(self._observer.opening_e8)
        expected = opening / _E8 + known + sum(Decimal(row["amount_e8"]) / _E8 for row in outside)
        wallet = Decimal(self._account.cash_e8) / _E8
        if expected != wallet:
            self._broken("I14", f"the wallet holds {wallet}, by the books it should be {expected}")

    def _broken(self, rule: str, text: str) -> None:
        self._observer.violate(rule, text)
