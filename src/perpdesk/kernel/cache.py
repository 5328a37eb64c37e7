"""The compile cache: one folder per hash of all kernel and strategy sources.

numba's own cache does not notice an edit in another file and would go on using the old code, so the
folder's name is the content. Import this before anything that compiles.
Source: measured; numba issues on cache invalidation across files.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numba

_PACKAGE = Path(__file__).resolve().parent.parent
_SOURCES = ("kernel", "strategies")


def sources_hash() -> str:
    """sha256 (first 16 hex digits) of every kernel and strategy source and of numba's version."""
    digest = hashlib.sha256(numba.__version__.encode())
    for folder in _SOURCES:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(str(path.relative_to(_PACKAGE)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def root() -> Path:
    """Where compiled code is kept: ``PERPDESK_CACHE_DIR``, else the user's cache folder."""
    chosen = os.environ.get("PERPDESK_CACHE_DIR")
    base = Path(chosen) if chosen else Path.home() / ".cache" / "perpdesk"
    return base / "compiled" / sources_hash()


def enter(name: str) -> None:
    """Compile what is decorated from here on into the folder ``name`` of this source state."""
    numba.config.CACHE_DIR = str(root() / name)


enter("shared")
