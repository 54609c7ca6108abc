"""The town for many visitors at once: verbs run in threads, each with a connection of its own.

Services block, so the event loop never calls one. How many calls wait for a thread is bounded.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tinytown import clock
from tinytown.errors import TimedOut, Unavailable
from tinytown.services import shapes, status
from tinytown.services.caller import Caller
from tinytown.town import Town
from tinytown.townhall.encoding import as_json
from tinytown.townhall.hub import Hub
from tinytown.townhall.verbs import Verb, Visit

THREADS = 8
WAITERS = 16  # threads for verbs that wait
QUEUE_MOST = 200  # calls that wait for a thread
READ_WITHIN_S = 3.0  # what a read may wait for Redis, in each of its steps
STATUS_S = 0.1  # how old a status that is shown may be
T = TypeVar("T")


class Hall:
    """See the module. Made and used in one event loop; `close` when it is over."""

    def __init__(self, town: Town) -> None:
        self.town = town  # for its settings and paths; its store belongs to no thread
        self._own = threading.local()
        self._pools = {
            False: ThreadPoolExecutor(THREADS, "town"),
            True: ThreadPoolExecutor(WAITERS, "waiting"),
        }
        self._under_way = {False: 0, True: 0}
        self._status: tuple[float, dict[str, Any]] | None = None
        self._encoded: tuple[dict[str, Any] | None, bytes] = (None, b"")
        self._reading: asyncio.Task[dict[str, Any]] | None = None
        self.hub = Hub(town, self.run)
        self.logs_followed = 0
        self.leaving = asyncio.Event()  # set: streams end, so that the program can

    async def call(self, verb: Verb, inputs: dict[str, Any], caller: Caller, timeout_s: float | None = None) -> Any:
        """Run a verb. Raises what it raises, Unavailable when too many wait, TimedOut (then it may still be done)."""
        return await self.run(
            lambda town: verb.function(Visit(town, caller), **inputs),
            timeout_s=timeout_s, waits=verb.waits, changes=not verb.is_read,
        )  # fmt: skip

    async def run(
        self, function: Callable[[Town], T], *, timeout_s: float | None = None, waits: bool = False,
        changes: bool = False,
    ) -> T:  # fmt: skip
        """Call this in a thread, with the thread's town. Raises as `call`; what `waits` when it leaves, too.

        What only reads is told within `READ_WITHIN_S` that Redis does not answer. What `changes` something tries for
        longer: it is better to know that it was done.
        """
        if self._under_way[waits] >= QUEUE_MOST:
            raise Unavailable("Too many requests are under way.", "Try again in a moment.")
        self._under_way[waits] += 1
        work = functools.partial(self._in, function, is_patient=waits or changes)
        future = asyncio.get_running_loop().run_in_executor(self._pools[waits], work)
        future.add_done_callback(functools.partial(self._ended, waits=waits))
        if waits:
            await self._wait_or_leave(future, timeout_s)
        else:
            await asyncio.wait([future], timeout=timeout_s)
        if not future.done():
            text = f"There was no answer within {timeout_s:g} s."
            raise TimedOut(text, "It may still be done: look before you repeat it.")
        return future.result()

    async def _wait_or_leave(self, future: asyncio.Future[Any], timeout_s: float | None) -> None:
        """Wait for what may take its time, but hold up no town hall that is told to leave. Raises Unavailable."""
        leaving = asyncio.ensure_future(self.leaving.wait())
        try:
            await asyncio.wait([future, leaving], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if self.leaving.is_set() and not future.done():
            raise Unavailable("The town hall is leaving.", "Ask again when it is back.")

    async def status(self) -> dict[str, Any]:
        """The town at a glance, at most 100 ms old; many who ask at once cost one look."""
        now = clock.monotonic()
        if self._status is not None and now - self._status[0] < STATUS_S:
            return self._status[1]
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_status(now))
        return await asyncio.shield(self._reading)

    async def status_json(self) -> bytes:
        """As `status`, encoded."""
        shape = await self.status()
        if self._encoded[0] is not shape:
            self._encoded = (shape, as_json(shape))
        return self._encoded[1]

    def close(self) -> None:
        """Take no more calls; what is under way goes on to its end by itself."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    async def _read_status(self, now: float) -> dict[str, Any]:
        shape = await self.run(lambda town: shapes.town(status.read(town)))
        self._status = (now, shape)
        return shape

    def _in(self, function: Callable[[Town], T], *, is_patient: bool) -> T:
        towns: dict[bool, Town] = self._own.__dict__.setdefault("towns", {})
        if is_patient not in towns:
            budget_s = None if is_patient else READ_WITHIN_S
            towns[is_patient] = Town(self.town.root, self.town.config, budget_s=budget_s)
        try:
            return function(towns[is_patient])
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise Unavailable(f"The town cannot write: {error.strerror}.", "Make room on its disk.") from error

    def _ended(self, future: asyncio.Future[Any], *, waits: bool) -> None:
        self._under_way[waits] -= 1
        if not future.cancelled():
            future.exception()  # nobody may be left to look at it
