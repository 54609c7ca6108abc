"""Settings: environment over town file over global file over defaults, as one frozen `Config`.

Checked by hand over plain dataclasses (config_values.py): every `tt` command reads its town's file, and a
validation library would double the start-up time of the quick ones (docs/decisions.md).
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tinytown import toml
from tinytown.config_values import is_secret, table, unknown, value
from tinytown.errors import ConfigInvalid, Invalid, NotInitialized
from tinytown.ids import check_name, is_stored_name

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
    isolation: str = "none"
    copy: tuple[str, ...] = ()
    setup: str = ""


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
    missions_days: float = 30.0


@dataclass(frozen=True, slots=True)
class MissionConfig:
    """`[mission]`: the policy of new missions (domain/mission.py). Times in seconds."""

    max_parallel_items: int = 2
    reviewer_required: bool = True
    auto_merge: bool = False
    watch_interval_secs: int = 180
    max_rounds: int = 5
    no_checks: str = "pass"


@dataclass(frozen=True, slots=True)
class GithubConfig:
    """`[github]`: where the API is; https://HOST/api/v3 on an Enterprise server."""

    api_url: str = "https://api.github.com"


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
    conductor_cli: str | None = None
    max_agents: int = 10
    redis: RedisConfig = field(default_factory=RedisConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    mission: MissionConfig = field(default_factory=MissionConfig)
    github: GithubConfig = field(default_factory=GithubConfig)
    agent_clis: dict[str, AgentCli] = field(default_factory=dict)
    townhall: dict[str, Any] = field(default_factory=dict)  # as written; config_townhall.py types it
    warnings: tuple[str, ...] = ()


FORMER_NAMES = {"default_model": "default_cli"}
# What the global file may set. A CLI may also be its command alone.
GLOBAL_TYPES: dict[str, Any] = {
    "default_cli": str,
    "conductor_cli": str,
    "agent_clis": dict[str, AgentCli],
    "redis.use_central": bool,
}
# [redis] of the first version's global file, which it wrote unasked.
FORMER_GLOBAL = frozenset({"redis.host", "redis.port", "redis.password"})


def global_dir() -> Path:
    """`~/.tt`: global configuration, registry of towns, binaries."""
    return Path(os.path.expanduser(os.environ.get("HOME") or "~")) / ".tt"


def global_file() -> Path:
    """The settings for all towns of this user."""
    return global_dir() / "config.toml"


def load(root: Path) -> Config:
    """Read the settings of the town at `root`.

    Raises NotInitialized when there is no town file, ConfigInvalid when a file cannot be used.
    """
    return build(load_town(root), root / TOWN_FILE)


def load_town(root: Path) -> dict[str, Any]:
    """The town file as it is written. Raises NotInitialized, ConfigInvalid."""
    town = _read(root / TOWN_FILE)
    if town is None:
        raise NotInitialized(str(root))
    return modern(town)


def load_global() -> dict[str, Any]:
    """The global file, checked; a CLI is always a table. Empty when there is none. Raises ConfigInvalid."""
    path = global_file()
    world = modern(_read(path) or {})
    if isinstance(world.get("agent_clis"), dict):
        world["agent_clis"] = {
            name: {"command": cli} if isinstance(cli, str) else cli for name, cli in world["agent_clis"].items()
        }
    for name, given in world.items():
        rows = {f"redis.{key}": inner for key, inner in given.items()} if _is_redis(name, given) else {name: given}
        for key, inner in rows.items():
            if key in GLOBAL_TYPES:
                value(GLOBAL_TYPES[key], inner, key, path)
            elif key not in FORMER_GLOBAL:
                raise unknown(key, list(GLOBAL_TYPES), path)
    for name, cli in value(GLOBAL_TYPES["agent_clis"], world.get("agent_clis", {}), "agent_clis", path).items():
        _named(name, cli, path)
    return world


def build(town: dict[str, Any], path: Path) -> Config:
    """Check a decoded town file over the global one. Raises ConfigInvalid."""
    town, world = modern(town), load_global()
    merged = _with_global(town, world, path)
    if "name" not in merged:
        raise ConfigInvalid(f"{path}: 'name' is missing.", 'Add the town\'s name: name = "my-project"')
    config: Config = table(Config, merged, "", path)
    if config.townhall:
        from tinytown.config_townhall import check  # noqa: PLC0415  few towns have one

        check(config.townhall, path)
    if not is_stored_name(config.name):
        _check_name(config.name, "Town", path)
    clis = {name: _named(name, cli, path) for name, cli in config.agent_clis.items()}
    warnings = tuple(_warnings(town, world, config))
    return _from_environment(replace(config, agent_clis=clis, warnings=warnings))


def modern(settings: dict[str, Any]) -> dict[str, Any]:
    """Former names replaced by those of now, which win where both are there."""
    renamed = {new: settings[old] for old, new in FORMER_NAMES.items() if old in settings}
    renamed |= {key: given for key, given in settings.items() if key not in FORMER_NAMES}
    redis = renamed.get("redis")
    if isinstance(redis, dict) and redis.get("socket_path") == "redis.sock":
        renamed["redis"] = redis | {"socket_path": ".tt/redis.sock"}  # the form before .tt/ existed
    return renamed


def _read(path: Path) -> dict[str, Any] | None:
    text = ""
    try:
        text = toml.text_of(path)
        return toml.decode(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        is_json = text.lstrip().startswith("{")
        json = "Settings are TOML, not JSON: write [redis], and under it use_socket = true"
        remedy = json if is_json else "Correct the file and try again."
        raise ConfigInvalid(f"{path}: not valid TOML: {error}", remedy) from error
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error


def _is_redis(name: str, given: object) -> bool:
    return name == "redis" and isinstance(given, dict)


def _with_global(town: dict[str, Any], world: dict[str, Any], path: Path) -> dict[str, Any]:
    merged = dict(town)
    for key in ("default_cli", "conductor_cli"):
        if key in world:
            merged.setdefault(key, world[key])
    own = merged.get("agent_clis", {})
    if not isinstance(own, dict):
        raise ConfigInvalid(f"{path}: 'agent_clis' must be a table.")
    merged["agent_clis"] = world.get("agent_clis", {}) | own
    shared = world.get("redis", {})
    if "use_central" in shared and isinstance(merged.get("redis", {}), dict):
        merged["redis"] = {"use_central": shared["use_central"]} | merged.get("redis", {})
    return merged


def _named(name: str, cli: AgentCli, path: Path) -> AgentCli:
    _check_name(name, "CLI", path)
    if cli.name not in {"", name}:
        raise ConfigInvalid(
            f"{path}: agent_clis.{name}.name is {cli.name!r}; a CLI has the name of its table.",
            f"Leave 'name' out, or rename the table to [agent_clis.{cli.name}].",
        )
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


def _warnings(town: dict[str, Any], world: dict[str, Any], config: Config) -> list[str]:
    found = []
    own = town.get("redis", {})
    if is_secret("redis.password", own.get("password", "")):
        found.append(f'redis.password is written out in {TOWN_FILE}; use password = "$VAR" and set VAR instead.')
    if "@" in own.get("url", "") and ":" in own["url"].partition("://")[2].rpartition("@")[0]:
        found.append(f"redis.url holds a password in {TOWN_FILE}; set REDIS_URL or TINYTOWN_REDIS_PASSWORD instead.")
    found += [
        f'agent_clis.{name}.env holds a secret in {TOWN_FILE}; write "$VAR" and set VAR instead.'
        for name in town.get("agent_clis", {})
        if any(is_secret(f"agent_clis.{name}.env.{k}", v) for k, v in config.agent_clis[name].env.items())
    ]
    former = sorted(FORMER_GLOBAL & {f"redis.{key}" for key in world.get("redis", {})})
    if former:
        where = f"the shared server is at {global_dir() / 'redis.sock'}"
        found.append(f"{', '.join(former)} in {global_file()}: ignored; {where}.")
    return found
