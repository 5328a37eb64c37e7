"""API keys at rest: one encrypted file, and who may read it.

- ``store``: the vault. ``records``: what its file holds. ``sealing``: AES-256-GCM envelopes.
- ``master_key``: the keys that open it, and where they come from. ``private_files``: files of one user,
  written whole or not at all.

What an API key may do at the exchange is judged in ``adapters.binance.key_rights``.
"""

from perpdesk.adapters.vault.master_key import KeyRing, load_ring
from perpdesk.adapters.vault.records import AccountEntry, Credential, LastCheck
from perpdesk.adapters.vault.store import Vault, default_path

__all__ = [
    "AccountEntry",
    "Credential",
    "KeyRing",
    "LastCheck",
    "Vault",
    "default_path",
    "load_ring",
]
