"""The event: every state change of agents, tasks and messages, as the stream keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tinytown.domain.record import dump


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
        return dump({name: value for name, value in known.items() if value is not None} | self.detail)
