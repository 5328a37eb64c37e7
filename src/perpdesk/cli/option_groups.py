"""Options that several commands share, written once: a class of options as a command's parameter."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, cast, get_type_hints


def expanded(command: Callable[..., int]) -> Callable[..., int]:
    """The command with each parameter that is a dataclass replaced by that class's fields, as typer sees it.

    Fields come after the command's own parameters; two classes must not have a field in common.
    """
    hints = get_type_hints(command, include_extras=True)
    own: list[inspect.Parameter] = []
    shared: list[inspect.Parameter] = []
    groups: dict[str, Callable[..., Any]] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            groups[parameter.name] = cast("Callable[..., Any]", kind)
            shared += _parameters(kind)
        else:
            own.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def called(**values: Any) -> int:
        for name, kind in groups.items():
            values[name] = kind(**{one.name: values.pop(one.name) for one in _parameters(kind)})
        return command(**values)

    signature = inspect.Signature([*own, *shared])
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return called


def _parameters(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(kind)
    ]
