"""What the grid's commands share: their options, written once, and how they get at minutes and database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.app import Market
from perpdesk.cli.console import out, print_json
from perpdesk.cli.options import (
    ConfigOption,
    DataOption,
    FundingOption,
    InstrumentsOption,
    JsonOption,
    MarketOptions,
    SetOption,
    load_config,
    load_market,
)
from perpdesk.cli.report import minute
from perpdesk.config import grid_records
from perpdesk.config.load import Loaded
from perpdesk.domain.books import BooksContradiction, StoreBusy
from perpdesk.domain.errors import InputError, NeedsPerson
from perpdesk.grid_desk.place import LEASE_MS, Minutes, Place, whole_symbol
from perpdesk.market.sources import find

SymbolOption = Annotated[str, typer.Option("--symbol", help="BTC or BTCUSDT.")]
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", help="The moment (UTC); default: the end of the data.")
]
DatabaseOption = Annotated[
    str,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="SQLAlchemy URL, e.g. sqlite:///desk.sqlite"),
]
AccountOption = Annotated[int, typer.Option("--account", min=1, help="Number of the paper account.")]
LeaseOption = Annotated[
    int, typer.Option("--lease-seconds", min=1, max=600, help="How long a dead process blocks the next.")
]
LoopOption = Annotated[
    bool, typer.Option("--loop/--once", help="Go on through the data, or one step to the end of it.")
]

HELD = {"status": "skipped", "reason": "LEASE_HELD"}


@dataclass(frozen=True)
class OnData:
    """One symbol's recorded minutes and the parameters."""

    symbol: SymbolOption
    data: DataOption = None
    instruments: InstrumentsOption = None
    config: ConfigOption = None
    settings: SetOption = None
    as_json: JsonOption = False

    def load(
        self,
        to_text: str | None = None,
        from_text: str | None = None,
        funding: list[Path] | None = None,
    ) -> tuple[Loaded, Minutes]:
        """The parameters and the minutes of [from, to). Raises InputError."""
        loaded = load_config(self.config, self.settings, None, [grid_records.NAME])
        if not self.data:
            raise InputError("name a folder or files with 1-minute bars", field="--data")
        known = tuple(sorted({source.symbol for source in find(self.data) if source.symbol}))
        name = whole_symbol(self.symbol, known) if known else self.symbol.upper()
        market: Market = load_market(
            MarketOptions(self.data, name, self.instruments, None, funding, None, from_text, to_text)
        )
        return loaded, Minutes(market, name)


@dataclass(frozen=True)
class OnBooks:
    """The database, and how long a dead process keeps a command's lease."""

    database: DatabaseOption
    lease_seconds: LeaseOption = LEASE_MS // 1000


@dataclass(frozen=True)
class Paper:
    """What a command that trades needs besides."""

    account: AccountOption = 1
    funding: FundingOption = None
    i_know: Annotated[
        str | None,
        typer.Option("--i-know", help="Start without a stored backtest; the text is kept with the run."),
    ] = None

    @property
    def override(self) -> str | None:
        """The reason that is kept with a run. Raises InputError for an empty one."""
        return reason_of(self.i_know)


def reason_of(text: str | None) -> str | None:
    """A person's reason, as it is journalled. Raises InputError for an empty one."""
    if text is not None and not text.strip():
        raise InputError("say why: the text is kept with the run", field="--i-know")
    return text


async def leased(
    books: OnBooks,
    loaded: Loaded,
    minutes: Minutes,
    command: str,
    work: Callable[[Place], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    """Do the work while holding the command's lease; another process's lease is an answer, not an error."""
    async with await SqlStore.open(books.database) as store:
        place = Place(store, loaded, minutes, SystemClock(), lease_ms=books.lease_seconds * 1000)
        async with place.leased(command) as mine:
            if not mine:
                return {"command": command, "symbol": minutes.symbol, **HELD}
            try:
                return await work(place)
            except StoreBusy:  # it lapsed under our hands and another took it: nothing was written
                return {"command": command, "symbol": minutes.symbol, **HELD}


def answered(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """What the work answers. Raises NeedsPerson where the books contradict themselves."""
    try:
        return asyncio.run(work)
    except BooksContradiction as error:
        raise NeedsPerson(str(error)) from error


def answer(work: Coroutine[Any, Any, dict[str, Any]], as_json: bool) -> int:
    """Print what the work answers: one JSON object, or a line for each of its parts."""
    value = answered(work)
    if as_json:
        print_json(value)
    else:
        for name, part in value.items():
            if name.endswith("_ms") and isinstance(part, int):
                name, part = name.removesuffix("_ms"), f"{minute(part)} UTC"
            out.print(f"{name}: {part}", markup=False)
    return 0
