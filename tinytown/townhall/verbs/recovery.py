"""What is left of agents that have ended."""

from __future__ import annotations

from typing import Literal

from tinytown.errors import Invalid
from tinytown.services import agents, orphans, reclaiming, shapes
from tinytown.services.reclaiming import Item
from tinytown.townhall import models
from tinytown.townhall.verbs.inputs import AgentRef
from tinytown.townhall.verbs.registry import POST, Scope, Visit, verb

Action = Literal["list", "to_backlog", "cancel"]


@verb("recovery.recover_agents", POST, "/v1/recover", "recover", Scope.MANAGE, is_idempotent=True)
def recover_agents(visit: Visit) -> models.Recovered:
    """Find agents whose process is gone, and finish them."""
    done = orphans.recover(visit.town)
    names = [one.agent.name for one in done.recovered]
    return models.Recovered(checked=done.checked, recovered=len(names), agents=names)


@verb("recovery.reclaim_tasks", POST, "/v1/reclaim", "reclaim", Scope.MANAGE)
def reclaim_tasks(
    visit: Visit, to_backlog: bool = False, to: AgentRef | None = None, from_agent: AgentRef | None = None,
) -> models.Reclaiming:  # fmt: skip
    """Move the work of agents that have ended: to the backlog or an agent. Without either: only show it."""
    if to_backlog and to is not None:
        raise Invalid("Give one of to_backlog and to.")
    destination = None
    if to is not None:
        found = reclaiming.to_agent(visit.town, to, from_agent)
        destination = agents.resolve(visit.town, to).agent.name
    elif to_backlog:
        found, destination = reclaiming.to_backlog(visit.town, from_agent), "backlog"
    else:
        found = reclaiming.preview(visit.town, from_agent)
    rows = [
        models.Reclaimed(
            agent=one.agent.name, agent_id=one.agent.id, state=one.agent.state.value,
            moved=[_item(item) for item in one.moved], stays=[_item(item) for item in one.stays],
        )
        for one in found
    ]  # fmt: skip
    return models.Reclaiming(reclaimed=sum(len(one.moved) for one in found), destination=destination, agents=rows)


@verb("recovery.orphan_tasks", POST, "/v1/reclaim/orphan-tasks", "reclaim", Scope.MANAGE, is_destructive=True)
def orphan_tasks(visit: Visit, action: Action = "list") -> models.Orphans:
    """Tasks whose agent has ended or is gone, mail or not: show them, put them into the backlog, or cancel them."""
    if action == "to_backlog":
        found = orphans.requeue_tasks(visit.town)
    elif action == "cancel":
        found = orphans.cancel_tasks(visit.town, visit.caller)
    else:
        found = orphans.orphan_tasks(visit.town)
    rows = [
        models.Orphan(
            **shapes.task(one.task, {one.task.assigned_to or "": one.agent or ""}),
            reason="agent_missing" if one.agent is None else "agent_terminal",
        )
        for one in found
    ]
    return models.Orphans(action=action, count=len(rows), orphans=rows)


def _item(item: Item) -> models.Item:
    return models.Item(type=item.kind, task_id=item.task_id, text=item.text)
