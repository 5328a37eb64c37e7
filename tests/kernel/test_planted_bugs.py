"""Planted bugs: each one, put into a copy of the kernel, must turn a test red. A test of the tests.

The copies run in plain Python (NUMBA_DISABLE_JIT): nothing is compiled, so a run takes seconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import perpdesk

PACKAGE = Path(perpdesk.__file__).parent
ROOT = Path(__file__).parents[2]

# name, file, the right line, the wrong one, tests that must notice
PLANTED = [
    (
        "a fee is paid out",
        "ledger",
        "    account.fees_e8 += fee\n    account.cash_e8 -= fee\n    account.fills += 1\n    return realised\n",
        "    account.fees_e8 += fee\n    account.cash_e8 += fee\n    account.fills += 1\n    return realised\n",
        "test_ledger",
    ),
    ("fees are rounded down", "ledger", "return mul_div_half(notional_e8, ppm, _PPM)", "return mul_div_floor(notional_e8, ppm, _PPM)", "test_ledger"),
    ("shorts pay a positive rate", "ledger", "paid = -sign(position.lots)", "paid = sign(position.lots)", "test_ledger"),
    ("a loss beyond the margin is booked", "ledger", "shortfall = max(0, ", "shortfall = 0 * max(0, ", "test_ledger"),
    ("the breaker never trips", "ledger", "account.tripped = 1", "account.tripped = 0", "test_ledger"),
    ("the breaker never resets", "ledger", "        account.tripped = 0\n", "        pass\n", "test_ledger"),
    ("cum is forgotten", "ledger", "debt = cost_e8 - wallet_e8 - cum", "debt = cost_e8 - wallet_e8", "test_ledger"),
    ("the margin of a closed part stays", "ledger", "    account.margin_e8 -= margin\n", "", "test_ledger"),
    ("a touch fills a limit", "matching", "return (True, slot.price - 1)", "return (True, slot.price)", "test_matching"),
    ("a short's stop triggers the wrong way", "matching", "return (slot.side == SELL, slot.price)", "return (slot.side != SELL, slot.price)", "test_matching"),
    ("reduce-only is ignored", "matching", "lots = min(lots, max(0, -slot.side * held_lots))", "lots = lots", "test_matching"),
    ("slippage is a gift", "matching", "price * (_PPM - slippage_ppm) // _PPM", "price * (_PPM + slippage_ppm) // _PPM", "test_matching"),
    ("a tie goes high first", "matching", "to_low == to_high and bar.close >= bar.open", "to_low == to_high and bar.close > bar.open", "test_matching"),
    ("stops before limits", "matching", "            rank = 1\n", "            rank = 3\n", "test_matching"),
    ("a liquidation waits for the stop", "matching", "if distance >= 0 and distance * 4 < best:", "if distance >= 0 and distance * 4 + 3 < best:", "test_matching"),
    ("stops fill inside the jump", "matching", "            if walk.leg == 0:\n                continue\n            down, price = _event_price(slot)\n            distance = _distance(down, price, start, end)\n        if", "            down, price = _event_price(slot)\n            distance = _distance(down, price, start, end)\n        if", "test_matching"),
    ("volume is not used up", "loop", "            walk.budget_lots -= lots\n", "", "test_matching"),
    ("a dry bar still fills one lot", "matching", "max(1, share) if volume > 0 else 0", "max(1, share)", "test_matching"),
    ("a trailing order does not follow", "book", "price > slot.extreme if slot.extreme", "False if slot.extreme", "test_matching"),
    ("a triggered stop is forgotten", "matching", "        slot.kind = MARKET\n", "        slot.kind = NONE\n", "test_matching"),
    ("fills do not re-enter", "loop", "            if walk.jump:", "            if walk.jump or code >= 0:", "test_matching"),
    ("a jump is answered order by order", "loop", "            if walk.jump:", "            if False:", "test_matching"),
    ("a stale entry works on", "guard", "now_ms - head.approved_ms > MINUTE_MS", "now_ms - head.approved_ms > 99 * MINUTE_MS", "test_matching"),
    ("a flat position keeps its exits", "loop", "    if position.lots == 0:\n        clear_shared(slots)\n    relevel", "    relevel", "test_guard"),
    ("the widest stop counts", "guard", "guard.timed_level[i] > level", "guard.timed_level[i] < level", "test_guard"),
    ("a window ends a millisecond early", "guard", "within > 0 and age_ms <= within", "within > 0 and age_ms < within", "test_guard"),
    ("a stop is rounded against the position", "guard", "return round_up(mul_div_ceil(", "return round_down(mul_div_floor(", "test_guard"),
    ("the trail forgets its floor", "guard", "q9(max(peak - guard.trailing_retrace, guard.trailing_floor))", "q9(peak - guard.trailing_retrace)", "test_guard"),
    ("the peak survives more lots", "ledger", "    position.armed = 0\n", "", "test_guard"),
    ("a level is one unit late", "guard", "    while move_of(side, price, average) > move:\n        price -= side\n    return price\n", "    while move_of(side, price, average) > move:\n        price -= side\n    return price - side\n", "test_guard"),
    ("first come, first served", "gate", "if best_v < 0 or strength > best:", "if best_v < 0:", "test_gate"),
    ("the last of equals wins", "gate", "strength > best:", "strength >= best:", "test_gate"),
    ("pending risk is free", "gate", "        risk += mul_div_ceil(notional, position.entry_stop_ppm + 2 * costs, _PPM)\n", "        risk += 0\n", "test_gate"),
    ("the breaker is not asked", "gate", "if account.tripped:", "if account.tripped > 1:", "test_gate"),
    ("a cooldown holds both sides", "gate", "        and position.closed_side == head.cand_side\n", "", "test_gate"),
    ("the margin of others is free", "gate", "- account.margin_e8 - pending_margin", "- pending_margin", "test_gate"),
    ("half is rounded down", "exact", "if remainder >= c - remainder", "if remainder > c - remainder", "test_exact"),
    ("a big product wraps", "exact", "        if (b >> bit) & 1:\n            quotient += whole\n", "        if (b >> bit) & 1:\n", "test_exact"),
    ("the future is observed", "loop", "        unrealised = 0\n        candidates = 0\n", "        if OBSERVES:\n            observe(params[0], shared[0], bars[t])\n        unrealised = 0\n        candidates = 0\n", "test_no_lookahead"),
    ("a quiet stretch passes over funding", "loop", "first_ms + (t + 1) * MINUTE_MS >= end_ms", "False", "test_replay"),
    ("a peak is not waited for", "matching", "    head.hi = min(hi, head.peak_hi)\n", "    head.hi = hi\n", "test_guard"),
]  # fmt: skip
# The slow properties say nothing about a planted bug that a table does not say sooner.
FAST = {
    "test_no_lookahead": ["-k", "observe_is_not_known"],
    "test_gate": ["-k", "not breaker_stops"],
    "test_replay": ["-k", "funding"],
}


def outcome(package: Path, test: str) -> subprocess.CompletedProcess[str]:
    """Run one file of kernel tests on a copy of the package, in plain Python, up to the first failure."""
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    file = ROOT / "tests" / "kernel" / f"{test}.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *FAST.get(test, []),
        str(file),
    ]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path):
    package = tmp_path / "perpdesk"
    for folder in ("kernel", "strategies", "domain"):
        shutil.copytree(PACKAGE / folder, package / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE / "__init__.py", package)
    return package


@pytest.mark.slow
@pytest.mark.parametrize("test", sorted({row[4] for row in PLANTED}))
def test_without_a_planted_bug_everything_is_green(copied, test):
    done = outcome(copied, test)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "right", "wrong", "test"), [row[1:] for row in PLANTED], ids=[row[0] for row in PLANTED]
)
def test_a_planted_bug_is_found(copied, file, right, wrong, test):
    source = copied / "kernel" / f"{file}.py"
    text = source.read_text()
    assert right in text, "the line to be spoiled has changed: plant the bug anew"
    source.write_text(text.replace(right, wrong))
    done = outcome(copied, test)
    assert done.returncode == 1, done.stdout[-3000:]
    assert "AssertionError" in done.stdout or "assert " in done.stdout
