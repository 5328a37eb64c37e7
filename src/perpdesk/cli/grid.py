"""grid: scanner, trigger and executor as three commands over one database, or in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.app import sleeves_of, with_funding
from perpdesk.cli.console import notice, out, print_json, table
from perpdesk.cli.grid_look import add_to as add_looks
from perpdesk.cli.grid_options import (
    AccountOption,
    AsOfOption,
    LoopOption,
    OnBooks,
    OnData,
    Paper,
    answer,
    leased,
    reason_of,
)
from perpdesk.cli.option_groups import expanded
from perpdesk.cli.options import FromOption, FundingOption, ToOption, time_ms
from perpdesk.cli.report import minute
from perpdesk.config import grid_records
from perpdesk.config.load import Loaded
from perpdesk.domain import units
from perpdesk.domain.books import Missing, StoreBusy
from perpdesk.domain.errors import InputError
from perpdesk.grid_desk.executing import Executing, Stepped, ask_to_close
from perpdesk.grid_desk.gate import Verdict, judge_gate, make_report
from perpdesk.grid_desk.place import Minutes, Place
from perpdesk.grid_desk.ran import refused_plans
from perpdesk.grid_desk.report import page
from perpdesk.grid_desk.resolving import resolve
from perpdesk.grid_desk.scanning import price_of, scan_json, scan_once
from perpdesk.grid_desk.watching import watch_once
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.research.grid_crash import crash_test, start_times
from perpdesk.strategies.grid.chain import SCAN_MS
from perpdesk.strategies.grid.trigger import BAR_MS, Signal

EveryOption = Annotated[int, typer.Option("--every", min=1, max=1440, help="Minutes of a step of --loop.")]


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    grid = typer.Typer(no_args_is_help=True, help="Zones, signals, and grids of limit orders on them.")
    commands: dict[str, Callable[..., int]] = {
        "scanner": scanner,
        "trigger": trigger,
        "executor": executor,
        "run": run,
        "backtest": backtest_command,
        "crash-test": crash_command,
        "close": close,
        "resolve": resolve_command,
    }
    for name, command in commands.items():
        grid.command(name)(expanded(command))
    add_looks(grid)
    application.add_typer(grid, name="grid")


def scanner(here: OnData, books: OnBooks, as_of: AsOfOption = None, loop: LoopOption = False) -> int:
    """Find zones as of the last 4-hour boundary. Twice is once; an incomplete box is an answer."""
    loaded, minutes = here.load(as_of)

    async def work(place: Place) -> dict[str, Any]:
        times = _times(minutes, SCAN_MS) if loop else [minutes.end_ms]
        found, new = await scan_once(place, times[0])
        for now_ms in times[1:]:
            found, more = await scan_once(place, now_ms)
            new += more
        return {**scan_json(place, found), "scans": len(times), "new_zones": new}

    return answer(leased(books, loaded, minutes, "scanner", work), here.as_json)


def trigger(here: OnData, books: OnBooks, as_of: AsOfOption = None, loop: LoopOption = False) -> int:
    """Judge the 15-minute bars that closed since the last time, and settle the fate of open signals."""
    loaded, minutes = here.load(as_of)

    async def work(place: Place) -> dict[str, Any]:
        bars, seen = 0, None
        signals: list[Signal] = []
        for now_ms in _times(minutes, BAR_MS) if loop else [minutes.end_ms]:
            seen = await watch_once(place, now_ms)
            bars += seen.bars
            signals += seen.signals
        assert seen is not None
        return {
            "command": "trigger",
            "status": "ok" if seen.waits_for_scan_ms is None else "waits_for_scan",
            "symbol": place.symbol,
            "bars": bars,
            "params_hash": place.params_hash,
            "signals": [
                {
                    "id": one.id,
                    "type": one.rule,
                    "side": "LONG" if one.side > 0 else "SHORT",
                    "bar_close_ms": one.bar_close_ms,
                    "zone": one.zone.id,
                    "zone_kind": one.zone.kind,
                    "tradable": one.tradable,
                    "expires_ms": one.expires_ms,
                }
                for one in signals
            ],
        }

    return answer(leased(books, loaded, minutes, "trigger", work), here.as_json)


def executor(
    here: OnData,
    books: OnBooks,
    paper: Paper,
    as_of: AsOfOption = None,
    loop: LoopOption = False,
    every: EveryOption = 1,
) -> int:
    """Run the grid on confirmed signals, on paper: every minute since the last call."""
    override = paper.override
    loaded, minutes = here.load(as_of, None, paper.funding)

    async def work(place: Place) -> dict[str, Any]:
        times = _times(minutes, every * MINUTE_MS) if loop else [minutes.end_ms]
        executing, verdict = await _executing(place, paper.account, override, times[0])
        steps = [await executing.step_to(now_ms) for now_ms in times]
        return _stepped_json(place, steps, verdict, override)

    return answer(leased(books, loaded, minutes, "executor", work), here.as_json)


def run(
    here: OnData,
    books: OnBooks,
    paper: Paper,
    from_text: FromOption = None,
    as_of: AsOfOption = None,
    every: EveryOption = 15,
) -> int:
    """Scanner, trigger and executor in one process, through the data from --from on."""
    override = paper.override
    loaded, minutes = here.load(as_of, from_text, paper.funding)

    async def work(place: Place) -> dict[str, Any]:
        times = _times(minutes, every * MINUTE_MS)
        executing, verdict = await _executing(place, paper.account, override, times[0])
        steps = []
        for now_ms in times:
            async with _also(place, "scanner"):
                await scan_once(place, now_ms)
            async with _also(place, "trigger"):
                await watch_once(place, now_ms)
            steps.append(await executing.step_to(now_ms))
        return _stepped_json(place, steps, verdict, override)

    return answer(leased(books, loaded, minutes, "executor", work), here.as_json)


def backtest_command(
    here: OnData,
    from_text: FromOption = None,
    to_text: ToOption = None,
    funding: FundingOption = None,
    database: Annotated[
        str | None,
        typer.Option("--database", envvar="PERPDESK_DATABASE", help="Store the report for the gate."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report with pictures here.")] = None,
) -> int:
    """Scanner, trigger and executor over recorded minutes, and the bundled crash; what the gate asks for."""
    loaded, minutes = here.load(to_text, from_text, funding)

    async def work() -> dict[str, Any]:
        async with await SqlStore.open(database or "sqlite://") as store:
            report = await make_report(Place(store, loaded, minutes, SystemClock()))
        for code, detail in refused_plans(report.setup, minutes.close_at).items():
            notice(f"signals on which no grid could begin: {code}: {detail}")
        if html is not None:
            html.write_text(page(report), encoding="utf-8")
        row = report.row
        return {
            "command": "backtest",
            "status": "ok",
            "symbol": row.symbol,
            "id": row.id if database else None,
            "days": row.days,
            "missing_fraction": units.plain(row.missing_fraction),
            "crash_ok": row.crash_ok,
            "digest": row.digest,
            "params_hash": row.params_hash,
            "kernel_hash": row.kernel_hash,
            "code_revision": row.code_revision,
            "data_hash": row.data_hash,
            "fills_hash": report.result.to_json()["fills_hash"],
            "bars": report.result.bars,
            "seconds": round(report.result.seconds, 3),
            "metrics": _metrics(row.metrics),
            "html": str(html) if html else None,
        }

    return answer(work(), here.as_json)


def crash_command(
    here: OnData,
    from_text: Annotated[str | None, typer.Option("--from", help="First start of a grid (UTC).")] = None,
    to_text: Annotated[str | None, typer.Option("--to", help="Last start of a grid (UTC).")] = None,
    until: Annotated[str | None, typer.Option("--until", help="End of the data used (UTC).")] = None,
    funding: FundingOption = None,
) -> int:
    """Start grids by hand at every 4-hour boundary from --from to --to; exit 3: one ends badly."""
    loaded, minutes = here.load(until, None, funding)
    first_ms, last_ms = time_ms(from_text, "--from"), time_ms(to_text, "--to")
    if first_ms is None or last_ms is None or last_ms < first_ms:
        raise InputError("give --from and --to: the first and the last start of a grid", field="--from")
    setup = minutes.market.universe.records(
        maker_ppm=grid_records.fees_ppm(loaded.config)[0], taker_ppm=grid_records.fees_ppm(loaded.config)[1]
    )
    rows = minutes.all_bars
    rates = _rates(loaded, minutes)
    outcomes = crash_test(
        loaded.config, minutes.symbol, rows, minutes.start_ms, setup, rates, start_times(first_ms, last_ms)
    )
    if not outcomes:
        raise InputError("there is no 4-hour boundary between --from and --to", field="--from")
    value: dict[str, Any] = {
        "command": "crash-test",
        "symbol": minutes.symbol,
        "starts": len(outcomes),
        "ok": all(one.ok for one in outcomes) and any(not one.refused for one in outcomes),
        "stopped": sum(one.reason in ("DRAWDOWN", "ZONE_BREAK") for one in outcomes),
        "standing": sum(one.state == "ACTIVE" for one in outcomes),
        "refused": sum(bool(one.refused) for one in outcomes),
        "outcomes": [
            {
                "variant": one.variant,
                "begun_ms": one.begun_ms,
                "ended_ms": one.ended_ms or None,
                "state": one.state,
                "reason": one.refused or one.reason,
                "net": _usdt(one.net_e8),
                "price": _usdt(one.price_e8),
                "slippage": _usdt(one.slippage_e8),
                "fees": _usdt(one.fees_e8),
                "funding": _usdt(one.funding_e8),
                "gap": _usdt(one.gap_e8),
                "bound": _usdt(one.bound_e8),
                "fills": one.fills,
                "ok": one.ok,
            }
            for one in outcomes
        ],
    }
    if here.as_json:
        print_json(value)
    else:
        columns = ["variant", "begun", "ended", "reason", "net", "price", "slippage", "fees", "funding", "ok"]
        lines = [
            [
                one.variant,
                minute(one.begun_ms),
                minute(one.ended_ms) if one.ended_ms else "",
                (one.refused or one.reason or one.state).partition(":")[0],
                *(
                    f"{part / 1e8:.4f}"
                    for part in (one.net_e8, one.price_e8, one.slippage_e8, one.fees_e8, one.funding_e8)
                ),
                "yes" if one.ok else "NO",
            ]
            for one in outcomes
        ]
        title = f"{minutes.symbol}: {value['stopped']} stopped, {value['standing']} standing, "
        out.print(table(f"{title}{value['refused']} refused (USDT)", columns, lines))
        if refused := next((one.refused for one in outcomes if one.refused), ""):
            notice(f"refused: {refused}")
    return 0 if value["ok"] else 3


def close(here: OnData, books: OnBooks, account: AccountOption = 1) -> int:
    """Tell the open grid to close: its next minute withdraws the levels and sells, until it is flat."""
    loaded, minutes = here.load()

    async def work(place: Place) -> dict[str, Any]:
        told = await ask_to_close(place, account)
        return {
            "command": "close",
            "status": "ok" if told else "nothing_open",
            "symbol": place.symbol,
            "run_id": told.run_id if told else None,
        }

    return answer(leased(books, loaded, minutes, "executor", work), here.as_json)


def resolve_command(
    here: OnData,
    books: OnBooks,
    i_know: Annotated[str, typer.Option("--i-know", help="What you found; it is journalled with the run.")],
    account: AccountOption = 1,
) -> int:
    """End a run that is in ERROR: what it holds by its rows is closed at the last close. Never resumes it."""
    text = reason_of(i_know) or ""
    loaded, minutes = here.load()

    async def work(place: Place) -> dict[str, Any]:
        done = await resolve(place, account, text)
        value: dict[str, Any] = {
            "command": "resolve",
            "status": "ok" if done else "nothing_open",
            "symbol": place.symbol,
        }
        if done is not None:
            digits = minutes.market.universe.price_digits[0]
            value |= {
                "run_id": done.run.run_id,
                "why": done.why,
                "closed_lots": done.lots,
                "price": units.plain(units.price_of(done.price, digits)) if done.lots else None,
                "realized_usdt": _usdt(done.realised_e8),
                "fee_usdt": _usdt(done.fee_e8),
            }
        return value

    return answer(leased(books, loaded, minutes, "executor", work), here.as_json)


# -- shared --------------------------------------------------------------------------------------


def _times(minutes: Minutes, step_ms: int) -> list[int]:
    """Every so often from the start of the run on, and the end of the data."""
    first = -(-max(minutes.market.from_ms + 1, minutes.start_ms) // step_ms) * step_ms
    times = list(range(first, minutes.end_ms + 1, step_ms))
    return times if times and times[-1] == minutes.end_ms else [*times, minutes.end_ms]


async def _executing(
    place: Place, account: int, override: str | None, start_ms: int
) -> tuple[Executing, Verdict]:
    if isinstance(await place.store.trading_control(account), Missing):
        await place.store.set_trading_control(account, True, "run:paper", place.clock.now_ms())
    verdict = await judge_gate(place, recorded=True, start_ms=start_ms)
    if not verdict.ok:
        notice(f"NO_BACKTEST: {verdict.detail}" + ("" if override is None else f"; overridden: {override}"))
    return Executing(place, account, verdict, override if not verdict.ok else None), verdict


class _also:
    """Another command's lease for a moment, in the process that does everything."""

    def __init__(self, place: Place, command: str) -> None:
        self.place, self.command, self.own = place, command, place.lease

    async def __aenter__(self) -> None:
        self.held = self.place.leased(self.command)
        if not await self.held.__aenter__():
            self.place.lease = self.own
            raise StoreBusy(f"another process is the {self.command} of {self.place.symbol}: stop it")

    async def __aexit__(self, *error: Any) -> None:
        await self.held.__aexit__(None, None, None)
        self.place.lease = self.own


def _stepped_json(
    place: Place, steps: list[Stepped], verdict: Verdict, override: str | None
) -> dict[str, Any]:
    """Where the last step came to, and what was begun and ended on the way."""
    stepped = steps[-1]
    value: dict[str, Any] = {
        "command": "executor",
        "status": "ok",
        "symbol": place.symbol,
        "state": stepped.state,
        "mode": "paper",
        "to_ms": stepped.to_ms,
        "run_id": stepped.run_id,
        "why_not": stepped.why,
        "detail": stepped.detail,
        "started": sum(one.started for one in steps),
        "ended": sum(one.ended for one in steps),
        "waits_for_trigger": stepped.waits_for_trigger,
        "backtest": verdict.backtest_id if verdict.ok else override,
        "params_hash": place.params_hash,
    }
    life = stepped.life
    if life is not None:
        tick = int(place.minutes.instrument.tick)
        value |= {
            "long_lots": life.long_lots,
            "short_lots": life.short_lots,
            "equity_usdt": _usdt(life.equity_e8),
            "peak_usdt": _usdt(life.peak_e8),
            "stop_below": units.plain(price_of(place, life.stop_lo // tick)) if life.stop_lo > 0 else None,
            "live_orders": int((life.slots["kind"] != 0).sum()),
            "fills": len(life.ledger.filled),
            "fees_usdt": _usdt(life.fees_e8),
        }
    return value


def _rates(loaded: Loaded, minutes: Minutes) -> Any:
    sleeves = sleeves_of(loaded, [grid_records.NAME])
    market = minutes.market
    return with_funding(loaded, sleeves, market).funding


def _metrics(text: str) -> Any:
    return json.loads(text)


def _usdt(amount_e8: int) -> str:
    return units.plain(units.money_of(amount_e8))
