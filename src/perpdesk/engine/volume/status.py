"""Documents of what goes on, folded from the ledger: right after a restart and in another process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from perpdesk.config.volume import VolumeStrategy
from perpdesk.domain.units import half_away, plain
from perpdesk.domain.volume_books import VolumePairSum, VolumeRun
from perpdesk.engine.volume import records
from perpdesk.engine.volume.ledger import VolumeBooks
from perpdesk.strategies.volume_target.arithmetic import ZERO, exact
from perpdesk.strategies.volume_target.modes import TargetScope
from perpdesk.strategies.volume_target.run import Run
from perpdesk.strategies.volume_target.volume import (
    cost_bp,
    eta_all_users,
    eta_seconds,
    loop_count,
    mean_pair_seconds,
    progress,
    remaining,
    v_star,
)

Document = dict[str, object]
_CENT, _PLACES = 2, 4


async def status_of(
    books: VolumeBooks,
    strategy: VolumeStrategy,
    now_ms: int,
    *,
    running: bool | None = None,
    errors: Mapping[int, str] | None = None,
) -> Document:
    """One strategy. running None: as the ledger says. errors: users that this process could not run."""
    newest: dict[int, VolumeRun] = {}
    for row in await books.volume_runs(strategy_id=strategy.strategy_id):
        newest[row.user_id] = row
    newest = {user: row for user, row in newest.items() if user in strategy.users}
    pairs: dict[int, list[VolumePairSum]] = {row.run_id: [] for row in newest.values()}
    for pair in await books.volume_pair_sums(list(pairs)):
        pairs[pair.run_id].append(pair)
    read = await books.volume_reading_times(sorted({row.token_key for row in newest.values()}))
    live = any(row.ended_ms is None for row in newest.values())
    is_running = live if running is None else running
    return _document(strategy, newest, pairs, read, now_ms, is_running, errors or {})


@exact
def _document(
    strategy: VolumeStrategy,
    newest: Mapping[int, VolumeRun],
    pairs: Mapping[int, Sequence[VolumePairSum]],
    read: Mapping[tuple[int, str], int],
    now_ms: int,
    is_running: bool,
    errors: Mapping[int, str],
) -> Document:
    runs = {user: records.run_of(row) for user, row in newest.items()}
    volumes = {user: None if user not in runs else _volume(runs[user]) for user in sorted(strategy.users)}
    known = [volume for volume in volumes.values() if volume is not None]
    scope = TargetScope(str(strategy["target_scope"]))
    targets = {user: one.number("target_volume") for user, one in strategy.users.items()}
    if scope is TargetScope.ALL_USERS:
        target = Decimal(str(strategy["target_volume"]))
        share = progress(sum(known, ZERO), target)
    else:
        done = sum((min(v, targets[user]) for user, v in volumes.items() if v is not None), ZERO)
        share = progress(done, sum(targets.values(), ZERO))
    everything = [pair for rows in pairs.values() for pair in rows]
    cost = sum((pair.loss_usdt for pair in everything if pair.state == "FLAT"), ZERO)
    real = sum((pair.counted_usdt for pair in everything), ZERO)
    rate = cost_bp(cost, real)
    users = {
        str(user): _user(
            newest[user],
            runs[user],
            pairs[newest[user].run_id],
            read.get((user, newest[user].token_key)),
            now_ms,
            errors.get(user),
        )
        if user in newest
        else {"state": "REFUSED" if user in errors else "NEVER_RUN", "reason": errors.get(user)}
        for user in sorted(strategy.users)
    }
    etas = {user: _eta(run, pairs[newest[user].run_id]) for user, run in runs.items()}
    return {
        "strategy_id": strategy.strategy_id,
        "strategy_name": str(strategy["strategy_name"]),
        "is_running": is_running,
        "target_volume": plain(Decimal(str(strategy["target_volume"]))),
        "total_volume": _text(sum(known, ZERO)) if len(known) == len(volumes) else None,
        "progress": share,
        "user_volumes": {str(user): None if v is None else _text(v) for user, v in volumes.items()},
        "target_scope": scope.value,
        "mul_point_mode": None if not runs else next(iter(runs.values())).terms.mode.value,
        "cost_usdt": _text(cost, _PLACES),
        "cost_bp": None if rate is None else _text(rate),
        "eta_seconds": _eta_of_all(scope, runs, etas, pairs, newest, volumes) if is_running else None,
        "dust": _text(sum((pair.dust for pair in everything if pair.state == "FLAT"), ZERO), None),
        "quarantined": sum(pair.state == "QUARANTINED" for pair in everything),
        "users": users,
    }


def _volume(run: Run) -> Decimal | None:
    return v_star(run.terms.mode, run.day, run.terms.m)


def _text(value: Decimal, places: int | None = _CENT) -> str:
    return plain(value if places is None else half_away(value, places))


def _user(
    row: VolumeRun,
    run: Run,
    pairs: Sequence[VolumePairSum],
    read_ms: int | None,
    now_ms: int,
    error: str | None,
) -> Document:
    volume = _volume(run)
    losses = sum((pair.loss_usdt for pair in pairs if pair.state == "FLAT"), ZERO)
    return {
        "state": "FAILED" if error is not None and not run.state.is_over else run.state.value,
        "reason": error or row.reason or None,
        "target": plain(run.terms.target),
        "volume": None if volume is None else _text(volume),
        "remaining": None if volume is None else _text(remaining(run.terms.target, volume)),
        "pairs": run.pairs,
        "failures": run.failures,
        "day_loss_usdt": _text(max(ZERO, losses), _PLACES),
        "cost_usdt": _text(losses, _PLACES),
        "quarantined": sum(pair.state == "QUARANTINED" for pair in pairs),
        "reading_age_seconds": None if read_ms is None else max(0, now_ms - read_ms) // 1000,
        "age_seconds": max(0, now_ms - row.updated_ms) // 1000,
    }


def _durations(pairs: Sequence[VolumePairSum]) -> list[int]:
    starts = [pair.created_ms for pair in pairs[-21:]]
    return [after - before for before, after in zip(starts, starts[1:], strict=False)]


def _eta(run: Run, pairs: Sequence[VolumePairSum]) -> int | None:
    volume = _volume(run)
    if volume is None:
        return None
    if run.state.is_over:
        return 0
    left = loop_count(remaining(run.terms.target, volume), run.terms.unit)
    return eta_seconds(left, mean_pair_seconds(_durations(pairs)))


def _eta_of_all(
    scope: TargetScope,
    runs: Mapping[int, Run],
    etas: Mapping[int, int | None],
    pairs: Mapping[int, Sequence[VolumePairSum]],
    newest: Mapping[int, VolumeRun],
    volumes: Mapping[int, Decimal | None],
) -> int | None:
    if scope is TargetScope.PER_USER:
        found = list(etas.values())
        return None if any(one is None for one in found) else max((one or 0 for one in found), default=None)
    active = {user: run for user, run in runs.items() if not run.state.is_over}
    known = [volume for volume in volumes.values() if volume is not None]
    if len(known) < len(volumes) or not active:
        return None
    target = next(iter(active.values())).terms.target
    rates = [
        (run.terms.unit, mean_pair_seconds(_durations(pairs[newest[user].run_id])))
        for user, run in active.items()
    ]
    return eta_all_users(remaining(target, sum(known, ZERO)), rates)


def quarantined(documents: Iterable[Document]) -> int:
    """Pairs that a person must look at."""
    return sum(int(str(document["quarantined"])) for document in documents)
