"""Small market files, and a cache folder of each test's own."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpdesk.market import cache, storing

START_MS = 1_746_372_600_000  # 2025-05-04 15:30 UTC
MINUTE_MS = 60_000

Row = tuple[int, float, float, float, float, float]
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "cache"
    monkeypatch.setenv("PERPDESK_CACHE_DIR", str(folder))
    yield folder / "bars"
    storing.wait()


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were really parsed, in order."""
    seen: list[str] = []
    convert = cache.convert

    def counted(source, scales):  # type: ignore[no-untyped-def]  # passes on what it gets
        seen.append(source.path.name)
        return convert(source, scales)

    monkeypatch.setattr(cache, "convert", counted)
    return seen


def bar(
    minute: int,
    opened: float = 100.0,
    high: float | None = None,
    low: float | None = None,
    close: float | None = None,
    volume: float = 1.5,
) -> Row:
    """A bar that opens ``minute`` minutes after START_MS; by default a sane one around ``opened``."""
    close = opened + 0.5 if close is None else close
    high = max(opened, close) + 1 if high is None else high
    low = min(opened, close) - 1 if low is None else low
    return (START_MS + minute * MINUTE_MS, opened, high, low, close, volume)


def minutes(count: int, first: int = 0) -> list[Row]:
    """So many plain bars, each a little different."""
    return [bar(first + i, 100.0 + (first + i) % 7 * 0.1, volume=1 + (first + i) % 5) for i in range(count)]


def write_parquet(path: Path, rows: Sequence[Row], **extra: object) -> Path:
    names = ("open_time", "open", "high", "low", "close", "volume")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, **extra}), path, row_group_size=max(3, len(rows) // 3))
    return path


def csv_text(rows: Sequence[Row], *, header: bool = True, microseconds: bool = False) -> str:
    factor = 1000 if microseconds else 1
    lines = [HEADER] if header else []
    for time, *values in rows:
        numbers = ",".join(f"{value:.8f}" for value in values)
        close_time = time + 59_999 if factor == 1 else (time + 60_000) * factor - 1
        lines.append(f"{time * factor},{numbers},{close_time},1.0,3,0.5,0.5,0")
    return "\n".join(lines) + "\n"


def write_csv(path: Path, rows: Sequence[Row], **how: bool) -> Path:
    path.write_text(csv_text(rows, **how))
    return path


def write_zip(path: Path, rows: Sequence[Row], **how: bool) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.with_suffix(".csv").name, csv_text(rows, **how))
    return path


Writer = Callable[..., Path]
