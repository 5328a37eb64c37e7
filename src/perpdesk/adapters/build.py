"""Which build runs: leases, heartbeats, runs and orders bear its hash."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
# What compiles our numbers, and what computes with them.
_LIBRARIES = ("numba", "numpy")


def hash_of(package: Path) -> str:
    """sha256 (first 16 hex digits) of every source under a folder, by relative path and content, and of the
    versions of the libraries that decisions are computed with."""
    digest = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in _LIBRARIES).encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(f"\n{path.relative_to(package)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def build_hash() -> str:
    """The hash of this package, as it was found at the first call."""
    return hash_of(_PACKAGE)
