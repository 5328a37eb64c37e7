"""The seeded synthetic market of the benchmark, written once to parquet: W1, W2 and the wide one."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

from perpdesk.market import synthetic, writing
from perpdesk.market.synthetic import synthetic_market
from perpdesk.market.writing import write_funding, write_parquet, write_synthetic

SEED = 20_250_101
DAY_MINUTES = 1_440


@dataclass(frozen=True)
class Size:
    """How large a market is."""

    symbols: int
    days: int

    @property
    def bars(self) -> int:
        return self.symbols * self.days * DAY_MINUTES


SIZES = {"w1": Size(1, 365), "w2": Size(50, 30), "wide": Size(300, 365)}


def folder_of(root: Path, work: str) -> Path:
    """Where a market is kept; another seed, size or generator is another folder."""
    size = SIZES[work]
    digest = hashlib.sha256(f"{SEED} {size}".encode())
    for module in (synthetic, writing):
        digest.update(Path(str(module.__file__)).read_bytes())
    return root / f"{work}-{digest.hexdigest()[:12]}"


def write(root: Path, work: str) -> Path:
    """The market's folder: klines/ with a file per symbol and, except for the wide one, funding.parquet."""
    folder, size = folder_of(root, work), SIZES[work]
    done = folder / "complete"
    if done.exists():
        return folder
    minutes = size.days * DAY_MINUTES
    if work == "wide":
        write_synthetic(folder / "klines", SEED, size.symbols, minutes)
    else:
        market = synthetic_market(SEED, size.symbols, minutes)
        write_parquet(market.tape, folder / "klines")
        write_funding(market.funding, market.tape.universe, folder / "funding.parquet")
    done.touch()
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=SIZES)
    parser.add_argument("root", type=Path)
    options = parser.parse_args()
    print(write(options.root, options.work))
