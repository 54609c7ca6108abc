"""Settings: town file over global file over defaults, as one frozen `Config`.

Checked by hand over plain dataclasses: every `tt` command reads its town's file, and a validation library
would double the start-up time of the quick ones (docs/decisions.md).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import tomllib
import types
import typing
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from tinytown.errors import ConfigInvalid, Invalid, NotInitialized
from tinytown.ids import check_name

TOWN_FILE = "tinytown.toml"
STATE_DIR = ".tt"
DEFAULT_CLI = "claude"


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """`[redis]`: which server, how reached, how durable."""

    url: str | None = None
    use_socket: bool = True
    socket_path: str = ".tt/redis.sock"
    host: str = "127.0.0.1"
    port: int = 6379
    bind: str = "127.0.0.1"
    password: str | None = None
    tls_enabled: bool = False
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_ca_cert: str | None = None
    persist: bool = True
    aof_path: str = ".tt/redis.aof"
    appendfsync: str = "always"
    server: str | None = None
    use_central: bool = False


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """`[agent]`: how rounds are run and judged. Times in seconds."""

    complete_on: str = "exit"
    auto_claim: bool = True
    max_attempts: int = 3
    retry_delay_s: float = 2.0
    round_timeout_s: float = 3600.0
    silence_timeout_s: float = 0.0
    final_grace_s: float = 10.0
    batch_bytes: int = 65536
    log_bytes: int = 20_000_000


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """`[supervisor]`: restart rules. Times in seconds."""

    restart_intensity: int = 5
    restart_period_s: float = 60.0
    backoff_s: float = 0.2
    backoff_max_s: float = 30.0
    hung_s: float = 30.0
    grace_s: float = 30.0
    on_give_up: str = "keep"


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    """`[retention]`: what is kept, and how long. 0 keeps for good."""

    tasks_days: float = 30.0
    dead_letters: int = 1000
    mailbox: int = 1000
    events: int = 10_000
    round_logs: int = 100


@dataclass(frozen=True, slots=True)
class AgentCli:
    """`[agent_clis.<name>]`: a model CLI of the user's own, or changes to a preset. Times in seconds."""

    name: str = ""
    command: str = ""
    workdir: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    prompt: str | None = None
    format: str | None = None
    round_timeout_s: float | None = None
    silence_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one town."""

    name: str
    default_cli: str = DEFAULT_CLI
    max_agents: int = 10
    redis: RedisConfig = field(default_factory=RedisConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    agent_clis: dict[str, AgentCli] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


CHOICES: dict[str, tuple[str, ...]] = {
    "agent.complete_on": ("exit", "explicit"),
    "redis.appendfsync": ("always", "everysec", "no"),
    "supervisor.on_give_up": ("keep", "backlog"),
    "agent_clis.prompt": ("stdin", "file", "argument"),
}
# Smallest values; everything else that is a number must not be negative.
MINIMUM: dict[str, float] = {"max_agents": 1, "agent.max_attempts": 1, "agent.batch_bytes": 1, "supervisor.hung_s": 1}
FORMER_NAMES = {"default_model": "default_cli"}
SECRET_KEYS = ("redis.password",)


def global_dir() -> Path:
    """`~/.tt`: global configuration, registry of towns, binaries."""
    return Path(os.environ.get("HOME") or "~").expanduser() / ".tt"


def load(root: Path) -> Config:
    """Read the settings of the town at `root`.

    Raises NotInitialized when there is no town file, ConfigInvalid when a file cannot be used.
    """
    path = root / TOWN_FILE
    town = _read(path)
    if town is None:
        raise NotInitialized(str(root))
    return build(town, path)


def build(town: dict[str, Any], path: Path) -> Config:
    """Check a decoded town file over the global one. Raises ConfigInvalid."""
    merged = _with_global(_modern(town), path)
    if "name" not in merged:
        raise ConfigInvalid(f"{path}: 'name' is missing.", 'Add the town\'s name: name = "my-project"')
    config: Config = _table(Config, merged, "", path)
    _check_name(config.name, "Town", path)
    clis = {name: _named(name, cli, path) for name, cli in config.agent_clis.items()}
    return _from_environment(replace(config, agent_clis=clis, warnings=tuple(_warnings(town, config))))


def load_global() -> dict[str, Any]:
    """`~/.tt/config.toml`, decoded; empty when there is none. Raises ConfigInvalid."""
    return _read(global_dir() / "config.toml") or {}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigInvalid(f"{path}: not valid TOML: {error}", "Correct the file and try again.") from error
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error


def _modern(town: dict[str, Any]) -> dict[str, Any]:
    renamed = {FORMER_NAMES.get(key, key): value for key, value in town.items()}
    redis = renamed.get("redis")
    if isinstance(redis, dict) and redis.get("socket_path") == "redis.sock":
        renamed["redis"] = redis | {"socket_path": ".tt/redis.sock"}  # the form before .tt/ existed
    return renamed


def _with_global(town: dict[str, Any], path: Path) -> dict[str, Any]:
    world = load_global()
    merged = dict(town)
    for key in ("default_cli",):
        if key in world:
            merged.setdefault(key, world[key])
    own = merged.get("agent_clis", {})
    shared = world.get("agent_clis", {})
    for table, file in ((own, path), (shared, global_dir() / "config.toml")):
        if not isinstance(table, dict):
            raise ConfigInvalid(f"{file}: 'agent_clis' must be a table.")
    if shared:
        as_tables = {n: {"command": c} if isinstance(c, str) else c for n, c in shared.items()}
        merged["agent_clis"] = as_tables | own
    central = world.get("redis", {})
    if isinstance(central, dict) and "use_central" in central and isinstance(merged.get("redis", {}), dict):
        merged["redis"] = {"use_central": central["use_central"]} | merged.get("redis", {})
    return merged


def _named(name: str, cli: AgentCli, path: Path) -> AgentCli:
    _check_name(name, "CLI", path)
    try:
        shlex.split(cli.command)
    except ValueError as error:
        raise ConfigInvalid(f"{path}: agent_clis.{name}.command: {error}.") from error
    return replace(cli, name=name)


def _check_name(name: str, what: str, path: Path) -> None:
    try:
        check_name(name, what)
    except Invalid as error:
        raise ConfigInvalid(f"{path}: {error}", error.remedy) from error


def _from_environment(config: Config) -> Config:
    url = os.environ.get("REDIS_URL", "").strip()
    password = os.environ.get("TINYTOWN_REDIS_PASSWORD")
    redis = config.redis
    if url:
        redis = replace(redis, url=url)
    if password:
        redis = replace(redis, password=password)
    elif redis.password and redis.password.startswith("$"):
        redis = replace(redis, password=_secret(redis.password, "redis.password"))
    return replace(config, redis=redis)


def _secret(text: str, where: str) -> str:
    """What `$VAR` stands for. A variable that is not set must not become the password itself."""
    found = os.path.expandvars(text)
    if found == text:
        raise ConfigInvalid(f"'{where}' names {text}, which is not set.", f"Set it: export {text.lstrip('$')}=...")
    return found


def _warnings(town: dict[str, Any], config: Config) -> list[str]:
    found = []
    password = config.redis.password
    if isinstance(town.get("redis"), dict) and password and not password.startswith("$"):
        found.append(f'redis.password is written out in {TOWN_FILE}; use password = "$VAR" and set VAR instead.')
    for name, cli in config.agent_clis.items():
        if any(_is_secret(k, v) for k, v in cli.env.items()):
            found.append(f'agent_clis.{name}.env holds a secret in {TOWN_FILE}; write "$VAR" and set VAR instead.')
    return found


def _is_secret(name: str, value: str) -> bool:
    upper = name.upper()
    return bool(value) and not value.startswith("$") and any(w in upper for w in ("KEY", "SECRET", "TOKEN", "PASSW"))


def _table(cls: type[Any], raw: object, where: str, path: Path) -> Any:
    if not isinstance(raw, dict):
        raise ConfigInvalid(f"{path}: {where.rstrip('.')!r} must be a table.")
    known = {f.name: f for f in fields(cls) if f.name != "warnings"}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            raise _unknown(f"{where}{key}", [f"{where}{name}" for name in known], path)
        values[key] = _value(hints[key], value, f"{where}{key}", path)
    for name, f in known.items():
        if name not in values and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigInvalid(f"{path}: '{where}{name}' is missing.")
    return cls(**values)


def _value(hint: Any, value: object, where: str, path: Path) -> Any:
    if is_dataclass(hint):
        return _table(typing.cast("type", hint), value, where + ".", path)
    origin = typing.get_origin(hint)
    if origin is dict:
        return _mapping(hint, value, where, path)
    if origin is types.UnionType:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            value = float(value)
    # nan is the only value that is not itself; no bound would hold it
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)) or value != value:  # noqa: PLR0124
        wanted = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}[hint]
        raise ConfigInvalid(f"{path}: {where!r} must be {wanted}, not {value!r}.")
    return _in_range(value, where, path)


def _mapping(hint: Any, value: object, where: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigInvalid(f"{path}: {where!r} must be a table.")
    inner = typing.get_args(hint)[1]
    return {name: _value(inner, item, f"{where}.{name}", path) for name, item in value.items()}


def _in_range(value: Any, where: str, path: Path) -> Any:
    parts = where.split(".")
    general = f"{parts[0]}.{parts[-1]}" if len(parts) > 2 else where  # agent_clis.<name>.prompt
    if general in CHOICES and value not in CHOICES[general]:
        raise ConfigInvalid(f"{path}: {where!r} must be one of {', '.join(CHOICES[general])}, not {value!r}.")
    least = MINIMUM.get(general, 0)
    if isinstance(value, int | float) and not isinstance(value, bool) and value < least:
        raise ConfigInvalid(f"{path}: {where!r} must be {least:g} or more, not {value!r}.")
    return value


def _unknown(key: str, known: list[str], path: Path) -> ConfigInvalid:
    import difflib  # noqa: PLC0415  only an error needs it

    near = difflib.get_close_matches(key, known, n=1)
    remedy = f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(sorted(known))}"
    return ConfigInvalid(f"{path}: unknown key {key!r}.", remedy)
