"""uvicorn, with what it leaves out: visitors who dawdle are let go, and streams hear that the program leaves."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

ABORT = "tinytown.abort"  # in a scope's extensions: closes the connection, whatever waits to be sent
HEADERS_WITHIN_S = 10.0
FILES = 4096  # open at once, where the system allows so many; connections take three of four
UNREAD_MOST_MS = 30_000  # a visitor who takes nothing for so long is gone


class Protocol(H11Protocol):
    """A connection that can be cut, and that must say what it wants, each time within `headers_within_s` seconds."""

    headers_within_s = HEADERS_WITHIN_S
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn calls it."""
        super().connection_made(transport)
        app = self.app

        async def connected(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[ABORT] = transport.abort
            await app(scope, receive, send)

        self.app = connected
        self._patience = self.loop.call_later(self.headers_within_s, transport.abort)

    def data_received(self, data: bytes) -> None:
        """As uvicorn calls it."""
        super().data_received(data)
        is_in_head = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if not is_in_head:
            self._have_patience()
        elif self._patience is None:
            self._patience = self.loop.call_later(self.headers_within_s, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn calls it."""
        self._have_patience()
        super().connection_lost(exc)

    def _have_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class Server(uvicorn.Server):
    """`leave` is called when it has been told to leave, before it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, leave: Callable[[], Any]) -> None:
        super().__init__(config)
        self._leave = leave

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn calls it."""
        self._leave()
        await super().shutdown(sockets)


class Listener(socket.socket):
    """Accepts while there are files left for the town's own: whoever opens connections takes those of nobody else."""

    most = FILES * 3 // 4

    def accept(self) -> tuple[socket.socket, Any]:
        """As a socket; one connection too many is closed. Raises ConnectionAbortedError then."""
        connection, address = super().accept()
        if connection.fileno() >= self.most:  # the system gives the lowest number that is free
            connection.close()
            raise ConnectionAbortedError
        return connection, address


def tuned(plain: socket.socket) -> Listener:
    """The listening socket with bounds: on its connections, and on how long one of them may take nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    listener = Listener(fileno=plain.detach())
    listener.most = files * 3 // 4
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MOST_MS)
    return listener
