"""Delivery: a message into a mailbox, inside somebody's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinytown import clock, ids
from tinytown.domain.event import Event
from tinytown.domain.message import Message, Priority, Unreadable, parse
from tinytown.domain.task import Task
from tinytown.store.transaction import Transaction
from tinytown.town import Town


@dataclass(frozen=True, slots=True)
class Lead:
    """A message that waits in the list `home` and leads to a task."""

    home: str
    message: Message


def compose(
    sender: str,
    to: str,
    kind: str,
    payload: dict[str, Any],
    *,
    priority: Priority = Priority.NORMAL,
    correlation_id: str | None = None,
) -> Message:
    """A new message with an id and the time of now."""
    return Message(ids.new_id(), sender, to, kind, payload, priority, clock.stamp(), correlation_id)


def deliver(town: Town, tx: Transaction, message: Message) -> None:
    """Put the message into its recipient's mailbox, which must still exist when the transaction is applied."""
    if message.to == ids.SUPERVISOR_ID:
        _bound_mailbox(town, tx, urgent=message.priority is Priority.URGENT)
    else:
        tx.expect_exists(tx.keys.agent(message.to), "recipient")
    tx.put(message.to, message)
    urgency = "" if message.priority is Priority.NORMAL else f", {message.priority}"
    tx.event(message_event("message_sent", f"{message.type}{urgency}", message))


def tell(town: Town, tx: Transaction, message: Message) -> None:
    """Deliver if the recipient still exists; a courtesy that must not hold up its transaction."""
    if message.to != ids.SUPERVISOR_ID and not town.store.call(lambda r: r.exists(tx.keys.agent(message.to))):
        return
    deliver(town, tx, message)


def park(town: Town, tx: Transaction, *parked: Task) -> None:
    """Into the backlog, and a ring for each wanted agent whose role is a tag of one of the tasks."""
    for task in parked:
        tx.do("RPUSH", tx.keys.backlog, task.id)
    tags = {tag for task in parked for tag in task.tags or []}
    if tags:
        for row in town.store.agents.all():
            if row.wish is not None and row.agent.role_id in tags:
                tx.expect_exists(tx.keys.agent(row.agent.id), "agent")  # no bell is left of one that goes meanwhile
                tx.ring(row.agent.id)


def leads(town: Town, agent_id: str) -> dict[str, list[Lead]]:
    """Task id -> the messages in the agent's mailbox that lead to it. What its round holds is not there."""
    homes = (town.store.keys.urgent(agent_id), town.store.keys.inbox(agent_id))
    found: dict[str, list[Lead]] = {}
    for home, texts in zip(homes, town.store.inboxes.peek(agent_id), strict=True):
        for text in texts:
            message = read(text)
            if message is not None and message.task_id:
                found.setdefault(message.task_id, []).append(Lead(home, message))
    return found


def recall(tx: Transaction, agent_id: str, lead: Lead, why: str) -> None:
    """Take the message back out of the agent's mailbox."""
    tx.expect_member(lead.home, lead.message.raw, "mail")
    tx.do("LREM", lead.home, 1, lead.message.raw)
    tx.do("HDEL", tx.keys.attempts(agent_id), lead.message.id)
    tx.event(message_event("message_moved", why, lead.message, agent_id))


def message_event(kind: str, text: str, message: Message, agent_id: str | None = None) -> Event:
    """An event that names the message (and its task)."""
    return Event(
        kind, text, clock.stamp(), agent_id=agent_id or message.to, task_id=message.task_id, message_id=message.id
    )


def _bound_mailbox(town: Town, tx: Transaction, *, urgent: bool) -> None:
    """Nobody has to read the conductor's mailbox: its oldest mail makes room, with an event each."""
    key, limit = (tx.keys.urgent if urgent else tx.keys.inbox)(ids.SUPERVISOR_ID), town.config.retention.mailbox
    if limit <= 0:
        return
    over = town.store.call(lambda r: r.llen(key)) + 1 - limit
    if over <= 0:
        return
    for text in town.store.call(lambda r: r.lrange(key, 0, over - 1)):
        tx.do("LREM", key, 1, text)
        tx.event(Event("message_dropped", "the mailbox is full", clock.stamp(), message_id=message_id(text)))


def message_id(text: str) -> str | None:
    """The id in a stored text, if it is a message."""
    message = read(text)
    return None if message is None else message.id


def read(text: str) -> Message | None:
    """The message in a stored text, if it is one."""
    try:
        return parse(text)
    except Unreadable:
        return None
