"""Typed settings out of decoded TOML. Every error is one line that names the file and the key."""

from __future__ import annotations

import contextlib
import re
import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from tinytown.errors import ConfigInvalid

_SCOPES = ("town.read", "town.write", "agent.manage", "admin")
CHOICES: dict[str, tuple[str, ...]] = {
    "agent.complete_on": ("exit", "explicit"),
    "agent.isolation": ("none", "worktree"),
    "redis.appendfsync": ("always", "everysec", "no"),
    "supervisor.on_give_up": ("keep", "backlog"),
    "mission.no_checks": ("pass", "wait"),
    "agent_clis.prompt": ("stdin", "file", "argument"),
    "townhall.auth.mode": ("none", "api_key", "oidc"),
    "townhall.auth.api_key_scopes": _SCOPES,
    "townhall.auth.keys.scopes": _SCOPES,
}
# Smallest values; everything else that is a number must not be negative.
MINIMUM: dict[str, float] = {
    "max_agents": 1,
    "agent.max_attempts": 1,
    "agent.batch_bytes": 1,
    "supervisor.hung_s": 5,  # between two beats an actor may wait two seconds for a Redis that does not answer
    "mission.max_parallel_items": 1,
    "mission.watch_interval_secs": 1,
    "mission.max_rounds": 1,
    "townhall.rest_port": 1,
    "townhall.mcp_port": 1,
    "townhall.request_timeout_ms": 1,
}
MAXIMUM: dict[str, float] = {
    "redis.port": 65535,
    "mission.max_parallel_items": 1000,
    "mission.watch_interval_secs": 86_400,
    "mission.max_rounds": 1000,
    "townhall.rest_port": 65535,
    "townhall.mcp_port": 65535,
    "townhall.auth.clock_skew_seconds": 600,
    "townhall.rate_limit.read_per_minute": 1_000_000,
    "townhall.rate_limit.write_per_minute": 1_000_000,
}
# Texts of one form: a pattern, and what it stands for. http:// would show a token to everybody on the way,
# and let anybody there say whose tokens are good.
_URL = r"(https://[\w.-]+|http://(localhost|127\.0\.0\.1))(:\d+)?(/[\w./~%-]*)?"
FORMS: dict[str, tuple[str, str]] = {
    "townhall.auth.issuer": (_URL, "the https:// URL of the issuer (http:// for this machine only)"),
    "townhall.auth.jwks_url": (_URL, "the https:// URL of the issuer's keys (http:// for this machine only)"),
    "townhall.allowed_hosts": (r"[\w.-]+|\[[\da-fA-F:.]+\]", "names or addresses without a port, as town.example.com"),
    "github.api_url": (
        r"(https://[\w.-]+|http://(localhost|127\.0\.0\.1))(:\d+)?(/[\w./-]*)?",
        "the https:// URL of GitHub's API, as https://HOST/api/v3 (http:// for this machine only)",
    ),
}
# Keys of the first version that mean nothing any more, and what to do about them.
GONE = {
    "use_central_redis": "Write it under [redis]: use_central = true (or false)",
    "use_streams": "Remove it: there is one way messages travel.",
    "agent.idle_timeout_secs": "Remove it: an idle agent waits at no cost.",
}
_SECRETS = frozenset({"redis.password", "redis.url", "townhall.auth.api_key_hash", "townhall.auth.keys.hash"})
_SHOWN = 80  # characters of a value in an error
_LISTED = 20  # keys in an error's remedy
_SECRET_WORDS = ("KEY", "SECRET", "TOKEN", "PASSW")


def table(cls: type[Any], raw: object, where: str, path: Path) -> Any:
    """The dataclass `cls` out of a table of the file; `where` is the table's name with a dot. Raises ConfigInvalid."""
    if not isinstance(raw, dict):
        raise ConfigInvalid(f"{path}: {where.rstrip('.')!r} must be a table.")
    known = {f.name: f for f in fields(cls) if f.name != "warnings"}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, given in raw.items():
        if key not in known:
            raise unknown(f"{where}{key}", [f"{where}{name}" for name in known], path)
        values[key] = value(hints[key], given, f"{where}{key}", path)
    for name, f in known.items():
        if name not in values and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigInvalid(f"{path}: '{where}{name}' is missing.")
    return cls(**values)


def value(hint: Any, given: object, where: str, path: Path) -> Any:
    """The value of one key as `hint` wants it. Raises ConfigInvalid."""
    if is_dataclass(hint):
        return table(typing.cast("type", hint), given, where + ".", path)
    if hint is Any:
        return given
    origin = typing.get_origin(hint)
    if origin is dict:
        return _mapping(hint, given, where, path)
    if origin is tuple:
        return _list(hint, given, where, path)
    if origin is types.UnionType:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if hint is float and isinstance(given, int) and not isinstance(given, bool):
        with contextlib.suppress(OverflowError):
            given = float(given)
    # nan is the only value that is not itself; no bound would hold it
    if not isinstance(given, hint) or (hint is int and isinstance(given, bool)) or given != given:  # noqa: PLR0124
        wanted = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}[hint]
        raise ConfigInvalid(f"{path}: {where!r} must be {wanted}{_instead(given, where)}.")
    return _in_range(given, where, path)


def unknown(key: str, known: list[str], path: Path | None = None) -> ConfigInvalid:
    """The error for a key that is not known here, with the nearest that is."""
    import difflib  # noqa: PLC0415  only an error needs it

    inner = sorted({name for name in known if name.startswith(f"{key}.")})
    near = inner or difflib.get_close_matches(key, known, n=1)
    listed = f"Known here: {', '.join(sorted(set(known)))}" if len(known) <= _LISTED else "See them with: tt config"
    guess = f"It is a table: {', '.join(near)}" if len(near) > 1 else f"Did you mean '{near[0]}'?" if near else listed
    said = f"{path}: unknown key {_shortened(repr(key))}." if path else f"Unknown config key: {_shortened(key)}"
    return ConfigInvalid(said, GONE.get(key, guess))


def is_secret(key: str, text: str) -> bool:
    """The value of this key must not be shown. The name of a variable (`$VAR`) and a hash are none."""
    if not text or text.startswith("$"):
        return False
    name = key.rpartition(".env.")[2] if key.startswith("agent_clis.") and ".env." in key else ""
    return key in _SECRETS or any(word in name.upper() for word in _SECRET_WORDS)


def _mapping(hint: Any, given: object, where: str, path: Path) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ConfigInvalid(f"{path}: {where!r} must be a table.")
    inner = typing.get_args(hint)[1]
    return {name: value(inner, item, f"{where}.{name}", path) for name, item in given.items()}


def _list(hint: Any, given: object, where: str, path: Path) -> tuple[Any, ...]:
    if not isinstance(given, list):
        raise ConfigInvalid(f"{path}: {where!r} must be a list{_instead(given, where)}.")
    inner = typing.get_args(hint)[0]
    return tuple(value(inner, item, where, path) for item in given)


def _in_range(given: Any, where: str, path: Path) -> Any:
    parts = where.split(".")
    general = f"{parts[0]}.{parts[-1]}" if parts[0] == "agent_clis" else where  # agent_clis.<name>.prompt
    if general in CHOICES and given not in CHOICES[general]:
        choices = ", ".join(CHOICES[general])
        raise ConfigInvalid(f"{path}: {where!r} must be one of {choices}{_instead(given, where)}.")
    if general in FORMS and not re.fullmatch(FORMS[general][0], given, re.ASCII):
        raise ConfigInvalid(f"{path}: {where!r} must be {FORMS[general][1]}.")  # what is there may hold a password
    if not isinstance(given, int | float) or isinstance(given, bool):
        return given
    least, most = MINIMUM.get(general, 0), MAXIMUM.get(general)
    if given < least:
        raise ConfigInvalid(f"{path}: {where!r} must be {least:g} or more{_instead(given, where)}.")
    if most is not None and given > most:
        raise ConfigInvalid(f"{path}: {where!r} must be {most:g} or less{_instead(given, where)}.")
    return given


def _instead(given: object, where: str) -> str:
    """`, not 5`: unless it might be a password."""
    return "" if is_secret(where, str(given)) else f", not {_shortened(repr(given))}"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
