"""The way out: ask the children, after the grace time end their models too, then kill what does not go."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tinytown import clock, processes
from tinytown.supervisor.children import Children

END_KILL_S = 5.0
NOW_SIGNAL = signal.SIGUSR1


class Shutdown:
    """Begun once; `at_once` cuts the grace time short."""

    def __init__(self, children: Children, log: Callable[[str], None]) -> None:
        self._children = children
        self._log = log
        self.has_begun = False
        self._grace_until: float | None = None
        self._kill_at = 0.0

    @property
    def is_over(self) -> bool:
        """Every child is gone."""
        return self.has_begun and not self._children.alive

    def begin(self, grace_s: float) -> None:
        """Ask every child to finish what it does and to leave."""
        now = clock.monotonic()
        self.has_begun = True
        self._grace_until, self._kill_at = now + grace_s, now + grace_s + END_KILL_S
        agents = sum(child.spec.kind == "agent" for child in self._children.alive)
        self._log(f"🛑 Stopping {agents} agent(s), grace {grace_s:g} s")
        self._send(signal.SIGTERM)

    def at_once(self) -> None:
        """No more grace."""
        now = clock.monotonic()
        if self._grace_until is not None:
            self._grace_until, self._kill_at = now, now + END_KILL_S
            self._log("🛑 Stopping at once")

    def step(self, now: float) -> None:
        """Insist when it is time."""
        if self._grace_until is not None and now >= self._grace_until:
            self._grace_until = None
            self._send(NOW_SIGNAL)
        if now >= self._kill_at:
            self._kill_at = now + END_KILL_S
            for child in self._children.alive:
                self._log(f"🔪 {child.spec.label} did not go; killed")
            self._send(signal.SIGKILL)

    @property
    def next_due(self) -> float:
        """When `step` has something to do (monotonic)."""
        return self._kill_at if self._grace_until is None else self._grace_until

    def _send(self, signum: int) -> None:
        for child in self._children.alive:
            if child.identity is not None:
                processes.send(child.identity, signum)
