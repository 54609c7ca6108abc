"""The lease of the town's missions: at most one process works on them, and no step of another one is applied."""

from __future__ import annotations

import contextlib

from tinytown import processes
from tinytown.errors import EpochLost, TinytownError
from tinytown.store.agents import take_lease
from tinytown.store.transaction import Stale, Transaction
from tinytown.town import Town

NAME = "missions"


class Lease:
    """This process at the lease, which lapses 30 s after it was last renewed."""

    def __init__(self, town: Town) -> None:
        me = processes.own()
        self.token = f"{town.host}:{me.pid}:{me.started}"
        self._town = town
        self._key = town.store.keys.lease(NAME)

    def expect(self, tx: Transaction) -> None:
        """The step is refused unless this process holds the lease."""
        tx.expect(self._key, self.token, NAME)

    def take(self) -> str | None:
        """Hold it: None; else whose it is. That of a dead process of this host is taken over."""
        for _ in range(2):  # it may lapse meanwhile
            holder = self._town.store.agents.lease(NAME)
            if holder not in (None, self.token) and not self._is_dead(holder):
                return holder
            if self._set(holder):
                return None
        return self._town.store.agents.lease(NAME) or "somebody"

    def renew(self) -> bool:
        """Hold it on; True: it had lapsed, and nobody took it meanwhile. Raises EpochLost when another one has it."""
        if self._set(self.token):
            return False
        if self._set(None):
            return True
        raise EpochLost(f"The missions' lease is held by {self._town.store.agents.lease(NAME)}.")

    def drop(self, *, when_idle: bool = False) -> bool:
        """Let go of it. `when_idle`: only if no mission is active; False: there is one, or it is not ours."""
        tx = self._town.store.transaction()
        self.expect(tx)
        if when_idle:
            tx.expect_size(tx.keys.missions_active, 0)
        tx.do("DEL", self._key)
        try:
            self._town.store.commit(tx)
        except Stale:
            return False
        return True

    def leave(self) -> None:
        """On the way out; it lapses by itself when Redis is away."""
        with contextlib.suppress(TinytownError):
            self.drop()

    def _set(self, before: str | None) -> bool:
        tx = self._town.store.transaction()
        tx.expect(self._key, before, NAME)
        take_lease(tx, NAME, self.token)
        try:
            self._town.store.commit(tx)
        except Stale:
            return False
        return True

    def _is_dead(self, holder: str) -> bool:
        parts = holder.rsplit(":", 2)
        if len(parts) != 3 or parts[0] != self._town.host:
            return False
        return not processes.is_alive(processes.Identity.from_dict({"pid": parts[1], "started": parts[2]}))
