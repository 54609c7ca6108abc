"""MCP over HTTP: one address for all messages (/ and /mcp), and for older clients a stream of its own (/sse)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinytown.config_townhall import Townhall
from tinytown.services.caller import Caller
from tinytown.town import Town
from tinytown.townhall import auth
from tinytown.townhall.auth import Visitor
from tinytown.townhall.hall import Hall
from tinytown.townhall.mcp.ending import Ending
from tinytown.townhall.mcp.front import MCP, Front
from tinytown.townhall.mcp.server import Context, Door
from tinytown.townhall.rest import problems

BODY_MOST = 1_000_000  # bytes
SESSIONS_MOST = 200  # of clients older than 2026; newer ones have none
IDLE_S = 30 * 60.0
STREAMS_MOST = 100  # at /sse
# Host and Origin are looked at once for all, in front of this application.
_UNLOCKED = TransportSecuritySettings(enable_dns_rebinding_protection=False)


def make(town: Town, settings: Townhall, *, sse: bool, underscore: bool) -> ASGIApp:
    """The application behind the guard. Raises Invalid for settings that let nobody in."""
    hall = Hall(town)
    door = Door(hall, Caller(), _visitor, settings.request_timeout_ms / 1000, underscore=underscore)
    manager = StreamableHTTPSessionManager(
        door.server(), security_settings=_UNLOCKED, session_idle_timeout=IDLE_S, max_request_body_size=BODY_MOST,
        max_sessions=SESSIONS_MOST,
    )  # fmt: skip

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        leaving = asyncio.create_task(_say_goodbye(hall, door))
        async with manager.run():
            yield
        leaving.cancel()
        door.close()

    messages = StreamableHTTPASGIApp(manager)
    routes: list[BaseRoute] = [
        Route("/healthz", _health),
        *(Route(path, messages) for path in (MCP, MCP + "/")),
    ]
    if sse:
        transport = SseServerTransport("/messages/", _UNLOCKED, BODY_MOST)
        routes += [Route("/sse", Stream(door, transport)), Mount("/messages/", transport.handle_post_message)]
    app = Starlette(routes=routes, lifespan=lifespan)
    whole = Whole(Ending(app, hall.leaving), settings.request_timeout_ms / 1000)
    guarded = auth.protect(Known(whole), settings, town, tells=True)
    return Front(guarded, settings.auth, State({"hall": hall}))


async def _say_goodbye(hall: Hall, door: Door) -> None:
    await hall.leaving.wait()
    door.leave()


class Whole:
    """Passes a message on when all of it has come, or more than may be; what does not come in time is answered 408."""

    def __init__(self, app: ASGIApp, within_s: float) -> None:
        self._app = app
        self._within_s = within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            read = await asyncio.wait_for(_read(receive), self._within_s)
        except TimeoutError:
            text = "The body of the request did not come in time."
            answer = problems.answer(Request(scope), 408, text, headers={"Connection": "close"})
            await answer(scope, receive, send)
            return
        waiting = [read]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, again, send)


async def _read(receive: Receive) -> Message:
    body, more = b"", True
    while more and len(body) <= BODY_MOST:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return {"type": "http.request", "body": body, "more_body": more}


class Known:
    """Tells the SDK who it is, so that a session is of use only to whoever opened it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] == "http":
            name = auth.visitor(scope).principal.name
            scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=name, scopes=[]))
        await self._app(scope, receive, send)


def _visitor(ctx: Context) -> Visitor:
    assert ctx.request is not None
    return auth.visitor(ctx.request.scope)


async def _health(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


class Stream:
    """GET /sse: a connection of the kind before 2025."""

    def __init__(self, door: Door, transport: SseServerTransport) -> None:
        self._server, self._transport = door.server(), transport
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it until the client leaves."""
        if scope["method"] != "GET" or self._open >= STREAMS_MOST:
            status = 405 if scope["method"] != "GET" else 503
            text = "Only GET." if status == 405 else "Too many streams are open."
            await JSONResponse({"error": text}, status)(scope, receive, send)
            return
        self._open += 1
        try:
            async with self._transport.connect_sse(scope, receive, send) as (read, write):
                await self._server.run(read, write, self._server.create_initialization_options())
        finally:
            self._open -= 1
