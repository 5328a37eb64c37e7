"""Points, weights and shares that must add up."""

from __future__ import annotations

from decimal import Decimal

from perpdesk.kernel.ladder import ladder_lots
from perpdesk.kernel.records import zeros
from perpdesk.research.explain import Scale, lines_v2, lines_v3
from perpdesk.research.scanner import SCORERS
from perpdesk.strategies.score_v2 import STRATEGY as V2
from perpdesk.strategies.score_v3 import STRATEGY as V3
from perpdesk.strategies.score_v3.regime import BIG4, WEIGHTS_PERCENT


def test_the_four_coins_weigh_a_hundred_percent() -> None:
    assert len(WEIGHTS_PERCENT) == len(BIG4) == 4
    assert sum(WEIGHTS_PERCENT) == 100


def test_the_dimensions_of_a_score_add_up_to_its_highest() -> None:
    scale = Scale(2, Decimal("0.001"))
    for strategy, lines in ((V2, lines_v2), (V3, lines_v3)):
        made = list(lines(zeros(1, strategy.state_dt)[0], scale))
        assert sum(line.most for line in made if line.level == 0) == SCORERS[strategy.name].score_max
        whole = None
        for line in [*made, None]:
            if line is None or line.level == 0:
                assert whole is None or whole[1] in (0, whole[0].most), whole
                whole = None if line is None else (line, 0)
            elif whole is not None:
                whole = (whole[0], whole[1] + line.most)


def test_batches_add_up_to_the_entry() -> None:
    for lots in range(1, 500):
        assert sum(ladder_lots(lots, 1, 1, 0)) in (0, lots)
