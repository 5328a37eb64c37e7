"""One call from file, environment and options to a frozen, validated configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perpdesk.config.checks import check
from perpdesk.config.decode import Sources, decode
from perpdesk.config.layers import (
    ENVIRONMENT_PREFIX,
    defaults,
    merge_file,
    put_environment,
    put_options,
    put_rows,
)
from perpdesk.config.schema import Config
from perpdesk.config.tree import Branch, Layer, Source, Tree, parse, problem

V3_MODE = "USE_V3_MODE"
DEFAULT_PATH = Path("config/perpdesk.yaml")


@dataclass(frozen=True)
class Loaded:
    """A configuration, who set each of its values, and the file that was read (None: there was none)."""

    config: Config
    sources: Mapping[str, Source]
    path: Path | None = None


def load(
    path: Path | str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    options: Iterable[str] = (),
    rows: Iterable[tuple[str, str]] = (),
) -> Loaded:
    """The configuration from a file, the environment and options (``section.key=value``).

    rows: (key, JSON) of the table ``oi_monitoring_config``, between file and environment.

    ``path`` None reads ``config/perpdesk.yaml`` below the working directory if it is there, else only the
    defaults; a path that was asked for must exist. ``environment`` None is the process's own. Raises
    ConfigError with code, field and place. The linter is not run: see ``lint`` and ``refuse_errors``.
    """
    file = Path(path) if path is not None else DEFAULT_PATH
    if path is None and not file.is_file():
        return _loaded(defaults(), environment, options, None, rows)
    source = Source(Layer.FILE, str(file))
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise problem(f"must be UTF-8 text: byte {error.start} is not", None, source) from error
    except OSError as error:
        message = f"cannot be read ({error.strerror}): pass --config FILE with an existing file"
        raise problem(message, None, source) from error
    return _loaded(_with_file(text, source), environment, options, file, rows)


def loads(text: str, *, environment: Mapping[str, str] | None = None, options: Iterable[str] = ()) -> Loaded:
    """``load`` for YAML text at hand; ``environment`` None is none here. Raises ConfigError."""
    tree = _with_file(text, Source(Layer.FILE, "text"))
    return _loaded(tree, {} if environment is None else environment, options, None)


def _with_file(text: str, source: Source) -> Tree:
    tree = parse(text, source)
    if tree is None:
        return defaults()
    if not isinstance(tree, Branch):
        raise problem("must be a mapping of sections such as account, risk, score", None, source)
    return merge_file(defaults(), tree)


def _with_v3_mode(environment: Mapping[str, str]) -> Mapping[str, str]:
    """USE_V3_MODE=true enables version v3 whatever the file says; a variable of its own goes before it."""
    if environment.get(V3_MODE, "").strip().lower() != "true":
        return environment
    return {f"{ENVIRONMENT_PREFIX}SCORE__VERSIONS__V3__ENABLED": "true", **environment}


def _loaded(
    tree: Tree,
    environment: Mapping[str, str] | None,
    options: Iterable[str],
    path: Path | None,
    rows: Iterable[tuple[str, str]] = (),
) -> Loaded:
    tree = put_rows(tree, rows)
    tree = put_environment(tree, _with_v3_mode(os.environ if environment is None else environment))
    tree = put_options(tree, options)
    sources = Sources()
    config = decode(Config, tree, sources)
    check(config, sources)
    return Loaded(config, sources.of, path)
