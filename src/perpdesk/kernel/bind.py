"""One module of compiled code per strategy.

numba cannot cache across processes a function that takes functions, so the loop's source is loaded
once per strategy under its own module name, with the strategy's functions as module globals. Its cache
index knows a function by file and signature only: two strategies with equal record types would get each
other's code, therefore each has its own cache folder.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import njit

from perpdesk.kernel import cache


@njit(cache=True)
def observe_nothing(params, shared, bars):
    """For a strategy that looks at one symbol at a time."""


_TEMPLATE = Path(__file__).with_name("loop.py")


def bind(
    name: str,
    *,
    advance: Callable[..., Any],
    want: Callable[..., Any],
    observe: Callable[..., Any] | None = None,
    opens: bool = False,
) -> ModuleType:
    """The loop compiled for one strategy; the same module for the same name and functions.

    Raises ValueError if the name is already bound to other functions.
    """
    full_name = f"perpdesk.kernel.bound.{name}"
    functions = {
        "advance": advance,
        "want": want,
        "observe": observe or observe_nothing,
        "OBSERVES": observe is not None,
        "OPENS": opens,
    }
    if full_name in sys.modules:
        module = sys.modules[full_name]
        if any(getattr(module, key) is not value for key, value in functions.items()):
            raise ValueError(
                f"strategy name {name!r} is already bound to other functions; choose another name"
            )
        return module
    spec = importlib.util.spec_from_file_location(full_name, _TEMPLATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    vars(module).update(functions)
    cache.enter(name)
    try:
        spec.loader.exec_module(module)
    finally:
        cache.enter("shared")
    sys.modules[full_name] = module
    return module
