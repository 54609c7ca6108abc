"""Keeps the town's own Redis server up: sees its end at once, has it started again without blocking the loop."""

from __future__ import annotations

import os
from collections.abc import Callable

from tinytown import clock, processes
from tinytown.errors import TinytownError
from tinytown.store.server import ManagedServer
from tinytown.supervisor.fork import Forked, exit_code, fork
from tinytown.town import Town

RETRY_S = 0.5
RETRY_MAX_S = 30.0


class RedisKeeper:
    """For a managed server only (`is_managed`); an external one is nobody's to start."""

    def __init__(self, town: Town, leave_behind: Callable[[], None], log: Callable[[str], None]) -> None:
        self.is_managed = town.store.connector.is_managed
        self._server = ManagedServer(town.config.redis, town.state_dir)
        self._leave_behind = leave_behind
        self._log = log
        self._server_fd = -1
        self._starter: Forked | None = None
        self._delay_s = RETRY_S
        self._start_at = 0.0

    @property
    def fds(self) -> list[int]:
        """What to select on: the server's end, the starter's end."""
        starter = self._starter.pidfd if self._starter else -1
        return [fd for fd in (self._server_fd, starter) if fd >= 0]

    @property
    def own_pid(self) -> int | None:
        """The starter, which is a child of ours."""
        return self._starter.process.pid if self._starter else None

    def watch(self) -> None:
        """Look which process the server is, and notice when it ends."""
        if not self.is_managed or self._server_fd >= 0:
            return
        identity = self._server.identity()
        fd = processes.open_pidfd(identity) if identity is not None else None
        self._server_fd = -1 if fd is None else fd

    def on_ready(self, fd: int) -> bool:
        """Handle a descriptor that fired; True when it was one of ours (it is closed then)."""
        if fd == self._server_fd:
            os.close(fd)
            self._server_fd = -1
            self._log("🔌 Redis is away (its process ended)")
            self.start_soon()
            return True
        if self._starter is not None and fd == self._starter.pidfd:
            code = exit_code(self._starter.process)
            if code is None:
                return False
            os.close(fd)
            self._starter = None
            self._started(code)
            return True
        return False

    def start_soon(self) -> None:
        """The server is gone: start it at the next pass."""
        if self.is_managed and self._starter is None and self._start_at == 0.0:
            self._start_at = clock.monotonic()

    def step(self, now: float) -> float | None:
        """Start the starter if it is due; the next due time."""
        if self._starter is not None or self._start_at == 0.0:
            return None
        if now < self._start_at:
            return self._start_at
        self._start_at = 0.0
        try:
            self._starter = fork(self._ensure, self._leave_behind)
        except OSError as error:
            self._log(f"⚠️ Redis cannot be started: {error.strerror}")
            self._started(1)
        return None

    def _started(self, code: int) -> None:
        if code == 0:
            self._delay_s = RETRY_S
            self.watch()
            return
        self._start_at = clock.monotonic() + self._delay_s
        self._delay_s = min(self._delay_s * 2, RETRY_MAX_S)

    def _ensure(self) -> int:
        """In the starter."""
        try:
            self._server.ensure()
        except TinytownError as error:
            self._log(f"⚠️ Redis cannot be started: {error}")
            return 1
        return 0
