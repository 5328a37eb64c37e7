"""demo: the shipped strategies on the simulated exchange over a synthetic market, with parity proven."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from perpdesk.adapters.sqlstore import upgrade
from perpdesk.app import cut, paper
from perpdesk.cli.console import notice, out, print_json, progress
from perpdesk.cli.options import ConfigOption, JsonOption, SetOption, load_config
from perpdesk.cli.report import print_result
from perpdesk.cli.run import print_receipt
from perpdesk.domain.books import RunMode
from perpdesk.kernel.records import DAY_MS
from perpdesk.market.synthetic import START_MS, synthetic_market
from perpdesk.parity import compare

STRATEGIES = ["sma_cross", "score_v2"]
_MINUTES_A_DAY = 1440
_WARMUP_DAYS = 9  # score needs 200 closed hours


def add_to(application: typer.Typer) -> None:
    """Hang this command into the tree."""
    application.command("demo")(demo)


def demo(
    symbols: Annotated[int, typer.Option("--symbols", min=1, max=300)] = 10,
    days: Annotated[
        int, typer.Option("--days", min=1, max=90, help="Traded days, after nine days of warm-up.")
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 7,
    database: Annotated[str, typer.Option("--database")] = "sqlite:///var/demo.sqlite",
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Paper-trade the shipped strategies on a seeded synthetic market, and prove backtest = paper."""
    loaded = load_config(config, settings, None, STRATEGIES)
    made = synthetic_market(seed, symbols, (_WARMUP_DAYS + days) * _MINUTES_A_DAY)
    funding = np.asarray(made.funding).view(np.recarray)
    notes = [f"synthetic market, seed {seed}: {symbols} invented symbols"]
    market = cut(made.tape, START_MS + _WARMUP_DAYS * DAY_MS, funding, True, notes)
    if database.startswith("sqlite:///"):
        Path(database.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    upgrade(database)
    with progress("paper", len(market.bars), quiet=as_json) as done:
        result = asyncio.run(
            paper(loaded, STRATEGIES, market, database=database, mode=RunMode.DEMO, progress=done)
        )
    receipts = []
    for strategy in STRATEGIES:
        if not as_json:
            notice(f"comparing {strategy} in the compiled loop and in the engine …")
        receipts.append(compare(loaded, [strategy], market))
    if as_json:
        print_json(
            result.to_json() | {"parity": [receipt.to_json() for receipt in receipts], "database": database}
        )
    else:
        print_result(result)
        out.print()
        for receipt in receipts:
            print_receipt(receipt)
        out.print()
        out.print(f"records: perpdesk status --database {database}", markup=False)
    return 0 if all(receipt.identical for receipt in receipts) else 1
