"""Delivery: a message into a mailbox, inside somebody's transaction."""

from __future__ import annotations

from typing import Any

from tinytown import clock, ids
from tinytown.domain.event import Event
from tinytown.domain.message import Message, Priority, Unreadable, parse
from tinytown.domain.task import Task
from tinytown.store.transaction import Transaction
from tinytown.town import Town


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
    tx.event(message_event("message_sent", f"{message.type} to {ids.short(message.to)}", message))


def tell(town: Town, tx: Transaction, message: Message) -> None:
    """Deliver if the recipient still exists; a courtesy that must not hold up its transaction."""
    if message.to != ids.SUPERVISOR_ID and not town.store.call(lambda r: r.exists(tx.keys.agent(message.to))):
        return
    deliver(town, tx, message)


def park(town: Town, tx: Transaction, task: Task) -> None:
    """Into the backlog, and a ring for each wanted agent whose role is one of the task's tags."""
    tx.do("RPUSH", tx.keys.backlog, task.id)
    if task.tags:
        for row in town.store.agents.all():
            if row.wish is not None and row.agent.role_id in task.tags:
                tx.ring(row.agent.id)


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
