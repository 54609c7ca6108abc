"""Agents as records, and model CLIs that a program brings along."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from tinytown import clock, ids
from tinytown.api.identifiers import AgentId, TaskId, moment, moment_or_none, text
from tinytown.domain import states
from tinytown.domain.agent import BY_PROGRAM
from tinytown.domain.agent import Agent as AgentRecord
from tinytown.store.agents import AgentRow


class AgentState(StrEnum):
    """What an agent does now."""

    COLD = "cold"
    STARTING = "starting"
    IDLE = "idle"
    WORKING = "working"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"
    ERROR = "error"

    def is_terminal(self) -> bool:
        """No process stands behind it: stopped, error or cold."""
        return states.AgentState(self.value).is_terminal

    def can_accept_work(self) -> bool:
        """It would start on a task at once: idle."""
        return states.AgentState(self.value).can_accept_work


class AgentType(StrEnum):
    """Who does the work, and who hands it out."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class Agent:
    """An agent's record at one moment: what `AgentHandle.state` and `Town.list_agents` return. Times are UTC.

    One that a program makes itself is a worker without a process of the town's: `Channel.set_agent_state` stores it,
    and whoever made it reads its mail with `Channel.receive`. `state` and `current_task` may be set; that changes
    this object only. Equal are those with equal values.
    """

    __slots__ = ("base", "record", "tasks_completed")

    def __init__(self, name: str, cli: str, agent_type: AgentType = AgentType.WORKER) -> None:
        is_supervisor = AgentType(agent_type) is AgentType.SUPERVISOR
        self.record = AgentRecord(
            id=ids.SUPERVISOR_ID if is_supervisor else ids.new_id(),
            name=text("An agent's name", name),
            cli=text("A model CLI", cli),
            created_at=clock.stamp(),
            agent_type=AgentType(agent_type).value,
            spawn_mode=BY_PROGRAM,
        )
        self.base: str | None = None  # the stored text that this object was read from, or became; for the channel
        self.tasks_completed = 0

    @classmethod
    def supervisor(cls, name: str) -> Self:
        """Whoever coordinates: has the well-known id, and no process."""
        return cls(name, "", AgentType.SUPERVISOR)

    @classmethod
    def stored(cls, row: AgentRow) -> Self:
        """An agent as the town has it."""
        agent = cls.__new__(cls)
        agent.record, agent.base, agent.tasks_completed = row.agent, row.raw, row.stats.get("tasks_completed", 0)
        return agent

    @property
    def id(self) -> AgentId:
        """Its id."""
        return AgentId(self.record.id)

    @property
    def name(self) -> str:
        """Its name, unique in the town."""
        return self.record.name

    @property
    def agent_type(self) -> AgentType:
        """Worker or supervisor."""
        return AgentType.SUPERVISOR if self.record.agent_type == "supervisor" else AgentType.WORKER

    @property
    def cli(self) -> str:
        """The model CLI it runs."""
        return self.record.cli

    @property
    def state(self) -> AgentState:
        """What it does."""
        return AgentState(self.record.state.value)

    @state.setter
    def state(self, state: AgentState) -> None:
        self.record = self.record.having(state=states.AgentState(state))

    @property
    def current_task(self) -> TaskId | None:
        """The task of its round in progress."""
        return None if self.record.current_task is None else TaskId(self.record.current_task)

    @current_task.setter
    def current_task(self, task_id: str | None) -> None:
        self.record = self.record.having(
            current_task=None if task_id is None else str(text("The id of a task", task_id))
        )

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        return moment(self.record.created_at)

    @property
    def last_heartbeat(self) -> datetime | None:
        """When its record last said that it lives; between, its lease says so."""
        return moment_or_none(self.record.last_heartbeat)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Agent):
            return NotImplemented
        return (self.record, self.tasks_completed) == (other.record, other.tasks_completed)

    def __hash__(self) -> int:
        return hash(self.record.id)

    def __repr__(self) -> str:
        return f"<Agent {self.name} {ids.short(self.id)} {self.state}>"


@dataclass(frozen=True, slots=True)
class AgentModel:
    """A model CLI of a program's own: `town.spawn_agent("worker", AgentModel("my-model", "my-command --flag"))`.

    `command` gets each round's prompt on its stdin (or where it says `{prompt_file}` or `{prompt}`).
    """

    name: str
    command: str
    workdir: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = {"name": self.name, "command": self.command, "workdir": self.workdir or ""}
        for what, value in (*given.items(), *self.env.items()):
            text(f"{what} of a model", value)

    def with_workdir(self, workdir: str | os.PathLike[str]) -> AgentModel:
        """A copy that works in this folder; without one, in the town's."""
        return replace(self, workdir=os.fspath(workdir))

    def with_env(self, name: str, value: str) -> AgentModel:
        """A copy with one more environment variable. For a secret write `"$NAME"`, and set NAME."""
        return replace(self, env={**self.env, name: value})
