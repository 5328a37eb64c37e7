"""The executor: may a run start, how far has it come, and what is written down, all in one transaction.

``step_to`` brings one symbol from the last minute written to a given one. It is the same whether it is called
once a minute, once an hour or in a loop: every minute between is decided with what was known by then.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import msgspec

from perpdesk.config import grid_records
from perpdesk.domain import units
from perpdesk.domain.books import BooksContradiction, JournalEntry, StateRow, TradingControl
from perpdesk.domain.errors import Refused
from perpdesk.domain.grid_books import GridFill, GridRun
from perpdesk.domain.order import PositionSide, Side
from perpdesk.domain.signal_books import GridOrder, TradingSignal
from perpdesk.engine.ids import parse
from perpdesk.grid_desk.gate import Verdict
from perpdesk.grid_desk.place import Place
from perpdesk.grid_desk.running import Lived, Sent, lived
from perpdesk.grid_desk.watching import grounds, known_to
from perpdesk.kernel.cache import sources_hash
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.strategies.grid.chain import SCAN_MS, Ground, Offer
from perpdesk.strategies.grid.machine import EVENT_NAMES, IDLE
from perpdesk.strategies.grid.plan import VARIANT_NAMES, Level, Plan
from perpdesk.strategies.grid.snapshot import canonical_json, read_snapshot, text_hash
from perpdesk.strategies.grid.start import GO, NO_SIGNAL, Answer, View, may_start_run
from perpdesk.strategies.grid.trigger import BAR_MS, Signal
from perpdesk.strategies.grid.zones import zone_from

STRATEGY = "grid"
# How long an idle executor waits for a trigger that does not come.
TRIGGER_GRACE_MS = 10 * 60_000


@dataclass
class Desk:
    """What the executor of one symbol knows: the last minute written, the last end, the open run."""

    last_ms: int
    ended_ms: int = 0
    end_reason: int = 0
    run: GridRun | None = None


@dataclass(frozen=True)
class Stepped:
    """Where a call came to. why: the last reason against a start; life: the open run's figures."""

    to_ms: int
    state: str
    run_id: int | None
    why: str
    detail: str
    life: Lived | None
    started: int
    ended: int
    waits_for_trigger: bool = False


@dataclass
class Executing:
    """Steps one symbol of one account. verdict: what the gate said; text: an override, journalled."""

    place: Place
    account_id: int
    verdict: Verdict
    override: str | None = None
    mode: str = "paper"

    async def step_to(self, now_ms: int) -> Stepped:
        """Bring the symbol to ``now_ms`` and write down everything that happened on the way."""
        desk = await self._read(now_ms)
        started = ended = 0
        answer = Answer(NO_SIGNAL)
        life = None
        waits = False
        while desk.last_ms < now_ms:
            if desk.run is not None:
                life = await self._advance(desk, now_ms)
                if desk.run is None:
                    ended += 1
                    life = None
                continue
            until_ms = min(now_ms, await self._trigger_known(now_ms))
            begun, answer = await self._look(desk, until_ms)
            if begun:
                started += 1
                continue
            waits = until_ms < now_ms
            break
        return Stepped(
            to_ms=desk.last_ms,
            state=desk.run.state if desk.run else "IDLE",
            run_id=desk.run.run_id if desk.run else None,
            why=answer.reason,
            detail=answer.detail,
            life=life,
            started=started,
            ended=ended,
            waits_for_trigger=waits,
        )

    # -- what is known ------------------------------------------------------------------------

    async def _read(self, now_ms: int) -> Desk:
        place = self.place
        runs = [
            run for run in await place.store.grid_runs(self.account_id, place.symbol) if run.state != "IDLE"
        ]
        if len(runs) > 1:
            raise BooksContradiction(f"{place.symbol} has {len(runs)} live grid runs: one is allowed")
        kept = await place.store.load_state(self.account_id, STRATEGY, place.symbol)
        state = kept.state if kept is not None and isinstance(kept.state, dict) else {}
        desk = Desk(
            last_ms=int(state.get("last_ms", now_ms - MINUTE_MS)),
            ended_ms=int(state.get("ended_ms", 0)),
            end_reason=int(state.get("end_reason", 0)),
        )
        if not state and not runs:
            await self._write(desk, None, desk.last_ms)  # from here on it decides, also if it waits now
        if runs:
            desk.run = runs[0]
            desk.last_ms = runs[0].last_bar_ms
            if runs[0].kernel_hash != sources_hash():
                raise Refused(
                    "BUILD_CHANGED",
                    f"run {runs[0].run_id} of {place.symbol} was started by other code: finish it with that "
                    "version, or end it here by `perpdesk grid resolve`",
                )
            if runs[0].params_hash != place.params_hash:
                raise Refused(
                    "PARAMS_CHANGED",
                    f"run {runs[0].run_id} of {place.symbol} was started under other parameters: finish it "
                    "with those, or close it with them",
                )
        return desk

    async def _trigger_known(self, now_ms: int) -> int:
        """Up to when an idle executor may decide: as far as the trigger has spoken, with some patience."""
        spoken_ms = await known_to(self.place) + BAR_MS - MINUTE_MS
        return max(spoken_ms, now_ms - TRIGGER_GRACE_MS)

    async def _offers(self, from_ms: int, to_ms: int) -> list[Offer]:
        place = self.place
        rows = [
            row
            for row in await place.store.signals(place.symbol, unexpired_at_ms=from_ms)
            if row.params_hash == place.params_hash
            and row.confirmed_ms is not None
            and row.confirmed_ms <= to_ms
        ]
        if not rows:
            return []
        valid_ms = place.block.scanner.zone_valid_hours * 3_600_000
        scans = await grounds(place, min(row.bar_close_ms for row in rows) - valid_ms - SCAN_MS)
        offers = []
        for row in rows:
            offer = await self._offer(row, scans)
            if offer is not None and offer.signal.tradable:
                offers.append(offer)
        return offers

    async def _offer(self, row: TradingSignal, scans: dict[int, Ground | None]) -> Offer | None:
        numbers = await self.place.store.signal_numbers(row.id)
        if numbers is None:
            raise BooksContradiction(f"signal {row.id} has no numbers: it was not written by the trigger")
        try:
            read = read_snapshot(numbers.document, numbers.document_hash)
        except ValueError as error:
            raise BooksContradiction(f"grid_signal_numbers {row.id}: {error}") from error
        if read["tick"] != self.place.tick:
            return None  # its prices mean others now; the next scan and signal will be in today's ticks
        zone = zone_from(read["zone"])
        ground = scans.get(zone.valid_from_ms)
        if ground is None or row.confirmed_ms is None:
            return None
        signal = Signal(
            id=row.id,
            symbol=row.symbol,
            bar_close_ms=row.bar_close_ms,
            side=1 if row.side is PositionSide.LONG else -1,
            rule=row.type,
            mask=row.matched_mask,
            zone=zone,
            low=read["low"],
            high=read["high"],
            close=read["close"],
            range_ticks=read["range"],
            volume_lots=read["volume"],
            range_sum=read["range_sum"],
            volume_sum=read["volume_sum"],
            expires_ms=row.expires_ms,
            params_hash=row.params_hash,
        )
        return Offer(signal, ground, row.confirmed_ms)

    # -- starting -----------------------------------------------------------------------------

    async def _look(self, desk: Desk, until_ms: int) -> tuple[bool, Answer]:
        """Decide minute by minute while idle; True: a run has begun and is written down."""
        place = self.place
        answer = Answer(NO_SIGNAL)
        if until_ms <= desk.last_ms:
            return False, answer
        offers = await self._offers(desk.last_ms, until_ms)
        runs = await place.store.grid_runs(self.account_id)
        used = frozenset(run.signal_id for run in runs)
        busy = sum(run.state != "IDLE" for run in runs)
        enabled = await self._switch()
        rules, params = grid_records.start_rules(place.block), grid_records.executor_params(place.block)
        at_ms = desk.last_ms
        while at_ms < until_ms:
            usable = [offer for offer in offers if offer.signal.expires_ms > at_ms]
            if not usable:
                at_ms = until_ms
                break
            at_ms = min(until_ms, max(at_ms + MINUTE_MS, min(one.confirmed_ms for one in usable)))
            view = View(
                now_ms=at_ms,
                last=place.minutes.close_at(at_ms) // int(place.minutes.instrument.tick),
                grid=IDLE,
                offers=usable,
                used=used,
                ended_ms=desk.ended_ms,
                end_reason=desk.end_reason,
                runs=busy,
                account_running=enabled,
                has_backtest=self.verdict.ok or self.override is not None,
                balance_e8=int(grid_records.account_of(place.loaded.config).cash_e8[0]),
            )
            answer = may_start_run(view, rules, params, place.minimums)
            if answer.reason == GO:
                desk.last_ms = at_ms
                await self._begin(desk, answer, at_ms)
                return True, answer
        desk.last_ms = at_ms
        await self._write(desk, None, at_ms)
        return False, answer

    async def _switch(self) -> bool:
        answer = await self.place.store.trading_control(self.account_id)
        return isinstance(answer, TradingControl) and answer.trading_enabled

    async def _begin(self, desk: Desk, answer: Answer, at_ms: int) -> None:
        place = self.place
        assert answer.plan is not None
        assert answer.offer is not None
        process_id = await place.process("executor", place.minutes.start_ms, at_ms)
        document = canonical_json({"plan": plan_json(answer.plan), "tick": place.tick, "words": []})
        created_ms = place.clock.now_ms()
        run = GridRun(
            run_id=int(answer.offer.signal.id[:12], 16),
            account_id=self.account_id,
            symbol=place.symbol,
            mode=self.mode,
            variant=VARIANT_NAMES[answer.plan.variant],
            signal_id=answer.offer.signal.id,
            state="ACTIVE",
            document=document,
            document_hash=text_hash(document),
            begun_ms=at_ms,
            last_bar_ms=at_ms,
            kernel_hash=sources_hash(),
            params_hash=place.params_hash,
            process_id=process_id,
            created_ms=created_ms,
            updated_ms=created_ms,
            override_text=self.override,
            backtest_id=self.verdict.backtest_id,
        )
        desk.run = run
        signal = next(
            row for row in await place.store.signals(place.symbol) if row.id == answer.offer.signal.id
        )
        entries = [
            JournalEntry(
                kind="grid_run_begun",
                ms=at_ms,
                payload={"run_id": run.run_id, "symbol": place.symbol, "signal_id": run.signal_id},
            )
        ]
        if self.override is not None:
            entries.append(
                JournalEntry(
                    kind="grid_gate_overridden",
                    ms=at_ms,
                    payload={"run_id": run.run_id, "text": self.override, "gate": self.verdict.detail},
                )
            )
        await self._write(
            desk, None, at_ms, begun=msgspec.structs.replace(signal, run_id=run.run_id), journal=entries
        )

    # -- going on -----------------------------------------------------------------------------

    async def _advance(self, desk: Desk, now_ms: int) -> Lived:
        place, run = self.place, desk.run
        assert run is not None
        if run.state == "ERROR":
            raise BooksContradiction(
                f"run {run.run_id} is in ERROR: look at it, then `perpdesk grid resolve`"
            )
        try:
            document = read_snapshot(run.document, run.document_hash)
        except ValueError as error:
            raise BooksContradiction(f"grid_runs {run.run_id}: {error}") from error
        if document["tick"] != place.tick:
            raise Refused(
                "TICK_CHANGED",
                f"run {run.run_id} of {place.symbol} has its levels in ticks of {document['tick']}, the "
                f"contract's tick is {place.tick} now: until its end, give --instruments as of its start",
            )
        words = list(document["words"])
        enabled = await self._switch()
        told = [bool(word["entries"]) for word in words if "entries" in word]
        if enabled != (told[-1] if told else True):
            words.append({"ms": run.last_bar_ms + MINUTE_MS, "entries": enabled})
        plan = plan_from(document["plan"])
        life = await lived(place, plan, run.begun_ms, now_ms, run.run_id, self.account_id, words)
        await self._compare(run, life)
        text = canonical_json({**document, "words": words})
        before_ms = run.last_bar_ms
        desk.run = msgspec.structs.replace(
            run,
            state=life.state,
            document=text,
            document_hash=text_hash(text),
            last_bar_ms=life.to_ms,
            updated_ms=place.clock.now_ms(),
            ended_ms=life.ended_ms,
            close_reason=life.close_reason,
        )
        desk.last_ms = life.to_ms
        if life.ended_ms is not None and life.close_reason is not None:
            desk.ended_ms, desk.end_reason = life.ended_ms, EVENT_NAMES.index(life.close_reason)
        await self._write(desk, life, before_ms)
        if life.ended_ms is not None:
            desk.run = None
        return life

    async def _compare(self, run: GridRun, life: Lived) -> None:
        """What is written down must be what the replay says: nothing was edited, no bar has changed."""
        stored = await self.place.store.grid_fills(run.run_id)
        replayed = [fill for fill in life.ledger.filled if fill.ms < run.last_bar_ms]
        same = len(stored) == len(replayed) and all(
            (a.client_id, a.lots, a.venue_ms, a.side) == (b.client_id, b.lots, b.ms, Side.of(b.side))
            and a.price == self._price(b.price)
            for a, b in zip(stored, replayed, strict=False)
        )
        if same:
            return
        broken = msgspec.structs.replace(run, state="ERROR", updated_ms=self.place.clock.now_ms())
        await self.place.store.save_grid_run(broken)
        raise BooksContradiction(
            f"run {run.run_id} of {self.place.symbol} has {len(stored)} fills written down and "
            f"{len(replayed)} by its bars, or other ones: its rows or bars were changed; the run is in ERROR"
        )

    # -- writing ------------------------------------------------------------------------------

    def _price(self, price: int) -> Decimal:
        return units.price_of(price, self.place.minutes.market.universe.price_digits[0])

    async def _write(
        self,
        desk: Desk,
        life: Lived | None,
        before_ms: int,
        *,
        begun: TradingSignal | None = None,
        journal: list[JournalEntry] | None = None,
    ) -> None:
        """Everything that is new since ``before_ms``, or nothing of it."""
        place, run = self.place, desk.run
        now_ms = place.clock.now_ms()
        assert place.lease is not None
        await place.store.save_params_snapshot(place.kept.json, now_ms)
        async with place.store.unit() as unit:
            await unit.fence_grid_lease(place.lease, now_ms + place.lease_ms)
            if run is not None:
                await unit.save_grid_run(run)
            if begun is not None:
                await unit.save_signal(begun)
            if life is not None and run is not None:
                for sent in _in_time(life, before_ms):
                    await unit.save_grid_order(self._order(run, sent, now_ms))
                new = [self._fill(run, one) for one in life.ledger.filled if one.ms >= before_ms]
                await unit.record_grid_fills(new)
            await unit.save_state(
                StateRow(
                    account_id=self.account_id,
                    strategy=STRATEGY,
                    symbol=place.symbol,
                    state={
                        "last_ms": desk.last_ms,
                        "ended_ms": desk.ended_ms,
                        "end_reason": desk.end_reason,
                        "run_id": None if run is None or run.state == "IDLE" else run.run_id,
                    },
                    params_hash=place.params_hash,
                    updated_ms=desk.last_ms,
                )
            )
            if journal:
                await unit.append_journal(journal)

    def _order(self, run: GridRun, sent: Sent, now_ms: int) -> GridOrder:
        named = parse(sent.order.client_id)
        return GridOrder(
            client_id=sent.order.client_id,
            run_id=run.run_id,
            account_id=self.account_id,
            symbol=run.symbol,
            level=sent.level,
            intent=sent.intent,
            attempt=0 if named is None else named.attempt,
            side=Side.of(sent.order.side),
            price=self._price(sent.order.price) if sent.order.price else None,
            lots=sent.order.lots,
            cum_lots=sent.cum_lots,
            status=sent.status,
            terminal=sent.terminal,
            lease_epoch=self.place.epoch,
            params_hash=run.params_hash,
            created_ms=now_ms,
            updated_ms=now_ms,
            sent_ts_ms=sent.sent_ms,
        )

    def _fill(self, run: GridRun, fill: Any) -> GridFill:
        return GridFill(
            run_id=run.run_id,
            trade_id=fill.trade_id,
            client_id=fill.client_id,
            level=fill.level,
            side=Side.of(fill.side),
            lots=fill.lots,
            price=self._price(fill.price),
            fee=units.money_of(fill.fee_e8),
            realized=units.money_of(fill.realised_e8),
            is_maker=fill.is_maker,
            reason=fill.reason,
            venue_ms=fill.ms,
            params_hash=run.params_hash,
        )


def _in_time(life: Lived, before_ms: int) -> list[Sent]:
    """Orders that changed since, those that ended first: their places are free for the others."""
    changed = [one for one in life.ledger.sent.values() if one.updated_ms >= before_ms]
    return sorted(changed, key=lambda one: not one.terminal)


def plan_json(plan: Plan) -> dict[str, Any]:
    """A plan as a canonical value."""
    return {
        "variant": plan.variant,
        "a0": plan.a0,
        "step": plan.step,
        "prices": list(plan.prices),
        "levels": [asdict(level) for level in plan.levels],
        "lo_stop": plan.lo_stop,
        "hi_stop": plan.hi_stop,
    }


def plan_from(value: dict[str, Any]) -> Plan:
    """The plan of a stored run."""
    return Plan(
        variant=value["variant"],
        a0=value["a0"],
        step=value["step"],
        prices=tuple(value["prices"]),
        levels=tuple(Level(**level) for level in value["levels"]),
        lo_stop=value["lo_stop"],
        hi_stop=value["hi_stop"],
    )


async def ask_to_close(place: Place, account_id: int) -> GridRun | None:
    """Write into the open run that it is to close at its next minute; None: there is none."""
    for run in await place.store.grid_runs(account_id, place.symbol):
        if run.state == "IDLE":
            continue
        document = read_snapshot(run.document, run.document_hash)
        if not any(word.get("close") for word in document["words"]):
            document["words"].append({"ms": run.last_bar_ms + MINUTE_MS, "close": True})
        text = canonical_json(document)
        state = "CLOSING" if run.state == "ACTIVE" else run.state
        changed = msgspec.structs.replace(
            run, document=text, document_hash=text_hash(text), updated_ms=place.clock.now_ms(), state=state
        )
        assert place.lease is not None
        async with place.store.unit() as unit:
            await unit.fence_grid_lease(place.lease, place.clock.now_ms() + place.lease_ms)
            await unit.save_grid_run(changed)
        return changed
    return None
