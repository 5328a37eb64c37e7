"""From the configuration to the kernel's records: the account, and what each sleeve decides with.

The guard of ``sma_cross`` rests on the exchange (stop and trailing order); its software rules are off. The
guard of ``score`` watches the mark price in front of an exchange stop at the widest level, which moves to
the floor once the trailing exit is armed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

import numpy as np

from perpdesk.config.lint import widest_stop
from perpdesk.config.schema import Config, V2Version, V3Version, leverage_of
from perpdesk.domain.units import money_e8, ppm_of
from perpdesk.kernel.records import (
    CROSS,
    ISOLATED,
    MINUTE_MS,
    account_dt,
    guard_dt,
    sleeve_dt,
    zeros,
)
from perpdesk.kernel.strategy import Strategy
from perpdesk.strategies import score_v2, score_v3, sma_cross
from perpdesk.strategies.score_rules.params import ENTRY_MODES
from perpdesk.strategies.score_rules.rating_book import RatingRules

# Sleeves of one family may hold the same symbol: the versions of score count as one.
FAMILY_SCORE, FAMILY_SMA_CROSS = 1, 2
_SECOND_MS = 1000


@dataclass(frozen=True)
class Sleeve:
    """One sleeve of a run: the version's name, its strategy and its records, each of shape (1,)."""

    name: str
    strategy: Strategy
    params: np.recarray
    guard: np.recarray
    limits: np.recarray


def account_record(config: Config, *, trading_enabled: bool = True) -> np.recarray:
    """A fresh account (shape (1,)): the configured balance, no positions, limits and assumptions set.

    The worst-case limit counts from the initial balance. Only live starts with trading disabled.
    """
    account, risk, paper = config.account, config.risk, config.paper
    record = zeros(1, account_dt)
    balance_e8 = money_e8(account.balance_usdt, "account.balance_usdt")
    for name in ("initial_e8", "cash_e8", "equity_e8", "equity_peak_e8", "equity_floor_e8", "day_start_e8"):
        record[name] = balance_e8
    record.worst_case_base_e8 = balance_e8
    record.trading_enabled = int(trading_enabled)
    record.margin_mode = CROSS if account.margin_mode == "cross" else ISOLATED
    record.slippage_ppm = ppm_of(paper.slippage, "paper.slippage")
    record.volume_share_ppm = _ppm_or_off(paper.volume_share, "paper.volume_share")
    record.positions_max = config.risk.positions_max
    record.exposure_max_e8 = money_e8(risk.max_total_notional_usdt, "risk.max_total_notional_usdt")
    record.daily_loss_ppm = _ppm_or_off(risk.daily_loss_limit, "risk.daily_loss_limit")
    record.worst_case_ppm = ppm_of(risk.worst_case_fraction, "risk.worst_case_fraction")
    record.liquidation_share_ppm = ppm_of(risk.disaster.liq_share, "risk.disaster.liq_share")
    return record


def fees_ppm(config: Config) -> tuple[int, int]:
    """(maker, taker) fee of the account in parts per million, for the instrument records."""
    account = config.account
    return ppm_of(account.maker_fee, "account.maker_fee"), ppm_of(account.taker_fee, "account.taker_fee")


def sma_cross_sleeve(config: Config) -> Sleeve:
    """The sleeve of sma_cross."""
    sma = config.sma_cross
    stop_ppm = ppm_of(sma.stop, "sma_cross.stop")
    timeout_ms = sma.timeout_minutes * MINUTE_MS
    guard = zeros(1, guard_dt)
    guard.stop_ppm = stop_ppm
    guard.timeout_ms = timeout_ms
    if sma.trail_callback is not None:
        guard.trail_activation_ppm = ppm_of(sma.trail_activation, "sma_cross.trail_activation")
        guard.trail_callback_ppm = ppm_of(sma.trail_callback, "sma_cross.trail_callback")
    share_ppm, strategy = 0, sma_cross.STRATEGY
    if sma.take_profit is not None:
        guard.stage_ppm[0, 0] = ppm_of(sma.take_profit, "sma_cross.take_profit")
        share_ppm = ppm_of(sma.take_profit_share, "sma_cross.take_profit_share")
        strategy = sma_cross.STAGED
    params = sma_cross.params_record(
        fast=sma.fast,
        slow=sma.slow,
        notional_e8=money_e8(sma.notional_usdt, "sma_cross.notional_usdt"),
        leverage=leverage_of(config, sma),
        stop_ppm=stop_ppm,
        timeout_ms=timeout_ms,
        profit_share_ppm=share_ppm,
    )
    limits = _limits(config, FAMILY_SMA_CROSS, sma.positions_max, sma.cooldown_s)
    return Sleeve("sma_cross", strategy, params, guard, limits)


def score_sleeves(config: Config) -> tuple[Sleeve, ...]:
    """One sleeve for each enabled version of score, in the order of the file."""
    return tuple(_version_sleeve(config, version) for version in config.score.versions if version.enabled)


def score_guard(config: Config) -> np.recarray:
    """The guard of every score position (shape (1,)). Timeouts come with each entry, from its score."""
    guardian = config.score.guardian
    guard = zeros(1, guard_dt)
    guard.stop_ppm = ppm_of(widest_stop(guardian), "score.guardian")
    guard.ratchet_ppm = ppm_of(guardian.trailing.floor, "score.guardian.trailing.floor")
    guard.fixed_stop = float(guardian.fixed_stop)
    guard.trailing_activation = float(guardian.trailing.activation)
    guard.trailing_retrace = float(guardian.trailing.retrace)
    guard.trailing_floor = float(guardian.trailing.floor)
    guard.fixed_tp = 0.0 if guardian.fixed_tp is None else float(guardian.fixed_tp)
    for i, stop in enumerate(guardian.timed_stops):
        guard.timed_within_ms[0, i] = stop.within_s * _SECOND_MS
        guard.timed_level[0, i] = float(stop.level)
    return guard


def rating_rules(config: Config) -> RatingRules:
    """What the levels of a symbol cost, and when they are reached."""
    rating = config.score.rating
    multipliers = (ppm_of(one, "score.rating.multipliers") for one in rating.multipliers)
    bonuses = (ppm_of(one, "score.rating.bonuses") for one in rating.bonuses)
    losses = (-money_e8(one, "score.rating.losses_usdt") for one in rating.losses_usdt)
    return RatingRules(
        multiplier_ppm=(1_000_000, *multipliers, 0),
        bonus_ppm=(0, *bonuses, 0),
        hard_stops=(0, *rating.hard_stops),
        net_e8=(0, *losses),
    )


def in_universe(sleeve: Sleeve, symbols: tuple[str, ...]) -> Sleeve:
    """The sleeve told where in the universe the symbols are that its strategy looks at by name."""
    if sleeve.strategy is not score_v3.STRATEGY:
        return sleeve
    params = sleeve.params.copy()
    params.coins[0] = score_v3.coins_of(symbols)
    return replace(sleeve, params=params)


def _version_sleeve(config: Config, version: V2Version | V3Version) -> Sleeve:
    guardian = config.score.guardian
    timeouts = tuple((float(t.ratio), t.minutes * MINUTE_MS) for t in guardian.timeouts)
    if isinstance(version, V2Version):
        strategy = score_v2.STRATEGY
        params_record = partial(score_v2.params_record, min_score=float(version.params.min_score_to_trade))
    else:
        strategy = score_v3.STRATEGY
        params_record = partial(
            score_v3.params_record,
            min_score_long=float(version.params.min_score_long),
            min_score_short=float(version.params.min_score_short),
            sudden_move=version.params.sudden_move,
            pull_back=version.params.pull_back,
        )
    params = params_record(
        margin_e8=money_e8(version.margin_usdt, f"score.{version.name}.margin_usdt"),
        leverage=leverage_of(config, version),
        scan_interval_ms=version.scan_interval_s * _SECOND_MS,
        scan_offset_ms=version.start_offset_s * _SECOND_MS,
        stop_ppm=ppm_of(widest_stop(guardian), "score.guardian"),
        entry_mode=ENTRY_MODES.index(version.entry_mode),
        timeouts=timeouts or ((0.0, 0),),  # none: one rule for every score, without a limit
    )
    limits = _limits(config, FAMILY_SCORE, version.max_positions, config.score.cooldown_s)
    limits.cooldown_manual_ms = config.score.cooldown_manual_s * _SECOND_MS
    return Sleeve(version.name, strategy, params, score_guard(config), limits)


def _limits(config: Config, family: int, positions_max: int, cooldown_s: int) -> np.recarray:
    record = zeros(1, sleeve_dt)
    record.family = family
    record.positions_max = min(positions_max, config.risk.positions_max)
    record.cooldown_ms = cooldown_s * _SECOND_MS
    return record


def _ppm_or_off(share: Decimal | None, field: str) -> int:
    """0 switches a limit off in the kernel's records."""
    return 0 if share is None else ppm_of(share, field)
