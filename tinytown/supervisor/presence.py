"""The supervisor's own lease: its sign of life for everybody on other hosts."""

from __future__ import annotations

import contextlib

from tinytown import processes
from tinytown.errors import TinytownError
from tinytown.store.agents import take_lease
from tinytown.town import Town


def hold_lease(town: Town, me: processes.Identity) -> None:
    """Hold it for its time to live. Raises RedisAway."""
    tx = town.store.transaction()
    take_lease(tx, f"supervisor:{town.host}", f"{town.host}:{me.pid}:{me.started}")
    town.store.commit(tx)


def drop_lease(town: Town) -> None:
    """On the way out; it lapses by itself when Redis is away."""
    tx = town.store.transaction()
    tx.do("DEL", tx.keys.lease(f"supervisor:{town.host}"))
    with contextlib.suppress(TinytownError):
        town.store.commit(tx)
