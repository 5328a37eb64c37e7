"""The Python strangers live their lives here too: ccxt, the official SDK, python-binance.

``make conformance`` runs all of them, node's and freqtrade included; here, those that pip alone can install,
each in the environment that conformance/run.py makes for it. Without a package index they are skipped, and
fail where PERPDESK_REQUIRE_SERVICES says that nothing may be missing.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ("ccxt async", "ccxt sync", "ccxt pro", "official SDK", "python-binance")
# Everything that a life consists of; the scripts themselves say it in the same words.
PARTS = {
    "market data", "settings", "limit", "cancel", "market", "partial fill", "stop", "trailing", "hedge",
    "funding", "liquidation", "history", "user stream", "books",
}  # fmt: skip


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    """conformance/run.py as a module."""
    spec = importlib.util.spec_from_file_location("conformance_run", ROOT / "conformance" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / "conformance"))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "conformance"))
    return module


@pytest.mark.slow
@pytest.mark.parametrize("client", PYTHON)
def test_a_stranger_lives_a_whole_life(runner: ModuleType, client: str) -> None:
    """CLI-1, CLI-2, CLI-3."""
    environment, _ = runner.SCRIPTS[client]
    wrong = runner.prepare(environment)
    if wrong is not None:
        if os.environ.get("PERPDESK_REQUIRE_SERVICES") == "1":
            pytest.fail(wrong)
        pytest.skip(wrong)
    checks = runner.live(client)
    assert [check for check in checks if not check["ok"]] == []
    assert {check["part"] for check in checks} == PARTS
    assert any(check["check"] == "no client exception" for check in checks)


def test_a_life_without_a_part_is_a_failure(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What watches the strangers is watched too: a script that does little does not pass."""
    (tmp_path / "lazy.py").write_text(
        "import json\n"
        "print(json.dumps({'client': 'lazy', 'part': 'market', 'check': 'one', 'ok': True, 'why': ''}))\n"
    )
    (tmp_path / "life.py").write_text("PARTS = ('market', 'hedge', 'funding')\n")
    folder = tmp_path / "env"
    (folder / "lazy" / "bin").mkdir(parents=True)
    (folder / "lazy" / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(runner, "CLIENTS", tmp_path)
    monkeypatch.setattr(runner, "FOLDER", folder)
    monkeypatch.setattr(runner, "prepare", lambda name: None)
    monkeypatch.setitem(runner.SCRIPTS, "lazy", ("lazy", "lazy.py"))
    checks = runner.live("lazy")
    assert [check["check"] for check in checks if not check["ok"]] == ["lives funding", "lives hedge"]
