"""The first orders of a start: a stop behind every position that has none.

It asks the exchange alone, not our books (rule R1): what is held, which stops stand, and where the disaster
stops are missing. The desk behind it goes on with the same stops once its books are rebuilt.
"""

from __future__ import annotations

import logging

from perpdesk.adapters.binance.rescue import RescueVenue
from perpdesk.adapters.binance.rest import Rest
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.guardian.coverage import CoverageAudit, sightings
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.engine.guardian.disaster_stops import DisasterStops
from perpdesk.engine.ids import ClientIds
from perpdesk.engine.ownership import Ownership
from perpdesk.ports import Clock, LiveVenue

LOG = logging.getLogger(__name__)
AGAIN_MS = 500
TRIES = 10


async def cover_first(rest: Rest, owner: Ownership, clock: Clock, rule: DisasterRule, seed: int) -> list[str]:
    """Place the disaster stop of every position that no stop covers, as soon as the owner may sign.

    Returns the contracts it covered. An exchange that does not answer is asked again; what is not possible
    is left to the desk and its guardian. rest signs within the owner's lease.
    """
    account_id = owner.claim.account_id
    await clock.sleep_until(owner.from_ms)
    for _ in range(TRIES):
        try:
            return await _cover(rest, account_id, clock, rule, seed)
        except PerpdeskError as error:
            LOG.warning("positions could not be covered yet: %s", error)
            await clock.sleep_until(clock.now_ms() + AGAIN_MS)
    return []


async def _cover(rest: Rest, account_id: int, clock: Clock, rule: DisasterRule, seed: int) -> list[str]:
    venue = RescueVenue(rest)
    legs, orders = await venue.read()
    now_ms = clock.now_ms()
    covers = CoverageAudit().judge(legs, sightings(orders, now_ms), now_ms=now_ms)
    bare = {cover.symbol for cover in covers if cover.bare_lots > 0}
    if not bare:
        return []
    ids, ticks = ClientIds(account_id, seed), [contract.tick for contract in venue.rules]
    stops = DisasterStops(_as_venue(venue), ids, clock, rule, ticks)
    for one in await stops.tend([leg for leg in legs if leg.symbol in bare], orders, {}):
        name = venue.rules[one.step.symbol].symbol
        LOG.warning("%s stood without a stop: %s %s", name, one.step.act.value, one.answer)
    return sorted(venue.rules[s].symbol for s in bare)


def _as_venue(venue: RescueVenue) -> LiveVenue:
    """It has the two methods of a venue that disaster stops use."""
    return venue  # type: ignore[return-value]
