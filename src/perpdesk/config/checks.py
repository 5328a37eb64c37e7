"""Rules between keys, after every key alone is in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from perpdesk.config.decode import Sources
from perpdesk.config.schema import Config, Guardian, SmaCross, Version


def check(config: Config, sources: Sources) -> None:
    """Raise ConfigError for the first keys that contradict each other."""
    _sma_cross(config.sma_cross, sources)
    _versions(config.score.versions, sources)
    _guardian(config.score.guardian, sources)


def _sma_cross(sma: SmaCross, sources: Sources) -> None:
    if sma.fast >= sma.slow:
        message = f"must be below sma_cross.slow ({sma.slow}), was {sma.fast}"
        raise sources.error(message, "sma_cross.fast", "E13")


def _versions(versions: Sequence[Version], sources: Sources) -> None:
    count = Counter(version.name for version in versions)
    for i, version in enumerate(versions):
        path = f"score.versions[{i}]"
        if count[version.name] > 1:
            message = f"must be unique, {version.name} stands there {count[version.name]} times"
            raise sources.error(message, f"{path}.name", "E01")
        if version.start_offset_s >= version.scan_interval_s:
            message = (
                f"must be below scan_interval_s ({version.scan_interval_s}), was {version.start_offset_s}"
            )
            raise sources.error(message, f"{path}.start_offset_s", "E03")


def _guardian(guardian: Guardian, sources: Sources) -> None:
    timeouts = guardian.timeouts
    for i, (longer, shorter) in enumerate(pairwise(timeouts), start=1):
        if shorter.ratio >= longer.ratio:
            message = "must be below the ratio before it: the first that holds decides"
            raise sources.error(message, f"score.guardian.timeouts[{i}].ratio", "E09")
    if timeouts and timeouts[-1].ratio != 0:
        last = f"score.guardian.timeouts[{len(timeouts) - 1}].ratio"
        raise sources.error("must be 0 in the last entry: it holds for every score", last, "E09")
