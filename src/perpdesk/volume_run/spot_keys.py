"""Whose key a user of volume_target trades Spot with: accounts of the vault that are named after the user."""

from __future__ import annotations

from dataclasses import dataclass

from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.vault import Vault
from perpdesk.domain.errors import InputError, Refused

BINANCE_SPOT, SIMULATED_SPOT = "binance_spot", "simulated_spot"
SPOT_EXCHANGES = (BINANCE_SPOT, SIMULATED_SPOT)


def account_name(user_id: int) -> str:
    """The user's account in the vault."""
    return f"volume-{user_id}"


@dataclass(frozen=True)
class VaultKeys:
    """A user's key for one exchange; read from the vault's file each time, so that a rotated key is found."""

    vault: Vault
    hosts: Hosts

    def __call__(self, user_id: int) -> tuple[Credentials, bool]:
        """(key, must it be bound to addresses). Raises Refused: no key, another user's, another exchange's;
        NeedsPerson if it does not open."""
        name = account_name(user_id)
        try:
            entry = self.vault.entry(name)
        except InputError:
            raise Refused(
                "KEY", f"user {user_id} has no key: `perpdesk volume keys add --user {user_id}`"
            ) from None
        wanted = BINANCE_SPOT if self.hosts.is_live else SIMULATED_SPOT
        if entry.exchange != wanted:
            raise Refused("KEY", f"the key of user {user_id} is for {entry.exchange}, this run is {wanted}")
        try:
            credential = self.vault.credential(name, user_id)
        except InputError:
            raise Refused(
                "KEY", f"the key in {name!r} is of user {entry.user_id}, not of user {user_id}"
            ) from None
        return credential.signing(), self.hosts.is_live and not credential.any_ip
