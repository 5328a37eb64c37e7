"""After the rehearsal nothing that a live desk calls is compiled any more."""

from __future__ import annotations

from types import ModuleType

from perpdesk.app import sleeves_of
from perpdesk.config.load import loads
from perpdesk.kernel import venue as doors
from perpdesk.service.rehearsal import rehearse

# What engine/engine.py and engine/live_engine.py call of a strategy's compiled module.
CALLED = (
    "advance_step",
    "react",
    "book_fill",
    "book_outside",
    "book_trigger",
    "book_difference",
    "book_funding",
    "book_funding_amount",
    "close_step",
    "unrealised_now",
)


def compiled_of(module: ModuleType) -> dict[str, int]:
    """How many signatures of each function are compiled in this process."""
    return {name: len(getattr(module, name).signatures) for name in CALLED}


def test_every_function_that_a_desk_calls_is_there() -> None:
    loaded = loads("")
    (sleeve,) = sleeves_of(loaded, ["sma_cross"])
    rehearse(loaded, [sleeve])
    module = sleeve.strategy.compiled()
    once = compiled_of(module)
    assert all(once.values()), once
    assert doors.differences.signatures
    assert doors.levels.signatures
    rehearse(loaded, [sleeve])
    assert compiled_of(module) == once
