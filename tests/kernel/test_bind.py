"""One module of compiled code per strategy, and a cache that follows the sources."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import njit
from tests.kernel.actors import ACTOR
from tests.kernel.tables import bars_of, desk

import perpdesk
from perpdesk.kernel import cache
from perpdesk.kernel.bind import bind
from perpdesk.kernel.records import zeros
from perpdesk.kernel.strategy import Strategy, no_shared_dt

PACKAGE = Path(perpdesk.__file__).parent
ONE_DT = np.dtype([("count", "i8")], align=True)


@njit(cache=True)
def every_bar(params, shared, state, bar):
    return True


@njit(cache=True)
def no_bar(params, shared, state, bar):
    return False


@njit(cache=True)
def nothing(params, shared, state, position, slots, head, last, now_ms, in_path):
    state.count += 1


def asked(advance, name):
    """How many symbols a strategy of this advance asks for at one step."""
    strategy = Strategy(name, no_shared_dt, ONE_DT, advance, nothing)
    run = desk(strategy, zeros(1, no_shared_dt), last=100)
    mind, books = run.replay.mind, run.books
    answers = np.zeros(1, np.int64)
    strategy.compiled().advance_step(
        mind.params, mind.shared, mind.states, books.heads, 0, bars_of("100 101 99 100")[0], 60_000, answers
    )
    return int(answers[0])


def test_two_strategies_of_equal_records_keep_their_own_code():
    assert asked(every_bar, "test_equal_one") == 1
    assert asked(no_bar, "test_equal_other") == 0
    assert asked(every_bar, "test_equal_one") == 1


def test_the_same_strategy_is_bound_once():
    assert ACTOR.compiled() is ACTOR.compiled()


def test_a_name_belongs_to_one_strategy():
    asked(every_bar, "test_equal_one")
    with pytest.raises(ValueError, match="test_equal_one.*choose another name"):
        bind("test_equal_one", advance=no_bar, want=nothing)


# --- the cache folder
def root_of(package: Path, monkeypatch) -> Path:
    """The cache folder that a copy of the package would use."""
    spec = importlib.util.spec_from_file_location("cache_of_a_copy", package / "kernel" / "cache.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR)  # put back afterwards
    spec.loader.exec_module(module)
    return module.root()


@pytest.fixture
def package(tmp_path):
    copy = tmp_path / "perpdesk"
    for folder in ("kernel", "strategies", "domain"):
        shutil.copytree(PACKAGE / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_a_copy_of_the_sources_shares_the_folder(package, monkeypatch):
    assert root_of(package, monkeypatch) == cache.root()


@pytest.mark.parametrize(
    "path", ["kernel/ledger.py", "kernel/exact.py", "kernel/indicators/rsi.py", "strategies/sma_cross.py"]
)
def test_an_edit_in_any_source_changes_the_folder(package, path, monkeypatch):
    before = root_of(package, monkeypatch)
    with (package / path).open("a") as file:
        file.write("\n# a comment\n")
    assert root_of(package, monkeypatch) != before


def test_a_new_or_renamed_source_changes_the_folder(package, monkeypatch):
    before = root_of(package, monkeypatch)
    (package / "strategies" / "sma_cross.py").rename(package / "strategies" / "sma_crossing.py")
    after = root_of(package, monkeypatch)
    assert after != before
    (package / "strategies" / "another.py").write_text("")
    assert root_of(package, monkeypatch) not in (before, after)


def test_an_edit_elsewhere_changes_nothing(package, monkeypatch):
    before = root_of(package, monkeypatch)
    (package / "domain" / "units.py").write_text("")
    assert root_of(package, monkeypatch) == before


def test_the_folder_is_chosen_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PERPDESK_CACHE_DIR", str(tmp_path))
    assert cache.root() == tmp_path / "compiled" / cache.sources_hash()
    monkeypatch.delenv("PERPDESK_CACHE_DIR")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert cache.root() == tmp_path / "home" / ".cache" / "perpdesk" / "compiled" / cache.sources_hash()


# --- a second process
PROGRAM = """
import json, sys
import numpy as np
from numba import njit
from perpdesk.kernel.records import zeros
from perpdesk.kernel.strategy import Strategy, no_shared_dt
from perpdesk.strategies.sma_cross import STRATEGY
from tests.kernel.actors import ACTOR
from tests.kernel.tables import bars_of, desk
import {module} as twins

answers, hits, misses = [], 0, 0
for strategy in (ACTOR, twins.ONE, twins.OTHER):
    run = desk(strategy, zeros(1, strategy.params_dt), last=100)
    mind, books = run.replay.mind, run.books
    asked = np.zeros(1, np.int64)
    module = strategy.compiled()
    module.advance_step(mind.params, mind.shared, mind.states, books.heads, 0, bars_of("100 101 99 100")[0], 60000, asked)
    run.react(100)
    answers.append(int(asked[0]))
    for door in (module.advance_step, module.react):
        hits += sum(door.stats.cache_hits.values())
        misses += sum(door.stats.cache_misses.values())
print(json.dumps({{"answers": answers, "hits": hits, "misses": misses}}))
"""
TWINS = """
import numpy as np
from numba import njit
from perpdesk.kernel.strategy import Strategy, no_shared_dt

state_dt = np.dtype([("count", "i8")], align=True)

@njit(cache=True)
def yes(params, shared, state, bar):
    return True

@njit(cache=True)
def no(params, shared, state, bar):
    return False

@njit(cache=True)
def nothing(params, shared, state, position, slots, head, last, now_ms, in_path):
    state.count += 1

ONE = Strategy("twin_one", no_shared_dt, state_dt, yes, nothing)
OTHER = Strategy("twin_other", no_shared_dt, state_dt, no, nothing)
"""


@pytest.mark.slow
def test_a_second_process_finds_everything_compiled(tmp_path):
    """Cache hits only, not one new file, and twins of equal record types keep their own answers."""
    (tmp_path / "twins_of_a_test.py").write_text(TWINS)
    compiled = tmp_path / "cache"
    path = os.pathsep.join([str(PACKAGE.parent), str(Path(__file__).parents[2]), str(tmp_path)])
    environment = {**os.environ, "PERPDESK_CACHE_DIR": str(compiled), "PYTHONPATH": path}
    runs, files = [], []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(module="twins_of_a_test")],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
        files.append({file: file.stat().st_mtime_ns for file in compiled.rglob("*") if file.is_file()})
    first, second = runs
    assert first["answers"] == second["answers"] == [0, 1, 0]
    assert (first["hits"], first["misses"]) == (0, 6)
    assert (second["hits"], second["misses"]) == (6, 0)
    assert files[0]
    assert files[0] == files[1]
    assert all(cache.sources_hash() in str(file) for file in files[0])
