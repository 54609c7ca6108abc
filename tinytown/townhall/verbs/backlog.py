"""The backlog: work that waits for an agent."""

from __future__ import annotations

from tinytown.services import agents, backlog
from tinytown.townhall import models
from tinytown.townhall.verbs.inputs import AgentRef, Limit, Tags, TaskRef, Text
from tinytown.townhall.verbs.registry import DELETE, GET, POST, Visit, verb
from tinytown.townhall.verbs.tasks import After, given, page, shown


@verb("backlog.list", GET, "/v1/backlog", "backlog list")
def list_backlog(visit: Visit, limit: Limit = 100, after: After = None) -> models.Backlog:
    """The tasks that wait for an agent, in their order."""
    return models.Backlog(**page(visit.town, backlog.listing(visit.town), limit, after, "backlog"))


@verb("backlog.add", POST, "/v1/backlog", "backlog add", status=201)
def add(visit: Visit, description: Text, tags: Tags = []) -> models.Parked:
    """Park a task until an agent takes it; a tag that is a role's name is taken by that role."""
    task = backlog.add(visit.town, description, tags, visit.caller)
    return models.Parked(task_id=task.id, task=shown(visit.town, task))


@verb("backlog.claim", POST, "/v1/backlog/{task_id}/claim", "backlog claim")
def claim(visit: Visit, task_id: TaskRef, agent: AgentRef) -> models.Given:
    """Give a task of the backlog to an agent."""
    return given(visit.town, backlog.claim(visit.town, task_id, agent, visit.caller))


@verb("backlog.assign_all", POST, "/v1/backlog/assign-all", "backlog assign-all")
def assign_all(visit: Visit, agent: AgentRef) -> models.GivenAll:
    """Give every task of the backlog to one agent."""
    name = agents.resolve(visit.town, agent).agent.name
    found = backlog.assign_all(visit.town, agent, visit.caller)
    return models.GivenAll(assigned=len(found), agent_name=name, tasks=[task.id for task in found])


@verb("backlog.remove", DELETE, "/v1/backlog/{task_id}", "backlog remove", is_destructive=True)
def remove(visit: Visit, task_id: TaskRef) -> models.Removed:
    """Delete a task of the backlog."""
    return models.Removed(removed=True, task_id=backlog.remove(visit.town, task_id).id)
