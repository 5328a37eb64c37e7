"""A million random interleavings of managed accounts on one token: do two of them ever trade together?

    python proof/volume_meetings.py [--count 1000000] [--seed 1] [--accounts 2]

Prints what happened; exit code 1 if any two met. A run without the guard, as a control, must meet.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from perpdesk.simulation.volume_meetings import Meetings

CONTROL = 1_000
CHUNK = 50_000


def unguarded(seed: int, accounts: int) -> int:
    """The same without the guard: how often they meet."""
    one = Meetings(seed, accounts)
    one.lanes.ask = lambda *_: True  # type: ignore[method-assign]
    one.lanes.room_for_exit = lambda *_: True  # type: ignore[method-assign]
    return one.play(CONTROL)


def main() -> int:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--accounts", type=int, default=2)
    given = parser.parse_args()
    control = unguarded(given.seed, given.accounts)
    one, begun = Meetings(given.seed, given.accounts), time.process_time()
    done = 0
    while done < given.count:
        done += min(CHUNK, given.count - done)
        one.play(min(CHUNK, done - one.round))
        print(f"{done} rounds, {len(one.world.crosses)} met", file=sys.stderr)
    met = len(one.world.crosses)
    document = {
        "interleavings": one.round,
        "met": met,
        "met_without_the_guard": f"{control} in {CONTROL}",
        "cpu_seconds": round(time.process_time() - begun, 1),
        **dict(sorted(one.tally.items())),
    }
    print(json.dumps(document, indent=1))
    return 1 if met or not control else 0


if __name__ == "__main__":
    sys.exit(main())
