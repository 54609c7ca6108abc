"""The town as the page shows it: looked at when somebody asks, sent as what has changed since they last asked.

All visitors share each look, and a town that is dear to look at (hundreds of agents) is looked at less often.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from tinytown import clock, ids
from tinytown.services.overview.live import EVENTS, Live
from tinytown.town import Town
from tinytown.townhall.hall import Hall
from tinytown.townhall.page.ledger import Ledger, Row

PAUSE = 2  # times what the last look took
VITALS_S = 2.0  # what costs the most, and changes without an event: output, CPU, memory
EVENTS_MOST = 200
_ROWS = ("tasks", "agents", "missions")


class Board:
    """See the module. `changes` is called in the event loop; looks are taken in the hall's threads, one at a time."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._town = Town(hall.town.root, hall.town.config)  # its connection goes from thread to thread, under the lock
        self._live = Live(self._town)
        self._id = ids.short(ids.new_id())
        self._look = 0
        self._taken = self._vitals_at = float("-inf")
        self._cost = 0.0
        self._head: Row = {}
        self._order: list[str] = []
        self._parts = {name: Ledger() for name in (*_ROWS, "vitals", "needs", "events")}
        self._looking: asyncio.Task[None] | None = None
        self._lock = threading.Lock()  # between the thread that looks and those that answer

    async def changes(self, since: str | None) -> bytes:
        """What changed since this place (`next` of an earlier answer; anything else: everything), as JSON.

        Rows of `tasks`, `agents`, `missions`, `vitals`, `needs`, `events` by their id, and `gone`: ids by part. Raises
        what the services raise.
        """
        asked = clock.monotonic()
        while self._taken < asked:  # a look that began before may have missed what this visitor was told of
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._next_look())
            await asyncio.shield(self._looking)
        return await self._hall.run(lambda _town: self._answer(since))

    async def _next_look(self) -> None:
        await asyncio.sleep(max(0.0, self._taken + self._cost * PAUSE - clock.monotonic()))
        began = clock.monotonic()
        await self._hall.run(lambda _town: self._take(began))
        self._taken, self._cost = began, clock.monotonic() - began

    def _take(self, now: float) -> None:
        if not self._look:
            self._live = Live(self._town)  # what a first look has told that then failed, nobody has heard
        found = self._live.changes()
        if not self._look:
            newest = self._town.store.events.newest(EVENTS)
            found["events"] = [{**event, "id": place} for place, event in newest]
        vitals = self._live.vitals() if now - self._vitals_at >= VITALS_S else None
        with self._lock:  # not while the town is read: who waits for it holds a thread
            self._look += 1
            for name in _ROWS:
                self._parts[name].note(self._look, found.pop(name), found.pop(f"{name}_gone"))
            if "needs" in found:
                self._needs(found.pop("needs"))
            self._events(found.pop("events"))
            if vitals is not None:
                self._vitals_at = now
                self._parts["vitals"].keep(self._look, vitals)
            self._head = found

    def _needs(self, found: list[Row]) -> None:
        self._order = [need["id"] for need in found]
        self._parts["needs"].keep(self._look, found)

    def _events(self, news: list[Row]) -> None:
        known = self._parts["events"]
        known.keep(self._look, [*known.newest(EVENTS_MOST), *news][-EVENTS_MOST:])

    def _answer(self, since: str | None) -> bytes:
        with self._lock:
            answer = self._difference(since)
        return json.dumps(answer, separators=(",", ":")).encode()

    def _difference(self, since: str | None) -> dict[str, Any]:
        board, _, number = (since or "").partition(".")
        look = int(number) if board == self._id and number.isdecimal() else 0
        if any(part.forgot > look for part in self._parts.values()):
            look = 0
        answer = self._head | {"next": f"{self._id}.{self._look}", "full": look == 0, "order": self._order, "gone": {}}
        for name, part in self._parts.items():
            answer[name], gone = part.since(look)
            if look and gone:
                answer["gone"][name] = gone
        return answer
