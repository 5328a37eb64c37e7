"""The compiled walk against an oracle that moves the price one unit at a time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.oracle import Oracle, Order
from tests.kernel.tables import desk, instrument_records, place

from perpdesk.kernel.records import SLOT_OWN

sides = st.sampled_from([1, -1])
prices = st.integers(960, 1040)


@st.composite
def bars(draw):
    open_, close, *extremes = draw(st.lists(prices, min_size=4, max_size=4))
    high, low = max(open_, close, *extremes), min(open_, close, *extremes)
    return open_, high, low, close, draw(st.sampled_from([0, 5, 20, 40, 1000]))


@st.composite
def orders(draw):
    kind = draw(st.sampled_from(["MARKET", "LIMIT", "LIMIT", "LIMIT", "STOP", "TAKE_PROFIT", "TRAILING"]))
    order = Order("", kind, draw(sides), draw(st.integers(1, 12)))
    if kind != "MARKET":
        order.price = draw(prices)
    if kind == "TRAILING":
        order.callback_ppm = draw(st.sampled_from([5_000, 10_000, 20_000]))
    order.reduce = kind not in ("MARKET", "LIMIT") or draw(st.booleans())
    return order


def row_of(order):
    side = "BUY" if order.side > 0 else "SELL"
    tail = " reduce" if order.reduce else ""
    if order.kind == "MARKET":
        return f"MARKET {side} {order.lots}{tail}"
    if order.kind == "TRAILING":
        return f"TRAILING {side} {order.lots} arm {order.price} back {order.callback_ppm / 10_000}%"
    return f"{order.kind} {side} {order.lots} @ {order.price}{tail}"


@given(
    st.lists(bars(), min_size=1, max_size=5),
    st.lists(orders(), min_size=1, max_size=6),
    prices,
    st.integers(-15, 15),
    st.sampled_from([1, 5]),
    st.sampled_from([0, 1_000]),
    st.sampled_from([0, 0, 100_000, 500_000]),
    st.booleans(),
)
@settings(max_examples=400)
def test_the_walk_fills_what_the_oracle_fills(table, wanted, last, held, tick, slippage, share, skip):
    run = desk(
        last=last,
        skip=skip,
        instruments=instrument_records(tick=tick),
        slippage_ppm=slippage,
        volume_share_ppm=share,
        cash=10_000,
    )
    if held:
        run.hold(held, 1000, leverage=1)  # no liquidation within these prices
    for k, order in enumerate(wanted):
        place(run.slot(SLOT_OWN + k), row_of(order), last)
        order.name = chr(ord("a") + k)
    run.refresh()
    run.play("\n".join(" ".join(map(str, bar)) for bar in table))

    oracle = Oracle(list(wanted), last, held, tick, slippage, share)
    assert run.fills() == oracle.run(table)
    assert run.position().lots == oracle.held
