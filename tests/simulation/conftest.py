"""A simulated death leaves coroutines behind that nobody will ever await: they are no fault of a later test."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator

import pytest

from perpdesk.simulation.database import Files, files

pytest.register_assert_rewrite("tests.simulation.scene")


@pytest.fixture(autouse=True, scope="module")
def _the_dead_are_buried() -> Iterator[None]:
    told = sys.unraisablehook

    def hook(found: sys.UnraisableHookArgs) -> None:
        if not (isinstance(found.exc_value, RuntimeWarning) and "never awaited" in str(found.exc_value)):
            told(found)

    sys.unraisablehook = hook
    try:
        yield
        gc.collect()
    finally:
        sys.unraisablehook = told


@pytest.fixture(scope="module")
def folder() -> Iterator[Files]:
    """Where the databases of a module's worlds are."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with files() as found:
        yield found
    logging.disable(before)
