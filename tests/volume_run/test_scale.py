"""The bench of a thousand users in small: nobody waits for a user whose key is refused or stream is dead."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "volume_scale.py"
SECONDS, USERS = 8, 20


def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("volume_scale", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
async def test_failing_users_delay_nobody(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "good").mkdir()
    measure = bench().measure
    mixed: dict[str, Any] = await measure(USERS, SECONDS, tmp_path / "bad")
    alone: dict[str, Any] = await measure(USERS, SECONDS, tmp_path / "good", failures=False)
    assert mixed["states"] == {"HALTED": 2, "BATCH": 18}
    assert alone["states"] == {"BATCH": USERS}
    assert (mixed["healthy_users"], alone["healthy_users"]) == (17, USERS)
    # a pair lasts a few requests of at most 25 ms each way, whoever else fails
    assert mixed["healthy_pair_ms"]["p99"] <= 250
    assert abs(mixed["healthy_pair_ms"]["p50"] - alone["healthy_pair_ms"]["p50"]) <= 20
    assert mixed["healthy_pairs_a_user"]["least"] >= alone["healthy_pairs_a_user"]["least"] - 1
    assert mixed["healthy_pairs_a_user"]["least"] >= SECONDS * 2 // 3
    assert mixed["crosses"] == 0
