"""`[townhall]`: the tables of a part that comes with a later release; checked, so that a town may have them already."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinytown.config_values import table
from tinytown.errors import ConfigInvalid

REST_PORT = 8787
_FORMER = {"tls": {"cert_path": "cert_file", "key_path": "key_file"}, "mtls": {"ca_path": "ca_file"}}


@dataclass(frozen=True, slots=True)
class Auth:
    """`[townhall.auth]`: who may come in. No scopes: all of them."""

    mode: str = "none"
    api_key_hash: str | None = None
    api_key_scopes: tuple[str, ...] = ()
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
class Townhall:
    """`[townhall]`. No mcp_port: the one after rest_port."""

    bind: str = "127.0.0.1"
    rest_port: int = REST_PORT
    mcp_port: int | None = None
    request_timeout_ms: int = 30_000
    auth: Auth = field(default_factory=Auth)
    tls: Tls = field(default_factory=Tls)
    mtls: Mtls = field(default_factory=Mtls)


def check(raw: object, path: Path) -> Townhall:
    """The typed table. Raises ConfigInvalid."""
    settings: Townhall = table(Townhall, modern(raw, path), "townhall.", path)
    key_hash = settings.auth.api_key_hash
    if key_hash is not None and not key_hash.startswith("$argon2id$"):
        raise ConfigInvalid(
            f"{path}: 'townhall.auth.api_key_hash' is no hash of a key.",
            "It begins with $argon2id$; make a key and its hash with: tt auth gen-key",
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
