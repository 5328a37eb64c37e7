"""Whose key a user trades with: the user's own, for this exchange, from the vault, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.adapters.vault.vaults import Place

from perpdesk.adapters.binance.hosts import LIVE, simulated
from perpdesk.adapters.vault import Credential, Vault
from perpdesk.domain.errors import Refused
from perpdesk.domain.secret import Secret
from perpdesk.volume_run.spot_keys import BINANCE_SPOT, SIMULATED_SPOT, VaultKeys, account_name

HOSTS = simulated("http://127.0.0.1:8080")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Place(tmp_path).vault()


def keep(vault: Vault, user: int, exchange: str, *, owner: int | None = None, any_ip: bool = False) -> None:
    key = Credential(Secret(f"key-of-{user}-{'x' * 20}"), Secret("s" * 40), None, any_ip)
    vault.add(account_name(user), exchange, key, now_ms=1, user_id=owner or user)


def test_a_users_own_key_is_given(vault: Vault) -> None:
    keep(vault, 5, SIMULATED_SPOT)
    credentials, needs_ip_list = VaultKeys(vault, HOSTS)(5)
    assert credentials.api_key.startswith("key-of-5")
    assert not needs_ip_list


def test_a_user_without_a_key_is_refused_by_name(vault: Vault) -> None:
    with pytest.raises(Refused, match="volume keys add --user 5"):
        VaultKeys(vault, HOSTS)(5)


def test_another_users_key_is_refused(vault: Vault) -> None:
    keep(vault, 5, SIMULATED_SPOT, owner=6)
    with pytest.raises(Refused, match="of user 6, not of user 5"):
        VaultKeys(vault, HOSTS)(5)


@pytest.mark.parametrize(("kept", "hosts"), [(BINANCE_SPOT, HOSTS), (SIMULATED_SPOT, LIVE)])
def test_a_key_goes_to_its_own_exchange_alone(kept: str, hosts: object, vault: Vault) -> None:
    keep(vault, 5, kept)
    with pytest.raises(Refused, match="is for"):
        VaultKeys(vault, hosts)(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("any_ip", [False, True])
def test_a_live_key_must_be_bound_to_addresses_unless_a_person_said_so(any_ip: bool, vault: Vault) -> None:
    keep(vault, 5, BINANCE_SPOT, any_ip=any_ip)
    assert VaultKeys(vault, LIVE)(5)[1] is not any_ip
