"""The task: one unit of work with a life of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, ClassVar, Self

from tinytown.domain.record import Record
from tinytown.domain.states import TASK_RETRY, TASK_TRANSITIONS, TaskState, Transitions, advance

PLAN_TAG = "plan:"  # what follows is the task's id in tasks.toml
MISSION_TAG = "mission-work-item"  # beside it, what the task is for: `mission-task:<job>`, and of what
JOB_TAG = "mission-task:"
VERIFY_TAG = f"{JOB_TAG}verify"
RUN_TAG = "mission:"
ITEM_TAG = "work-item:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Record):
    """A task's record. `assigned_by` is who hears of its end; `ended_by` says which run or person ended it.

    `depends_on` holds the ids of the tasks that must be completed before it may start; `planned_agent` is the name of
    the agent that gets it then. `attempts` counts the runs of its present life that are charged, with the one that is
    under way.
    """

    KINDS: ClassVar[dict[str, tuple[type, ...]]] = (
        dict.fromkeys(("id", "description", "created_at", "updated_at"), (str,))
        | dict.fromkeys(("assigned_to", "assigned_by", "started_at", "completed_at", "result"), (str, NoneType))
        | dict.fromkeys(("parent_id", "ended_by", "planned_agent"), (str, NoneType))
        | dict.fromkeys(("tags", "depends_on"), (list, NoneType))
        | {"state": (str, TaskState), "attempts": (int,)}
    )

    id: str
    description: str
    created_at: str
    updated_at: str
    state: TaskState = TaskState.PENDING
    assigned_to: str | None = None
    assigned_by: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    result: str | None = None
    parent_id: str | None = None
    tags: list[str] | None = None
    ended_by: str | None = None
    depends_on: list[str] | None = None
    planned_agent: str | None = None
    attempts: int = 0

    @property
    def plan_id(self) -> str | None:
        """Its id in tasks.toml, if it came from there."""
        return self._tagged(PLAN_TAG)

    @property
    def is_of_mission(self) -> bool:
        """The scheduler gave it, and hears of its end by itself."""
        return MISSION_TAG in (self.tags or [])

    @property
    def job(self) -> str | None:
        """What the scheduler gave it for: work, fix, verify or review."""
        return self._tagged(JOB_TAG)

    @property
    def mission_id(self) -> str | None:
        """The mission that it belongs to."""
        return self._tagged(RUN_TAG)

    @property
    def work_item(self) -> str | None:
        """The id of the item of a mission that it is for."""
        return self._tagged(ITEM_TAG)

    @property
    def is_verification(self) -> bool:
        """Its agent's actor runs `commands` by itself, without a model."""
        return VERIFY_TAG in (self.tags or [])

    @property
    def commands(self) -> list[str]:
        """Of a verification: the lines of its description after the first."""
        return [line.strip() for line in self.description.splitlines()[1:] if line.strip()]

    @property
    def labels(self) -> list[str]:
        """Its tags but for the one that tells its id in tasks.toml."""
        return [tag for tag in self.tags or [] if not tag.startswith(PLAN_TAG)]

    @classmethod
    def convert(cls, picked: dict[str, Any]) -> dict[str, Any]:
        """Type the state; an older name for running is understood."""
        if "state" in picked:
            state = "running" if picked["state"] == "in_flight" else picked["state"]
            picked["state"] = TaskState(state)
        return picked

    def to_dict(self) -> dict[str, Any]:
        """The stored form; tags are always a list."""
        stored = Record.to_dict(self)
        stored["tags"] = self.tags or []
        return stored

    def assigned(self, agent_id: str, by: str, at: str) -> Self:
        """Given to an agent."""
        return self._moved(TaskState.ASSIGNED, at, assigned_to=agent_id, assigned_by=by, started_at=None)

    def started(self, at: str) -> Self:
        """An agent began a run on it."""
        return self._moved(TaskState.RUNNING, at, started_at=at, attempts=self.attempts + 1)

    def put_back(self, at: str, attempts: int | None = None) -> Self:
        """Its run ended without an outcome that ends the task: still its agent's, to be run again.

        `attempts`: how many there were (None: this one does not count).
        """
        left = max(0, self.attempts - 1) if attempts is None else attempts
        return self._moved(TaskState.ASSIGNED, at, started_at=None, attempts=left)

    def parked(self, at: str) -> Self:
        """Out of its agent's hands, into the backlog."""
        return self._moved(TaskState.PENDING, at, assigned_to=None, started_at=None, attempts=0)

    def ended(self, state: TaskState, result: str | None, by: str, at: str) -> Self:
        """Completed, failed or cancelled: the one terminal transition."""
        return self._moved(state, at, completed_at=at, result=result, ended_by=by)

    def retried(self, agent_id: str | None, at: str, table: Transitions = TASK_RETRY) -> Self:
        """Out of an ended state (`table` says of which), to an agent or (None) to nobody."""
        state = advance(self.state, TaskState.ASSIGNED if agent_id else TaskState.PENDING, table)
        return replace(
            self,
            state=state,
            updated_at=at,
            assigned_to=agent_id,
            started_at=None,
            completed_at=None,
            result=None,
            ended_by=None,
            attempts=0,
        )

    def _tagged(self, head: str) -> str | None:
        return next((tag.removeprefix(head) for tag in self.tags or [] if tag.startswith(head)), None)

    def _moved(self, state: TaskState, at: str, **changes: Any) -> Self:
        return replace(self, state=advance(self.state, state, TASK_TRANSITIONS), updated_at=at, **changes)
