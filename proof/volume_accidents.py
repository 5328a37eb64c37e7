"""volume_target through every accident, with the process dying before its awaits; then faults of our own.

    python proof/volume_accidents.py [--seeds 1] [--every 1] [--only WORDS] [--planted]

Each scene is played once whole, then once for every so many-th await of its first life, with a death right
before it (every fifth point with a second death in the life after). Every playing must end with each pair
FLAT or QUARANTINED, no list twice, nothing bought beyond one pair, and the ledger equal to the venue's books.
With --planted: each fault of our own must turn some playing red. Exit code 1 if something does not hold.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys

from perpdesk.simulation.database import Files, files
from perpdesk.simulation.volume_planted import PLANTED, planted
from perpdesk.simulation.volume_scenes import SCENES, chosen, named, played

PLANTED_EVERY = (1_000_000, 40)


def find(folder: Files, name: str, seed: int) -> str | None:
    """How the fault was found; None: it was not."""
    with planted(name):
        for every in PLANTED_EVERY:
            for scene in SCENES:
                tally = played(folder, scene, seed, every=every)
                if tally.failing:
                    return tally.failing[0]
    return None


def main() -> int:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument(
        "--only", help="scenes (or faults) whose name has one of these words, comma-separated"
    )
    parser.add_argument("--planted", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    gc.freeze()  # each playing collects what it left: what was imported need not be walked again
    bad = 0
    with files() as folder:
        if given.planted:
            for name in [one for one in PLANTED if named(one, given.only)]:
                how = find(folder, name, 1)
                bad += how is None
                print(json.dumps({"planted": name, "found": how}), flush=True)
            return 1 if bad else 0
        points = 0
        for seed in range(1, given.seeds + 1):
            for scene in chosen(given.only):
                tally = played(folder, scene, seed, every=given.every)
                points += tally.crash_points
                bad += tally.problems
                row = {
                    "scene": scene.name,
                    "seed": seed,
                    "playings": tally.runs,
                    "crash_points": tally.crash_points,
                    "faults": tally.fired,
                    "partial_fills": tally.partial,
                    "outcomes": tally.outcomes,
                    "quarantined": tally.quarantined,
                    "problems": tally.problems,
                    "failing": tally.failing,
                }
                print(json.dumps(row), flush=True)
    print(json.dumps({"crash_points": points, "problems": bad}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
