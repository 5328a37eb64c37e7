"""The picture in docs/simulation.md is true."""

from __future__ import annotations

import re
from pathlib import Path

from tests.kernel.tables import rows, walk

TEXT = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()


def block(name):
    (found,) = re.findall(rf"```{name}\n(.*?)```", TEXT, re.DOTALL)
    return found


def test_the_picture_is_true():
    fills = walk(block("bars"), block("orders"), held=10, at=1000, last=1000, volume_share_ppm=100_000)
    assert fills == rows(block("fills"))
