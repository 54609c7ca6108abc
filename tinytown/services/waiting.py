"""Wait until an agent has ended or a task is done. Waits in Redis, not by asking again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinytown import clock, ids
from tinytown.domain.agent import BY_PROGRAM
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import AgentNotFound, Conflict, Invalid, NotFound, RedisAway, TaskNotFound, TimedOut, brief
from tinytown.services import agents, tasks
from tinytown.store.agents import AgentRow
from tinytown.town import Town

AWAY_PATIENCE_S = 10.0  # a supervisor starts a dead server again within a second or two
TRY_AGAIN_S = 0.25


@dataclass(frozen=True, slots=True)
class Waited:
    """The end that was waited for. `name` is the agent's, or the task's first line; `reason` its result."""

    kind: str
    id: str
    name: str
    state: AgentState | TaskState
    reason: str | None

    @property
    def is_well(self) -> bool:
        """Not a task that failed or was cancelled."""
        return self.state not in {TaskState.FAILED, TaskState.CANCELLED}


def find(town: Town, reference: str) -> AgentRow | Task:
    """The agent of this name or id, else the task of this id. Raises NotFound, Conflict when several match."""
    agent = _agent(town, reference)
    text = reference.strip().lower()
    if agent is not None and text in {agent.agent.name.lower(), (agent.agent.nickname or "").lower(), agent.agent.id}:
        return agent
    task = _task(town, reference)
    if agent is not None and task is not None:
        raise Conflict(f"'{reference}' is both an agent and a task.", "Give more of the id.")
    found = agent or task
    if found is None:
        raise NotFound(f"No agent and no task: {brief(reference)}", "See them with: tt list, tt task list")
    return found


def wait(town: Town, reference: str, timeout_s: float | None = None) -> Waited:
    """Wait until the agent has ended or the task is completed, failed or cancelled.

    Raises NotFound, Invalid, TimedOut, RedisAway (when Redis stays away).
    """
    if timeout_s is not None and not timeout_s >= 0:  # also what is no number
        raise Invalid("--timeout must be 0 or more.")
    found = find(town, reference)
    if isinstance(found, Task):
        return _await(town, lambda: _task_end(town, found.id, found.description), timeout_s)
    return _await(town, lambda: _agent_end(town, found.agent.id, found.agent.name), timeout_s)


def for_agent(town: Town, reference: str, timeout_s: float | None = None) -> AgentState:
    """Wait until the agent has ended; returns its last state. Raises AgentNotFound, TimedOut, RedisAway."""
    agent = agents.resolve(town, reference).agent
    ended = _await(town, lambda: _agent_end(town, agent.id, agent.name), timeout_s)
    assert isinstance(ended.state, AgentState)
    return ended.state


def _agent(town: Town, reference: str) -> AgentRow | None:
    try:
        return agents.resolve(town, reference)
    except AgentNotFound:
        return None


def _task(town: Town, reference: str) -> Task | None:
    try:
        return tasks.find(town, reference)[1]
    except TaskNotFound:
        return None


def _agent_end(town: Town, agent_id: str, name: str) -> Waited | str:
    """How the agent ended; else, in words, that it has not."""
    row = town.store.agents.row(agent_id)
    if row is None:
        return Waited("agent", agent_id, name, AgentState.STOPPED, "it was removed")
    if row.wish is None and (row.agent.state.is_terminal or row.agent.spawn_mode != BY_PROGRAM):
        return Waited("agent", agent_id, name, row.agent.state, row.agent.reason)
    return f"Agent '{name}' did not finish within {{:g}} s ({row.agent.state})."


def _task_end(town: Town, task_id: str, description: str) -> Waited | str:
    found = town.store.tasks.get(task_id)
    if found is None:
        raise NotFound(f"Task {ids.short(task_id)} was removed.")
    state = found[1].state
    if state.is_terminal:
        return Waited("task", task_id, first_line(description), state, found[1].result)
    return f"Task {ids.short(task_id)} did not end within {{:g}} s ({state})."


def first_line(text: str) -> str:
    """What stands for a longer text."""
    return (text.strip().splitlines() or [""])[0]


def _await(town: Town, look: Callable[[], Waited | str], timeout_s: float | None) -> Waited:
    begun = clock.monotonic()
    away_since: float | None = None
    while True:
        left = 1.0 if timeout_s is None else begun + timeout_s - clock.monotonic()
        try:
            seen_until = town.store.events.last_id()
            seen = look()
            if isinstance(seen, Waited):
                return seen
            if left <= 0:
                raise TimedOut(seen.format(timeout_s))
            away_since = None
            town.store.events.after(seen_until, left)
        except RedisAway:
            away_since = away_since or clock.monotonic()
            if left <= 0 or clock.monotonic() - away_since > AWAY_PATIENCE_S:
                raise
            clock.sleep(TRY_AGAIN_S)
