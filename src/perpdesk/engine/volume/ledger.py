"""What is stored: rows of many users in one commit, each user's in order, durable before the wire.

``put`` notes rows, ``settled`` waits until they are committed. Only the newest form of a row is written. A
user whose rows are refused fails alone: the others' rows of that commit are written again without them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from perpdesk.domain.books import BooksContradiction
from perpdesk.domain.errors import InternalError, PerpdeskError
from perpdesk.domain.volume_books import (
    VolumeDay,
    VolumeFill,
    VolumeHalt,
    VolumeLease,
    VolumeOrder,
    VolumePair,
    VolumePairSum,
    VolumeReading,
    VolumeRow,
    VolumeRun,
)

LOG = logging.getLogger(__name__)
LAZY_S = 0.05
Key = tuple[object, ...]


class VolumeBooks(Protocol):
    """The store's part for volume_target; see ``adapters.sqlstore.volume``."""

    async def save_params_snapshot(self, text: str, ms: int) -> str: ...

    async def save_volume(self, new: Sequence[VolumeRow], changed: Sequence[VolumeRow]) -> None: ...

    async def start_volume_run(self, row: VolumeRun) -> int: ...

    async def volume_runs(
        self, *, strategy_id: str | None = None, live_only: bool = False
    ) -> list[VolumeRun]: ...

    async def volume_pairs(
        self,
        *,
        run_ids: Sequence[int] | None = None,
        live_only: bool = False,
        pair_id: str | None = None,
        token_key: str | None = None,
        user_id: int | None = None,
    ) -> list[VolumePair]: ...

    async def volume_pair_sums(self, run_ids: Sequence[int]) -> list[VolumePairSum]: ...

    async def volume_reading_times(self, token_keys: Sequence[str]) -> dict[tuple[int, str], int]: ...

    async def volume_losses(self, day: int) -> dict[int, Decimal]: ...

    async def volume_fills(
        self,
        user_id: int | None = None,
        token_key: str | None = None,
        from_ms: int = 0,
        until_ms: int | None = None,
    ) -> list[VolumeFill]: ...

    async def volume_days(self, token_key: str, day: int) -> list[VolumeDay]: ...

    async def volume_halts(self, strategy_id: str | None = None) -> list[VolumeHalt]: ...

    async def volume_acceptances(self, notice_hash: str) -> set[int]: ...

    async def take_volume_lease(self, name: str, owner: str, now_ms: int, ttl_ms: int) -> VolumeLease: ...

    async def free_volume_lease(self, name: str, owner: str) -> None: ...


class Ledger:
    """``run`` it as a task. who: the user whose rows they are."""

    def __init__(self, books: VolumeBooks) -> None:
        self._books = books
        self._new: dict[int, dict[Key, VolumeRow]] = {}
        self._changed: dict[int, dict[Key, VolumeRow]] = {}
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._more = asyncio.Event()
        self._serial = 0
        self._turn = asyncio.Lock()
        self._is_writing = self._ends = self._is_called = False
        self.commits = 0
        self.failed: dict[int, PerpdeskError] = {}

    @property
    def is_idle(self) -> bool:
        """Does nobody wait for the store?"""
        return not (self._is_writing or self._waiting)

    def put(self, who: int, row: VolumeRow, *, new: bool = False) -> None:
        """Note a row: to be inserted (new) or changed."""
        key = self._key(row)
        waiting = self._new.setdefault(who, {})
        if new or key in waiting:
            waiting[key] = row
        else:
            self._changed.setdefault(who, {})[key] = row
        if not self._is_called:
            # what nobody waits for is written along with what somebody does, or a little later
            self._is_called = True
            asyncio.get_running_loop().call_later(LAZY_S, self._call)

    def _call(self) -> None:
        self._is_called = False
        self._more.set()

    async def settled(self, who: int) -> None:
        """Until everything that was put for this user is durable. Raises what the store said."""
        if who in self.failed:
            raise self.failed.pop(who)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, []).append(done)
        self._more.set()
        await done

    async def run(self) -> None:
        """Write until told to end; a commit is never cut in the middle."""
        while not self._ends:
            await self._more.wait()
            # one turn of the loop: whoever is about to put something comes along
            await asyncio.sleep(0)
            await self.write()

    def end(self) -> None:
        """Let ``run`` end when what waits is written."""
        self._ends = True
        self._more.set()

    async def drop(self) -> None:
        """Forget what waits, once the commit that is under way has ended."""
        self._new.clear()
        self._changed.clear()
        async with self._turn:
            self._new.clear()
            self._changed.clear()

    async def write(self) -> None:
        """Commit what waits now."""
        async with self._turn:
            await self._write_now()

    async def _write_now(self) -> None:
        self._more.clear()
        new, self._new = self._new, {}
        changed, self._changed = self._changed, {}
        waiting, self._waiting = self._waiting, {}
        users = {**dict.fromkeys(new), **dict.fromkeys(changed), **dict.fromkeys(waiting)}
        self._is_writing = True
        try:
            await self._write(list(users), new, changed, waiting)
        finally:
            self._is_writing = False
            for futures in waiting.values():
                for future in futures:
                    if not future.done():
                        future.cancel()

    async def _write(
        self,
        users: list[int],
        new: dict[int, dict[Key, VolumeRow]],
        changed: dict[int, dict[Key, VolumeRow]],
        waiting: dict[int, list[asyncio.Future[None]]],
    ) -> None:
        added = [row for user in users for row in new.get(user, {}).values()]
        kept = [row for user in users for row in changed.get(user, {}).values()]
        try:
            if added or kept:
                await self._books.save_volume(added, kept)
                self.commits += 1
        except BooksContradiction as error:
            if len(users) > 1:
                for user in users:
                    await self._write([user], new, changed, waiting)
                return
            self._tell(users, waiting, error)
        except PerpdeskError as error:
            self._tell(users, waiting, error)
        except Exception as error:  # a bug: its users end, the ledger goes on
            LOG.exception("the ledger could not be written")
            self._tell(users, waiting, InternalError(f"the ledger could not be written: {error}"))
        else:
            self._tell(users, waiting, None)

    def _tell(
        self,
        users: list[int],
        waiting: dict[int, list[asyncio.Future[None]]],
        error: PerpdeskError | None,
    ) -> None:
        for user in users:
            futures = [future for future in waiting.get(user, ()) if not future.done()]
            for future in futures:
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
            if error is not None and not futures:
                self.failed[user] = error

    def _key(self, row: VolumeRow) -> Key:
        match row:
            case VolumeRun():
                return ("run", row.run_id)
            case VolumePair():
                return ("pair", row.pair_id)
            case VolumeOrder():
                return ("order", row.client_id)
            case VolumeFill():
                return ("fill", row.client_id, row.trade_id, row.cum_qty)
            case VolumeDay():
                return ("day", row.user_id, row.token_key, row.day)
            case VolumeReading() | VolumeHalt():
                self._serial += 1
                return ("row", self._serial)
