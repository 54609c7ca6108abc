"""Reclaim: the mail of agents that have ended goes to the backlog or to another agent; without a goal it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinytown import clock, ids
from tinytown.domain.agent import Agent
from tinytown.domain.event import Event, task_changed
from tinytown.domain.message import Message, Priority
from tinytown.domain.record import dump
from tinytown.domain.task import Task
from tinytown.errors import AgentNotFound, Conflict, NotFound
from tinytown.services import agents, estate, mail
from tinytown.services.estate import Held
from tinytown.store.agents import AgentRow
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """One ended agent: what was moved (or, in a preview, would be), by task id or words, and what stays with it."""

    agent: Agent
    moved: list[Item]
    stays: list[Item]


@dataclass(frozen=True, slots=True)
class Item:
    """One message. `task_id` is that of the task in the backlog; `kind` is the message's type, or "unreadable"."""

    kind: str
    text: str
    task_id: str | None = None

    @property
    def is_task(self) -> bool:
        """It is work: a task, or one in words."""
        return self.kind in {"task", "task_assign"}


def preview(town: Town, from_agent: str | None = None) -> list[Reclaimed]:
    """What lies with the agents that have ended (or with `from_agent`). Changes nothing. Raises NotFound."""
    found = []
    for row in _ended(town, from_agent):
        items = [_item(held) for held in estate.read(town, row.agent.id) if not held.is_spent(row.agent.id)]
        found.append(Reclaimed(row.agent, [], items))
    return found


def to_backlog(town: Town, from_agent: str | None = None) -> list[Reclaimed]:
    """Tasks, and work in words as new tasks, into the backlog; other mail stays. Raises NotFound.

    One step for each agent (for some hundred messages); of several callers one moves a message.
    """
    town.ensure_redis()
    found = []
    for row in _ended(town, from_agent):
        moved = park_work(town, row.agent.id)
        left = [h for h in estate.read(town, row.agent.id) if not h.leads(row.agent.id) and not h.is_new_work]
        found.append(Reclaimed(row.agent, moved, [_item(held) for held in left]))
    return found


def park_work(town: Town, agent_id: str) -> list[Item]:
    """What `to_backlog` does, for one agent and without Redis being started; nothing if it has not ended."""
    return _drain(town, partial(_to_backlog, town, agent_id=agent_id))


def to_agent(town: Town, to: str, from_agent: str | None = None) -> list[Reclaimed]:
    """All mail, and the tasks it leads to, into the mailbox of an agent that is wanted. Steps as `to_backlog`.

    Raises AgentNotFound, Conflict when that agent has ended or is to stop, NotFound.
    """
    town.ensure_redis()
    goal = _wanted(town, to).agent.id
    found = []
    for row in _ended(town, from_agent):
        moved = _drain(town, partial(_to_agent, town, agent_id=row.agent.id, goal=goal))
        found.append(Reclaimed(row.agent, moved, []))
    return found


def _ended(town: Town, reference: str | None) -> list[AgentRow]:
    if reference is None:
        return estate.ended(town)
    try:
        row = agents.resolve(town, reference)
    except AgentNotFound:
        row = None
    if row is None or not estate.has_ended(row):
        raise NotFound(f"Agent '{reference}' not found or not in terminal state", "See the agents with: tt list")
    return [row]


def _wanted(town: Town, reference: str) -> AgentRow:
    row = agents.resolve(town, reference)
    if row.wish is None:
        name, state = row.agent.name, row.agent.state
        text = f"Agent '{name}' has ended" if state.is_terminal else f"Nothing runs agent '{name}'"
        raise Conflict(f"{text} ({state.label}).", f"Start it with: tt restart {name}")
    if row.wish.stop:
        raise Conflict(f"Agent '{row.agent.name}' is asked to stop.", "Choose another agent.")
    return row


def _drain(town: Town, step: Callable[[Transaction], list[Item | None]]) -> list[Item]:
    """Take steps until there is nothing to take."""
    moved: list[Item] = []
    while taken := change(town.store, step):
        moved += [item for item in taken if item is not None]
    return moved


def _to_backlog(town: Town, tx: Transaction, agent_id: str) -> list[Item | None]:
    return [] if estate.expect_ended(town, tx, agent_id) is None else park_some(town, tx, agent_id)


def park_some(town: Town, tx: Transaction, agent_id: str) -> list[Item | None]:
    """One step; an item for each message that was taken (None: it led nowhere). The agent has ended or ends in it."""
    taken: list[Item | None] = []
    parked: dict[str, Task] = {}
    for held in estate.read(town, agent_id):
        if len(taken) == _AT_ONCE:
            break
        if held.is_spent(agent_id) or (held.task is not None and held.task.id in parked):
            estate.drop_spent(tx, agent_id, held)
            taken.append(None)
        elif held.leads(agent_id) or held.is_new_work:
            estate.take(tx, agent_id, held)
            task = _parked(tx, agent_id, held)
            parked[task.id] = task
            taken.append(_item(held, task.id))
    mail.park(town, tx, *parked.values())
    return taken


def _parked(tx: Transaction, agent_id: str, held: Held) -> Task:
    """The message's task, out of the agent's hands; work in words becomes a task first."""
    message = held.message
    assert message is not None
    if held.task is not None and held.task_raw is not None:
        return estate.unassign(tx, agent_id, held.task_raw, held.task, message.id)
    at = clock.stamp()
    task = Task(
        id=ids.new_id(), description=str(message.payload["description"]), created_at=at, updated_at=at, tags=[],
        assigned_by=message.sender,
    )  # fmt: skip
    tx.save_task(None, task)
    tx.event(task_changed("task_created", "from a message of an agent that has ended", task, None, at))
    text = f"its work is task {ids.short(task.id)} in the backlog"
    tx.event(Event("message_moved", text, at, agent_id=agent_id, task_id=task.id, message_id=message.id))
    return task


def _to_agent(town: Town, tx: Transaction, agent_id: str, goal: str) -> list[Item | None]:
    """One step; an item for each message that was taken (None: it led nowhere). Rings once."""
    to = _wanted(town, goal)
    if estate.expect_ended(town, tx, agent_id) is None:
        return []
    tx.expect_field(tx.keys.wanted, goal, to.wish_raw, "recipient")
    counted = town.store.call(lambda r: r.hgetall(tx.keys.attempts(agent_id)))
    taken: list[Item | None] = []
    given: list[Held] = []
    for held in estate.read(town, agent_id)[:_AT_ONCE]:
        again = held.task is not None and any(h.task is not None and h.task.id == held.task.id for h in given)
        if again or held.is_spent(agent_id):
            estate.drop_spent(tx, agent_id, held)
            taken.append(None)
            continue
        estate.take(tx, agent_id, held)
        given.append(held)
        taken.append(_item(held))
        if held.message is not None and (attempts := counted.get(held.message.id)):
            tx.do("HSET", tx.keys.attempts(goal), held.message.id, attempts)
    _deliver(tx, agent_id, to.agent, given)
    return taken


def _deliver(tx: Transaction, agent_id: str, to: Agent, given: list[Held]) -> None:
    """Into the lists that they come from, in their order; those of high priority before what waits there."""
    high = []
    for held in given:
        text = _readdressed(held, to.id)
        is_urgent = held.home == tx.keys.urgent(agent_id) or _priority(held.message) is Priority.URGENT
        if not is_urgent and _priority(held.message) is Priority.HIGH:
            high.append(text)
        else:
            tx.do("RPUSH", (tx.keys.urgent if is_urgent else tx.keys.inbox)(to.id), text)
        _reassign(tx, held, to)
    for text in reversed(high):
        tx.do("LPUSH", tx.keys.inbox(to.id), text)
    if given:
        tx.ring(to.id)


def _reassign(tx: Transaction, held: Held, to: Agent) -> None:
    """The event of the move, with the task that moves along."""
    task, message = held.task, held.message
    states: dict[str, Any] = {}
    if task is not None and held.task_raw is not None:
        moved = task.assigned(to.id, task.assigned_by or ids.SUPERVISOR_ID, clock.stamp())
        tx.save_task(held.task_raw, moved, task)
        states = {"old_state": task.state.value, "new_state": moved.state.value}
    tx.event(
        Event(
            "message_reclaimed", f"reclaimed for '{to.name}'", clock.stamp(), agent_id=to.id,
            task_id=task.id if task else None, message_id=message.id if message else None, **states,
        )
    )  # fmt: skip


def _priority(message: Message | None) -> Priority | None:
    return None if message is None else message.priority


def _readdressed(held: Held, to: str) -> str:
    """The text with its new recipient; fields that this version does not know stay. What is no message stays whole."""
    if held.message is None:
        return held.text
    return dump(json.loads(held.text) | {"id": held.message.id, "to": to})


def _item(held: Held, task_id: str | None = None) -> Item:
    if held.message is None:
        return Item("unreadable", held.text)
    return Item(held.message.type, held.message.text, task_id or held.message.task_id)
