"""The town's events for many readers: one thread reads the stream while anybody listens, and hands on what comes.

A reader that does not keep up is cut off: nothing is kept for it without end.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tinytown.errors import TinytownError, Unavailable
from tinytown.services import events
from tinytown.services.events import TRY_AGAIN_S, WAIT_S, Filter
from tinytown.store.events import NEVER
from tinytown.town import Town
from tinytown.townhall.encoding import as_json

READERS_MOST = 500
BEHIND_MOST = 5000  # events that wait for one reader
GATHER_S, GATHER_MOST_S = 0.00025, 0.1  # for each reader; of all
RESET = "reset"
_log = logging.getLogger("tinytown.townhall")
T = TypeVar("T")
Run = Callable[[Callable[[Town], Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Told:
    """An event and its place, as a line of server-sent events. `kind` is reset where events were missed, else empty."""

    id: str
    event: dict[str, Any]
    data: bytes
    kind: str = ""

    @classmethod
    def of(cls, entry_id: str, event: dict[str, Any]) -> Told:
        """An event of the stream."""
        return cls(entry_id, event, as_json(event | {"id": entry_id}))

    @classmethod
    def reset(cls, last: str) -> Told:
        """What was before this place is not known: look at everything anew."""
        return cls(last, {}, as_json({"last": last, "reason": "events were missed"}), RESET)


@dataclass(eq=False)
class Reader:
    """One who listens. `batches` yields what comes; None when there was nothing for so many seconds."""

    hub: Hub
    wanted: Filter
    position: str
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: deque[Told] = field(default_factory=deque)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, batch: list[Told]) -> None:
        """Hand on what this reader wants; cut it off when too much waits for it."""
        if self.cut.is_set():
            return
        self._waiting.extend(told for told in batch if told.kind or self.wanted.takes(told.event))
        if len(self._waiting) > BEHIND_MOST:
            self.cut_off()
        elif self._waiting:
            self._bell.set()

    def cut_off(self) -> None:
        """Nothing more comes."""
        self._waiting.clear()
        self.cut.set()
        self._bell.set()

    async def batches(self, after: str | None, quiet_s: float) -> AsyncIterator[list[Told] | None]:
        """What happened after this place (None: from now on), then what happens; ends when the reader is cut off."""
        if after is not None:
            async for batch in self._history(after):
                yield batch
        while not self.cut.is_set():
            try:
                async with asyncio.timeout(quiet_s):
                    await self._bell.wait()
            except TimeoutError:
                yield None
                continue
            self._bell.clear()
            batch = [told for told in self._waiting if told.kind or _later(told.id, self.position)]
            self._waiting.clear()
            if batch:
                self.position = batch[-1].id
                yield batch

    async def _history(self, after: str) -> AsyncIterator[list[Told]]:
        if await self.hub.run(lambda town: events.is_lost(town, after)):
            last = await self.hub.run(lambda town: town.store.events.last_id())
            self.position = last
            yield [Told.reset(last)]
            return
        self.position = after
        while page := await self.hub.run(self._page):
            self.position = page[-1].id
            if batch := [told for told in page if self.wanted.takes(told.event)]:
                yield batch

    def _page(self, town: Town) -> list[Told]:
        return [Told.of(*entry) for entry in town.store.events.after(self.position)]


class Hub:
    """See the module. Used in one event loop; `run` calls a function of a town in a thread."""

    def __init__(self, town: Town, run: Run) -> None:
        self.run = run
        self._town = town
        self._readers: set[Reader] = set()
        self._begun: asyncio.Future[str] | None = None  # the thread's first place in the stream
        self._position = NEVER

    @property
    def count(self) -> int:
        """How many listen."""
        return len(self._readers)

    async def join(self, wanted: Filter) -> Reader:
        """A new reader: from here on nothing is missed. `leave` when it is over. Raises Unavailable, RedisAway."""
        if len(self._readers) >= READERS_MOST:
            raise Unavailable("Too many listen to the events already.", "Try again later.")
        reader = Reader(self, wanted, NEVER)
        self._readers.add(reader)
        try:
            if self._begun is None:
                self._begin()
            assert self._begun is not None
            await asyncio.shield(self._begun)
        except BaseException:
            self.leave(reader)
            raise
        reader.position = self._position
        return reader

    def leave(self, reader: Reader) -> None:
        """It listens no more. When nobody does, the thread ends within a second."""
        self._readers.discard(reader)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._begun = loop.create_future()
        self._begun.add_done_callback(lambda future: future.cancelled() or future.exception())
        own = Town(self._town.root, self._town.config)  # each thread has a connection of its own
        threading.Thread(target=_Feed(self, own, loop).work, name="events", daemon=True).start()

    # Called by the thread, in the event loop

    async def begun(self, position: str, error: BaseException | None = None) -> None:
        """The thread reads from here; or it does not."""
        future, self._position = self._begun, position
        assert future is not None
        if error is None:
            future.set_result(position)
        else:
            self._begun = None
            future.set_exception(error)

    async def tell(self, batch: list[Told]) -> bool:
        """Hand this on; False when nobody listens: the thread is to end."""
        if batch:
            self._position = batch[-1].id
        for reader in list(self._readers):
            reader.offer(batch)
        if not self._readers:
            self._begun = None
        return bool(self._readers)

    async def broke(self) -> None:
        """The thread ends, and should not: who listens is cut off, and may come again."""
        self._begun = None
        for reader in list(self._readers):
            reader.cut_off()


class _Feed:
    """The thread."""

    def __init__(self, hub: Hub, town: Town, loop: asyncio.AbstractEventLoop) -> None:
        self._hub, self._town, self._loop = hub, town, loop
        self._pause = threading.Event()

    def work(self) -> None:
        try:
            position = self._town.store.events.last_id()
        except TinytownError as error:
            self._in_loop(self._hub.begun(NEVER, error))
            return
        try:
            if self._in_loop(self._hub.begun(position)):
                self._follow(position)
        except Exception:  # noqa: BLE001  whatever it was, nobody is left waiting for a thread that is no more
            _log.exception("the reader of events has ended")
            self._in_loop(self._hub.broke())
        finally:
            self._town.store.close()

    def _follow(self, position: str) -> None:
        was_away = False
        while True:
            try:
                lost = was_away and events.is_lost(self._town, position)
                found = self._town.store.events.after(position, WAIT_S) if not lost else []
                batch = [Told.of(*entry) for entry in found]
                if lost:
                    batch = [Told.reset(self._town.store.events.last_id())]
                was_away = False
            except TinytownError:  # Redis is away, or does not let us in (yet)
                batch, was_away = [], True
                self._pause.wait(TRY_AGAIN_S)
            if batch:
                position = batch[-1].id
            if not self._in_loop(self._hub.tell(batch)):
                return
            if batch:  # what comes close together goes out together: many readers cost the machine less
                self._pause.wait(min(GATHER_MOST_S, GATHER_S * self._hub.count))

    def _in_loop(self, coroutine: Any) -> bool:
        """Run it in the loop and wait; False when it says so, or there is no loop any more."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result() is not False
        except (RuntimeError, asyncio.CancelledError):
            coroutine.close()
            return False


def _later(one: str, other: str) -> bool:
    return events.place(one) > events.place(other)
