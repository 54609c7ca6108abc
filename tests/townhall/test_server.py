"""Connections that dawdle."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.support.waiting import wait_until
from tinytown.townhall.server import FILES, Listener, Protocol, tuned

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Hasty(Protocol):
    """Of little patience."""

    headers_within_s = 0.5


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def listener() -> Listener:
    """A socket as the town hall has it."""
    return tuned(socket.create_server(("127.0.0.1", 0)))


@pytest.fixture
def address(listener: Listener) -> Iterator[tuple[str, int]]:
    """Where a server with this protocol listens."""
    server = uvicorn.Server(uvicorn.Config(answer, http=Hasty, lifespan="off", log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    wait_until(lambda: server.started, 10, "the server")
    yield listener.getsockname()[:2]
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_who_never_finishes_a_head_is_let_go(address: tuple[str, int], before: int) -> None:
    """Of the first request, and of a later one: a byte now and then keeps no connection open."""
    with socket.create_connection(address, timeout=10) as visitor:
        for _ in range(before):
            visitor.sendall(REQUEST)
            assert visitor.recv(4096).startswith(b"HTTP/1.1 204")
        visitor.sendall(REQUEST[:10])

        def is_let_go() -> bool:
            try:
                visitor.sendall(b"a")
            except OSError:
                return True
            return False

        wait_until(is_let_go, 10, "the end of the connection")


def test_who_asks_in_time_stays(address: tuple[str, int]) -> None:
    """A connection may be idle between two requests for longer than a head may take."""
    with socket.create_connection(address, timeout=10) as visitor:
        visitor.sendall(REQUEST[:10])
        visitor.sendall(REQUEST[10:])
        assert visitor.recv(4096).startswith(b"HTTP/1.1 204")
        visitor.settimeout(3 * Hasty.headers_within_s)
        with pytest.raises(TimeoutError):
            visitor.recv(1)
        visitor.sendall(REQUEST)
        assert visitor.recv(4096).startswith(b"HTTP/1.1 204")


def test_connections_take_no_files_from_the_town(address: tuple[str, int], listener: Listener) -> None:
    """One too many is closed at once; those that are open, and those that come when there is room, are answered."""
    with socket.create_connection(address, timeout=10) as first:
        first.sendall(REQUEST)
        assert first.recv(4096).startswith(b"HTTP/1.1 204")
        listener.most = listener.fileno()
        with socket.create_connection(address, timeout=10) as another, contextlib.suppress(ConnectionResetError):
            assert another.recv(1) == b""
        first.sendall(REQUEST)
        assert first.recv(4096).startswith(b"HTTP/1.1 204")
        listener.most = FILES
        with socket.create_connection(address, timeout=10) as later:
            later.sendall(REQUEST)
            assert later.recv(4096).startswith(b"HTTP/1.1 204")
