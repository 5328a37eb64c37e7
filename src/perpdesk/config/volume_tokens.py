"""The tokens of a volume configuration in a venue's list: each strategy must mean exactly one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpdesk.config.volume import VolumeConfig, VolumeConfigError, VolumeStrategy
from perpdesk.config.volume_problems import Problem, shown
from perpdesk.domain.errors import Refused
from perpdesk.domain.units import plain
from perpdesk.strategies.volume_target.modes import MulPointMode, mul_point


@dataclass(frozen=True)
class Listing:
    """A row of a venue's token list; ``mul_point`` as it was served, whatever that is."""

    venue: str
    chain: str
    symbol: str
    contract: str | None
    mul_point: object


@dataclass(frozen=True)
class Token:
    """The token that a strategy means, with its multiplier and how the target counts it."""

    listing: Listing
    m: Decimal
    mode: MulPointMode


def resolve_tokens(
    config: VolumeConfig, listings: Sequence[Listing]
) -> tuple[dict[str, Token], tuple[Problem, ...]]:
    """(token by strategy id, warnings). Raises VolumeConfigError with everything that does not resolve."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    tokens = {}
    for name, strategy in config.strategies.items():
        token = _resolve(strategy, listings, problems)
        if token is not None:
            tokens[name] = token
            if token.mode is MulPointMode.LEGACY_V22 and token.m != 1:
                factor = plain(token.m * token.m)
                message = (
                    f"legacy_v22 trades up to {factor} times what the target needs (m² with m = {token.m})"
                )
                warnings.append(_problem("W_LEGACY", strategy, "mul_point_mode", message))
    if problems:
        raise VolumeConfigError(problems)
    return tokens, tuple(warnings)


def _problem(code: str, strategy: VolumeStrategy, key: str, message: str) -> Problem:
    setting = strategy.settings[key]
    value = None if setting.value is None else shown(str(setting.value))
    return Problem(code, f"{strategy.path}.{key}", message, setting.source, value)


def _resolve(strategy: VolumeStrategy, listings: Sequence[Listing], problems: list[Problem]) -> Token | None:
    contract = strategy["target_contract"]
    found = [
        row
        for row in listings
        if row.venue == strategy["venue"]
        and row.chain == strategy["target_chain"]
        and row.symbol == strategy["target_token"]
        and contract in (None, row.contract)
    ]
    if not found:
        where = f"{strategy['venue']}, chain {strategy['target_chain']}"
        problems.append(_problem("UNKNOWN_TOKEN", strategy, "target_token", f"is not listed at {where}"))
        return None
    if len(found) > 1:
        contracts = ", ".join(sorted(str(row.contract) for row in found))
        message = f"means several contracts, set target_contract to one of {contracts}"
        problems.append(_problem("AMBIGUOUS_TOKEN", strategy, "target_token", message))
        return None
    try:
        m = mul_point(found[0].mul_point, found[0].symbol)
    except Refused as error:
        problems.append(_problem("MUL_POINT_UNKNOWN", strategy, "target_token", str(error)))
        return None
    mode = strategy["mul_point_mode"]
    if mode is None and m != 1:
        message = (
            f"must be chosen: the venue shows {plain(m)} times the real volume ({', '.join(MulPointMode)})"
        )
        problems.append(_problem("MUL_POINT_MODE_REQUIRED", strategy, "mul_point_mode", message))
        return None
    return Token(found[0], m, mode if isinstance(mode, MulPointMode) else MulPointMode.REAL)
