"""Volume-spread signals: the table of the specification, its mirror image, and what becomes of a signal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.strategies.grid.series import AS_OF_MS, HASH, QUARTER_MS, bars_of, mirrored

from perpdesk.kernel.intervals import rows as rows_of
from perpdesk.strategies.grid.params import TriggerParams
from perpdesk.strategies.grid.trigger import BAR_MS, Event, confirm, judge_bar, status_at
from perpdesk.strategies.grid.zones import RESISTANCE, SUPPORT, Zone

BASE = (10_000, 10_010, 9990, 10_000, 100)
SUPPORT_ZONE = Zone(
    id="zone",
    symbol="BTCUSDT",
    kind="S1",
    side=SUPPORT,
    centre=9960,
    lo=9910,
    hi=10_010,
    strength=1.0,
    confidence=70,
    ma_adjusted=False,
    kmeans_ok=True,
    valid_from_ms=AS_OF_MS - 6 * 3_600_000,
    expires_ms=AS_OF_MS + 60_000,
    params_hash=HASH,
)
RESISTANCE_ZONE = replace(SUPPORT_ZONE, id="above", kind="R1", side=RESISTANCE)
SHORT_OF = {
    "SPRING": "UPTHRUST",
    "SHAKEOUT": "UPTHRUST_HIGH_VOLUME",
    "SELLING_CLIMAX": "BUYING_CLIMAX",
    "STOPPING_VOLUME": "SUPPLY_COMING_IN",
    "TEST": "FAILED_TEST",
    "NO_SUPPLY": "NO_DEMAND",
}


def judged(bar, *, base=BASE, volume_160=False, ago=0, event=0, zones=(SUPPORT_ZONE,), mirror=False):
    table = [base] * 70
    if volume_160:
        table[30] = (*base[:4], 160)
    bars = bars_of([*table, bar])
    if mirror:
        bars, event = mirrored(bars, 9960), 2 * 9960 - event
    side = RESISTANCE if mirror else SUPPORT
    events = (Event(AS_OF_MS - QUARTER_MS - ago * BAR_MS, side, event),) if ago else ()
    return judge_bar(
        rows_of(bars), (RESISTANCE_ZONE,) if mirror else zones, events, TriggerParams(), symbol="BTCUSDT",
        params_hash=HASH,
    )  # fmt: skip


VECTORS = [
    ((9960, 9965, 9900, 9950, 70), {}, ("SPRING",)),
    ((9960, 9965, 9900, 9950, 71), {}, ()),
    ((9960, 9965, 9900, 9910, 70), {}, ()),
    ((9960, 9965, 9900, 9932, 70), {}, ()),
    ((9960, 9964, 9900, 9932, 70), {}, ("SPRING",)),
    ((9990, 10_000, 9900, 9975, 150), {"volume_160": True}, ("SHAKEOUT",)),
    ((9990, 10_000, 9900, 9975, 150), {}, ("SELLING_CLIMAX", "SHAKEOUT")),
    ((9990, 9995, 9960, 9985, 180), {}, ("STOPPING_VOLUME",)),
    ((9990, 9995, 9960, 9985, 179), {}, ()),
    ((9990, 9995, 9940, 9980, 180), {}, ("SELLING_CLIMAX", "STOPPING_VOLUME")),
    ((9990, 9995, 9895, 9930, 250), {}, ("SELLING_CLIMAX",)),
    ((9990, 9995, 9895, 9929, 250), {}, ()),
    ((9960, 9965, 9920, 9950, 70), {"ago": 3, "event": 9900}, ("TEST",)),
    ((9960, 9965, 9920, 9950, 70), {"ago": 9, "event": 9900}, ()),
    ((9960, 9965, 9929, 9950, 70), {"ago": 8, "event": 9900}, ("TEST",)),
    ((9960, 9975, 9930, 9955, 70), {"ago": 8, "event": 9900}, ()),
    ((9996, 9998, 9985, 9990, 60), {"ago": 20, "event": 9900}, ("NO_SUPPLY",)),
    ((9996, 9998, 9985, 9990, 60), {"ago": 21, "event": 9900}, ()),
    ((9960, 9965, 9711, 9950, 70), {}, ("SPRING",)),
    ((9960, 9965, 9710, 9950, 70), {}, ()),
    ((10_012, 10_020, 10_011, 10_015, 300), {}, ()),
    ((9960, 9965, 9900, 9950, 70), {"base": (*BASE[:4], 0)}, ()),
]


@pytest.mark.parametrize(("bar", "given", "rules"), VECTORS)
def test_24_long(bar, given, rules):
    signal = judged(bar, **given).signal
    assert (signal.matched() if signal else ()) == rules
    if signal:
        assert signal.rule == rules[0]
        assert (signal.zone.id, signal.side) == ("zone", 1)


@pytest.mark.parametrize(("bar", "given", "rules"), VECTORS)
def test_24_short_is_the_mirror_image(bar, given, rules):
    signal = judged(bar, mirror=True, **given).signal
    assert (signal.matched() if signal else ()) == tuple(SHORT_OF[rule] for rule in rules)
    if signal:
        assert (signal.zone.id, signal.side) == ("above", -1)


def test_a_signal_names_its_numbers():
    signal = judged(VECTORS[0][0]).signal
    assert (signal.bar_close_ms, signal.low, signal.high, signal.close) == (AS_OF_MS, 9900, 9965, 9950)
    assert (signal.range_ticks, signal.volume_lots, signal.range_sum, signal.volume_sum) == (
        65,
        70,
        400,
        2000,
    )
    assert signal.expires_ms == AS_OF_MS + 3_600_000


def test_a_shakeout_alone_is_not_tradable_but_is_remembered():
    judgement = judged(VECTORS[5][0], volume_160=True)
    assert not judgement.signal.tradable
    assert judgement.events == (Event(AS_OF_MS - BAR_MS, SUPPORT, 9900),)
    assert judged(VECTORS[6][0]).signal.tradable


def test_both_sides_on_one_bar_are_a_conflict():
    bar = (9960, 10_030, 9890, 9960, 70)  # through both edges on low volume, closed in the middle
    judgement = judged(bar, zones=(SUPPORT_ZONE, RESISTANCE_ZONE))
    assert (judgement.outcome, judgement.signal) == ("CONFLICT", None)
    assert {event.side for event in judgement.events} == {SUPPORT, RESISTANCE}


def test_of_several_zones_the_more_trusted_one_is_named():
    better = replace(SUPPORT_ZONE, id="better", kind="S2", confidence=71)
    doubtful = replace(SUPPORT_ZONE, id="doubtful", confidence=39)
    expired = replace(SUPPORT_ZONE, id="expired", confidence=99, expires_ms=AS_OF_MS)
    future = replace(SUPPORT_ZONE, id="future", confidence=99, valid_from_ms=AS_OF_MS)
    zones = (SUPPORT_ZONE, better, doubtful, expired, future)
    assert judged(VECTORS[0][0], zones=zones).signal.zone.id == "better"
    assert judged(VECTORS[0][0], zones=(doubtful, expired, future)).outcome == "NOTHING"


def test_history():
    bars = bars_of([BASE] * 70)
    rows = rows_of(bars)

    def outcome(rows):
        return judge_bar(
            rows, (SUPPORT_ZONE,), (), TriggerParams(), symbol="BTCUSDT", params_hash=HASH
        ).outcome

    assert outcome(rows[-59:]) == "WARM_UP"
    assert outcome(np.delete(rows, 60, axis=0)) == "GAP"
    assert outcome(np.delete(rows, 5, axis=0)) == "NOTHING"


@pytest.mark.parametrize(("close", "status"), [(9900, "CONFIRMED"), (9899, "REJECTED")])
def test_confirmation(close, status):
    signal = judged(VECTORS[0][0]).signal
    assert confirm(signal, close) == status
    assert status_at(signal, None, AS_OF_MS + BAR_MS - 1) == "PENDING"
    assert status_at(signal, close, AS_OF_MS + BAR_MS) == status
    late = "EXPIRED" if status == "CONFIRMED" else "REJECTED"
    assert status_at(signal, close, AS_OF_MS + 4 * BAR_MS) == late
    short = judged(VECTORS[0][0], mirror=True).signal
    assert confirm(short, 2 * 9960 - close) == status
