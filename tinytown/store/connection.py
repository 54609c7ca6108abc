"""How a town reaches its Redis: where the server is, clients for it, and its errors in the project's words."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinytown.config import RedisConfig, global_dir
from tinytown.errors import ConfigInvalid, RedisVersionTooOld, TinytownError
from tinytown.sockets import SocketPath

if TYPE_CHECKING:
    import redis

MINIMUM_MAJOR = 7
RECOMMENDED_MAJOR = 8
POOL_SIZE = 4
_LOOPBACK = re.compile(r"localhost|::1|127(\.\d{1,3}){3}")
_URL_OPTIONS = ("host", "port", "path", "db", "username", "password", "client_name")
_URL_REMEDY = "Write redis://host:port, rediss://host:port or unix:///path (redis.url or REDIS_URL)."


class Connector:
    """One town's way to its server. Opens nothing by itself; a forked child makes its own."""

    def __init__(self, config: RedisConfig, state_dir: Path) -> None:
        if config.use_central and not config.url:
            # One server for all towns: no single town's settings decide how durable or how reached it is.
            config, state_dir = RedisConfig(server=config.server, use_central=True), global_dir()
        self.config = config
        self.folder = Path(os.path.abspath(state_dir))

    @property
    def root(self) -> Path:
        """What relative paths of the configuration are relative to."""
        return self.folder.parent

    @property
    def is_managed(self) -> bool:
        """The town starts this server itself."""
        return not self.config.url and (self.config.use_socket or is_loopback(self.config.host))

    @property
    def is_tls(self) -> bool:
        """Of a server that is not given by URL."""
        return self.config.tls_enabled and not self.config.use_socket

    @functools.cached_property
    def socket(self) -> SocketPath | None:
        """The server's Unix socket; None when it is reached by TCP."""
        if self.config.url:
            path = _unix_path(self.config.url)
            return None if path is None else SocketPath(path)
        return SocketPath(self._path(self.config.socket_path)) if self.config.use_socket else None

    @property
    def socket_path(self) -> Path | None:
        """As `socket`, the plain path."""
        return None if self.socket is None else self.socket.path

    @property
    def secret_path(self) -> Path:
        """The password of this user's server on that port, when nobody configured one. Towns may share the server."""
        host = "localhost" if self.config.host in {"127.0.0.1", "::1", "[::1]"} else self.config.host.lower()
        return global_dir() / f"redis-{host}-{self.config.port}.secret"

    @property
    def password(self) -> str | None:
        """The configured one, else the one that was made for our server on TCP, as it is now."""
        if self.config.password or self.config.use_socket or not self.is_managed:
            return self.config.password or None
        return self._made_password()

    def _made_password(self) -> str | None:
        try:
            return self.secret_path.read_text("ascii") or None
        except (OSError, ValueError):
            return None  # it was started by somebody else

    @property
    def url(self) -> str:
        """Where the server is, for people: a password reads ****."""
        if self.config.url:
            return redact(self.config.url)
        if self.config.use_socket:
            return f"unix://{self.socket_path}"
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        secret = ":****@" if self.config.password else ""
        return f"{'rediss' if self.is_tls else 'redis'}://{secret}{host}:{self.config.port}"

    def client(
        self,
        *,
        timeout_s: float = 2.0,
        retries: int | None = None,
        on_retry: Callable[[], None] | None = None,
        budget_s: float | None = None,
    ) -> redis.Redis:
        """The command client: bounded, retried, so for operations that are idempotent only. Connects on first use.

        `on_retry` runs before each repetition (a beat); none begins that could end after `budget_s`. Raises
        ConfigInvalid.
        """
        import redis  # noqa: PLC0415  costs 120 ms

        from tinytown.store.transport import BUDGET_S, RETRIES, BoundedRetry  # noqa: PLC0415  imports redis

        budget_s = BUDGET_S if budget_s is None else budget_s
        retry = BoundedRetry(RETRIES if retries is None else retries, timeout_s, on_retry, budget_s)
        connection_class, options = self._target(timeout_s)
        pool = redis.ConnectionPool(
            connection_class=connection_class, max_connections=POOL_SIZE, retry=retry, decode_responses=True, **options
        )
        return redis.Redis.from_pool(pool)

    def bell(self, *, timeout_s: float = 2.0) -> Any:
        """A connection to wait on: unconnected, never retried, `timeout_s` for connect and handshake only.

        Has `connect`, `send_command`, `has_reply`, `read_response`, `fileno`, `disconnect`.
        """
        from tinytown.store.transport import BELLS  # noqa: PLC0415  imports redis

        connection_class, options = self._target(timeout_s)
        return BELLS[connection_class](decode_responses=True, **options)

    def check(self, client: redis.Redis) -> ServerInfo:
        """Ask the server who it is. Raises RedisAway, Unavailable (password, TLS), RedisVersionTooOld."""
        from redis.exceptions import BusyLoadingError  # noqa: PLC0415  costs 120 ms

        loading = False
        with translate(self):
            try:
                client.ping()
            except BusyLoadingError:
                loading = True
            info = ServerInfo.from_info(client.info("server"), loading=loading)
        if info.major < MINIMUM_MAJOR:
            raise RedisVersionTooOld(".".join(info.version.split(".")[:2]), f"It is the server at {self.url}")
        return info

    def _target(self, timeout_s: float) -> tuple[type[Any], dict[str, Any]]:
        from tinytown.store.transport import TcpConnection, TlsConnection, UnixConnection  # noqa: PLC0415  imports redis

        options: dict[str, Any] = self._from_url() if self.config.url else self._from_settings()
        tls = options.pop("tls", False)
        connection_class: type[Any] = UnixConnection if self.socket else TlsConnection if tls else TcpConnection
        options |= {
            "protocol": 2,  # 3 would cost a HELLO per connect, and nothing here needs it
            "driver_info": None,  # else two CLIENT SETINFO per connect
            "encoding_errors": "surrogateescape",
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
        }
        try:
            connection_class(**options)
        except (TypeError, ValueError):
            raise ConfigInvalid(f"Not a Redis URL: {self.url}", _URL_REMEDY) from None
        return connection_class, options

    def _from_settings(self) -> dict[str, Any]:
        config = self.config
        options: dict[str, Any] = {"password": config.password or None}
        if self.socket:
            if config.tls_enabled:
                raise ConfigInvalid(
                    "redis.tls_enabled needs redis.use_socket = false.", "A Unix socket never leaves this machine."
                )
            return options | {"socket_path": self.socket, "is_ours": True}
        if not 1 <= config.port <= 65535:
            raise ConfigInvalid(f"redis.port must be 1 to 65535, not {config.port}.")
        options |= {"host": config.host, "port": config.port, "tls": self.is_tls}
        if self.is_managed and not config.password:
            options["made_password"] = self._made_password
        if self.is_tls:
            options |= self._tls_options()
        return options

    def _from_url(self) -> dict[str, Any]:
        from redis.connection import parse_url  # noqa: PLC0415  costs 120 ms

        url = self.config.url or ""
        try:
            parsed = parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError:  # its text may hold the password
            raise ConfigInvalid(f"Not a Redis URL: {self.url}", _URL_REMEDY) from None
        options = {k: v for k, v in parsed.items() if k in _URL_OPTIONS or k.startswith("ssl_")}
        options.setdefault("password", self.config.password or None)
        if url.startswith("unix://"):
            if not options.pop("path", None):
                raise ConfigInvalid(f"No path in the Redis URL: {self.url}", _URL_REMEDY)
            return options | {"socket_path": self.socket}
        options.setdefault("host", "localhost")
        if url.startswith("rediss://"):
            return self._tls_options() | options | {"tls": True}
        return options

    def _tls_options(self) -> dict[str, Any]:
        files = self.tls_files()
        if "tls_key" in files and "tls_cert" not in files:
            raise ConfigInvalid("redis.tls_key needs redis.tls_cert.")
        names = {"tls_cert": "ssl_certfile", "tls_key": "ssl_keyfile", "tls_ca_cert": "ssl_ca_certs"}
        return {names[name]: str(path) for name, path in files.items()}

    def tls_files(self) -> dict[str, Path]:
        """The configured ones of tls_cert, tls_key and tls_ca_cert. Raises ConfigInvalid when one is missing."""
        files = {}
        for name in ("tls_cert", "tls_key", "tls_ca_cert"):
            value = getattr(self.config, name)
            if value:
                files[name] = path = self._path(value)
                if not os.access(path, os.R_OK) or not path.is_file():
                    raise ConfigInvalid(f"redis.{name} cannot be read: {path}")
        return files

    def _path(self, text: str) -> Path:
        return Path(os.path.abspath(self.root / os.path.expanduser(text)))


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Who answers."""

    name: str
    version: str
    run_id: str
    pid: int
    loading: bool

    @classmethod
    def from_info(cls, raw: Any, *, loading: bool = False) -> ServerInfo:
        """Read INFO server. Every Valkey says redis_version 7.2.4, so its own fields go first."""
        name = str(raw.get("server_name") or "redis")
        version = raw.get("valkey_version") if name == "valkey" else raw.get("redis_version")
        return cls(name, str(version or "0"), str(raw.get("run_id", "")), int(raw.get("process_id", 0)), loading)

    @property
    def major(self) -> int:
        """First number of the version."""
        digits = re.match(r"\d+", self.version)
        return int(digits[0]) if digits else 0

    @property
    def is_older_than_recommended(self) -> bool:
        """Works, but deserves a warning."""
        return self.major < RECOMMENDED_MAJOR


@contextlib.contextmanager
def translate(connector: Connector) -> Iterator[None]:
    """Turn the client's errors of the block into RedisAway and Unavailable; other errors pass."""
    try:
        yield
    except TinytownError:
        raise
    except Exception as error:
        from tinytown.store.failures import in_our_words  # noqa: PLC0415  imports redis, only an error needs it

        ours = in_our_words(error, connector.url, is_managed=connector.is_managed)
        if ours is None:
            raise
        raise ours from error


def is_loopback(host: str) -> bool:
    """The host is this machine."""
    return _LOOPBACK.fullmatch(host.strip("[]").lower()) is not None


def redact(url: str) -> str:
    """Hide the password of a URL, also of one that is malformed: rather too much than too little."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    elif not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return "****"
    credentials, at, place = rest.rpartition("@")
    if at:
        user = credentials.partition(":")[0] if re.fullmatch(r"[\w.-]*:.*", credentials, re.DOTALL) else ""
        rest = f"{user}:****@{place}"
    elif not re.fullmatch(r"(\[[0-9a-fA-F:.]*\]|[^:/?#]*)(:\d*)?([/?#].*)?", rest, re.DOTALL):
        rest = "****"  # a colon that starts no port: perhaps user:password without a host
    rest = re.sub(r"(?i)(pass\w*|secret|token)=[^&#]*", r"\1=****", rest)
    return f"{scheme}{separator}{rest}"


def _unix_path(url: str) -> Path | None:
    if not url.startswith("unix://"):
        return None
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415  only an external server needs it

    try:
        path = unquote(urlsplit(url).path)
    except ValueError:
        return None
    return Path(path) if path else None
