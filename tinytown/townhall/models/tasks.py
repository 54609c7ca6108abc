"""Tasks and the backlog."""

from __future__ import annotations

from pydantic import Field

from tinytown.townhall.models.shape import Shape


class Task(Shape):
    """A task. `agent` is the name of the agent that has it."""

    id: str
    description: str
    state: str
    created_at: str
    updated_at: str
    assigned_to: str | None = None
    agent: str | None = None
    tags: list[str] = Field(default_factory=list)
    result: str | None = None
    attempts: int = 0


class Tasks(Shape):
    """A page of tasks, oldest first. `next`: give it as `after` for the page behind it."""

    tasks: list[Task]
    count: int
    total: int
    next: str | None


class Given(Shape):
    """A task that an agent has now."""

    task_id: str
    agent_id: str | None
    agent_name: str | None
    task: Task


class GivenAll(Shape):
    """Tasks that an agent has now."""

    assigned: int
    agent_name: str
    tasks: list[str]


class Backlog(Shape):
    """A page of the tasks that wait for an agent, in their order."""

    backlog: list[Task]
    count: int
    total: int
    next: str | None


class Parked(Shape):
    """A task in the backlog."""

    task_id: str
    task: Task


class Removed(Shape):
    """A task that is in the backlog no more."""

    removed: bool
    task_id: str
