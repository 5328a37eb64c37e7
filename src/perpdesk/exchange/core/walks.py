"""Fills by the kernel's bar model: every account is alone with the market's path (docs/simulation.md).

A lane is what one account has on one symbol (in hedge mode: on one side of it): orders as the kernel's slots,
and a walk along the bar. The path of a symbol goes on from event to event and stands still at each; where
several accounts have orders, the event that is nearest on the path comes first. Accounts do not meet here:
each has the volume share for itself, and no order moves the price.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perpdesk.exchange.core import conditional, events, margin, matching, settling
from perpdesk.exchange.core import liquidation as forced
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.orders import (
    ER_IOC,
    ER_LIQUIDATION,
    ER_REDUCE_ONLY,
    SIDE_NAMES,
    Conditional,
    Order,
)
from perpdesk.exchange.core.world import World
from perpdesk.kernel import ledger
from perpdesk.kernel import matching as kernel
from perpdesk.kernel.book import is_marketable, touch_trailing
from perpdesk.kernel.records import (
    FAR,
    LIMIT,
    MARKET,
    NONE,
    STOP,
    TAKE_PROFIT,
    TRAILING,
    head_dt,
    slot_dt,
    walk_dt,
    zeros,
)

_KINDS = {
    "STOP": STOP,
    "STOP_MARKET": STOP,
    "TAKE_PROFIT": TAKE_PROFIT,
    "TAKE_PROFIT_MARKET": TAKE_PROFIT,
    "TRAILING_STOP_MARKET": TRAILING,
}
_LAST_RANK = 1 << 60
_WHOLE_POSITION = 1 << 40  # lots of a closePosition order: the kernel cuts it to what is held
_LEVELS = ("fire_lo", "fire_hi", "peak_lo", "peak_hi")

Owner = Order | Conditional


@dataclass(frozen=True, slots=True)
class Stop:
    """The path stands still. at: fill, trigger, open, level, point or liquidation; price: where it stands."""

    at: str
    symbol: str
    price: int
    ms: int
    acted: tuple[dict[str, Any], ...] = ()


class Lane:
    """One account on one symbol and position side. ``owners[i]`` is the order of slot i."""

    def __init__(self, account: int, contract: int, side: str) -> None:
        self.account, self.contract, self.side = account, contract, side
        self.slots: Any = zeros(0, slot_dt)
        self.owners: list[Owner] = []
        self.keys: list[tuple[int, int]] = []
        self.heads: Any = zeros(1, head_dt)
        self.walks: Any = zeros(1, walk_dt)
        for name in ("lo", "fire_lo", "peak_lo", "liquidation_lo"):
            self.heads[name] = -FAR
        for name in ("hi", "fire_hi", "peak_hi", "liquidation_hi"):
            self.heads[name] = FAR

    @property
    def head(self) -> Any:
        """The kernel's record of its levels."""
        return self.heads[0]

    @property
    def walk(self) -> Any:
        """The kernel's record of where its path stands."""
        return self.walks[0]

    def put(self, owner: Owner, key: tuple[int, int], slot: Any) -> None:
        """A slot at the place of its rank."""
        insort(self.keys, key)
        i = self.keys.index(key)
        self.owners.insert(i, owner)
        self.slots = np.insert(np.asarray(self.slots), i, slot).view(np.recarray)

    def drop(self, i: int) -> None:
        """Take a slot away."""
        del self.owners[i], self.keys[i]
        self.slots = np.delete(np.asarray(self.slots), i).view(np.recarray)

    def place_of(self, owner: Owner) -> int:
        """Its slot; -1: it has none."""
        return next((i for i, one in enumerate(self.owners) if one is owner), -1)

    def refresh(self) -> None:
        """The price band inside which nothing acts."""
        kernel.band(self.slots, self.head)


@dataclass
class Walks:
    """All lanes of a world. ``closes``: each symbol's last close, by which other positions are valued."""

    world: World
    volume_share_ppm: int
    slippage_ppm: int
    lanes: dict[tuple[int, int, str], Lane] = field(default_factory=dict)
    by_symbol: dict[int, list[Lane]] = field(default_factory=dict)
    closes: dict[int, int] = field(default_factory=dict)
    ranks: dict[tuple[int, str], int] = field(default_factory=dict)
    under_way: int = -1
    _firing: Conditional | None = None
    _acting: Owner | None = None
    _gone: list[Owner] = field(default_factory=list)

    def lane(self, account: int, contract: int, side: str) -> Lane:
        """Made on first use; a symbol whose path is under way is joined where it stands."""
        found = self.lanes.get((account, contract, side))
        if found is None:
            found = self.lanes[account, contract, side] = Lane(account, contract, side)
            together = self.by_symbol.setdefault(contract, [])
            if self.under_way == contract and together:
                found.walks[0] = together[0].walks[0]
                found.walk.budget_lots = self._budget(account, contract)
            together.append(found)
            together.sort(key=lambda one: (one.account, one.side))
        return found

    def _budget(self, account: int, contract: int) -> int:
        mine = [one for one in self.by_symbol[contract] if one.account == account]
        return int((mine or self.by_symbol[contract])[0].walk.budget_lots)

    # -- orders ------------------------------------------------------------------------------

    def enter(self, order: Order, now_ms: int) -> None:
        """An accepted ordinary order goes into its lane; the child of a trigger trades at once."""
        lane = self.lane(order.account, order.contract, order.position_side)
        market = self.world.market_of(order)
        if self._firing is not None and order.algo == self._firing.id:
            self._inherit(lane, order)
            return
        self.forget(order)
        slot = zeros(1, slot_dt)[0]
        slot.kind = LIMIT if order.type == "LIMIT" else MARKET
        slot.side, slot.price, slot.lots = order.side, order.price, order.lots - order.filled
        slot.reduce_only = int(order.reduce_only or order.closes)
        if order.type == "LIMIT":
            slot.crossing = int(is_marketable(order.side, order.price, market.last))
            if order.tif in ("IOC", "FOK") and not slot.crossing:
                settling.end_order(self.world, order, "EXPIRED", "EXPIRED", ER_IOC, now_ms)
                return
            market.rest(order)
        self._place(lane, order, slot, market.last)

    def wait(self, algo: Conditional) -> None:
        """A conditional order goes into its lane."""
        lane = self.lane(algo.account, algo.contract, algo.position_side)
        slot = zeros(1, slot_dt)[0]
        slot.kind, slot.side, slot.price = _KINDS[algo.type], algo.side, algo.trigger
        slot.lots = _WHOLE_POSITION if algo.close_position else algo.lots
        slot.reduce_only = int(algo.reduce_only or self._closes(algo))
        if algo.type == conditional.TRAILING:
            slot.activation = algo.activation if algo.activation_given else 0
            slot.callback_ppm = algo.callback_ppm
        self._place(lane, algo, slot, self.world.market_of(algo).last)

    def _closes(self, algo: Conditional) -> bool:
        hedge = self.world.accounts[algo.account].hedge
        return hedge and algo.side == (-1 if algo.position_side == "LONG" else 1)

    def _place(self, lane: Lane, owner: Owner, slot: Any, last: int) -> None:
        rank = self.ranks.get((owner.account, owner.client_id), _LAST_RANK)
        number = owner.seq if isinstance(owner, Order) else self.world.next_seq()
        lane.put(owner, (rank, number), slot)
        touch_trailing(lane.slots, last)
        lane.refresh()

    def forget(self, owner: Owner) -> None:
        """An order has ended: its slot goes."""
        if self._acting is not None:
            self._gone.append(owner)  # slots keep their places until the event is over
            return
        lane = self.lanes.get((owner.account, owner.contract, owner.position_side))
        i = lane.place_of(owner) if lane is not None else -1
        if lane is not None and i >= 0:
            lane.drop(i)
            lane.refresh()

    def rank(self, account: int, ranks: dict[str, int]) -> None:
        """Who acts first at one price: lower ranks do, before all orders without one."""
        self.ranks.update({(account, client_id): rank for client_id, rank in ranks.items()})
        for lane in self.lanes.values():
            if lane.account == account:
                self._sort(lane)

    def _sort(self, lane: Lane) -> None:
        keys = [
            (self.ranks.get((lane.account, owner.client_id), _LAST_RANK), number)
            for owner, (_, number) in zip(lane.owners, lane.keys, strict=True)
        ]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        lane.keys = [keys[i] for i in order]
        lane.owners = [lane.owners[i] for i in order]
        lane.slots = np.asarray(lane.slots)[order].view(np.recarray)

    def watch(self, account: int, contract: int, levels: dict[str, int]) -> None:
        """At which prices the path of a symbol is to stand still for this account; missing ones: nowhere."""
        hedge = self.world.accounts[account].hedge
        lane = self.lane(account, contract, "LONG" if hedge else "BOTH")
        for name in _LEVELS:
            lane.heads[name] = levels.get(name, -FAR if name.endswith("lo") else FAR)
        lane.refresh()

    # -- the path ----------------------------------------------------------------------------

    def begin(self, contract: int, bar: Any, every_point: bool = False) -> None:
        """The path of a bar, all lanes at its start. every_point: also where nobody has an order."""
        if every_point and not self.by_symbol.get(contract):
            self.lane(0, contract, "LONG" if self.world.accounts[0].hedge else "BOTH")
        self.under_way = contract
        last = self.closes.get(contract, 0) or int(bar.open)
        for lane in self.by_symbol.get(contract, ()):
            kernel.begin(lane.walk, last, bar, self.volume_share_ppm)

    def end(self, contract: int, bar: Any) -> None:
        """The bar is over: its close is the last price."""
        self.closes[contract] = int(bar.close)
        self.under_way = -1
        self._show(contract, int(bar.close))

    def go_on(self, contract: int, every_point: bool) -> Stop | None:
        """To the next event at which somebody can act; None: the bar's end. Limits that a jump crosses fill
        one after another, and the path stands still once, at the open."""
        acted: list[dict[str, Any]] = []
        symbol = self.world.contracts[contract].symbol
        while True:
            lane, code = self._next(contract, every_point)
            if lane is None:
                return None
            walk = lane.walk
            price, ms = int(walk.cursor), int(walk.ms)
            self._show(contract, price)
            if code == kernel.LIQUIDATION:
                return Stop("liquidation", symbol, price, ms, (self._liquidate(lane),))
            if code < 0:
                at = "level" if code == kernel.FIRE else "open" if acted else "point"
                return Stop(at, symbol, price, ms, tuple(acted))
            row = self._act(lane, code)
            acted.append(row)
            if not walk.jump:
                return Stop("trigger" if row["lots"] == 0 else "fill", symbol, price, ms, tuple(acted))

    def _next(self, contract: int, every_point: bool) -> tuple[Lane | None, int]:
        together = self.by_symbol.get(contract, [])
        if len(together) > 1:
            best: tuple[tuple[int, int, int], Lane] | None = None
            for number, lane in enumerate(together):
                place = _peek(lane, every_point)
                if place is not None and (best is None or (*place, number) < best[0]):
                    best = (*place, number), lane
            if best is None:
                return None, kernel.DONE
            lane = best[1]
            code = int(kernel.step_path(lane.slots, lane.head, lane.walk, every_point))
            for other in together:
                if other is not lane:
                    _follow(other, lane.walk)
            return lane, code
        for lane in together:
            code = int(kernel.step_path(lane.slots, lane.head, lane.walk, every_point))
            if code != kernel.DONE:
                return lane, code
        return None, kernel.DONE

    def tell_activations(self) -> None:
        """Trailing orders that have become active since they were last looked at."""
        for lane in self.lanes.values():
            for owner, slot in zip(lane.owners, lane.slots, strict=True):
                if isinstance(owner, Conditional):
                    self._tell_activation(owner, int(slot.extreme), int(lane.walk.ms))

    def _tell_activation(self, algo: Conditional, extreme: int, ms: int) -> None:
        if algo.extreme == 0 and extreme:
            algo.extreme, algo.updated_ms = extreme, ms
            events.algo_update(self.world, algo, ms, activated=True)

    def _show(self, contract: int, price: int) -> None:
        """Everybody sees where the path stands."""
        market = self.world.markets[contract]
        if market.last == price:
            return
        market.last = market.mark = market.index = price
        market.depth.move(price)
        self.world.moved.add(contract)
        market.update_id += 1

    # -- what acts ---------------------------------------------------------------------------

    def _act(self, lane: Lane, i: int) -> dict[str, Any]:
        owner = lane.owners[i]
        ms = int(lane.walk.ms)
        market = self.world.markets[lane.contract]
        market.updated_ms = ms
        before = len(self.world.accounts[lane.account].fills)
        self._acting = owner
        if isinstance(owner, Conditional):
            self._tell_activation(owner, int(lane.slots[i].extreme), ms)
            self._firing = owner
            conditional.fire(self.world, market, owner, ms)
            self._firing = None
        else:
            self._trade(lane, i, owner, ms)
        self._acting = None
        now = lane.owners[i]
        if not now.is_open:
            lane.drop(i)
        gone, self._gone = self._gone, []
        for one in gone:
            self.forget(one)
        self.relevel(lane)
        return self._told(lane, now, before)

    def _inherit(self, lane: Lane, order: Order) -> None:
        """The child takes its algo order's slot, and trades where the path stands."""
        assert self._firing is not None
        i = lane.place_of(self._firing)
        lane.owners[i] = order
        slot, walk = lane.slots[i], lane.walk
        if order.type == "LIMIT":
            slot.kind, slot.price, slot.lots = LIMIT, order.price, order.lots
            slot.activation = slot.callback_ppm = slot.extreme = 0
            slot.crossing = int(is_marketable(order.side, order.price, int(walk.cursor)))
            self.world.market_of(order).rest(order)
            return
        slot.lots = min(int(slot.lots), order.lots)
        self._trade(lane, i, order, int(walk.ms))

    def _trade(self, lane: Lane, i: int, order: Order, ms: int) -> None:
        slot, walk = lane.slots[i], lane.walk
        account, market = self.world.accounts[lane.account], self.world.markets[lane.contract]
        position = account.position(lane.contract, lane.side)
        record = market.contract.record
        found = kernel.execute(slot, walk, position.lots, record, self.slippage_ppm)
        lots, price, taker = (int(value) for value in found)
        if lots > 0:
            for other in self.by_symbol[lane.contract]:
                if other.account == lane.account:
                    other.walk.budget_lots -= lots
            if walk.jump:
                walk.dirty = 1
            matching.trade(
                self.world, market, order if taker else None, None if taker else order, price, lots, ms
            )
        kernel.after_execution(slot, lots, position.lots, walk.ms)
        if order.is_open and slot.kind == NONE:
            settling.end_order(self.world, order, "EXPIRED", "EXPIRED", ER_REDUCE_ONLY, ms)
        elif order.is_open and order.tif in ("IOC", "FOK"):
            settling.end_order(self.world, order, "EXPIRED", "EXPIRED", ER_IOC, ms)
        settling.finish_algo(self.world, order, ms)

    def _told(self, lane: Lane, order: Owner, before: int) -> dict[str, Any]:
        """What happened, for whoever drives the path."""
        fills = self.world.accounts[lane.account].fills[before:]
        contract = self.world.contracts[lane.contract]
        row = {
            "account": lane.account,
            "symbol": contract.symbol,
            "client_id": order.client_id,
            "side": SIDE_NAMES[order.side],
            "position_side": lane.side,
            "lots": 0,
            "in_jump": bool(lane.walk.jump),
            "ms": int(lane.walk.ms),
        }
        for fill in fills:
            row |= {
                "lots": fill["lots"],
                "qty": contract.qty_text(fill["lots"]),
                "price": contract.price_text(fill["price"]),
                "fee_e8": fill["fee_e8"],
                "taker": not fill["maker"],
                "trade_id": fill["id"],
                "order_id": fill["orderId"],
            }
        return row

    # -- liquidation -------------------------------------------------------------------------

    def _liquidate(self, lane: Lane) -> dict[str, Any]:
        """The whole position at once, with slippage; the symbol's orders end, the fund bears the rest."""
        world, account = self.world, self.world.accounts[lane.account]
        market, ms = world.markets[lane.contract], int(lane.walk.ms)
        position = account.position(lane.contract, lane.side)
        before = len(account.fills)
        end_symbol(world, account, lane.contract, ms)
        side, lots = (-1 if position.lots > 0 else 1), abs(position.lots)
        record = market.contract.record
        price = int(kernel.slipped(side, int(lane.walk.cursor), self.slippage_ppm, market.contract.tick))
        notional = market.contract.notional_e8(price, lots)
        fee = int(ledger.fee_e8(notional, int(record.taker_ppm) + int(record.liquidation_fee_ppm)))
        isolated = account.of(lane.contract).isolated
        backing = position.margin_e8 if isolated else margin.cross_wallet_e8(account)
        order = forced.take_over(world, account, position, lots, price, fee, backing, ms)
        self.relevel(lane)
        return self._told(lane, order, before)

    def relevel(self, lane: Lane) -> None:
        """Liquidation prices and bands after anything that moves them."""
        account = self.world.accounts[lane.account]
        for other in self.lanes.values():
            if other.account == lane.account and (other is lane or self._is_cross_held(account, other)):
                self._relevel_one(account, other)

    def relevel_all(self) -> None:
        """The minute is over (or a setting has changed): everybody's levels by the newest closes."""
        for lane in self.lanes.values():
            self._relevel_one(self.world.accounts[lane.account], lane)

    def _is_cross_held(self, account: Account, lane: Lane) -> bool:
        position = account.positions.get((lane.contract, lane.side))
        return position is not None and position.lots != 0 and not account.of(lane.contract).isolated

    def _relevel_one(self, account: Account, lane: Lane) -> None:
        position = account.position(lane.contract, lane.side)
        contract = self.world.contracts[lane.contract]
        if account.of(lane.contract).isolated or position.lots == 0:
            wallet = position.margin_e8
        else:
            wallet = margin.cross_wallet_e8(account)
            for other in account.held():
                if other is position or account.of(other.contract).isolated:
                    continue
                there = self.world.contracts[other.contract]
                price = self.closes.get(other.contract, 0)
                notional = abs(other.lots) * price * there.unit_e8
                wallet += int(ledger.unrealised_e8(other.record, there.record, price))
                wallet -= int(ledger.maintenance_e8(there.record, notional))
        ledger.relevel(position.record, contract.record, lane.head, wallet)
        lane.refresh()


def end_symbol(world: World, account: Account, contract: int, now_ms: int) -> None:
    """A liquidation ends every order of the symbol, waiting ones too."""
    for order in list(account.open_orders.values()):
        if order.contract == contract and order.is_open:
            settling.end_order(world, order, "EXPIRED", "EXPIRED", ER_LIQUIDATION, now_ms)
    for algo in list(account.open_algos.values()):
        if algo.contract == contract:
            settling.end_algo(world, algo, "EXPIRED", now_ms)


def _peek(lane: Lane, every_point: bool) -> tuple[int, int] | None:
    """(leg, way along it) of the next event of a lane; nothing is changed."""
    heads, walks = lane.heads.copy(), lane.walks.copy()
    slots = lane.slots.copy()
    if kernel.step_path(slots, heads[0], walks[0], every_point) == kernel.DONE:
        return None
    walk = walks[0]
    starts = (int(walk.cursor), int(walk.p0), int(walk.p1), int(walk.p2), int(walk.p3))
    leg = min(int(walk.leg), 4)
    return leg, abs(int(walk.cursor) - starts[leg])


def _follow(lane: Lane, walk: Any) -> None:
    """Bring a lane without an event on the way to where the path stands."""
    mine = lane.walk
    if (mine.leg, mine.cursor) == (walk.leg, walk.cursor):
        return
    ends = (int(walk.p0), int(walk.p1), int(walk.p2), int(walk.p3))
    if (
        mine.leg == 0 and walk.leg > 0
    ):  # limits that were marketable at the close and are not at the open rest
        for slot in lane.slots:
            if slot.crossing and not is_marketable(slot.side, slot.price, ends[0]):
                slot.crossing = 0
    passed = ends[int(mine.leg) : int(walk.leg)]
    mine.leg, mine.cursor, mine.ms = walk.leg, walk.cursor, walk.ms
    mine.asked = 0
    for price in (*passed, int(walk.cursor)):
        touch_trailing(lane.slots, price)
    lane.refresh()
