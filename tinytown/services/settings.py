"""Settings as users see them: what counts and where it comes from; and the one writer of the global file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from tinytown import config, config_townhall, ids, toml
from tinytown.config import FORMER_NAMES, GLOBAL_TYPES, TOWN_FILE, AgentCli, Config, RedisConfig
from tinytown.config_values import is_secret, unknown
from tinytown.errors import ConfigInvalid, Conflict, Forbidden, Invalid, NotFound, NotInitialized
from tinytown.files import locked, make_private, write_atomic
from tinytown.model_cli import catalog
from tinytown.services import toml_lines
from tinytown.store.connection import redact
from tinytown.town import find_root

HIDDEN = "***"
_CLI = "agent_clis."
_NO_TOWN: dict[str, Any] = {"name": "none"}
_CENTRAL = ("use_central", "server", "aof_path")  # keys of [redis] that count beside use_central
_BOOLEANS = {"true": True, "false": False}


class Source(StrEnum):
    """Where a value comes from; the first that has one wins."""

    ENVIRONMENT = "environment"
    TOWN = "town file"
    GLOBAL = "global file"
    DEFAULT = "default"


class Setting(NamedTuple):
    """One key. `value` is text, a number, a boolean, a list of texts or None (not set); a secret reads ***."""

    key: str
    value: Any
    source: Source


class Overview(NamedTuple):
    """Everything that counts in a town; outside (`town` None) what the global file gives to all."""

    town: Config | None
    settings: list[Setting]
    clis: list[str]


def root_here(given: str | None) -> Path | None:
    """The town's folder; None outside of one. Raises NotInitialized when one was named that is none."""
    if given or os.environ.get("TINYTOWN_TOWN"):
        return find_root(given)
    try:
        return find_root()
    except NotInitialized:
        return None


def overview(root: Path | None) -> Overview:
    """Read all of it. Raises ConfigInvalid."""
    file = root / TOWN_FILE if root else config.global_file()
    town: dict[str, Any] = config.load_town(root) if root else _NO_TOWN
    world = config.load_global()
    built = config.build(town, file)
    if built.redis.use_central and not built.redis.url:  # the server of all towns: of one town's settings few count
        own = {key: value for key, value in town.get("redis", {}).items() if key in _CENTRAL}
        town, kept = town | {"redis": own}, {key: getattr(built.redis, key) for key in _CENTRAL}
        built = replace(built, redis=RedisConfig(**kept))
    written = town | {"townhall": config_townhall.modern(town.get("townhall", {}), file)}
    found = [
        Setting(".".join(path), _shown(path, value), _source(path, written, world))
        for path, value in _leaves(built)
        if root or path[0] == "agent_clis" or ".".join(path) in GLOBAL_TYPES
    ]
    clis = dict.fromkeys((*catalog.PRESETS, *built.agent_clis))
    return Overview(built if root else None, found, list(clis))


def get(root: Path | None, key: str) -> Setting:
    """The value that counts. `agent_clis.<name>` is a CLI's command. Raises ConfigInvalid, NotFound."""
    key = FORMER_NAMES.get(key, key)
    seen = overview(root)
    rows = {setting.key: setting for setting in seen.settings}
    name = _cli_name(key)
    if name is not None:
        own = rows.get(f"{_CLI}{name}.command")
        if own is not None:
            return own._replace(key=key)
        if name in catalog.PRESETS:
            return Setting(key, shlex.join(catalog.PRESETS[name].argv), Source.DEFAULT)
        raise NotFound(f"No CLI is named '{name}'.", f"Known: {', '.join(seen.clis)}")
    if key in rows:
        return rows[key]
    if key in _town_keys():
        raise NotFound(f"'{key}' is a setting of a town, and there is none here.", "Name one: tt config --town PATH")
    raise unknown(key, [*rows, *_town_keys(), f"{_CLI}<name>"])


def set_global(key: str, text: str | None) -> bool:
    """Write one key of the global file (None: remove it); False when it was so already. Read back before it returns.

    Raises Invalid, Conflict, Forbidden, ConfigInvalid (an unknown key; the file is broken; it must be edited by hand).
    """
    key = FORMER_NAMES.get(key, key)
    _check_key(key)
    folder = config.global_dir()
    try:
        make_private(folder, parents=True)
        with locked(folder / "config.lock"):
            return _write(key, text)
    except OSError as error:
        raise Forbidden(f"Cannot write {config.global_file()}: {error.strerror}.") from error


def _write(key: str, text: str | None) -> bool:
    file = config.global_file()
    base = config.build(_NO_TOWN, file)
    new = None if text is None else _checked(key, text, base)
    before = toml.text_of(file) if file.exists() else ""
    stored = toml.decode(before)
    path = _path(key, stored, is_removal=new is None)
    if _found(stored, path) == new:
        return False
    after = toml_lines.change(before, path, new)
    if after is None:
        raise ConfigInvalid(f"{file}: '{key}' is written in a way that cannot be changed here.", "Edit that file.")
    write_atomic(Path(os.path.realpath(file)), after)
    config.load_global()
    if _found(toml.decode(toml.text_of(file)), path) != new:
        raise Conflict(f"{file} was changed by another program just now.", "Look at it, and try again.")
    return True


def _check_key(key: str) -> None:
    if key.startswith(_CLI):
        name = _cli_name(key)
        if name is None:
            raise Invalid(f"Of a CLI this command sets only the command, not '{key}'.", f"Edit {config.global_file()}.")
        ids.check_name(name, "CLI")
    elif key in _town_keys() and key not in GLOBAL_TYPES:
        raise Invalid(f"'{key}' is a setting of each town, not a global one.", f"Set it in the town's {TOWN_FILE}.")
    elif key not in GLOBAL_TYPES or key == "agent_clis":
        raise unknown(key, [*(GLOBAL_TYPES.keys() - {"agent_clis"}), f"{_CLI}<name>"])


def _checked(key: str, text: str, base: Config) -> str | bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid(f"The value of '{key}' is not UTF-8 text.") from None
    if GLOBAL_TYPES.get(key) is bool:
        if text.lower() not in _BOOLEANS:
            raise Invalid(f"'{key}' must be true or false, not {text!r}.")
        return _BOOLEANS[text.lower()]
    if not key.startswith(_CLI):
        catalog.lookup(text, base)
        return text
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Invalid(f"The command cannot be read: {error}.") from None
    if not words:
        raise Invalid("The command is empty.", f"Remove the CLI with: tt config --unset {key}")
    return text


def _path(key: str, stored: dict[str, Any], *, is_removal: bool) -> tuple[str, ...]:
    """Where the key stands in the file: perhaps under its former name, or in a CLI's own table."""
    name = _cli_name(key)
    if name is not None:
        whole = ("agent_clis", name)
        return (*whole, "command") if isinstance(_found(stored, whole), dict) and not is_removal else whole
    former = (old for old, new in FORMER_NAMES.items() if new == key and old in stored and key not in stored)
    return tuple(next(former, key).split("."))


def _cli_name(key: str) -> str | None:
    """The CLI whose command the key names; None for other keys. A name may hold dots."""
    rest = key.removeprefix(_CLI).removesuffix(".command")
    head, _dot, last = rest.rpartition(".")
    is_deeper = ".env." in rest or (head and last in {f.name for f in fields(AgentCli)})
    return rest if key.startswith(_CLI) and not is_deeper else None


def _town_keys() -> list[str]:
    return [".".join(path) for path, _value in _leaves(Config(name="", townhall={"bind": ""}))]


def _leaves(settings: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key with its value. Of a CLI only what is set."""
    for field in fields(settings):
        path, value = (*above, field.name), getattr(settings, field.name)
        if path == ("townhall",):
            value = config_townhall.check(value, Path(TOWN_FILE)) if value else {}
        if is_dataclass(value):
            yield from _leaves(value, path)
        elif path == ("agent_clis",):
            for name, cli in value.items():
                yield from ((p, inner) for p, inner in _leaves(cli, (*path, name)) if inner and p[2:] != ("name",))
        elif isinstance(value, dict):
            yield from (((*path, name), inner) for name, inner in value.items())
        elif path != ("warnings",):
            yield path, [_word(each) for each in value] if isinstance(value, tuple) else value


def _word(item: Any) -> str:
    """A text of a list, or what stands for a table: an API key by its name."""
    return str(getattr(item, "name", item))


def _shown(path: tuple[str, ...], value: Any) -> Any:
    if path == ("redis", "url") and value:
        return redact(value)
    hidden = path == ("redis", "password") or is_secret(".".join(path), str(value))
    return HIDDEN if value and hidden else value


def _source(path: tuple[str, ...], town: dict[str, Any], world: dict[str, Any]) -> Source:
    written = _found(town, path)
    if path == ("redis", "url") and os.environ.get("REDIS_URL", "").strip():
        return Source.ENVIRONMENT
    if path == ("redis", "password") and (
        os.environ.get("TINYTOWN_REDIS_PASSWORD") or str(written or "").startswith("$")
    ):
        return Source.ENVIRONMENT
    if written is not None:
        return Source.TOWN
    is_global = path[0] == "agent_clis" or ".".join(path) in GLOBAL_TYPES
    return Source.GLOBAL if is_global and _found(world, path) is not None else Source.DEFAULT


def _found(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree
