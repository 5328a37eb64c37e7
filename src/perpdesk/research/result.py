"""The figures of one run: the same object for backtest and paper, as JSON and for people."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from perpdesk.domain.units import money_of, plain
from perpdesk.kernel.records import VERDICT_NAMES
from perpdesk.kernel.replay import Books, fills_hash
from perpdesk.research.round_trips import RoundTrip, round_trips


@dataclass(frozen=True)
class VersionResult:
    """One sleeve's share. net = realised − commissions + funding; open positions are not in it."""

    version: str
    fills: int
    round_trips: int
    wins: int
    realised_e8: int
    fees_e8: int
    funding_e8: int
    open_positions: int
    exits: dict[str, int]

    @property
    def net_e8(self) -> int:
        return self.realised_e8 - self.fees_e8 + self.funding_e8

    def to_json(self) -> dict[str, object]:
        """Money as decimal text in the quote currency, ratios as numbers."""
        return {
            "version": self.version,
            "fills": self.fills,
            "round_trips": self.round_trips,
            "wins": self.wins,
            "win_rate": self.wins / self.round_trips if self.round_trips else None,
            "realised_pnl": money(self.realised_e8),
            "fees": money(self.fees_e8),
            "funding": money(self.funding_e8),
            "net_pnl": money(self.net_e8),
            "open_positions": self.open_positions,
            "exits": self.exits,
        }


@dataclass(frozen=True)
class RunResult:
    """What a run did and what it was worth.

    net_pnl = realised − fees + funding; unrealised is what the open positions would add. max_drawdown is a
    fraction of peak equity, measured at every step. bars_per_second counts the bars of the tape over the
    seconds of the run itself (reading and compiling excluded).
    """

    mode: str
    strategy: str
    symbols: tuple[str, ...]
    bars: int
    seconds: float
    fills: int
    fills_hash: str
    params_hash: str
    initial_e8: int
    equity_e8: int
    realised_e8: int
    fees_e8: int
    funding_e8: int
    unrealised_e8: int
    max_drawdown: float
    liquidations: int
    open_positions: int
    refusals: dict[str, int]
    versions: tuple[VersionResult, ...]
    trips: tuple[RoundTrip, ...] = field(repr=False)
    funding_known: bool = True
    from_ms: int = 0
    to_ms: int = 0
    notes: tuple[str, ...] = ()

    @property
    def net_e8(self) -> int:
        return self.realised_e8 - self.fees_e8 + self.funding_e8

    @property
    def bars_per_second(self) -> float:
        return self.bars / self.seconds if self.seconds > 0 else 0.0

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints."""
        return {
            "mode": self.mode,
            "strategy": self.strategy,
            "symbols": list(self.symbols),
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            "bars": self.bars,
            "seconds": round(self.seconds, 6),
            "bars_per_second": round(self.bars_per_second),
            "fills": self.fills,
            "round_trips": len(self.trips),
            "net_pnl": money(self.net_e8),
            "realised_pnl": money(self.realised_e8),
            "unrealised_pnl": money(self.unrealised_e8),
            "fees": money(self.fees_e8),
            "funding": money(self.funding_e8),
            "funding_known": self.funding_known,
            "initial_balance": money(self.initial_e8),
            "equity": money(self.equity_e8),
            "max_drawdown": self.max_drawdown,
            "liquidations": self.liquidations,
            "open_positions": self.open_positions,
            "refusals": self.refusals,
            "versions": [version.to_json() for version in self.versions],
            "fills_hash": self.fills_hash,
            "params_hash": self.params_hash,
            "notes": list(self.notes),
        }


def money(amount_e8: int) -> str:
    """1e-8 quote units as decimal text, exact."""
    return plain(money_of(amount_e8))


def summarise(
    *,
    mode: str,
    strategies: list[str],
    versions: list[str],
    symbols: tuple[str, ...],
    books: Books,
    fills: np.ndarray,
    bars: int,
    seconds: float,
    params_hash: str,
    funding_known: bool,
    from_ms: int,
    to_ms: int,
    notes: tuple[str, ...] = (),
) -> RunResult:
    """Gather the figures of a finished run. strategies and versions: the sleeves' names in book order."""
    account = books.account[0]
    trips = round_trips(fills)
    parts = []
    for v, version in enumerate(versions):
        own = [trip for trip in trips if trip.sleeve == v]
        exits: dict[str, int] = {}
        for trip in own:
            exits[trip.reason] = exits.get(trip.reason, 0) + 1
        positions = books.positions[v]
        parts.append(
            VersionResult(
                version=version,
                fills=int((fills["sleeve"] == v).sum()),
                round_trips=len(own),
                wins=sum(trip.net_e8 > 0 for trip in own),
                realised_e8=int(positions["realised_e8"].sum()),
                fees_e8=int(positions["fees_e8"].sum()),
                funding_e8=int(positions["funding_e8"].sum()),
                open_positions=int((positions["lots"] != 0).sum()),
                exits=dict(sorted(exits.items())),
            )
        )
    refusals = {
        name: int(count)
        for name, count in zip(VERDICT_NAMES, account.verdicts.tolist(), strict=True)
        if count and name not in ("NONE", "APPROVED")
    }
    return RunResult(
        mode=mode,
        strategy="+".join(strategies),
        symbols=symbols,
        bars=bars,
        seconds=seconds,
        fills=len(fills),
        fills_hash=fills_hash(fills),
        params_hash=params_hash,
        initial_e8=int(account.initial_e8),
        equity_e8=int(account.equity_e8),
        realised_e8=int(account.realised_e8),
        fees_e8=int(account.fees_e8),
        funding_e8=int(account.funding_e8),
        unrealised_e8=int(account.equity_e8 - account.cash_e8),
        max_drawdown=float(account.drawdown_max),
        liquidations=int(account.liquidations),
        open_positions=int(account.open_positions),
        refusals=refusals,
        versions=tuple(parts),
        trips=tuple(trips),
        funding_known=funding_known,
        from_ms=from_ms,
        to_ms=to_ms,
        notes=notes,
    )
