"""``config/trading_config.yaml``: built-in defaults < global_settings < strategies[] < user_overrides[].

``read_volume`` validates a whole text and reports everything that is wrong at once. Each strategy and user
then has one frozen ``Effective`` configuration: every value with the layer that set it, and a sha256 that
runs, pairs and orders carry. ``VolumeConfigs`` holds the current one and swaps it whole, or not at all.

Tokens are checked against a venue's list in ``volume_tokens``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path

import msgspec

from perpdesk.config.decode import canonical
from perpdesk.config.tree import Branch, Layer, Leaf, Listed, Source, Tree, below
from perpdesk.config.volume_keys import GLOBAL_NAMES, KEYS, STRATEGY_NAMES, NumberKind, Override, Value
from perpdesk.config.volume_problems import Problem, VolumeConfigError, shown
from perpdesk.config.volume_tree import read_tree
from perpdesk.config.volume_values import described, user_of, value_of
from perpdesk.domain import units
from perpdesk.strategies.volume_target.modes import (
    CountSide,
    MulPointMode,
    PriceMode,
    TargetScope,
    VolumeVenue,
)

DEFAULT_VOLUME_PATH = Path("config/trading_config.yaml")
SECTIONS = ("global_settings", "strategies", "user_overrides")


@dataclass(frozen=True)
class Setting:
    """One value, and who set it: ``origin`` is ``default``, ``global_settings``, ``strategies[0]`` or
    ``user_overrides[0].strategies.<id>``; ``source`` is the place in the file."""

    value: Value
    origin: str
    source: Source


Layered = Mapping[str, Setting]


@dataclass(frozen=True)
class Effective:
    """What one user trades one strategy with. ``json`` is canonical, ``config_hash`` its sha256."""

    strategy_id: str
    user_id: int
    settings: Layered
    json: str
    config_hash: str

    def __getitem__(self, name: str) -> Value:
        return self.settings[name].value

    def number(self, name: str) -> Decimal:
        """A number in the unit of its key."""
        value = self[name]
        assert isinstance(value, (Decimal, int))
        assert not isinstance(value, bool)
        return Decimal(value)

    def fraction(self, name: str) -> Decimal:
        """A ``…_percentage`` as a fraction: 0.5 is 0.005, exactly."""
        return canonical(units.from_units(units.to_units(self.number(name), 8), 10))

    def ms(self, name: str) -> int:
        """A ``…_seconds`` in whole milliseconds, rounded down."""
        return units.to_units(self.number(name), 8) * 1_000 // 10**8

    def show(self) -> dict[str, object]:
        """Every value with the layer that set it, JSON-ready; numbers are text."""
        values = {
            name: {"value": _jsonable(setting.value), "from": setting.origin}
            for name, setting in sorted(self.settings.items())
        }
        return {"config_hash": self.config_hash, "values": values}


@dataclass(frozen=True)
class VolumeStrategy:
    """A strategy, and the effective configuration of each of its users."""

    strategy_id: str
    settings: Layered
    users: Mapping[int, Effective]
    path: str

    def __getitem__(self, name: str) -> Value:
        return self.settings[name].value

    @property
    def token_key(self) -> tuple[str, str, str]:
        """(venue, chain, contract or symbol): a bare name exists on several chains."""
        return (
            str(self["venue"]),
            str(self["target_chain"]),
            str(self["target_contract"] or self["target_token"]),
        )


@dataclass(frozen=True)
class VolumeConfig:
    """The whole file, immutable. ``warnings`` do not stop anything."""

    strategies: Mapping[str, VolumeStrategy]
    global_settings: Layered
    warnings: tuple[Problem, ...] = ()

    @property
    def max_concurrent_users(self) -> int:
        """How many users trade at once, over all strategies."""
        value = self.global_settings["max_concurrent_users"].value
        assert isinstance(value, int)
        return value


@dataclass
class _Reading:
    """A text being read: what was found wrong so far."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def add(self, code: str, path: str, message: str, tree: Tree, allowed: str | None = None) -> None:
        self.problems.append(Problem(code, path, message, tree.source, described(tree), allowed))


def load_volume(path: Path | str = DEFAULT_VOLUME_PATH) -> VolumeConfig:
    """``read_volume`` of a file. Raises VolumeConfigError; a file that cannot be read is one."""
    file = Path(path)
    source = Source(Layer.FILE, str(file))
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        problem = Problem("YAML_INVALID", "", f"must be UTF-8 text: byte {error.start} is not", source)
        raise VolumeConfigError([problem]) from error
    except OSError as error:
        problem = Problem("FILE_MISSING", "", f"cannot be read ({error.strerror})", source)
        raise VolumeConfigError([problem]) from error
    return read_volume(text, str(file))


def read_volume(text: str, file: str = "text") -> VolumeConfig:
    """The configuration that the text is. Raises VolumeConfigError with everything that is wrong."""
    reading = _Reading()
    tree = read_tree(text, file, reading.problems)
    if tree is None and not reading.problems:
        tree = Branch({}, Source(Layer.FILE, file))
    return _finished(None if tree is None else _config(tree, reading), reading)


def quick_start(
    *,
    token: str,
    chain: str,
    volume: str,
    amount: str,
    user: str,
    interval: str,
    mul_point_mode: str | None = None,
    base: VolumeConfig | None = None,
) -> VolumeConfig:
    """A configuration with one strategy ``quick_<token>_<user>`` for one user, from options.

    Everything else comes from the global settings of ``base``, else from the defaults. Raises
    VolumeConfigError that names the option.
    """

    def leaf(option: str, text: str, kind: str) -> Leaf:
        return Leaf(kind, text, Source(Layer.OPTION, option))

    here = Source(Layer.OPTION, "quick-start")
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in token.lower())
    users = Listed((leaf("--user", user, "number"),), here)
    keys: dict[str, Tree] = {
        "strategy_id": leaf("--token", f"quick_{name}_{user}"[:64], "text"),
        "strategy_name": leaf("--token", f"quick {token} {user}"[:100], "text"),
        "enabled": leaf("quick-start", "true", "bool"),
        "target_token": leaf("--token", token, "text"),
        "target_chain": leaf("--chain", chain, "text"),
        "target_volume": leaf("--volume", volume, "number"),
        "single_trade_amount_usdt": leaf("--amount", amount, "number"),
        "trade_interval_seconds": leaf("--interval", interval, "number"),
        "user_ids": users,
    }
    if mul_point_mode is not None:
        keys["mul_point_mode"] = leaf("--mul-point-mode", mul_point_mode, "text")
    reading = _Reading()
    lowest = _defaults() if base is None else dict(base.global_settings)
    strategy = _strategy(Branch(keys, here), "strategies[0]", lowest, reading)
    return _finished(None if strategy is None else _assembled(lowest, [strategy], {}, reading), reading)


def _finished(config: VolumeConfig | None, reading: _Reading) -> VolumeConfig:
    if reading.problems or config is None:
        raise VolumeConfigError(reading.problems)
    return config


# Layers.


def _defaults() -> dict[str, Setting]:
    source = Source(Layer.DEFAULT)
    return {name: Setting(key.default, "default", source) for name, key in KEYS.items() if not key.required}


def _config(tree: Tree, reading: _Reading) -> VolumeConfig | None:
    sections = _mapping(tree, "", list(SECTIONS), reading)
    lowest = _defaults()
    if "global_settings" in sections:
        lowest |= _layer(sections["global_settings"], "global_settings", GLOBAL_NAMES, reading)
    strategies = [
        strategy
        for path, item in _items(sections.get("strategies"), "strategies", reading)
        if (strategy := _strategy(item, path, lowest, reading)) is not None
    ]
    seen: dict[str, VolumeStrategy] = {}
    for strategy in strategies:
        name = strategy.strategy_id
        if name in seen:
            message = f"strategy {name} stands there twice, first as {seen[name].path}"
            source = strategy.settings["strategy_id"].source
            reading.problems.append(
                Problem("DUPLICATE_STRATEGY", f"{strategy.path}.strategy_id", message, source)
            )
        seen.setdefault(name, strategy)
    overrides = _overrides(sections.get("user_overrides"), seen, reading)
    return _assembled(lowest, list(seen.values()), overrides, reading)


def _mapping(tree: Tree, path: str, known: list[str], reading: _Reading) -> dict[str, Tree]:
    """The children of a mapping; unknown keys are problems."""
    if not isinstance(tree, Branch):
        reading.add("BAD_VALUE", path, "must be a mapping of keys to values", tree)
        return {}
    for key, value in tree.children.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            path_of_key = below(path, key)
            reading.problems.append(Problem("UNKNOWN_KEY", path_of_key, f"unknown key: {hint}", value.source))
    return {key: value for key, value in tree.children.items() if key in known}


def _items(tree: Tree | None, path: str, reading: _Reading) -> list[tuple[str, Tree]]:
    if tree is None:
        return []
    if not isinstance(tree, Listed):
        reading.add("BAD_VALUE", path, "must be a list", tree)
        return []
    return [(f"{path}[{i}]", item) for i, item in enumerate(tree.items)]


def _layer(tree: Tree, path: str, names: Mapping[str, str], reading: _Reading) -> dict[str, Setting]:
    """The settings of one layer; ``names``: the key as it is written → the key of ``KEYS``."""
    found = {}
    for written, part in _mapping(tree, path, list(names), reading).items():
        name = names[written]
        value = value_of(KEYS[name].kind, part, below(path, written), reading.problems)
        if value is not None:
            found[name] = Setting(value, path, part.source)
    return found


def _strategy(
    tree: Tree, path: str, lowest: Mapping[str, Setting], reading: _Reading
) -> VolumeStrategy | None:
    before = len(reading.problems)
    own = _layer(tree, path, {name: name for name in STRATEGY_NAMES}, reading)
    if not isinstance(tree, Branch):
        return None
    for name in STRATEGY_NAMES:
        if KEYS[name].required and name not in tree.children:
            problem = Problem(
                "MISSING_KEY", f"{path}.{name}", "is missing", tree.source, allowed=KEYS[name].kind.allowed
            )
            reading.problems.append(problem)
    if len(reading.problems) > before:
        return None
    settings = {name: own.get(name) or lowest[name] for name in STRATEGY_NAMES}
    strategy = VolumeStrategy(str(own["strategy_id"].value), settings, {}, path)
    _check_strategy(strategy, reading)
    return strategy


def _check_strategy(strategy: VolumeStrategy, reading: _Reading) -> None:
    path = strategy.path
    if strategy["venue"] is VolumeVenue.BINANCE_SPOT and strategy["target_chain"] != "SPOT":
        chain = strategy.settings["target_chain"]
        message = "venue binance_spot trades SPOT only"
        reading.problems.append(
            Problem(
                "CHAIN_VENUE_MISMATCH",
                f"{path}.target_chain",
                message,
                chain.source,
                str(chain.value),
                "SPOT",
            )
        )
    legacy = strategy["mul_point_mode"] is MulPointMode.LEGACY_V22
    if legacy and strategy["count_side"] is CountSide.BOTH:
        side = strategy.settings["count_side"]
        message = "mul_point_mode legacy_v22 counts one side"
        reading.problems.append(
            Problem("OUT_OF_RANGE", f"{path}.count_side", message, side.source, "both", "buy | sell")
        )


Overrides = dict[tuple[str, int], dict[str, Setting]]


def _overrides(tree: Tree | None, strategies: Mapping[str, VolumeStrategy], reading: _Reading) -> Overrides:
    found: Overrides = {}
    users: set[int] = set()
    for path, item in _items(tree, "user_overrides", reading):
        parts = _mapping(item, path, ["user_id", "strategies"], reading)
        if not isinstance(item, Branch):
            continue
        for name in ("user_id", "strategies"):
            if name not in item.children:
                reading.problems.append(Problem("MISSING_KEY", f"{path}.{name}", "is missing", item.source))
        if "user_id" not in parts or "strategies" not in parts:
            continue
        user = user_of(parts["user_id"], f"{path}.user_id", reading.problems)
        if user is None:
            continue
        if user in users:
            reading.add(
                "DUPLICATE_KEY", f"{path}.user_id", "this user has overrides already", parts["user_id"]
            )
            continue
        users.add(user)
        found |= _overrides_of(user, parts["strategies"], f"{path}.strategies", strategies, reading)
    return found


def _overrides_of(
    user: int, tree: Tree, path: str, strategies: Mapping[str, VolumeStrategy], reading: _Reading
) -> Overrides:
    if not isinstance(tree, Branch):
        reading.add("BAD_VALUE", path, "must be a mapping of strategy ids", tree)
        return {}
    found: Overrides = {}
    for name, part in tree.children.items():
        here = below(path, name)
        strategy = strategies.get(name)
        if strategy is None:
            near = get_close_matches(name, list(strategies), n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            message = f"there is no strategy {shown(name)} (or it has errors){hint}"
            reading.problems.append(Problem("UNKNOWN_STRATEGY", here, message, part.source))
            continue
        listed = strategy["user_ids"]
        if isinstance(listed, tuple) and user not in listed:
            message = f"user {user} is not in user_ids of {name}"
            reading.problems.append(Problem("USER_NOT_IN_STRATEGY", here, message, part.source))
            continue
        layer = _layer(part, here, {key: key for key in STRATEGY_NAMES}, reading)
        for key, setting in layer.items():
            _check_override(key, setting, strategy, f"{here}.{key}", reading)
        found[name, user] = layer
    return found


def _check_override(
    name: str, setting: Setting, strategy: VolumeStrategy, path: str, reading: _Reading
) -> None:
    """May a user set this, and so?"""
    rule, below_it = KEYS[name].override, strategy.settings[name].value
    allowed = {
        Override.YES: True,
        Override.NO: False,
        Override.LOWER: _at_most(setting.value, below_it),
        Override.FALSE: setting.value is False,
        Override.PER_USER: strategy["target_scope"] is TargetScope.PER_USER,
    }[rule]
    if not allowed:
        message = "a user must not set this" if rule is Override.NO else f"a user may set this {rule.value}"
        text = str(_jsonable(setting.value))
        limit = str(_jsonable(below_it)) if rule is Override.LOWER else None
        bound = None if limit is None else f"at most {limit}"
        reading.problems.append(Problem("NOT_OVERRIDABLE", path, message, setting.source, text, bound))


def _at_most(value: Value, limit: Value) -> bool:
    return isinstance(value, Decimal) and isinstance(limit, Decimal) and value <= limit


def _assembled(
    lowest: Mapping[str, Setting], strategies: list[VolumeStrategy], overrides: Overrides, reading: _Reading
) -> VolumeConfig:
    ready = {}
    for strategy in strategies:
        listed = strategy["user_ids"]
        assert isinstance(listed, tuple)
        users = {
            user: _effective(strategy, user, overrides.get((strategy.strategy_id, user), {}))
            for user in listed
        }
        ready[strategy.strategy_id] = VolumeStrategy(
            strategy.strategy_id, strategy.settings, users, strategy.path
        )
        _warn(strategy, users, reading)
    _warn_shared(list(ready.values()), reading)
    return VolumeConfig(ready, dict(lowest), tuple(reading.warnings))


def _jsonable(value: Value) -> object:
    """The value as JSON has it: numbers as plain text, without exponent or zeros at the end."""
    if isinstance(value, Decimal):
        return units.plain(canonical(value))
    if isinstance(value, tuple):
        return [str(user) for user in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None if value is None else value if isinstance(value, bool) else str(value)


def _effective(strategy: VolumeStrategy, user: int, over: Mapping[str, Setting]) -> Effective:
    settings = {**strategy.settings, **over}
    # who else trades the strategy is no part of what this user trades with
    own = {name: _jsonable(setting.value) for name, setting in settings.items() if name != "user_ids"}
    text = msgspec.json.encode({**own, "user_id": str(user)}, order="sorted")
    settings.pop("user_ids")
    return Effective(strategy.strategy_id, user, settings, text.decode(), sha256(text).hexdigest())


# Warnings.


def _warn(strategy: VolumeStrategy, users: Mapping[int, Effective], reading: _Reading) -> None:
    def add(code: str, name: str, message: str) -> None:
        source = strategy.settings[name].source
        reading.warnings.append(Problem(code, f"{strategy.path}.{name}", message, source))

    if strategy["price_mode"] is PriceMode.PROFIT_ON_BUY:
        rises = {_rise(effective) for effective in users.values()}
        texts = ", ".join(f"{units.plain(canonical(rise))} %" for rise in sorted(rises))
        add("W_SELL_ABOVE_MARKET", "price_mode", f"the price must rise by {texts} before the SELL fills")
    else:
        add("W_LANE", "price_mode", "prices of two users cross: one pair at a time on this token")
    if any(effective.number("trade_interval_seconds") < 1 for effective in users.values()):
        add("W_RATE", "trade_interval_seconds", "below one second the venue's rate limits decide the pace")


def _rise(effective: Effective) -> Decimal:
    """(1+b)(1+g) − 1 in percent: what the price must do for the SELL of a pair to fill."""
    b, g = effective.number("buy_offset_percentage"), effective.number("sell_profit_percentage")
    return b + g + b * g / 100


def _warn_shared(strategies: list[VolumeStrategy], reading: _Reading) -> None:
    """The same user on the same token twice: the second run will be refused."""
    first: dict[tuple[int, tuple[str, str, str]], str] = {}
    for strategy in strategies:
        for user in strategy.users:
            earlier = first.setdefault((user, strategy.token_key), strategy.strategy_id)
            if earlier != strategy.strategy_id:
                message = f"user {user} trades this token in {earlier} already: only one run at a time"
                source = strategy.settings["user_ids"].source
                reading.warnings.append(Problem("W_SAME_TOKEN", f"{strategy.path}.user_ids", message, source))


# Reload.

# What a running strategy cannot change under way.
FIXED_WHILE_RUNNING = (
    "venue",
    "target_token",
    "target_chain",
    "target_contract",
    "mul_point_mode",
    "target_scope",
    "count_side",
)


def restart_problems(old: VolumeConfig, new: VolumeConfig, running: frozenset[str]) -> list[Problem]:
    """NEEDS_RESTART for everything that a running strategy cannot take over. A removed one just stops."""
    problems = []
    for name in sorted(running & old.strategies.keys() & new.strategies.keys()):
        before, after = old.strategies[name], new.strategies[name]
        for key in FIXED_WHILE_RUNNING:
            if before[key] != after[key]:
                setting = after.settings[key]
                message = f"a running strategy cannot change it (now {_jsonable(before[key])}): stop it first"
                text = str(_jsonable(setting.value))
                problems.append(
                    Problem("NEEDS_RESTART", f"{after.path}.{key}", message, setting.source, text)
                )
    return problems


class VolumeConfigs:
    """The current configuration. A reload replaces the one pointer, or changes nothing."""

    def __init__(self, load: Callable[[], VolumeConfig]) -> None:
        self._load = load
        self.current = load()

    def reload(self, running: frozenset[str] = frozenset()) -> VolumeConfig:
        """Read anew. Raises VolumeConfigError, the current configuration untouched."""
        fresh = self._load()
        problems = restart_problems(self.current, fresh, running)
        if problems:
            raise VolumeConfigError(problems)
        self.current = fresh
        return fresh


__all__ = [
    "DEFAULT_VOLUME_PATH",
    "Effective",
    "NumberKind",
    "Problem",
    "Setting",
    "VolumeConfig",
    "VolumeConfigError",
    "VolumeConfigs",
    "VolumeStrategy",
    "load_volume",
    "quick_start",
    "read_volume",
    "restart_problems",
]
