"""A simulator is never taken for the live exchange, nor the reverse."""

from __future__ import annotations

import pytest

from perpdesk.adapters.binance.errors import WrongExchange
from perpdesk.adapters.binance.hosts import LIVE, SIMULATED_HEADER, simulated
from perpdesk.domain.errors import ConfigError


def test_live_is_pinned_to_https() -> None:
    assert (LIVE.rest, LIVE.streams) == ("https://fapi.binance.com", "wss://fstream.binance.com")


@pytest.mark.parametrize(
    "url",
    [
        "https://fapi.binance.com",
        "http://127.0.0.1.example.org:80",
        "http://10.0.0.1:8080",
        "ftp://127.0.0.1",
        "http://user@127.0.0.1:8080",
        "http://127.0.0.1:8080/fapi",
        "127.0.0.1:8080",
        "",
    ],
)
def test_a_simulator_lives_on_loopback_only(url: str) -> None:
    with pytest.raises(ConfigError):
        simulated(url)


def test_addresses_of_a_simulator() -> None:
    assert simulated("http://127.0.0.1:8080/").streams == "ws://127.0.0.1:8080"
    assert simulated("https://[::1]:8443").streams == "wss://[::1]:8443"


def test_the_mark_of_a_simulator_is_refused_live_and_demanded_otherwise() -> None:
    LIVE.check({})
    simulated("http://localhost:1").check({SIMULATED_HEADER: "1"})
    with pytest.raises(WrongExchange):
        LIVE.check({SIMULATED_HEADER: "1"})
    with pytest.raises(WrongExchange):
        simulated("http://localhost:1").check({})
