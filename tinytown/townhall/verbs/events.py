"""The town's history; as a stream it is in rest/streams.py."""

from __future__ import annotations

from tinytown.services import events
from tinytown.townhall import models
from tinytown.townhall.verbs.inputs import AgentRef, Limit, MissionRef, TaskRef, Word
from tinytown.townhall.verbs.registry import GET, Visit, verb


@verb("events.list", GET, "/v1/events", "events")
def list_events(
    visit: Visit, limit: Limit = 100, agent: AgentRef | None = None, task: TaskRef | None = None,
    mission: MissionRef | None = None, type: list[Word] | None = None,
) -> models.Events:  # fmt: skip
    """The newest events, oldest first: those of this agent, task, mission, of these types."""
    wanted = events.filter_of(visit.town, agent=agent, task=task, mission=mission, types=type or [])
    found, end = events.newest(visit.town, limit, wanted)
    rows = [models.Event(**{"event_type": "", "timestamp": ""} | entry.event | {"id": entry.id}) for entry in found]
    return models.Events(events=rows, count=len(rows), last=end)
