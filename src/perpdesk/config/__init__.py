"""The configuration: typed, layered, validated, frozen and hashed.

- ``schema``: every section and key with its default, range and error code.
- ``rules``: the few kinds of rule that a key can have.
- ``tree``: YAML text as a tree of untyped leaves that remember where they were written.
- ``layers``: defaults < file < environment < options, merged into one tree.
- ``decode``: the tree as structs; what does not fit is a ConfigError with code, field and place.
- ``checks``: rules between keys.
- ``load``: all of the above in one call.
- ``show``: every value with the layer that set it. ``snapshot``: canonical JSON and its sha256.
- ``lint``: values that are valid alone and wrong together.
- ``records``: the kernel's records (not imported here: it brings the strategies with it).
"""

from perpdesk.config.finding import Finding
from perpdesk.config.lint import lint, refuse_errors
from perpdesk.config.load import DEFAULT_PATH, Loaded, load, loads
from perpdesk.config.schema import (
    Account,
    Config,
    Paper,
    Risk,
    Score,
    SmaCross,
    V2Version,
    V3Version,
    Version,
)
from perpdesk.config.show import Row, show_rows, show_text
from perpdesk.config.snapshot import Snapshot, read_snapshot, snapshot

__all__ = [
    "DEFAULT_PATH",
    "Account",
    "Config",
    "Finding",
    "Loaded",
    "Paper",
    "Risk",
    "Row",
    "Score",
    "SmaCross",
    "Snapshot",
    "V2Version",
    "V3Version",
    "Version",
    "lint",
    "load",
    "loads",
    "read_snapshot",
    "refuse_errors",
    "show_rows",
    "show_text",
    "snapshot",
]
