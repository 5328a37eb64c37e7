"""Figures of a running engine: counters, gauges and histograms, as a dict and as Prometheus text.

Names end in their unit; histograms have fixed buckets, so memory does not grow with time.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_NAME = re.compile(r"[a-z][a-z0-9_]*")
MS_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 15_000, 20_000, 60_000)
US_BUCKETS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000, 1_000_000)
# Label sets per metric: a runaway label must not eat the memory; beyond this they are counted together.
LABELS_MAX = 1_000
OVERFLOW = "other"

Labels = tuple[tuple[str, str], ...]


@dataclass
class Histogram:
    """Counts values into fixed buckets; remembers sum, count and the largest."""

    bounds: tuple[int, ...]
    counts: list[int] = field(default_factory=list)
    total: int = 0
    count: int = 0
    largest: int = 0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: int) -> None:
        """One value; a negative one counts as 0 (a clock that stepped back)."""
        value = max(0, value)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        self.count += 1
        self.largest = max(self.largest, value)

    def quantile(self, share: float) -> int:
        """An upper bound of the nearest-rank quantile: its bucket's bound, never above the largest value."""
        if self.count == 0:
            return 0
        rank = min(self.count, max(1, -int(-share * self.count // 1)))
        for bound, running in zip(self.bounds, _running(self.counts), strict=False):
            if running >= rank:
                return min(bound, self.largest)
        return self.largest


def _running(counts: Sequence[int]) -> Iterator[int]:
    total = 0
    for count in counts:
        total += count
        yield total


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


@dataclass
class Metrics:
    """All figures of one process. Nothing here waits, and nothing here can fail a caller's work."""

    prefix: str = "perpdesk"
    counters: dict[str, dict[Labels, int]] = field(default_factory=dict)
    gauges: dict[str, dict[Labels, float]] = field(default_factory=dict)
    histograms: dict[str, dict[Labels, Histogram]] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        """Raise a counter."""
        series = self.counters.setdefault(_checked(name), {})
        key = _place(series, labels)
        series[key] = series.get(key, 0) + amount

    def put(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        series = self.gauges.setdefault(_checked(name), {})
        series[_place(series, labels)] = value

    def observe(self, name: str, value: int, bounds: tuple[int, ...] | None = None, **labels: str) -> None:
        """Put a value into a histogram; names that end in ``_us`` get microsecond buckets by default."""
        series = self.histograms.setdefault(_checked(name), {})
        key = _place(series, labels)
        histogram = series.get(key)
        if histogram is None:
            chosen = bounds or (US_BUCKETS if name.endswith("_us") else MS_BUCKETS)
            histogram = series[key] = Histogram(chosen)
        histogram.observe(value)

    def describe(self, name: str, text: str) -> None:
        """The HELP line of a metric."""
        self.helps[_checked(name)] = text

    def snapshot(self) -> dict[str, Any]:
        """Plain values for status and ``--json``: ``name`` or ``name{label=value}`` → number, or the
        quantiles of a histogram."""
        found: dict[str, Any] = {}
        for series in (self.counters, self.gauges):
            for name, rows in series.items():
                for labels, value in rows.items():
                    found[_shown(name, labels)] = value
        for name, histograms in self.histograms.items():
            for labels, histogram in histograms.items():
                found[_shown(name, labels)] = {
                    "count": histogram.count,
                    "p50": histogram.quantile(0.5),
                    "p99": histogram.quantile(0.99),
                    "max": histogram.largest,
                }
        return found

    def exposition(self) -> str:
        """The Prometheus text format, version 0.0.4."""
        lines: list[str] = []
        for kind, scalars in (("counter", self.counters), ("gauge", self.gauges)):
            for name, rows in scalars.items():
                full = self._head(lines, name, kind)
                lines += [f"{full}{_braces(labels)} {_number(value)}" for labels, value in rows.items()]
        for name, histograms in self.histograms.items():
            full = self._head(lines, name, "histogram")
            for labels, histogram in histograms.items():
                edges = [*map(str, histogram.bounds), "+Inf"]
                for edge, running in zip(edges, _running(histogram.counts), strict=True):
                    lines.append(f"{full}_bucket{_braces((*labels, ('le', edge)))} {running}")
                lines.append(f"{full}_sum{_braces(labels)} {histogram.total}")
                lines.append(f"{full}_count{_braces(labels)} {histogram.count}")
        return "\n".join(lines) + "\n" if lines else ""

    def _head(self, lines: list[str], name: str, kind: str) -> str:
        full = f"{self.prefix}_{name}"
        if name in self.helps:
            text = self.helps[name].replace("\\", "\\\\").replace("\n", "\\n")
            lines.append(f"# HELP {full} {text}")
        lines.append(f"# TYPE {full} {kind}")
        return full


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"a metric is named in small letters, digits and '_': {name!r}")
    return name


def _place(series: Mapping[Labels, object], labels: Mapping[str, str]) -> Labels:
    key = _labels(labels)
    if key in series or len(series) < LABELS_MAX:
        return key
    return tuple((name, OVERFLOW) for name, _ in key)


def _shown(name: str, labels: Labels) -> str:
    return name if not labels else name + "{" + ",".join(f"{k}={v}" for k, v in labels) + "}"


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    inside = ",".join(
        '{}="{}"'.format(k, v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for k, v in labels
    )
    return "{" + inside + "}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
