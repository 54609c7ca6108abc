"""What was read of the town for an overview, and what several of its parts ask of that."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.services.missions.status import Report
from tinytown.services.status import AgentStatus, TownStatus

WAITING = (TaskState.PENDING, TaskState.ASSIGNED)


@dataclass(frozen=True)
class Scene:
    """One moment. `tasks` by id; `holds`: the stored holds of CLIs, by name."""

    at: str
    status: TownStatus
    tasks: dict[str, Task]
    missions: list[Report]
    holds: dict[str, str]
    auto_claim: bool

    @cached_property
    def agents(self) -> dict[str, AgentStatus]:
        """By id."""
        return {one.agent.id: one for one in self.status.agents}

    @cached_property
    def roles(self) -> set[str]:
        """Roles of agents that run, or are to."""
        return {one.agent.role_id for one in self.status.agents if one.agent.role_id and one.row.wish is not None}

    @cached_property
    def load(self) -> Counter[str]:
        """How many tasks wait for each agent, by id."""
        return Counter(task.assigned_to for task in self.tasks.values() if task.assigned_to and task.state in WAITING)

    @cached_property
    def behind(self) -> dict[str, int]:
        """How many tasks wait for each task, directly or not, by id."""
        after: dict[str, list[str]] = {}
        for task in self.tasks.values():
            if task.state is TaskState.PENDING:
                for before in task.depends_on or ():
                    after.setdefault(before, []).append(task.id)
        return {task_id: len(reachable(after, task_id)) for task_id in after}


def reachable(after: dict[str, list[str]], start: str) -> set[str]:
    """What comes after `start`, directly or not."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = [other for other in after.get(waiting.pop(), ()) if other not in found]
        found.update(fresh)
        waiting += fresh
    return found
