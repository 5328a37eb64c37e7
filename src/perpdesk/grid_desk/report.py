"""One backtest as one page: price with zones, levels and fills; equity; drawdown; the runs in a table.

A single HTML file with its pictures inside; it loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

import msgspec
import numpy as np

from perpdesk.domain import units
from perpdesk.grid_desk.gate import Report
from perpdesk.grid_desk.ran import runs_of
from perpdesk.kernel.records import DAY_MS, MINUTE_MS
from perpdesk.strategies.grid.conduct import Conductor
from perpdesk.strategies.grid.plan import VARIANT_NAMES

WIDTH, PRICE_HEIGHT, LOW_HEIGHT = 1200, 460, 170
POINTS_MAX = 1_500
STOPS = ("DRAWDOWN", "ZONE_BREAK")
END_WORDS = {
    "DRAWDOWN": "drawdown stop",
    "ZONE_BREAK": "zone broken",
    "EXPIRED": "its hours were over",
    "MANUAL": "closed by hand",
    "BROKEN": "liquidated",
    "RECONCILED": "liquidated",
    "OPEN": "still open",
}
# What the figures are called in words, in the order of the page.
FIGURES = {
    "net_usdt": "result after all costs, USDT",
    "gross_usdt": "result of prices alone, USDT",
    "fees_usdt": "fees paid, USDT",
    "fee_share": "fees beside the gross result",
    "funding_usdt": "funding (negative: paid), USDT",
    "expectancy_usdt": "result per round trip, USDT",
    "max_drawdown": "deepest drawdown of the account, share of its peak",
    "worst_run_usdt": "worst run, USDT",
    "runs": "runs",
    "runs_by_reason": "runs by how they ended",
    "round_trips": "round trips of levels",
    "fills": "fills",
    "time_in_market": "share of the time with something held",
    "scans": "scans",
    "scans_complete": "scans with all four levels",
    "zones": "zones",
    "signals": "signals",
    "offers": "signals confirmed and tradable",
    "blocked": "signals on which no run began, by reason",
    "notes": "to be known",
}
FILLS_MAX = 6_000
_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:24px;color:#1b2430;background:#fff}h1{font-size:20px}
h2{font-size:15px;margin:18px 0 4px}table{border-collapse:collapse}td,th{padding:2px 10px;text-align:right;
border-bottom:1px solid #e3e7ee}td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto;
background:#fafbfd;border:1px solid #e3e7ee}.axis{font-size:11px;fill:#6b7686}
"""


@dataclass(frozen=True)
class Canvas:
    """From (time, value) to the picture."""

    from_ms: int
    to_ms: int
    low: float
    high: float
    height: int

    def x(self, ms: float) -> float:
        """The column of a time."""
        return round((ms - self.from_ms) / max(1, self.to_ms - self.from_ms) * WIDTH, 1)

    def y(self, value: float) -> float:
        """The row of a value."""
        return round((self.high - value) / max(1e-12, self.high - self.low) * self.height, 1)

    def line(self, times: Iterable[float], values: Iterable[float], colour: str, width: float = 1.0) -> str:
        """A polyline."""
        points = " ".join(f"{self.x(t)},{self.y(v)}" for t, v in zip(times, values, strict=True))
        return f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{points}"/>'

    def box(self, from_ms: int, to_ms: int, lo: float, hi: float, colour: str, opacity: float) -> str:
        """A rectangle, cut to the picture."""
        left, right = self.x(max(from_ms, self.from_ms)), self.x(min(to_ms, self.to_ms))
        top, bottom = max(0.0, self.y(hi)), min(float(self.height), self.y(lo))
        if right <= left or bottom <= top:
            return ""
        return (
            f'<rect x="{left}" y="{top}" width="{round(right - left, 1)}" height="{round(bottom - top, 1)}" '
            f'fill="{colour}" opacity="{opacity}"/>'
        )

    def svg(self, parts: Iterable[str], label: str) -> str:
        """The whole picture: values at the left on fine lines, dates below."""
        marks = []
        for value in _round_values(self.low, self.high):
            row = self.y(value)
            marks.append(f'<line x1="0" x2="{WIDTH}" y1="{row}" y2="{row}" stroke="#e3e7ee"/>')
            marks.append(f'<text class="axis" x="4" y="{row - 3}">{escape(_short(value))}</text>')
        for ms in _dates(self.from_ms, self.to_ms):
            column = self.x(ms)
            marks.append(
                f'<line x1="{column}" x2="{column}" y1="0" y2="{self.height}" stroke="#e3e7ee"/>'
                f'<text class="axis" x="{column + 3}" y="{self.height + 13}">{_day(ms)}</text>'
            )
        inside = "".join(parts)
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height + 18}" role="img" aria-label="{escape(label)}">'
            f"{''.join(marks)}{inside}</svg>"
        )


def _round_values(low: float, high: float) -> list[float]:
    """Some five round values between the extremes."""
    step = 10.0 ** np.floor(np.log10(max(1e-12, (high - low) / 5)))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    return [float(k * step) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _dates(from_ms: int, to_ms: int) -> list[int]:
    """At most ten midnights, evenly spaced."""
    days = max(1, -(-(to_ms - from_ms) // (10 * DAY_MS)))
    first = -(-from_ms // DAY_MS) * DAY_MS
    return list(range(first, to_ms - DAY_MS // 2, days * DAY_MS))


def _short(value: float) -> str:
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4f}"


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _minute(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def page(report: Report) -> str:
    """The page of a backtest of one symbol."""
    market, fills = report.market, report.fills
    symbol = market.universe.symbols[0]
    scale = 10 ** market.universe.price_digits[0]
    bars = market.bars[:, 0]
    there = bars[bars["open_ms"] >= 0]
    closes = there["close"] / scale
    times = there["open_ms"] + MINUTE_MS
    thin = max(1, len(times) // POINTS_MAX)
    low, high = float(there["low"].min()) / scale, float(there["high"].max()) / scale
    price = Canvas(market.from_ms, market.to_ms, low, high, PRICE_HEIGHT)
    parts = [
        *_zones(report, price, scale),
        price.line(times[::thin].tolist(), closes[::thin].tolist(), "#31405c", 0.8),
        *_levels(report, price, scale),
        *_dots(fills, price, scale),
    ]
    equity = equity_line(report, times, there["close"])
    worth = Canvas(market.from_ms, market.to_ms, float(equity.min()), float(equity.max()), LOW_HEIGHT)
    peak = np.maximum.accumulate(equity)
    fall = (equity - peak) / peak * 100
    depth = Canvas(market.from_ms, market.to_ms, min(-0.01, float(fall.min())), 0.0, LOW_HEIGHT)
    found: dict[str, Any] = msgspec.json.decode(report.row.metrics)
    return "\n".join(
        [
            "<!doctype html><html lang=en><head><meta charset=utf-8>",
            f"<title>grid {escape(symbol)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>grid backtest, {escape(symbol)}, {_day(market.from_ms)} to {_day(market.to_ms)}</h1>",
            f"<p>parameters {report.row.params_hash[:16]}, code {escape(report.row.code_revision[:16])}, "
            f"digest of all fills {report.row.digest[:16]}</p>",
            "<h2>price</h2><p>Areas are zones (green support, red resistance), grey lines the levels of a "
            "running grid, dots fills (blue bought, red sold), crosses runs that a stop ended. Times are UTC."
            "</p>",
            price.svg(parts, "price, zones, levels and fills"),
            "<h2>equity, USDT</h2>",
            worth.svg(
                [worth.line(times[::thin].tolist(), equity[::thin].tolist(), "#1f7a4d", 1.2)], "equity"
            ),
            "<h2>drawdown, % of peak</h2>",
            depth.svg(
                [depth.line(times[::thin].tolist(), fall[::thin].tolist(), "#b3392f", 1.2)], "drawdown"
            ),
            "<h2>figures</h2>",
            _table(["", ""], [[text, _text(found[name])] for name, text in FIGURES.items() if name in found]),
            "<h2>runs</h2>",
            _runs(report, scale),
            "<h2>bundled crash</h2>",
            _table(
                ["variant", "begun", "end", "net", "price", "slippage", "fees", "within its bound"],
                [
                    [
                        one.variant,
                        _minute(one.begun_ms),
                        one.refused or one.reason or one.state,
                        *(_usdt(value) for value in (one.net_e8, one.price_e8, one.slippage_e8, one.fees_e8)),
                        "yes" if one.ok else "NO",
                    ]
                    for one in report.crash
                ],
            ),  # fmt: skip
            "</body></html>",
        ]
    )


def equity_line(report: Report, times: np.ndarray, closes: np.ndarray) -> np.ndarray:
    """Equity in USDT at each close: initial + cash flows - fees + funding + what is held at the close."""
    fills = report.fills
    account = report.setup.books.account[0]
    unit = int(report.setup.books.instruments.unit_e8[0])
    at = np.searchsorted(fills["ms"], times, side="left")
    flows = np.concatenate([[0], np.cumsum(-fills["side"] * fills["price"] * fills["lots"] * unit)])
    fees = np.concatenate([[0], np.cumsum(fills["fee_e8"])])
    realised = np.cumsum(fills["realised_e8"])
    paid = fills["cash_e8"] - int(account.initial_e8) - realised + np.cumsum(fills["fee_e8"])
    funding = np.concatenate([[0], paid])
    held = np.concatenate([[0], fills["held_lots"]])
    worth = int(account.initial_e8) + flows[at] - fees[at] + funding[at] + held[at] * closes * unit
    line: np.ndarray = worth / 1e8
    return line


def _zones(report: Report, canvas: Canvas, scale: int) -> list[str]:
    conductor = report.setup.conductor
    if not isinstance(conductor, Conductor):
        return []
    tick = int(report.setup.books.instruments.tick[0])
    parts = []
    for story in conductor.stories:
        for one in story.scans:
            for zone in one.zones:
                colour = "#2f9e63" if zone.side > 0 else "#d0453a"
                lo, hi = zone.lo * tick / scale, zone.hi * tick / scale
                parts.append(canvas.box(zone.valid_from_ms, zone.expires_ms, lo, hi, colour, 0.16))
    return parts


def _levels(report: Report, canvas: Canvas, scale: int) -> list[str]:
    tick = int(report.setup.books.instruments.tick[0])
    parts = []
    for one in runs_of(report.setup, report.fills):
        from_ms, to_ms = one.start.ms, one.ended_ms or report.market.to_ms
        for level in one.start.plan.levels:
            row = level.entry * tick / scale
            parts.append(canvas.line([from_ms, to_ms], [row, row], "#8a97ad", 0.5))
        if one.reason in STOPS:
            at, row = (
                canvas.x(to_ms),
                canvas.y(min(level.entry for level in one.start.plan.levels) * tick / scale),
            )
            parts.append(
                f'<path d="M{at - 4},{row - 4}l8,8m0,-8l-8,8" stroke="#b3392f" stroke-width="2">'
                f"<title>{escape(END_WORDS[one.reason])} {_minute(to_ms)}</title></path>"
            )
    return parts


def _dots(fills: np.recarray, canvas: Canvas, scale: int) -> list[str]:
    thin = max(1, len(fills) // FILLS_MAX)
    return [
        f'<circle cx="{canvas.x(int(one["ms"]))}" cy="{canvas.y(int(one["price"]) / scale)}" r="1.6" '
        f'fill="{"#2f6fde" if one["side"] > 0 else "#d0453a"}"/>'
        for one in fills[::thin]
    ]


def _runs(report: Report, scale: int) -> str:
    tick = int(report.setup.books.instruments.tick[0])
    rows = []
    for one in runs_of(report.setup, report.fills):
        start, signal = one.start, one.start.offer.signal
        rows.append(
            [
                _minute(start.ms),
                _minute(one.ended_ms) if one.ended_ms else "",
                END_WORDS.get(one.reason, one.reason),
                VARIANT_NAMES[start.plan.variant],
                f"{signal.rule} at {signal.zone.kind}",
                _short(start.plan.a0 * tick / scale),
                _short(start.plan.step * tick / scale),
                str(one.fills),
                str(one.exits),
                _usdt(one.net_e8),
            ]
        )
    head = ["begun", "ended", "why", "side", "signal", "price", "step", "fills", "round trips", "result"]
    return _table(head, rows)


def _usdt(amount_e8: int) -> str:
    return f"{units.money_of(amount_e8):,.4f}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(str(one) for one in value)
    return str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(one)}</td>" for one in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
