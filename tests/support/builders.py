"""Makers of domain values, and of hypothesis settings that fit a quick suite."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings

from tinytown import ids
from tinytown.domain.agent import Agent, Wish
from tinytown.domain.message import Message, Priority
from tinytown.domain.mission import Mission, MissionState
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.domain.watch import Watch, WatchKind
from tinytown.domain.work import WorkItem

AT = "2026-01-02T03:04:05.000006Z"
# The same examples in each run: a failure here is one for everybody.
QUICK = settings(
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# type -> the least that somebody has to type by hand.
MINIMAL: dict[str, dict[str, Any]] = {
    "task": {"description": "build it"},
    "task_assign": {"task_id": "11111111-1111-4111-8111-111111111111"},
    "query": {"question": "which port?"},
    "custom": {"kind": "deploy", "payload": "now"},
    "informational": {"summary": "the port is 80"},
    "task_done": {"task_id": "t", "result": "done"},
    "task_failed": {"task_id": "t", "error": "broken"},
    "status_response": {"state": "idle"},
    "pong": {},
    "confirmation": {"ack_type": {"type": "received"}},
    "status_request": {},
    "ping": {},
    "shutdown": {},
}


def make_task(state: TaskState = TaskState.PENDING, **fields: Any) -> Task:
    """A task with an id of its own."""
    given = {"id": ids.new_id(), "description": "build it", "created_at": AT, "updated_at": AT, "tags": []} | fields
    return Task(state=state, **given)


def make_agent(name: str = "backend", **fields: Any) -> Agent:
    """An agent with an id of its own."""
    return Agent(**{"id": ids.new_id(), "name": name, "cli": "true", "created_at": AT} | fields)


def make_wish(name: str = "backend", **fields: Any) -> Wish:
    """A wish for ten rounds, epoch 1."""
    given: dict[str, Any] = {"name": name, "epoch": 1, "rounds": 10}
    return Wish(**given | fields)


def make_mission(**fields: Any) -> Mission:
    """A running mission of one issue, with an id of its own."""
    given = {"id": ids.new_id(), "objectives": ["acme/web#1"], "created_at": AT, "updated_at": AT}
    return Mission(**{**given, "state": MissionState.RUNNING, "repositories": ["acme/web"], **fields})


def make_item(mission: Mission, number: int = 1, **fields: Any) -> WorkItem:
    """A pending work item, of the issue with its number."""
    given = {"id": ids.new_id(), "mission_id": mission.id, "number": number, "title": f"Part {number}"}
    given |= {"source_ref": f"acme/web#{number}", "created_at": AT, "updated_at": AT}
    return WorkItem(**{**given, **fields})


def make_watch(item: WorkItem, **fields: Any) -> Watch:
    """A watch of the checks of the item's pull request, due at once."""
    given = {"id": ids.new_id(), "mission_id": item.mission_id, "work_item_id": item.id, "next_due_at": AT}
    given |= {"kind": WatchKind.PR_CHECKS, "target_ref": "https://github.com/acme/web/pull/7"}
    return Watch(**{**given, **fields})


def make_message(kind: str = "query", *, to: str = "", priority: Priority = Priority.NORMAL, **payload: Any) -> Message:
    """A message as `send` makes it, with its stored text."""
    body = MINIMAL[kind] | payload
    fresh = Message(ids.new_id(), ids.SUPERVISOR_ID, to, kind, body, priority, AT)
    return Message(fresh.id, fresh.sender, to, kind, body, priority, AT, raw=fresh.to_json())


def by_hand(kind: str, **more: Any) -> str:
    """A message as somebody types it into redis-cli."""
    return json.dumps({"type": kind} | MINIMAL[kind] | more)
