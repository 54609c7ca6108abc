"""What happened: the newest events, and those that come, by agent, task, mission or type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinytown import clock, ids
from tinytown.errors import AgentNotFound, Invalid, NotFound, RedisAway, brief
from tinytown.services import agents, tasks
from tinytown.store.events import NEVER
from tinytown.town import Town

WAIT_S = 1.0
TRY_AGAIN_S = 0.25
_PLACES = 2**64


@dataclass(frozen=True, slots=True)
class Entry:
    """One event and its place in the stream; places grow."""

    id: str
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted: those that name all of these (None: any). `types` is a set of event types."""

    agent_id: str | None = None
    task_id: str | None = None
    mission_id: str | None = None
    types: frozenset[str] = frozenset()

    def takes(self, event: dict[str, Any]) -> bool:
        """It names everything that is asked for."""
        asked = (("agent_id", self.agent_id), ("task_id", self.task_id), ("mission_id", self.mission_id))
        if any(wanted is not None and event.get(name) != wanted for name, wanted in asked):
            return False
        return not self.types or event.get("event_type") in self.types


def filter_of(town: Town, *, agent: str | None, task: str | None, mission: str | None, types: list[str]) -> Filter:
    """The filter that these references mean; also agents, tasks and missions that only the history knows (by id).

    Raises NotFound, Conflict (ambiguous).
    """
    return Filter(
        None if agent is None else _agent_id(town, agent),
        None if task is None else _task_id(town, task),
        None if mission is None else _known_id(town, "mission_id", mission, "Mission"),
        frozenset(types),
    )


def about(town: Town, reference: str) -> Filter:
    """The filter for an agent's name or an agent's or task's id. Raises NotFound, Conflict (ambiguous)."""
    try:
        return Filter(agent_id=_agent_id(town, reference))
    except NotFound:
        pass
    try:
        return Filter(task_id=_task_id(town, reference))
    except NotFound as error:
        raise NotFound(
            f"No agent and no task: {brief(reference)}", "See them with: tt list, tt task list, tt events"
        ) from error


def newest(town: Town, count: int, wanted: Filter) -> tuple[list[Entry], str]:
    """The last `count` events that the filter takes, oldest first, and the stream's end at that moment."""
    found: list[Entry] = []
    end = None
    for entry_id, event in town.store.events.backwards():
        end = end or entry_id
        if len(found) >= count:
            break
        if wanted.takes(event):
            found.append(Entry(entry_id, event))
    return found[::-1], end or NEVER


def place(text: str) -> tuple[int, int]:
    """A place in the stream as numbers that can be compared. Raises Invalid."""
    ms, _, number = text.partition("-")
    try:
        found = int(ms), int(number or 0)
    except ValueError:
        found = (-1, -1)
    if not all(0 <= part < _PLACES for part in found) or not text.isascii() or not ms.isdecimal():
        raise Invalid(f"No place in the stream of events: {brief(text)}", "Give the id of an event, or 0.")
    return found


def is_lost(town: Town, after: str) -> bool:
    """What happened right after this place is not in the stream (any more). 0-0 is before all that there is.

    Raises Invalid.
    """
    oldest, newest = town.store.events.span()
    return place(after) != place(NEVER) and not place(oldest) <= place(after) <= place(newest)


def follow(town: Town, after: str, wanted: Filter) -> Iterator[Entry | None]:
    """Events after this place as they come, each once; waits in Redis, for good.

    Yields None once when Redis goes away; goes on where it was when Redis is back.
    """
    is_away = False
    while True:
        try:
            batch = town.store.events.after(after, WAIT_S)
        except RedisAway:
            if not is_away:
                yield None
            is_away = True
            clock.sleep(TRY_AGAIN_S)
            continue
        is_away = False
        for entry_id, event in batch:
            after = entry_id
            if wanted.takes(event):
                yield Entry(entry_id, event)


def _agent_id(town: Town, reference: str) -> str:
    try:
        return agents.mailbox_of(town, reference)[0]
    except AgentNotFound:
        found = _in_history(town, "agent_id", reference, "Agent")
        if found is None:
            raise
        return found


def _task_id(town: Town, reference: str) -> str:
    try:
        return tasks.find(town, reference)[1].id
    except NotFound:
        found = _in_history(town, "task_id", reference, "Task")
        if found is None:
            raise
        return found


def _known_id(town: Town, name: str, reference: str, what: str) -> str:
    found = _in_history(town, name, reference, what)
    if found is None:
        raise NotFound(f"{what} not found: {reference}")
    return found


def _in_history(town: Town, name: str, reference: str, what: str) -> str | None:
    """An id of something that is gone: the history still names it."""
    seen = {str(event[name]) for _id, event in town.store.events.backwards() if event.get(name)}
    return ids.match_prefix(reference, seen, what)
