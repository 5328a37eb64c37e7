"""Desks for commands, tests and the Python API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from perpdesk.config.volume import VolumeConfig, VolumeConfigs, load_volume
from perpdesk.engine.volume.desk import Desk
from perpdesk.engine.volume.ledger import VolumeBooks
from perpdesk.engine.volume.user import UserRun
from perpdesk.strategies.volume_target.modes import VolumeVenue
from perpdesk.volume_run.sim import SimulatedMarket
from perpdesk.volume_run.spot import SpotVenue


def sim_configs(path: Path | str) -> VolumeConfigs:
    """A file that can be reloaded."""
    return VolumeConfigs(lambda: load_volume(path))


def fixed_configs(config: VolumeConfig) -> VolumeConfigs:
    """A configuration that a reload finds as it is."""
    return VolumeConfigs(lambda: config)


def sim_desk(
    market: SimulatedMarket,
    configs: VolumeConfigs,
    books: VolumeBooks,
    *,
    owner: str = "this process",
    on_change: Callable[[UserRun], None] = lambda _: None,
    state_of: Callable[[int], str | None] | None = None,
) -> Desk:
    """A desk on the simulated market. No credentials and no acceptance are needed there."""
    return Desk(
        configs,
        {VolumeVenue.SIM: market},
        books,
        market.clock,
        owner=owner,
        on_change=on_change,
        state_of=state_of,
    )


def spot_desk(
    venue: SpotVenue,
    configs: VolumeConfigs,
    books: VolumeBooks,
    *,
    owner: str,
    on_change: Callable[[UserRun], None] = lambda _: None,
    state_of: Callable[[int], str | None] | None = None,
) -> Desk:
    """A desk on Spot order lists. A live exchange needs each user's acceptance of the notice."""
    return Desk(
        configs,
        {VolumeVenue.BINANCE_SPOT: venue},
        books,
        venue.clock,
        owner=owner,
        on_change=on_change,
        state_of=state_of,
        needs_acceptance=venue.hosts.is_live,
    )
