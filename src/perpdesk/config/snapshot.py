"""A configuration frozen as text, and the hash that orders, signals and positions refer to.

Canonical: keys sorted, no blanks, decimals as text without zeros at the end. Which layer set a value and
how it was written (0.03, 0.030, 3e-2) leave no trace, so equal configurations have equal hashes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256

import msgspec

from perpdesk.config.decode import canonical
from perpdesk.config.schema import Config
from perpdesk.domain.errors import InputError
from perpdesk.domain.units import plain


@dataclass(frozen=True)
class Snapshot:
    """Canonical JSON and its sha256 (64 hex digits)."""

    json: str
    params_hash: str


def _canonical(value: object) -> object:
    if isinstance(value, Decimal):
        return plain(canonical(value))
    if isinstance(value, dict):
        return {key: _canonical(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(part) for part in value]
    return value


def builtins_of(part: msgspec.Struct) -> dict[str, object]:
    """A config or a part of it as JSON-ready values; decimals are text."""
    value = _canonical(msgspec.to_builtins(part, builtin_types=(Decimal,)))
    assert isinstance(value, dict)
    return value


def snapshot(part: msgspec.Struct) -> Snapshot:
    """The snapshot of a config, or of one section or version of it."""
    text = json.dumps(builtins_of(part), sort_keys=True, separators=(",", ":"))
    return Snapshot(text, sha256(text.encode("ascii")).hexdigest())


def read_snapshot(text: str, params_hash: str) -> Config:
    """The config that was frozen. Raises InputError if the text does not have this hash."""
    found = sha256(text.encode("utf-8")).hexdigest()
    if found != params_hash:
        raise InputError(
            f"the stored parameters have sha256 {found}, not {params_hash}: they were changed after the run",
            field="params_snapshots",
        )
    return msgspec.json.decode(text, type=Config)
