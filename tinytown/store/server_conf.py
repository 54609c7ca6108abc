"""What a managed server is told: redis.conf, and where its append-only files lie."""

from __future__ import annotations

import os
from pathlib import Path

from tinytown.errors import ConfigInvalid, Forbidden, Unavailable
from tinytown.files import write_atomic
from tinytown.sockets import LIMIT
from tinytown.store.connection import Connector, is_loopback

# A path Redis takes for a pattern: in a folder `a[1]` or `*` it would read no configuration, or that of others.
FROM_STDIN = ("-",)
AOF_FOLDER = "appendonlydir"  # Redis' own name for it
_WILDCARDS = {"*", "-*", "0.0.0.0", "::", "-::*", "::*"}  # noqa: S104  named to be recognised


def text(connector: Connector) -> str:
    """The whole redis.conf. Raises ConfigInvalid."""
    config = connector.config
    lines = [
        "# Written anew at each start; settings belong into tinytown.toml.",
        f"dir {quote(str(connector.folder))}",
        "daemonize yes",
        "pidfile redis.pid",
        "logfile redis.log",
        "loglevel notice",
        'save ""',
        f"appendonly {'yes' if config.persist else 'no'}",
        f"appendfsync {config.appendfsync}",
        f"appendfilename {quote(aof_file(connector).name)}",
        *(_socket_lines(connector) if config.use_socket else _tcp_lines(connector)),
    ]
    if connector.password:
        lines.append(f"requirepass {quote(connector.password)}")
    return "\n".join(lines) + "\n"


def quote(value: str) -> str:
    """One argument of a redis.conf line; any text survives."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    safe = (escapes.get(c) or (f"\\x{ord(c):02x}" if ord(c) < 32 else c) for c in value)
    return f'"{"".join(safe)}"'


def _socket_lines(connector: Connector) -> list[str]:
    assert connector.socket_path is not None
    # Relative to `dir`, so that a folder of any length will do; clients have SocketPath for it.
    path = connector.socket_path
    relative = os.path.relpath(path, connector.folder)
    address = min(relative, str(path), key=lambda p: len(os.fsencode(p)))
    if len(os.fsencode(address)) > LIMIT:
        raise ConfigInvalid(
            f"redis.socket_path is too long for a socket: {path}",
            f"Use a path of at most {LIMIT} bytes, or one in .tt, which may be of any length.",
        )
    return ["port 0", f"unixsocket {quote(address)}", "unixsocketperm 700"]


def _tcp_lines(connector: Connector) -> list[str]:
    config = connector.config
    addresses = config.bind.split()
    if not all(is_loopback(address.lstrip("-")) for address in addresses) and not config.password:
        raise ConfigInvalid(
            f"redis.bind = {config.bind!r} opens Redis to other machines without a password.",
            'Set redis.password = "$VAR" (or TINYTOWN_REDIS_PASSWORD), or bind to 127.0.0.1.',
        )
    lines = [f"bind {' '.join(map(quote, _listen_on(addresses, config.host)))}", "protected-mode yes"]
    if not connector.is_tls:
        return [*lines, f"port {config.port}"]
    files = connector.tls_files()
    if "tls_cert" not in files:
        raise ConfigInvalid("redis.tls_enabled needs redis.tls_cert and redis.tls_key for the server to start.")
    files.setdefault("tls_key", files["tls_cert"])
    names = {"tls_cert": "tls-cert-file", "tls_key": "tls-key-file", "tls_ca_cert": "tls-ca-cert-file"}
    lines += ["port 0", f"tls-port {config.port}", *(f"{names[n]} {quote(str(path))}" for n, path in files.items())]
    # Without a CA there is nothing to judge a client's certificate by.
    return lines if "tls_ca_cert" in files else [*lines, "tls-auth-clients no"]


def _listen_on(addresses: list[str], host: str) -> list[str]:
    """The addresses to bind; the town's own `host` is among them."""
    reached = _WILDCARDS & set(addresses) or host in addresses
    if host == "localhost":
        reached = reached or any(is_loopback(address) for address in addresses)
    return addresses if reached else [*addresses, host.strip("[]")]


def aof_file(connector: Connector) -> Path:
    """`redis.aof_path`: what the live files are named after, and where a saved file lies. Raises ConfigInvalid."""
    text = os.path.expanduser(connector.config.aof_path)
    path = Path(os.path.abspath(connector.root / text))
    if not text.strip() or path.name in {"", ".."} or path == connector.folder:
        raise ConfigInvalid(f"redis.aof_path names no file: {connector.config.aof_path!r}")
    return path


def manifest(connector: Connector) -> Path:
    """The list of the append-only files."""
    file = aof_file(connector)
    return file.parent / AOF_FOLDER / f"{file.name}.manifest"


def place_append_only_files(connector: Connector) -> None:
    """Make the folder that Redis keeps them in, by a link when `aof_path` is elsewhere.

    Refuses (ConfigInvalid, Unavailable) whatever would make the server start empty while data lies in another place.
    """
    file = aof_file(connector)
    link = connector.folder / AOF_FOLDER
    home = file.parent / AOF_FOLDER
    elsewhere = os.path.realpath(file.parent) != os.path.realpath(connector.folder)
    try:
        if link.is_symlink() and not link.exists() and os.path.realpath(link) == os.path.realpath(home):
            raise Unavailable(
                f"The append-only files are gone: {home}",
                f"Bring that folder back (is its disk mounted?), or delete {link} to start empty.",
            )
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _leave_former_place(link, home if elsewhere else link, file)
        home.mkdir(mode=0o700, exist_ok=True)
        if elsewhere and not link.is_symlink():
            link.symlink_to(home)
        _shield_saved_file(file, home)
    except OSError as error:
        raise Forbidden(f"Cannot write the append-only files at {file}: {error.strerror}.") from error


def _leave_former_place(link: Path, home: Path, file: Path) -> None:
    """Remove a link or an empty folder that another `aof_path` left; refuse when it holds the town's data."""
    if not link.is_symlink() and not link.exists():
        return
    stays = os.path.realpath(link) == os.path.realpath(home) and link.is_symlink() == (home != link)
    manifests = sorted(link.glob("*.manifest"))
    if manifests and (not stays or link / f"{file.name}.manifest" not in manifests):
        former = os.path.realpath(link)
        raise ConfigInvalid(
            f"redis.aof_path was changed, but the town's data is in {former} ({manifests[0].stem}).",
            f"Set redis.aof_path to {Path(former).parent / manifests[0].stem}, or move {former} away to start empty.",
        )
    if not stays and link.is_symlink():
        link.unlink()
    elif not stays:
        link.rmdir()


def _shield_saved_file(file: Path, home: Path) -> None:
    """Start empty beside a saved file (`tt save`): Redis would take it for its own and move it away from git.

    Loading it is `tt init`'s and `tt restore`'s, which prove it first and start no agent.
    """
    manifest = home / f"{file.name}.manifest"
    if file.is_file() and not manifest.exists():
        first = f"{file.name}.1.incr.aof"
        (home / first).touch(mode=0o600)
        write_atomic(manifest, f"file {quote(first)} seq 1 type i\n")
