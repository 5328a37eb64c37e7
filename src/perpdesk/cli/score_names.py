"""Which versions of the score trader a command means."""

from __future__ import annotations

from typing import Annotated

import typer

from perpdesk.app import sleeves_of, strategy_name
from perpdesk.config.load import Loaded
from perpdesk.config.records import score_sleeves
from perpdesk.domain.errors import InputError

VersionsOption = Annotated[
    str | None, typer.Option("--versions", help="Such as v2,v3; default: every enabled version.")
]


def version_names(loaded: Loaded, versions: str | None) -> list[str]:
    """The strategy names of the versions asked for, or of every enabled one. Raises InputError."""
    known = [strategy_name(sleeve) for sleeve in score_sleeves(loaded.config)]
    if versions is None:
        if not known:
            raise InputError("no version of score is enabled in the configuration", field="--versions")
        return known
    names = [f"score_{part.strip()}" for part in versions.split(",") if part.strip()]
    for name in names:
        if name not in known:
            choose = ", ".join(one.removeprefix("score_") for one in known)
            raise InputError(
                f"unknown version {name.removeprefix('score_')!r}: choose from {choose}", field="--versions"
            )
    sleeves_of(loaded, names)
    return names
