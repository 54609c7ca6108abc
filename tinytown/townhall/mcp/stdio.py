"""MCP over standard input and output: for a program that started this one, until it closes the input."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from tinytown import config_townhall
from tinytown.services import caller
from tinytown.town import Town
from tinytown.townhall import auth
from tinytown.townhall.hall import Hall
from tinytown.townhall.mcp.server import Door

_GONE = (asyncio.CancelledError, BrokenPipeError, anyio.BrokenResourceError, anyio.ClosedResourceError)
# What may last as long as it likes: it ends with the input.
_LASTING = "subscriptions/listen"


def serve(town: Town, *, verbose: bool, underscore: bool) -> int:
    """Serve until the input ends; what was asked before that is still answered. The caller is this process's.

    Returns the exit code. Raises Invalid for settings that are none, first.
    """
    settings = config_townhall.check(town.config.townhall, town.root / "tinytown.toml")
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, stream=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the thread that reads the input would hold up anything gentler
    asyncio.run(_serve(town, settings.request_timeout_ms / 1000, underscore=underscore))
    return 0


async def _serve(town: Town, timeout_s: float, *, underscore: bool) -> None:
    visitor = auth.at_the_terminal(town)
    door = Door(Hall(town), caller.from_environment(), lambda _ctx: visitor, timeout_s, underscore=underscore)
    server = door.server()
    try:
        async with (
            _left_in_peace(door),
            stdio_server() as (incoming, outgoing),
            Conversation(door, incoming, outgoing).open() as (read, write),
        ):
            await server.run(read, write, server.create_initialization_options())
    finally:
        door.close()


@contextlib.asynccontextmanager
async def _left_in_peace(door: Door) -> AsyncIterator[None]:
    """When stdout is broken whoever asked is gone: that is the end, and no failure."""
    try:
        yield
    except (asyncio.CancelledError, BaseExceptionGroup) as error:
        group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error])
        if group.split(_GONE)[1] is not None:
            raise
        door.close()
        os._exit(0)  # all else would wait for the thread that reads the input, and that for a line


class Conversation:
    """What goes in and out, so that the end of the input waits for the answers that are still owed."""

    def __init__(self, door: Door, incoming: Any, outgoing: Any) -> None:
        self._door, self._incoming, self._outgoing = door, incoming, outgoing
        self._owed: set[str | int] = set()
        self._even = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Any, Any]]:
        """The two streams for the server."""
        into, read = anyio.create_memory_object_stream[Any](0)
        write, out = anyio.create_memory_object_stream[SessionMessage](0)
        async with _left_in_peace(self._door), anyio.create_task_group() as tasks:
            tasks.start_soon(self._hand_in, into)
            tasks.start_soon(self._hand_out, out)
            yield read, write

    async def _hand_in(self, into: Any) -> None:
        async with into:
            async for item in self._incoming:
                if isinstance(item, SessionMessage):
                    self._note_asked(item.message)
                await into.send(item)
            await self._settled()

    async def _hand_out(self, out: Any) -> None:
        async with self._outgoing, out:
            async for item in out:
                await self._outgoing.send(item)
                if isinstance(item.message, (JSONRPCResponse, JSONRPCError)):
                    self._forgive(item.message.id)

    async def _settled(self) -> None:
        while self._owed:
            self._even.clear()
            await self._even.wait()

    def _note_asked(self, message: Any) -> None:
        if isinstance(message, JSONRPCRequest) and not self._lasts(message):
            self._owed.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._forgive((message.params or {}).get("requestId"))

    def _forgive(self, identifier: Any) -> None:
        if isinstance(identifier, str | int):  # who cancels may name anything
            self._owed.discard(identifier)
        self._even.set()

    def _lasts(self, request: JSONRPCRequest) -> bool:
        name = (request.params or {}).get("name")
        return request.method == _LASTING or (request.method == "tools/call" and self._door.tools.waits(name))
