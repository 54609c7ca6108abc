"""Who wants to hear of changed resources: by one request that stays open, or as older clients do, by subscribing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from tinytown.errors import TinytownError
from tinytown.townhall.mcp import tools
from tinytown.townhall.mcp.changes import Changes
from tinytown.townhall.mcp.resources import find

URIS_MOST = 500  # of one client
STREAMS_MOST = 200
_STATE = "tinytown.subscriber"
Context = ServerRequestContext[Any, Any]


class Subscriptions:
    """All of them. `changes` says what has changed."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._listen = ListenHandler(changes.bus, max_subscriptions=STREAMS_MOST)

    async def listen(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve a stream of changes until its client leaves. Raises MCPError."""
        uris = params.notifications.resource_subscriptions or []
        _check(uris)
        async with self._watching(uris):
            return await self._listen(ctx, params)

    async def subscribe(self, ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        """Tell this connection of changes of one resource more. Raises MCPError."""
        subscriber = _subscriber(ctx, self._changes)
        _check([params.uri, *subscriber.uris])
        if params.uri not in subscriber.uris:
            watched = subscriber.uris[params.uri] = contextlib.AsyncExitStack()
            try:
                await watched.enter_async_context(self._watching([params.uri]))
            except BaseException:
                subscriber.uris.pop(params.uri, None)
                raise
        return EmptyResult()

    async def unsubscribe(self, ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        """Tell it no more; not an error for one that it had not subscribed."""
        watched = _subscriber(ctx, self._changes).uris.pop(params.uri, None)
        if watched is not None:
            await watched.aclose()
        return EmptyResult()

    def close(self) -> None:
        """End all streams, each with its last word."""
        self._listen.close()

    @contextlib.asynccontextmanager
    async def _watching(self, uris: list[str]) -> AsyncIterator[None]:
        try:
            async with self._changes.watching(uris):
                yield
        except TinytownError as error:
            raise MCPError(INTERNAL_ERROR, tools.one_line(error)) from error


class Subscriber:
    """A connection of the older kind: what it subscribed, and what it has not been told yet (each once)."""

    def __init__(self, session: ServerSession, changes: Changes) -> None:
        self.uris: dict[str, contextlib.AsyncExitStack] = {}
        self._session = session
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._leave = changes.bus.subscribe(self._hear)
        self._teller = asyncio.create_task(self._tell())

    async def close(self) -> None:
        """The connection is gone."""
        self._leave()
        self._teller.cancel()
        for watched in self.uris.values():
            await watched.aclose()

    def _hear(self, event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated) and event.uri in self.uris:
            self._changed[event.uri] = None
            self._wake.set()

    async def _tell(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._changed:
                uri = next(iter(self._changed))
                del self._changed[uri]
                await self._session.send_resource_updated(uri)  # waits for a slow client; a gone one is no error


def _subscriber(ctx: Context, changes: Changes) -> Subscriber:
    # The SDK shows a handler its session alone; what lives as long as the connection hangs on what is behind it.
    connection = ctx.session._connection  # noqa: SLF001
    found: Subscriber | None = connection.state.get(_STATE)
    if found is None:
        found = connection.state[_STATE] = Subscriber(ctx.session, changes)
        connection.exit_stack.push_async_callback(found.close)
    return found


def _check(uris: list[str]) -> None:
    for uri in uris:
        find(uri)
    if len(set(uris)) > URIS_MOST:
        raise MCPError(INVALID_PARAMS, f"At most {URIS_MOST} resources can be subscribed.")
