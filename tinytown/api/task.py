"""Tasks: local objects that move by the town's rules. `AgentHandle.assign` and `Channel.set_task` store them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from tinytown import clock, ids
from tinytown.api.identifiers import AgentId, TaskId, moment, moment_or_none, text
from tinytown.domain import states
from tinytown.domain.task import Task as TaskRecord
from tinytown.services import caller


class TaskState(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def is_terminal(self) -> bool:
        """Ended: completed, failed or cancelled."""
        return states.TaskState(self.value).is_terminal


class Task:
    """One unit of work.

    `assign`, `start`, `complete`, `fail` and `cancel` change this object only, as far as the town's rules allow
    (IllegalTransition); the town hears of it by `AgentHandle.assign` or `Channel.set_task`. Times are UTC. Equal are
    those with equal values; all raise TypeError for what is no text.
    """

    __slots__ = ("base", "record")

    def __init__(self, description: str) -> None:
        at, said = clock.stamp(), text("The description of a task", description)
        self.record = TaskRecord(id=ids.new_id(), description=said, created_at=at, updated_at=at, tags=[])
        self.base: str | None = None  # the stored text that this object was read from, or became; for the channel

    @classmethod
    def new(cls, description: str) -> Self:
        """As `Task(description)`."""
        return cls(description)

    @classmethod
    def stored(cls, base: str, record: TaskRecord) -> Self:
        """A task as the town has it."""
        task = cls.__new__(cls)
        task.record, task.base = record, base
        return task

    def with_tags(self, tags: Iterable[str]) -> Self:
        """Set the tags; returns this task. A backlog task goes to idle agents whose role is one of its tags."""
        if isinstance(tags, str):
            raise TypeError(f"The tags of a task must be like [{tags!r}], not {tags!r}")
        return self._become(replace(self.record, tags=list(dict.fromkeys(text("A tag", tag) for tag in tags))))

    def with_parent(self, parent_id: str) -> Self:
        """Set the task that this is a part of; returns this task."""
        return self._become(replace(self.record, parent_id=str(text("The id of a task", parent_id))))

    def assign(self, agent_id: str) -> None:
        """Meant for this agent. Raises IllegalTransition."""
        who = str(text("An agent's id", agent_id))
        self._become(self.record.assigned(who, caller.from_environment().id, clock.stamp()))

    def start(self) -> None:
        """Work on it has begun. Raises IllegalTransition."""
        self._become(self.record.started(clock.stamp()))

    def complete(self, result: str) -> None:
        """Done. Raises IllegalTransition."""
        self._end(states.TaskState.COMPLETED, result)

    def fail(self, error: str) -> None:
        """Not done, and why. Raises IllegalTransition."""
        self._end(states.TaskState.FAILED, error)

    def cancel(self, reason: str = "Cancelled") -> None:
        """Not wanted any more. Raises IllegalTransition."""
        self._end(states.TaskState.CANCELLED, reason)

    @property
    def id(self) -> TaskId:
        """Its id, from the beginning."""
        return TaskId(self.record.id)

    @property
    def description(self) -> str:
        """What is to be done."""
        return self.record.description

    @property
    def state(self) -> TaskState:
        """Where it stands."""
        return TaskState(self.record.state.value)

    @property
    def assigned_to(self) -> AgentId | None:
        """Its agent."""
        return None if self.record.assigned_to is None else AgentId(self.record.assigned_to)

    @property
    def result(self) -> str | None:
        """What came of it: the result, or why there is none."""
        return self.record.result

    @property
    def parent_id(self) -> TaskId | None:
        """The task that this is a part of."""
        return None if self.record.parent_id is None else TaskId(self.record.parent_id)

    @property
    def tags(self) -> list[str]:
        """A copy of its tags."""
        return list(self.record.tags or [])

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        return moment(self.record.created_at)

    @property
    def updated_at(self) -> datetime:
        """When it last changed."""
        return moment(self.record.updated_at)

    @property
    def started_at(self) -> datetime | None:
        """When its present run began."""
        return moment_or_none(self.record.started_at)

    @property
    def completed_at(self) -> datetime | None:
        """When it ended."""
        return moment_or_none(self.record.completed_at)

    def __eq__(self, other: object) -> bool:
        return self.record == other.record if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.record.id)

    def __repr__(self) -> str:
        return f"<Task {ids.short(self.id)} {self.state}: {self.description[:60]!r}>"

    def _end(self, state: states.TaskState, result: str) -> None:
        said = text("The result of a task", result)
        self._become(self.record.ended(state, said, caller.from_environment().run, clock.stamp()))

    def _become(self, record: TaskRecord) -> Self:
        self.record = record
        return self
