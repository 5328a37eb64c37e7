"""A sleeve: one strategy version's share of an account. Its index is its row in the books."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType

import numpy as np

from perpdesk.kernel.replay import Mind


@dataclass
class Sleeve:
    """name: the version as stored (``v2``); code: at most four characters of the client ids."""

    index: int
    name: str
    code: str
    mind: Mind
    compiled: ModuleType = field(init=False)
    asked: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.compiled = self.mind.strategy.compiled()
        self.asked = np.zeros(len(self.mind.states), np.int64)
