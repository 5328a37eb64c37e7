"""Putting a live desk together: the composition root of everything that trades a real account.

Like ``app``, it names concrete adapters; the desk itself knows only ports. The simulation builds its desks
here, too: what is proven is what runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import numpy as np

from perpdesk.adapters.binance.account import PlaceOf
from perpdesk.adapters.binance.modes import require_margin_type, require_position_mode
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.app import Market, Setup, frozen, ratings_of, set_up, sleeves_of
from perpdesk.config import records
from perpdesk.config.load import Loaded
from perpdesk.config.snapshot import Snapshot
from perpdesk.domain import units
from perpdesk.domain.books import StrategyVersion, TradingMode
from perpdesk.domain.errors import ConfigError, PerpdeskError, Refused
from perpdesk.domain.signal_books import SymbolRating
from perpdesk.engine.canary import EVERY_MS
from perpdesk.engine.guardian.breaker import LossLimits
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.engine.guardian.limits import COMPILED_IN
from perpdesk.engine.guardian.staleness import AgeLimits
from perpdesk.engine.ids import parse, version_codes
from perpdesk.engine.live.desk import Checks, LiveDesk, LiveLimits
from perpdesk.engine.ownership import Ownership
from perpdesk.engine.recording import StoreRecorder
from perpdesk.engine.sleeve import Sleeve
from perpdesk.engine.wire import Rungs
from perpdesk.kernel.records import ISOLATED, bar_dt, funding_dt, zeros
from perpdesk.market.interest import InterestRows, recorded
from perpdesk.market.universe import Universe
from perpdesk.ports import AccountSettings, Clock, NewOrder, Notifier, Store
from perpdesk.research.seen import regime_of, seen_by
from perpdesk.strategies.score_rules.rating_book import Change, RatingBook, RatingRules

LOG = logging.getLogger(__name__)
# Marks come every second; klines whenever a symbol of the route trades.
MARKS_QUIET_MS, KLINES_QUIET_MS = 15_000, 120_000
VenueOf = Callable[[PlaceOf], BinanceVenue]


@dataclass(frozen=True)
class Plan:
    """What will be traded and how, worked out before anything is connected: books, minds, codes."""

    loaded: Loaded
    setup: Setup
    universe: Universe
    snapshot: Snapshot
    codes: list[str]
    families: list[str]
    ratings: RatingBook | None = None

    @property
    def versions(self) -> list[str]:
        """Names of the sleeves, as stored."""
        return self.setup.versions

    def place_of(self, client_id: str) -> tuple[int, int] | None:
        """The (sleeve, slot) that a client id of ours names."""
        named = parse(client_id)
        if named is None or named.slot is None or named.version not in self.codes:
            return None
        if named.slot >= self.setup.books.slots.shape[2]:
            return None
        return self.codes.index(named.version), named.slot

    @property
    def wants_isolated(self) -> bool:
        """The margin type that the configuration asks for."""
        return int(self.setup.books.account.margin_mode[0]) == ISOLATED


def refuse_paper_only(sleeves: Sequence[records.Sleeve]) -> None:
    """Raise Refused for a strategy that is not built for an exchange: the grid's levels pass no live gate."""
    if any(sleeve.strategy.opens for sleeve in sleeves):
        raise Refused(
            "PAPER_ONLY", "the grid trades on paper only: perpdesk grid executor, or perpdesk paper"
        )


def plan(
    loaded: Loaded,
    strategies: Sequence[str] | Sequence[records.Sleeve],
    universe: Universe,
    warmup: np.ndarray | None = None,
    warmup_ms: int = 0,
    interest: InterestRows | None = None,
) -> Plan:
    """Books and warmed-up minds for a universe. strategies: their names, or sleeves made by hand.

    warmup: [T, N] of bar_dt from warmup_ms on, None for none. interest: polls of that time, None for none.
    """
    bars = zeros((0, len(universe.symbols)), bar_dt) if warmup is None else warmup
    market = Market(
        universe=universe,
        warmup=bars,
        warmup_ms=warmup_ms,
        bars=bars[:0],
        from_ms=warmup_ms,
        funding=zeros(0, funding_dt),
        funding_known=True,
        interest=interest or recorded((), (), universe.symbols),
    )
    by_hand = [one for one in strategies if isinstance(one, records.Sleeve)]
    sleeves = by_hand or sleeves_of(loaded, [one for one in strategies if isinstance(one, str)])
    refuse_paper_only(sleeves)
    setup = set_up(loaded, sleeves, market)
    families = [_family(sleeve) for sleeve in setup.sleeves]
    codes = version_codes(setup.versions)
    return Plan(loaded, setup, universe, frozen(loaded), codes, families, ratings_of(loaded, setup))


def _family(sleeve: records.Sleeve) -> str:
    """The strategy that a symbol belongs to: all versions of score are one."""
    return "score" if sleeve.strategy.name.startswith("score") else sleeve.strategy.name


async def write_down(plan: Plan, store: Store, ms: int) -> None:
    """The parameters and versions that rows will refer to."""
    await store.save_params_snapshot(plan.snapshot.json, ms)
    for sleeve in plan.setup.sleeves:
        await store.save_strategy_version(
            StrategyVersion(
                name=sleeve.name,
                scorer=sleeve.strategy.name,
                params={name: sleeve.params[name][0].tolist() for name in sleeve.params.dtype.names or ()},
                params_hash=plan.snapshot.params_hash,
                created_ms=ms,
            )
        )


def new_rating(
    symbol: str, level: int, rules: RatingRules, ms: int, *, before: int | None = None, reason: str = "start"
) -> SymbolRating:
    """The row of a symbol at a level that begins now."""
    return SymbolRating(
        symbol=symbol,
        rating_level=level,
        margin_multiplier=Decimal(rules.multiplier_ppm[level]) / 1_000_000,
        score_bonus=Decimal(rules.bonus_ppm[level]) / 1_000_000,
        updated_ms=ms,
        reason=reason,
        previous_level=before,
        level_changed_ms=ms,
        level_change_reason=reason,
    )


def changed_rating(symbol: str, change: Change, rules: RatingRules) -> SymbolRating:
    """The row of a symbol whose level has followed from its record."""
    record = (
        f"{change.trades} trades, {change.hard_stops} hard stops, net {units.money_of(change.net_e8)} USDT"
    )
    made = new_rating(symbol, change.level, rules, change.ms, before=change.before, reason=record)
    return msgspec.structs.replace(
        made,
        hard_stop_loss_count=change.hard_stops,
        total_loss_amount=units.money_of(change.loss_e8),
        total_profit_amount=units.money_of(change.profit_e8),
        win_rate=units.half_away(Decimal(change.wins) / change.trades, 6),
        total_trades=change.trades,
        stats_start_ms=change.from_ms,
        stats_end_ms=change.ms,
    )


def limits_of(loaded: Loaded) -> LiveLimits:
    """The guardian's limits, from the configuration."""
    risk = loaded.config.risk
    daily = risk.daily_loss_limit
    return LiveLimits(
        disaster=DisasterRule.of(risk.disaster),
        loss=LossLimits(
            daily_loss_ppm=0 if daily is None else units.ppm_of(daily, "risk.daily_loss_limit"),
            worst_case_ppm=units.ppm_of(risk.worst_case_fraction, "risk.worst_case_fraction"),
        ),
        ages=AgeLimits(),
        ceilings=COMPILED_IN.lowered(
            exposure_e8=units.money_e8(risk.max_total_notional_usdt), positions=risk.positions_max
        ),
    )


def assemble(
    plan: Plan,
    *,
    venue_of: VenueOf,
    store: Store,
    clock: Clock,
    owner: Ownership,
    rungs: Rungs,
    account_id: int,
    build_hash: str,
    seed: int = 0,
    mode: TradingMode = TradingMode.LIVE,
    with_canary: bool = True,
    with_backfill: bool = False,
    notifiers: Sequence[Notifier] = (),
    signal: Callable[[NewOrder, int], str | None] = lambda order, mark: None,
) -> LiveDesk:
    """The desk of one account. venue_of makes its venue from the reading of client ids; signal: (entry,
    mark) → why its decision does not hold any more."""
    setup = plan.setup
    venue = venue_of(plan.place_of)
    guards = [
        {name: one.guard[name][0].tolist() for name in one.guard.dtype.names or ()} for one in setup.sleeves
    ]
    recorder = StoreRecorder(
        store=store,
        universe=plan.universe,
        books=setup.books,
        versions=plan.versions,
        account_id=account_id,
        params_hash=plan.snapshot.params_hash,
        guards=guards,
        trading_mode=mode,
        marks=True,
        seen=seen_by(setup.sleeves, setup.minds),
        regime=regime_of(setup.sleeves, setup.minds, account_id),
    )
    book = plan.ratings
    if book is not None:
        rules = book.rules
        book.on_change = lambda change: recorder.rated(
            changed_rating(plan.universe.symbols[change.symbol], change, rules)
        )
    members = [
        Sleeve(v, one.name, code, mind)
        for v, (one, code, mind) in enumerate(zip(setup.sleeves, plan.codes, setup.minds, strict=True))
    ]
    symbols = range(len(plan.universe.symbols))
    wanted = AccountSettings(False, False, {}, dict.fromkeys(symbols, plan.wants_isolated))
    desk = LiveDesk(
        universe=plan.universe,
        books=setup.books,
        sleeves=members,
        versions=plan.versions,
        families=plan.families,
        guards=guards,
        venue=venue,
        store=store,
        clock=clock,
        owner=owner,
        rungs=rungs,
        account_id=account_id,
        params_hash=plan.snapshot.params_hash,
        build_hash=build_hash,
        limits=limits_of(plan.loaded),
        recorder=recorder,
        checks=Checks(
            settings=venue.settings,
            wanted=wanted,
            facts=(lambda: facts_of(venue)) if with_canary else None,
            stream=venue if with_canary else None,
            routes=venue.routes,
            route_ms=lambda: routes_of(venue),
        ),
        notifiers=notifiers,
        seed=seed,
        with_backfill=with_backfill,
        signal=signal,
    )
    if book is not None:
        desk.engine.after_step = book.after_step
    return desk


def routes_of(venue: BinanceVenue) -> dict[str, int]:
    """How long each stream route of a venue may be silent. The account's own speaks when something happens:
    the canary's order is such a thing."""
    quiet_ms = {"marks": MARKS_QUIET_MS, "user": 2 * EVERY_MS}
    return {route: quiet_ms.get(route, KLINES_QUIET_MS) for route in venue.routes()}


async def facts_of(venue: BinanceVenue) -> dict[str, object]:
    """Modes, margin types and filters, as the canary compares them from run to run."""
    settings = await venue.settings()
    symbols = {
        rule.symbol: {"tick": rule.tick, "step": rule.step, "lots_min": rule.lots_min} for rule in venue.rules
    }
    return {"hedge": settings.hedge, "multi_assets": settings.multi_assets, "filters": symbols}


async def prepare(rest: Rest, plan: Plan) -> None:
    """Switch to one-way mode, and the symbols to the configured margin type, where that is possible.

    What cannot be switched (an open position, an open order) is left: entries there are refused, and the
    reason is told, until a person has changed it.
    """
    wanted = "ISOLATED" if plan.wants_isolated else "CROSSED"
    try:
        await require_position_mode(rest, False)
    except ConfigError as error:
        LOG.warning("%s", error)
    for symbol in plan.universe.symbols:
        try:
            await require_margin_type(rest, symbol, wanted)  # type: ignore[arg-type]  # one of the two
        except PerpdeskError as error:
            LOG.warning("margin type of %s: %s", symbol, error)
