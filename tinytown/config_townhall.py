"""`[townhall]`: where it listens and who may come in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinytown.config_values import table
from tinytown.errors import ConfigInvalid, brief

REST_PORT = 8787
RESERVED = ("api_key", "local", "web")  # principals that are not named in the file
_FORMER = {"tls": {"cert_path": "cert_file", "key_path": "key_file"}, "mtls": {"ca_path": "ca_file"}}


@dataclass(frozen=True, slots=True)
class Key:
    """One of `[[townhall.auth.keys]]`: a key of its own for somebody, with the Argon2id hash of it."""

    name: str
    hash: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Auth:
    """`[townhall.auth]`: who may come in. No api_key_scopes: all of them."""

    mode: str = "none"
    api_key_hash: str | None = None
    api_key_scopes: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    required_scopes: tuple[str, ...] = ()
    clock_skew_seconds: int = 60


@dataclass(frozen=True, slots=True)
class Tls:
    """`[townhall.tls]`: the server's certificate."""

    enabled: bool = False
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Mtls:
    """`[townhall.mtls]`: the clients' certificates."""

    enabled: bool = False
    required: bool = False
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`[townhall.rate_limit]`: requests a minute, of a principal and from an address; 0: as many as come."""

    read_per_minute: int = 30_000
    write_per_minute: int = 3_000


@dataclass(frozen=True, slots=True)
class Townhall:
    """`[townhall]`. No mcp_port: the one after rest_port."""

    bind: str = "127.0.0.1"
    rest_port: int = REST_PORT
    mcp_port: int | None = None
    request_timeout_ms: int = 30_000
    allowed_hosts: tuple[str, ...] = ()
    rate_limit: RateLimit = field(default_factory=RateLimit)
    auth: Auth = field(default_factory=Auth)
    tls: Tls = field(default_factory=Tls)
    mtls: Mtls = field(default_factory=Mtls)


def check(raw: object, path: Path) -> Townhall:
    """The typed table. Raises ConfigInvalid."""
    settings: Townhall = table(Townhall, modern(raw, path), "townhall.", path)
    auth = settings.auth
    hashes = [("api_key_hash", auth.api_key_hash), *((f"keys.{key.name}.hash", key.hash) for key in auth.keys)]
    for name, key_hash in hashes:
        if key_hash is not None and not key_hash.startswith("$argon2id$"):
            raise ConfigInvalid(
                f"{path}: 'townhall.auth.{brief(name)}' is no hash of a key.",
                "It begins with $argon2id$; make a key and its hash with: tt auth gen-key",
            )
    names = [key.name for key in auth.keys]
    twice = next((name for name in names if names.count(name) > 1 or name in RESERVED or not name), None)
    if twice is not None:
        raise ConfigInvalid(
            f"{path}: a key in 'townhall.auth.keys' cannot be named {brief(repr(twice))}.",
            f"Each key has a name of its own, and not one of: {', '.join(RESERVED)}",
        )
    return settings


def modern(raw: object, path: Path) -> object:
    """Both spellings of the certificates' files as one. Raises ConfigInvalid when both are there."""
    if not isinstance(raw, dict):
        return raw
    renamed: dict[str, Any] = dict(raw)
    for section, names in _FORMER.items():
        rows = raw.get(section)
        if not isinstance(rows, dict):
            continue
        for former, name in names.items():
            if former in rows and name in rows:
                where = f"townhall.{section}"
                raise ConfigInvalid(f"{path}: '{where}.{former}' and '{where}.{name}' are one setting; keep one.")
        renamed[section] = {names.get(key, key): given for key, given in rows.items()}
    return renamed
