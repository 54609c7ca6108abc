"""The event: every state change of agents, tasks and messages, as the stream keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tinytown.domain.agent import Agent
from tinytown.domain.record import dump
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a town's history. `type` is in the past tense, snake_case."""

    type: str
    message: str
    timestamp: str
    agent_id: str | None = None
    task_id: str | None = None
    mission_id: str | None = None
    message_id: str | None = None
    old_state: str | None = None
    new_state: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The stream's `data` field; what is None is left out."""
        known = {
            "event_type": self.type,
            "agent_id": self.agent_id,
            "task_id": self.task_id,
            "mission_id": self.mission_id,
            "message_id": self.message_id,
            "old_state": self.old_state,
            "new_state": self.new_state,
            "message": self.message,
            "timestamp": self.timestamp,
        }
        for name in [name for name, value in known.items() if value is None]:
            del known[name]
        return dump(known | self.detail if self.detail else known)


def state_changed(
    agent: Agent, state: AgentState, text: str, at: str, task_id: str | None = None, kind: str = "agent_state_changed"
) -> Event:
    """The event of an agent's change to `state`. `at` is its time as records hold it."""
    return Event(
        kind, f"Agent '{agent.name}': {text}", at, agent_id=agent.id, task_id=task_id,
        old_state=agent.state.value, new_state=state.value,
    )  # fmt: skip


def task_changed(kind: str, text: str, task: Task, old: TaskState | None, at: str) -> Event:
    """The event of a task that is now as given and was `old` (None: it is new). `at` as records hold it."""
    return Event(
        kind, text, at, agent_id=task.assigned_to, task_id=task.id,
        old_state=old.value if old else None, new_state=task.state.value,
    )  # fmt: skip
