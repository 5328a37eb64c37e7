"""What a user's run puts into the ledger."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from perpdesk.domain.volume_books import VolumeHalt
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.volume import records
from perpdesk.engine.volume.ledger import Ledger
from perpdesk.engine.volume.seat import Birth, Seat
from perpdesk.strategies.volume_target.modes import CountSide
from perpdesk.strategies.volume_target.pair import Pair
from perpdesk.strategies.volume_target.run import Run
from perpdesk.strategies.volume_target.volume import Day


class Rows:
    """Rows of one seat; they are durable when ``Ledger.settled`` returns."""

    def __init__(self, ledger: Ledger, alarms: Alarms, seat: Seat, side: CountSide) -> None:
        self._ledger, self._alarms, self._seat, self._side = ledger, alarms, seat, side

    def run(self, before: Run | None, after: Run, day_loss: Decimal, config_hash: str, epoch: int) -> None:
        """The run, if more than its time has changed, and its day."""
        if before is not None and replace(before, now_ms=after.now_ms) == after:
            return
        seat = self._seat
        row = records.run_row(
            after,
            run_id=seat.run_id,
            strategy_id=seat.strategy_id,
            user_id=seat.user_id,
            token_key=seat.token_key,
            config_hash=config_hash,
            created_ms=seat.created_ms,
            lease_epoch=epoch,
        )
        self._ledger.put(seat.user_id, row)
        if before is not None and before.day != after.day:
            self.day(after.day, day_loss, new=before.day.day != after.day.day)

    def day(self, day: Day, loss: Decimal, *, new: bool = False) -> None:
        """What the user has traded and lost on a day."""
        seat = self._seat
        row = records.day_row(day, loss, seat.user_id, seat.token_key)
        self._ledger.put(seat.user_id, row, new=new)

    def pair(self, before: Pair | None, after: Pair, birth: Birth) -> None:
        """The pair with its orders and executions, as far as they have changed."""
        if before is not None and _says_the_same(before, after):
            return
        seat, ledger = self._seat, self._ledger
        row = records.pair_row(
            after,
            run_id=birth.run_id,
            seq=birth.seq,
            user_id=seat.user_id,
            token_key=seat.token_key,
            side=self._side,
            created_ms=birth.created_ms,
        )
        ledger.put(seat.user_id, row, new=before is None)
        known = {} if before is None else {order.client_id: order for order in before.orders}
        for order in after.orders:
            if known.get(order.client_id) != order:
                made = records.order_row(after, order, seat.user_id, seat.token_key)
                ledger.put(seat.user_id, made, new=order.client_id not in known)
        for fill in records.new_fills(before, after, seat.user_id, seat.token_key):
            ledger.put(seat.user_id, fill, new=True)

    def reading(self, day: int, displayed: Decimal | None, error: str | None, now_ms: int) -> None:
        """What the counter has shown, or why it could not be read."""
        seat = self._seat
        row = records.reading_row(seat.user_id, seat.token_key, day, displayed, error, now_ms)
        self._ledger.put(seat.user_id, row, new=True)

    def halt(self, run: Run) -> None:
        """Why the run was halted; it alarms too."""
        seat = self._seat
        reason = f"{run.reason.value} {run.detail}".strip()[:80]
        row = VolumeHalt(
            strategy_id=seat.strategy_id, user_id=seat.user_id, since_ms=run.now_ms, reason=reason
        )
        self._ledger.put(seat.user_id, row, new=True)
        self._alarms.sound(
            "VOLUME_HALTED",
            f"{seat.strategy_id} user {seat.user_id}: {reason}; `perpdesk volume resume --user "
            f"{seat.user_id}` lets it go on",
            key=f"{seat.strategy_id}/{seat.user_id}",
        )


def _says_the_same(before: Pair, after: Pair) -> bool:
    """Has nothing changed but the time and the last bid, which a restart does not need?"""
    if before is after:
        return True
    return replace(before, now_ms=after.now_ms, bid=after.bid, bid_ms=after.bid_ms) == after
