"""Runs and what they are frozen under: ``params_snapshots``, ``strategy_versions``, ``runs``."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema import PARAMS, RUNS, VERSIONS
from perpdesk.adapters.sqlstore.session import Session, new_id, savepoint
from perpdesk.domain.books import SIMULATED_ACCOUNTS, NewRun, RunRow, StepRefused, StrategyVersion
from perpdesk.domain.errors import InputError


class Runs(Session):
    """Parameters, versions and runs."""

    async def save_params_snapshot(self, text: str, ms: int) -> str:
        """Keep this very JSON text. Returns its sha256, by which everything decided under it refers to it."""
        try:
            json.loads(text)
        except ValueError as error:
            raise InputError(f"is not JSON: {error}", field="params_snapshots.params") from None
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        values = checked(PARAMS, {"sha256": sha256, "params": text, "created_ms": ms})
        async with self._writing() as connection:
            if await connection.scalar(_params_text(sha256)) is None:
                try:
                    async with savepoint(connection):
                        await connection.execute(PARAMS.insert(), values)
                except IntegrityError:
                    # Another writer kept the same text first.
                    if await connection.scalar(_params_text(sha256)) is None:
                        raise
        return sha256

    async def params_snapshot(self, sha256: str) -> str | None:
        """The JSON text with this hash, None if it was never kept."""
        async with self._reading() as connection:
            text: str | None = await connection.scalar(_params_text(sha256))
        return text

    async def save_strategy_version(self, version: StrategyVersion) -> None:
        """Make a version known, or take its new parameters. Positions refer to it by name."""
        values = checked(VERSIONS, version)
        change = {key: value for key, value in values.items() if key not in ("name", "created_ms")}
        update = VERSIONS.update().where(VERSIONS.c.name == version.name).values(change)
        async with self._writing() as connection:
            if (await connection.execute(update)).rowcount == 0:
                try:
                    async with savepoint(connection):
                        await connection.execute(VERSIONS.insert(), values)
                except IntegrityError:
                    if (await connection.execute(update)).rowcount == 0:
                        raise

    async def start_run(self, run: NewRun) -> RunRow:
        """Write the start of a run. Without an account it gets one of its own (SIMULATED_ACCOUNTS + id)."""
        values = checked(RUNS, {"account_id": 0} | _without_none(run))
        async with self._writing() as connection:
            added = await connection.execute(RUNS.insert(), values)
            run_id = new_id(added)
            if run.account_id is None:
                own = RUNS.update().where(RUNS.c.id == run_id).values(account_id=SIMULATED_ACCOUNTS + run_id)
                await connection.execute(own)
            row = (await connection.execute(sa.select(RUNS).where(RUNS.c.id == run_id))).one()
        return typed(RunRow, row)

    async def finish_run(self, run_id: int, ms: int, summary: dict[str, Any]) -> None:
        """Write the end of a run. A run ends once."""
        values = checked(RUNS, {"ended_ms": ms, "summary": summary})
        end = RUNS.update().where(RUNS.c.id == run_id, RUNS.c.ended_ms.is_(None)).values(values)
        async with self._writing() as connection:
            if (await connection.execute(end)).rowcount != 1:
                raise StepRefused(f"run {run_id} does not exist or has ended already")

    async def runs(self, limit: int | None = None) -> list[RunRow]:
        """The runs, newest first."""
        async with self._reading() as connection:
            rows = (await connection.execute(sa.select(RUNS).order_by(RUNS.c.id.desc()).limit(limit))).all()
        return [typed(RunRow, row) for row in rows]


def _params_text(sha256: str) -> sa.Select[Any]:
    return sa.select(PARAMS.c.params).where(PARAMS.c.sha256 == sha256)


def _without_none(run: NewRun) -> dict[str, Any]:
    given = {field: getattr(run, field) for field in run.__struct_fields__}
    return {field: value for field, value in given.items() if value is not None}
