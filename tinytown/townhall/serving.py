"""Run the town hall: check the settings, open the socket, say where it listens, serve until told to leave."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from tinytown import config_townhall
from tinytown.config_townhall import Townhall
from tinytown.errors import Forbidden, Invalid, Unavailable
from tinytown.town import Town

LEAVE_WITHIN_S = 2
KEEP_ALIVE_S = 30
Say = Callable[[str], None]


def rest(town: Town, bind: str | None, port: int | None, say: Say, *, verbose: bool = False) -> int:
    """Serve the REST API and the page; returns the exit code. Raises Forbidden, Invalid, Unavailable first."""
    from tinytown.townhall.rest import app  # noqa: PLC0415  what fails before it needs no half a second

    settings = config_townhall.check(town.config.townhall, town.root / "tinytown.toml")
    listener = _open(settings, bind, settings.rest_port if port is None else port)
    host, number = listener.getsockname()[:2]
    say(f"Town hall of '{town.name}' at http://{_shown(host)}:{number}")
    return _serve(app.make(town, settings), listener, verbose=verbose)


def _serve(app: Any, listener: socket.socket, *, verbose: bool) -> int:
    level = "info" if verbose else "warning"
    options = uvicorn.Config(
        app, log_level=level, access_log=verbose, proxy_headers=False, server_header=False,
        timeout_graceful_shutdown=LEAVE_WITHIN_S, timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip
    uvicorn.Server(options).run([listener])
    return 0


def _open(settings: Townhall, bind: str | None, port: int) -> socket.socket:
    host = settings.bind if bind is None else bind
    if settings.auth.mode != "none" or settings.tls.enabled or settings.mtls.enabled:
        raise Invalid("[townhall] auth, tls and mtls are not served by this version yet.", "Remove them for now.")
    if settings.auth.mode == "none" and not is_loopback(host):
        raise Forbidden(
            f"The town hall does not listen on {host} without authentication: everybody there could run commands here.",
            "Make a key with 'tt auth gen-key' and set [townhall.auth] mode = \"api_key\", or bind to 127.0.0.1.",
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise Unavailable(
            f"Cannot listen on {_shown(host)}:{port}: {error.strerror}", "Choose another: --port N"
        ) from error


def is_loopback(host: str) -> bool:
    """Nobody outside of this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
