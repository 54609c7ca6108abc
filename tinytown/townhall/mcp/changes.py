"""Which resources have changed, told by the town's events: one reader for all who want to know, while there are any."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated

from tinytown.errors import TinytownError
from tinytown.services.events import TRY_AGAIN_S, Filter
from tinytown.townhall.hall import Hall
from tinytown.townhall.hub import RESET, Reader, Told
from tinytown.townhall.mcp.resources import AGENTS, BACKLOG, MISSIONS, TASKS, find

QUIET_S = 1.0  # how long after the last watcher the reader may go on
GATHER_S = 0.1  # what happens within is told once
LEAST_OF_ID = 4  # characters of an id that mean it
_ABOUT = {AGENTS: "agent_id", BACKLOG: "task_id", TASKS: "task_id", MISSIONS: "mission_id"}


class Changes:
    """Publishes a ResourceUpdated on `bus` for each resource that is watched and may have changed."""

    def __init__(self, hall: Hall) -> None:
        self.bus = InMemorySubscriptionBus()
        self._hall = hall
        self._hub = hall.hub
        self._watched: Counter[str] = Counter()
        self._names: dict[str, str] = {}  # agents' ids by their names; those that are gone, too
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def watching(self, uris: Iterable[str]) -> AsyncIterator[None]:
        """Within the block these are watched: nothing that happens is missed. Raises Unavailable, RedisAway."""
        wanted = Counter(uris)
        self._watched += wanted
        try:
            async with self._starting:
                if self._reading is None:
                    reader = await self._hub.join(Filter())
                    self._reading = asyncio.create_task(self._read(reader))
            yield
        finally:
            self._watched -= wanted

    def close(self) -> None:
        """Nobody is told anything any more."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, reader: Reader) -> None:
        while True:
            try:
                async for batch in reader.batches(None, QUIET_S):
                    if not self._watched:
                        self._reading = None
                        return
                    await self._publish(batch or [])
            finally:
                self._hub.leave(reader)
            reader = await self._again()  # it was cut off: whatever happened, everything may be different
            await self._tell(self._watched)

    async def _again(self) -> Reader:
        while True:
            with contextlib.suppress(TinytownError):
                return await self._hub.join(Filter())
            await asyncio.sleep(TRY_AGAIN_S)

    async def _publish(self, batch: list[Told]) -> None:
        if not batch:
            return
        if any("agent_id" in told.event for told in batch):
            with contextlib.suppress(TinytownError):
                known = await self._hall.run(lambda town: town.store.agents.names())
                self._names |= {name.lower(): agent_id for name, agent_id in known.items()}
        is_lost = any(told.kind == RESET for told in batch)
        events = [told.event for told in batch]
        await self._tell(self._watched if is_lost else touched(self._watched, events, self._names))
        await asyncio.sleep(GATHER_S)

    async def _tell(self, uris: Iterable[str]) -> None:
        for uri in list(uris):
            await self.bus.publish(ResourceUpdated(uri))


def touched(watched: Iterable[str], events: list[dict[str, Any]], names: Mapping[str, str]) -> Iterator[str]:
    """Those of the watched resources that these events may have changed. `names`: agents' ids by their small names.

    Every event is news of the town; an agent, a task or a mission is meant by its name, its id or a beginning of it.
    """
    ids = {what: {str(event[what]) for event in events if event.get(what)} for what in _ABOUT.values()}
    for uri in watched:
        address = find(uri)
        about = _ABOUT.get(address.kind.family)
        if about is None or any(_means(address.reference, one, names) for one in ids[about]):
            yield uri


def _means(reference: str | None, identifier: str, names: Mapping[str, str]) -> bool:
    if reference is None:
        return True
    given = reference.lower()
    return names.get(given) == identifier or (len(given) >= LEAST_OF_ID and identifier.startswith(given))
