"""Stream messages through perpdesk's market and user streams: see clients/flood.py and clients/frames.py.

python bench/stream.py [--rate 30000] [--seconds 60] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# What the section is measured against.
USER_P99_MS, USER_P999_MS = 50, 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked of this section."""
    parser.add_argument("--rate", type=int, default=30_000, help="stream messages a second (default 30000)")
    parser.add_argument("--seconds", type=float, default=60, help="for so long (default 60)")


def section(options: argparse.Namespace) -> dict[str, Any]:
    """The frames one by one, then the flood, each in a process of its own."""
    flood = ["flood.py", "--rate", str(options.rate), "--seconds", str(options.seconds)]
    return {"frames": _run(["frames.py"]), "flood": _run(flood), "load": os.getloadavg()[0]}


def _run(script: list[str]) -> dict[str, float]:
    command = [sys.executable, str(HERE / "clients" / script[0]), *script[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def report(result: dict[str, Any]) -> None:
    """For people."""
    frames, flood = result["frames"], result["flood"]
    marks, size = frames["mark_frame_700_us"], frames["mark_frame_bytes"] / 1024
    plain, json_us = frames["mark_frame_700_msgspec_us"], frames["mark_frame_700_json_us"]
    print(f"frame of 700 mark prices ({size:.0f} KiB): decoded and applied in {marks:.0f} µs")
    print(f"  merely decoded: msgspec {plain:.0f} µs, json {json_us:.0f} µs")
    print(f"kline frame: {frames['kline_frame_us']:.1f} µs")
    print(f"{flood['messages_per_second']:,.0f} messages/s, {flood['cpu_fraction']:.0%} of a core")
    behind = flood["behind_at_the_end"]
    print(f"  {flood['sent']:,.0f} sent, {flood['read']:,.0f} read, {behind:,.0f} outstanding at the end")
    p50, p99, p999 = (flood[f"user_delay_{name}_ms"] for name in ("p50", "p99", "p999"))
    print(f"user events meanwhile: {flood['user_events']:,.0f} of {flood['user_events_sent']:,.0f}")
    print(
        f"  delay p50 {p50:.2f} ms, p99 {p99:.2f} (aim {USER_P99_MS}), p99.9 {p999:.2f} (aim {USER_P999_MS})"
    )
    first, second = flood["rss_start_mb"], flood["rss_after_second_1_mb"]
    last, most = flood["rss_end_mb"], flood["rss_max_mb"]
    print(
        f"resident MiB: {first:.1f} at first, {second:.1f} after 1 s, {last:.1f} at last, {most:.1f} at most"
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    options = parser.parse_args()
    result = section(options)
    if options.json:
        print(json.dumps(result))
    else:
        report(result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
