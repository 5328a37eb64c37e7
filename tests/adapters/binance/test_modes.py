"""Position mode, margin type, the rights of a key, and the dead-man switch that stays off."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.contract.binance_desk import BinanceDesk, binance_desk
from tests.contract.venue_suite import START, order

from perpdesk.adapters.binance import dead_man, key_rights, modes
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.errors import ExchangeUnreachable, KeyRefused
from perpdesk.adapters.clocks import SystemClock, VirtualClock
from perpdesk.domain.errors import ConfigError, InputError
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server import restrictions
from perpdesk.kernel.records import BUY, LIMIT, MARKET, SELL, STOP
from perpdesk.ports import Outcome


async def test_position_mode_is_read_and_switched_where_nothing_stands_in_the_way() -> None:
    async with binance_desk() as desk:
        assert not await modes.is_hedged(desk.rest)
        await modes.require_position_mode(desk.rest, False)
        await modes.require_position_mode(desk.rest, True)
        assert await modes.is_hedged(desk.rest)
        await modes.require_position_mode(desk.rest, False)
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        with pytest.raises(ConfigError, match="-4067.*cancel all open orders first"):
            await modes.require_position_mode(desk.rest, True)
        await desk.venue.cancel(0, "rest")
        await desk.venue.place(order("entry", MARKET, BUY))
        with pytest.raises(ConfigError, match="-4068.*close all positions first"):
            await modes.require_position_mode(desk.rest, True)


async def test_margin_type_is_set_checked_and_followed() -> None:
    async with binance_desk() as desk:
        assert (await modes.margin_types(desk.rest))["BTCUSDT"] == "CROSSED"
        await modes.require_margin_type(desk.rest, "BTCUSDT", "CROSSED")
        await modes.require_margin_type(desk.rest, "BTCUSDT", "ISOLATED")
        assert (await modes.margin_types(desk.rest))["BTCUSDT"] == "ISOLATED"
        await desk.venue.place(order("entry", MARKET, BUY))
        await desk.move(START)
        assert desk.venue.margin_types["BTCUSDT"] == "ISOLATED"
        with pytest.raises(ConfigError, match="-4048.*close the position on BTCUSDT first"):
            await modes.require_margin_type(desk.rest, "BTCUSDT", "CROSSED")


async def test_a_setting_that_does_not_show_is_not_believed() -> None:
    async with binance_desk() as desk:
        said = '{"code":200,"msg":"success"}'
        desk.server.faults.add(Fault(kind="reply", route="POST /fapi/v1/marginType", http=200, body=said))
        with pytest.raises(ExchangeUnreachable, match="does not show it"):
            await modes.require_margin_type(desk.rest, "BTCUSDT", "ISOLATED")


def rights(**changes: Any) -> p.KeyRights:
    return msgspec.convert(restrictions.DEFAULTS | changes, p.KeyRights)


NOW = 1_763_640_000_000


@pytest.mark.parametrize(
    ("changes", "options", "problem", "warning"),
    [
        ({}, {}, None, None),
        ({"enableWithdrawals": True}, {}, "withdraw", None),
        ({"enableInternalTransfer": True}, {}, "other users", None),
        ({"permitsUniversalTransfer": True}, {}, "between accounts", None),
        ({"enableFutures": False}, {}, "may not trade futures", None),
        ({"enableMargin": True}, {}, "borrow", None),
        ({"enableSpotAndMarginTrading": True}, {}, "does not need", None),
        ({"enableSpotAndMarginTrading": True}, {"needs_spot": True}, None, None),
        ({}, {"needs_spot": True}, "may not trade Spot", None),
        ({"ipRestrict": False}, {}, "bind it", None),
        ({"ipRestrict": False}, {"needs_ip_list": False}, None, "bind it"),
        ({"tradingAuthorityExpirationTime": NOW}, {}, "run out", None),
        ({"tradingAuthorityExpirationTime": NOW + 3_600_000}, {}, None, "1 hours"),
        ({"tradingAuthorityExpirationTime": NOW + 8 * 86_400_000}, {}, None, None),
    ],
)
def test_what_is_wrong_with_a_key(
    changes: dict[str, Any], options: dict[str, bool], problem: str | None, warning: str | None
) -> None:
    report = key_rights.judge(rights(**changes), NOW, **options)
    assert [problem in one for one in report.problems] == ([True] if problem else [])
    assert [warning in one for one in report.warnings] == ([True] if warning else [])


async def test_a_key_that_gets_a_right_while_it_is_used_is_refused() -> None:
    """SEC-03."""
    async with binance_desk() as desk:
        await key_rights.require_harmless_key(desk.rest)
        key = desk.server.accounts[0].api_key
        restrictions.set_rights(desk.server, key, {"enableWithdrawals": True, "ipRestrict": False})
        with pytest.raises(KeyRefused, match="withdraw.*bind it"):
            await key_rights.require_harmless_key(desk.rest)
        desk.server.faults.add(Fault(kind="garble", route="GET /sapi/*", form="truncate"))
        with pytest.raises(ExchangeUnreachable):
            await key_rights.require_harmless_key(desk.rest)
        for wrong in ({"enableFlying": True}, {"enableWithdrawals": 1}):
            with pytest.raises(InputError):
                restrictions.set_rights(desk.server, key, wrong)


async def resting(desk: BinanceDesk) -> None:
    for one in (order("rest", LIMIT, BUY, START - 1_000), order("stop", STOP, SELL, START - 2_000, slot=1)):
        assert (await desk.venue.place(one)).outcome is Outcome.ACCEPTED


def test_the_dead_man_switch_is_off_unless_it_is_known_what_it_does() -> None:
    clock = VirtualClock(NOW)
    with pytest.raises(ConfigError, match="stays off"):
        dead_man.DeadManSwitch(None, clock, ["BTCUSDT"], stops_survive=False)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="two beats"):
        dead_man.DeadManSwitch(None, clock, [], stops_survive=True, countdown_ms=50_000)  # type: ignore[arg-type]


async def test_when_we_fall_silent_orders_go_and_stops_stay() -> None:
    """ORD-13 through our client: armed at each beat, stops survive, an orderly end keeps the orders."""
    async with binance_desk() as desk:
        await resting(desk)
        switch = dead_man.DeadManSwitch(desk.rest, SystemClock(), ["BTCUSDT"], stops_survive=True)
        beating = asyncio.create_task(switch.run())
        await desk.until(lambda: switch.armed_ms)
        beating.cancel()  # we fall silent
        desk.server.skip_time(dead_man.COUNTDOWN_MS - 5_000)
        await desk.rest.sync_time()
        assert await desk.venue.open_client_ids(0) == {"rest", "stop"}
        desk.server.skip_time(10_000)
        await desk.rest.sync_time()
        assert await desk.venue.open_client_ids(0) == {"stop"}
        assert await dead_man.arm(desk.rest, "BTCUSDT", dead_man.COUNTDOWN_MS) == dead_man.COUNTDOWN_MS
        await desk.venue.place(order("again", LIMIT, BUY, START - 1_000, slot=2))
        await switch.stop()
        desk.server.skip_time(2 * dead_man.COUNTDOWN_MS)
        await desk.rest.sync_time()
        assert await desk.venue.open_client_ids(0) == {"again", "stop"}
