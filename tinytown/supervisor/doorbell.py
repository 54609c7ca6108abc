"""The local doorbell: a datagram socket in `.tt`. `look` = a wish changed; `status` is answered."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from typing import Any

from tinytown.sockets import SocketPath

AT_ONCE = 1000


class Doorbell:
    """The supervisor's end. Its folder is 0700, so only this user reaches it."""

    def __init__(self, path: SocketPath) -> None:
        self._path = path
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.address)  # the lock is ours: whoever bound it is dead
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        os.fchmod(self._socket.fileno(), 0o600)  # before it has a name: it is never wider
        self._socket.bind(path.address)

    @property
    def fd(self) -> int:
        """Readable when somebody rang."""
        return self._socket.fileno()

    def answer(self, status: Callable[[], dict[str, Any]]) -> bool:
        """Read what came (of a crowd some: the rest is there the next time); True when a wish changed."""
        rung, told = False, b""
        with contextlib.suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                question, sender = self._socket.recvfrom(64)
                if question == b"status" and sender:
                    told = told or json.dumps(status()).encode()
                    with contextlib.suppress(OSError):
                        self._socket.sendto(told, sender)
                else:
                    rung = True
        return rung

    def close_in_child(self) -> None:
        """The forked copy."""
        self._socket.close()

    def close(self) -> None:
        """Gone, with its name."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path.address)
        self._socket.close()
