"""What score_v2 can be told, as one record."""

from __future__ import annotations

from typing import Any

import numpy as np

from perpdesk.kernel.records import zeros
from perpdesk.strategies.score_rules.params import COMMON_FIELDS, check, fill_common

params_dt = np.dtype([*COMMON_FIELDS, ("min_score", "f8")], align=True)


def params_record(
    *, min_score: float = 60.0, scan_interval_ms: int = 600_000, scan_offset_ms: int = 120_000, **common: Any
) -> np.recarray:
    """One params record (shape (1,)).

    min_score: of 100, the same for both sides. The rest: see ``score_rules.params.fill_common``.

    Raises ValueError naming the parameter that is out of its range.
    """
    record = zeros(1, params_dt)
    fill_common(
        record, "score_v2", scan_interval_ms=scan_interval_ms, scan_offset_ms=scan_offset_ms, **common
    )
    check("score_v2", "min_score", min_score, 0 < min_score <= 100, "above 0 and at most 100")
    record.min_score = min_score
    return record
