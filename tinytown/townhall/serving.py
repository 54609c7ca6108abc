"""Run the town hall: check the settings, open the socket, say where it listens, serve until told to leave."""

from __future__ import annotations

import functools
import os
import signal
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvicorn

from tinytown import config_townhall
from tinytown.config_townhall import Townhall
from tinytown.errors import Invalid, Unavailable
from tinytown.services import web
from tinytown.town import Town
from tinytown.townhall.auth import startup
from tinytown.townhall.server import Protocol, Server, tuned

LEAVE_WITHIN_S = 2
KEEP_ALIVE_S = 30
PORT_MOST = 65535
Say = Callable[[str], None]


def rest(town: Town, bind: str | None, port: int | None, say: Say, *, verbose: bool = False) -> int:
    """Serve the REST API and the page; returns the exit code. Raises Forbidden, Invalid, Unavailable first."""
    from tinytown.townhall.rest import app  # noqa: PLC0415  the other doors need none of it

    settings = config_townhall.check(town.config.townhall, town.root / "tinytown.toml")
    number = settings.rest_port if port is None else port
    make = functools.partial(app.make, town, settings)
    announce = functools.partial(web.announce, town.state_dir)
    return run(town, settings, make, (bind, number, ""), say, verbose=verbose, announce=announce)


def mcp_http(
    town: Town, bind: str | None, port: int | None, say: Say, *, verbose: bool, sse: bool, underscore: bool
) -> int:  # fmt: skip
    """Serve MCP over HTTP, with `sse` for clients of before 2025 as well; else as `rest`."""
    from tinytown.townhall.mcp import http  # noqa: PLC0415  the other doors need none of it

    settings = config_townhall.check(town.config.townhall, town.root / "tinytown.toml")
    number = mcp_port(settings) if port is None else port
    make = functools.partial(http.make, town, settings, sse=sse, underscore=underscore)
    return run(town, settings, make, (bind, number, "/mcp"), say, verbose=verbose)


def mcp_port(settings: Townhall) -> int:
    """Where MCP listens: what is set, else the port after that of REST. Raises Invalid when there is none."""
    port = settings.rest_port + 1 if settings.mcp_port is None else settings.mcp_port
    if port > PORT_MOST:
        raise Invalid(f"There is no port after {PORT_MOST} for MCP.", "Set one: [townhall] mcp_port = 8788")
    return port


def run(
    town: Town, settings: Townhall, make: Callable[[], Any], place: tuple[str | None, int, str], say: Say, *,
    verbose: bool, announce: Say = lambda _url: None,
) -> int:  # fmt: skip
    """Serve the ASGI application that `make` makes, once it is sure that it may be served there.

    `place`: address, port, and the path that visitors are told. `announce` is told the URL before anybody else is.
    """
    bind, port, path = place
    host = settings.bind if bind is None else bind
    warnings = startup.check(settings, host)
    tls, more = _tls(settings, town)
    listener = _open(host, port)
    app = make()
    shown, number = listener.getsockname()[:2]
    url = f"{'https' if tls else 'http'}://{_shown(shown)}:{number}"
    # Until uvicorn listens to signals, and again when it has left because of one: to be told to leave is no failure.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    announce(url)
    say(f"Town hall of '{town.name}' at {url}{path}")
    for warning in (*warnings, *more):
        say(warning)
    return _serve(app, listener, tls, verbose=verbose)


def _tls(settings: Townhall, town: Town) -> tuple[ssl.SSLContext | None, list[str]]:
    if not (settings.tls.enabled or settings.mtls.enabled or settings.mtls.required):
        return None, []
    from tinytown.townhall.auth import certificates  # noqa: PLC0415  costs a tenth of a second

    return certificates.context(settings, town.root)


def _serve(app: Any, listener: socket.socket, tls: ssl.SSLContext | None, *, verbose: bool) -> int:
    level = "info" if verbose else "error"  # its warnings are of what strangers send, a line for each request
    options = uvicorn.Config(
        app, log_level=level, access_log=verbose, proxy_headers=False, server_header=False,
        timeout_graceful_shutdown=LEAVE_WITHIN_S, timeout_keep_alive=KEEP_ALIVE_S, http=Protocol,
        ssl_context_factory=(lambda *_: tls) if tls else None,
    )  # fmt: skip
    hall = getattr(getattr(app, "state", None), "hall", None)
    Server(options, hall.leaving.set if hall is not None else lambda: None).run([listener])
    return 0


def _open(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]
        raise Unavailable(f"Cannot listen on {_shown(host)}:{port}: {why}", "Choose another: --port N") from error
    # asyncio does so for sockets that name their protocol alone. Without it a body waits 40 ms behind its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tuned(listener)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
