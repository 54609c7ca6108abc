"""Tasks: given, seen, ended."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import NotFound
from tinytown.services import agents, logs, shapes, tasks, waiting, why
from tinytown.town import Town
from tinytown.townhall import models
from tinytown.townhall.verbs.agents import LOG_BYTES, Lines, Seconds
from tinytown.townhall.verbs.inputs import AgentRef, Limit, Reason, Tags, TaskRef, Text
from tinytown.townhall.verbs.registry import GET, POST, Visit, verb

OPEN = (TaskState.PENDING, TaskState.ASSIGNED, TaskState.RUNNING)
After = Annotated[str | None, Field(max_length=64, description="Go on behind this task: `next` of the page before.")]


@verb("task.assign", POST, "/v1/tasks/assign", "assign", status=201)
def assign(visit: Visit, agent: AgentRef, task: Text, tags: Tags = []) -> models.Given:
    """Give an agent a task."""
    return given(visit.town, tasks.assign(visit.town, agent, task, visit.caller, tags))


@verb("task.list_pending", GET, "/v1/tasks/pending", "task list")
def list_pending(visit: Visit, limit: Limit = 100, after: After = None) -> models.Tasks:
    """Tasks that are not finished: given to an agent, running, or in the backlog."""
    return models.Tasks(**page(visit.town, tasks.listing(visit.town, OPEN), limit, after, "tasks"))


@verb("task.list", GET, "/v1/tasks", "task list")
def list_tasks(
    visit: Visit, state: list[TaskState] | None = None, agent: AgentRef | None = None, limit: Limit = 100,
    after: After = None,
) -> models.Tasks:  # fmt: skip
    """Tasks, oldest first; those in these states, of this agent."""
    found = tasks.listing(visit.town, state)
    if agent is not None:
        identifier = agents.resolve(visit.town, agent).agent.id
        found = [task for task in found if task.assigned_to == identifier]
    return models.Tasks(**page(visit.town, found, limit, after, "tasks"))


@verb("task.get", GET, "/v1/tasks/{task_id}", "task show")
def get(visit: Visit, task_id: TaskRef) -> models.Task:
    """One task, whole."""
    return shown(visit.town, tasks.find(visit.town, task_id)[1])


@verb("task.current", GET, "/v1/agents/{agent}/task", "task current")
def current(visit: Visit, agent: AgentRef) -> models.Task:
    """What an agent works on now."""
    seen = tasks.current(visit.town, agent)
    if seen.task is None:
        raise NotFound(f"Agent '{seen.agent_name}' has no current task.")
    return shown(visit.town, seen.task)


@verb("task.complete", POST, "/v1/tasks/{task_id}/complete", "task complete")
def complete(visit: Visit, task_id: TaskRef, result: Reason | None = None) -> models.Task:
    """End a task as done."""
    return shown(visit.town, tasks.complete(visit.town, task_id, result, visit.caller))


@verb("task.fail", POST, "/v1/tasks/{task_id}/fail", "task fail")
def fail(visit: Visit, task_id: TaskRef, reason: Reason | None = None) -> models.Task:
    """End a task as failed."""
    return shown(visit.town, tasks.fail(visit.town, task_id, reason, visit.caller))


@verb("task.cancel", POST, "/v1/tasks/{task_id}/cancel", "task cancel", is_destructive=True)
def cancel(visit: Visit, task_id: TaskRef, reason: Reason | None = None) -> models.Task:
    """Call a task off; a run of it ends."""
    return shown(visit.town, tasks.cancel(visit.town, task_id, reason, visit.caller))


@verb("task.retry", POST, "/v1/tasks/{task_id}/retry", "task retry")
def retry(visit: Visit, task_id: TaskRef, to: AgentRef | None = None) -> models.Task:
    """Start a task that has ended again, with its agent or another."""
    return shown(visit.town, tasks.retry(visit.town, task_id, visit.caller, to))


@verb("task.why", GET, "/v1/tasks/{task_id}/why", "why")
def explain(visit: Visit, task_id: TaskRef) -> models.Explanation:
    """What a task is waiting for, and what helps."""
    identifier = tasks.find(visit.town, task_id)[1].id
    return models.Explanation(**shapes.explanation(why.explain(visit.town, identifier)))


@verb("task.wait", GET, "/v1/tasks/{task_id}/wait", "wait", waits=True)
def wait(visit: Visit, task_id: TaskRef, timeout_s: Seconds = 20.0) -> models.Waited:
    """Wait until a task has ended. That it has not by then is an error: it timed out."""
    identifier = tasks.find(visit.town, task_id)[1].id
    return models.Waited(**shapes.waited(waiting.wait(visit.town, identifier, timeout_s)))


@verb("task.log", GET, "/v1/tasks/{task_id}/log", "logs")
def log(visit: Visit, task_id: TaskRef, lines: Lines = 200) -> models.Log:
    """The end of what the model printed in the last round that worked on a task."""
    name, number = logs.round_of_task(visit.town, tasks.find(visit.town, task_id)[1])
    path = logs.round_path(visit.town, name, number)
    text = logs.tail(path, lines, LOG_BYTES).decode("utf-8", "replace")
    return models.Log(agent=name, round=number, text=text, size=path.stat().st_size, rounds=[number])


def names(town: Town) -> dict[str, str]:
    """Agents' names by their ids."""
    return {agent_id: name for name, agent_id in town.store.agents.names().items()}


def shown(town: Town, task: Task) -> models.Task:
    """A task as it is answered."""
    return models.Task(**shapes.task(task, names(town)))


def given(town: Town, task: Task) -> models.Given:
    """A task that was given to somebody."""
    seen = shown(town, task)
    return models.Given(task_id=task.id, agent_id=task.assigned_to, agent_name=seen.agent, task=seen)


def page(town: Town, found: list[Task], limit: int, after: str | None, name: str) -> dict[str, Any]:
    """A page of these tasks. Raises NotFound when what it is to begin behind is not among them."""
    start = 0
    if after is not None:
        start = next((n for n, task in enumerate(found, 1) if task.id == after), -1)
        if start < 0:
            raise NotFound("What the page was to begin behind is not in the list any more.", "Begin anew without after")
    some, known = found[start : start + limit], names(town)
    rows = [models.Task(**shapes.task(task, known)) for task in some]
    last = some[-1].id if some and start + limit < len(found) else None
    return {name: rows, "count": len(rows), "total": len(found), "next": last}
