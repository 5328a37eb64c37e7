"""The benchmark's result as tables."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

TITLES = {
    "w1": "W1: SMA 20/100 cross, 3 % stop, trailing exit",
    "w2": "W2: the same, at most 5 positions, 120-minute timeout",
    "w4": "W4: a ladder of 10 buys and 10 sells 0.5 % apart, with counter orders, laid out anew when left",
}


def print_report(result: dict[str, Any]) -> None:
    """Print everything that was measured, and what was left out."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    machine = result["machine"]
    console.print(f"{machine['processor']}, {machine['cpus']} cores, Python {machine['python']}")
    for work, one in result["works"].items():
        console.print(work_table(work, one))
    if result["facts"]:
        console.print(facts_table(result["facts"]))
    for name, reason in result["skipped"].items():
        console.print(f"left out: {name}: {reason}", highlight=False, markup=False)


def speed(bars_per_second: float) -> str:
    """Millions of bars per second, three digits."""
    millions = bars_per_second / 1e6
    return f"{millions:.0f} M" if millions >= 100 else f"{millions:.3g} M"


def work_table(work: str, one: dict[str, Any]) -> Table:
    """One line per contestant."""
    title = f"{TITLES[work]} · {one['symbols']} × {one['days']} days of 1-minute bars, in memory"
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE)
    table.add_column()
    for head in ("bars/s", "ours is", "seconds", "days", "fills", "bare loop's", "peak MiB"):
        table.add_column(head, justify="right")
    for row in one["rows"]:
        ratio = row["ours_times_faster"]
        table.add_row(
            f"{row['peer']} {row['version']}",
            speed(row["bars_per_second"]),
            "" if ratio is None else f"{ratio:,.2f}×" if ratio < 10 else f"{ratio:,.0f}×",
            f"{row['seconds']:.4f}",
            str(row["days"]),
            f"{row['fills']:,}",
            f"{row['fills_bare']:,}",
            f"{row['peak_rss_mib']:,.0f}",
        )
    runs = ", ".join(str(count) for count in sorted({row["runs"] for row in one["rows"]}))
    table.caption = f"medians of {runs} interleaved runs; ours is so many times as fast"
    return table


def facts_table(facts: dict[str, Any]) -> Table:
    """What else is to be known of perpdesk."""
    table = Table(
        title="perpdesk, each in a fresh process", title_justify="left", show_header=False, box=SIMPLE
    )
    table.add_column()
    table.add_column(justify="right")
    table.add_row("compilation, nothing cached", f"{facts['compile_cold_seconds']:.2f} s")
    table.add_row("compilation, cached", f"{facts['compile_cached_seconds']:.2f} s")
    for work in ("w1", "w2"):
        for key, text in (("first_read", "parquet read the first time"), ("read_again", "read again")):
            one = facts[f"{work}_{key}"]
            table.add_row(f"{work.upper()} with {text}", f"{speed(one['bars'] / one['seconds'])} bars/s")
            table.add_row("  peak RSS", f"{one['peak_rss_mib']:,.0f} MiB")
    if "stream" in facts:
        one = facts["stream"]
        name = f"{one['symbols']} symbols × {one['days']} days streamed"
        table.add_row(name, f"{speed(one['bars'] / one['seconds'])} bars/s")
        table.add_row("  bars, fills", f"{one['bars']:,}, {one['fills']:,}")
        table.add_row("  opened in (converted where new)", f"{one['open_seconds']:.1f} s")
        table.add_row("  peak RSS", f"{one['peak_rss_mib']:,.0f} MiB")
    return table
