"""A real Redis for tests, on a Unix socket in a folder of its own, that can be killed and started again."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tinytown import processes
from tinytown.config import RedisConfig
from tinytown.processes import Identity
from tinytown.store.connection import Connector
from tinytown.store.server import ManagedServer

if TYPE_CHECKING:
    import redis


class TestRedis:
    """One server of the town at `root`; starts with `start` or as a context manager, ends with `stop`."""

    __test__ = False  # no test class, whatever its name

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        self.state_dir = root / ".tt"
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config = replace(RedisConfig(), **settings)
        self.server = ManagedServer(self.config, self.state_dir)
        self.connector: Connector = self.server.connector
        self._clients: list[redis.Redis] = []

    def start(self) -> Self:
        """Return when it answers."""
        self.server.ensure()
        return self

    restart = start

    @property
    def process(self) -> Identity:
        """The server's process; it must live."""
        found = self.server.identity()
        assert found is not None, "no server runs"
        return found

    def kill(self) -> None:
        """SIGKILL, and wait for its end; its socket and pid file stay behind."""
        self.signal(signal.SIGKILL)

    def signal(self, signum: int) -> None:
        """Signal it; after SIGKILL wait for its end."""
        process = self.process
        fd = processes.open_pidfd(process)
        assert fd is not None
        processes.send(process, signum)
        if signum == signal.SIGKILL:
            assert select.select([fd], [], [], 10)[0], "the server survived SIGKILL"
        os.close(fd)

    def freeze(self) -> None:
        """SIGSTOP: it accepts connections and answers nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        """A command client; closed with the server."""
        client = self.connector.client(**options)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        """End it, whatever state it is in, and close all clients."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        process = self.server.identity()
        if process is not None:
            processes.send(process, signal.SIGCONT)
        self.server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
