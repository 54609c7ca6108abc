"""Receive mail without an actor: a program is the reader of a mailbox that no actor reads."""

from __future__ import annotations

from dataclasses import replace

from tinytown import clock
from tinytown.domain.event import Event
from tinytown.domain.message import Message, Unreadable, parse
from tinytown.domain.states import TaskState
from tinytown.errors import Invalid
from tinytown.services import agents, mail
from tinytown.services.records import expect_no_actor, start
from tinytown.store.inboxes import bury
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change


def receive(town: Town, reference: str, timeout_s: float) -> Message | None:
    """Take the next message, urgent ones first; waits for one up to `timeout_s` without polling. None: none came.

    It is acked at once; a message that leads to a task is claimed, its task running, and is acked when that task
    ends. Raises AgentNotFound, Invalid, Conflict when the agent is run by the town, RedisAway.
    """
    if not timeout_s >= 0:  # also a nan
        raise Invalid("A time-out is 0 or more seconds.")
    town.ensure_redis()
    box_id, name = agents.mailbox_of(town, reference)
    deadline = clock.monotonic() + timeout_s
    while True:
        seen_until = town.store.events.last_id()
        found = True
        while found:
            found, message = change(town.store, lambda tx: _take(town, tx, box_id, name))
            if message is not None:
                return message
        left = deadline - clock.monotonic()
        if left <= 0:
            return None
        town.store.events.after(seen_until, left)


def _take(town: Town, tx: Transaction, box_id: str, name: str) -> tuple[bool, Message | None]:
    """Take the first element; whether there was one, and the message, if it was one for the caller."""
    keys = tx.keys
    expect_no_actor(town, tx, box_id, name)
    _ack_ended(town, tx, box_id)
    urgent, inbox = town.store.inboxes.peek(box_id, 1)
    if not urgent and not inbox:
        return False, None
    home, text = (keys.urgent(box_id), urgent[0]) if urgent else (keys.inbox(box_id), inbox[0])
    try:
        message = parse(text)
    except Unreadable as error:
        _bury(tx, box_id, home, text, str(error))
        return True, None
    if message.task_id is not None:
        return True, _take_task(town, tx, box_id, home, message)
    _ack(tx, box_id, home, message, "received by a program")
    return True, message


def _take_task(town: Town, tx: Transaction, box_id: str, home: str, message: Message) -> Message | None:
    raw, task = town.store.tasks.get(message.task_id or "") or (None, None)
    if raw is None or task is None:
        _bury(tx, box_id, home, message.raw, f"no task {message.task_id}")
        return None
    if task.state is not TaskState.ASSIGNED or task.assigned_to != box_id:
        tx.expect(tx.keys.task(task.id), raw, "task")
        _ack(tx, box_id, home, message, f"its task is {task.state}" if task.assigned_to == box_id else "it has moved")
        return None
    start(tx, home, replace(message, to=box_id), raw, task, task.started(clock.stamp()))
    return message


def _ack_ended(town: Town, tx: Transaction, box_id: str) -> None:
    """What was claimed here for tasks that somebody else has ended meanwhile."""
    home = tx.keys.claimed(box_id)
    (texts,) = town.store.read(("LRANGE", home, 0, -1))
    held = [message for text in texts if (message := mail.read(text)) is not None and message.task_id is not None]
    for message in held:
        found = town.store.tasks.get(message.task_id or "")
        if found is not None and found[1].state.is_terminal:
            tx.expect(tx.keys.task(found[1].id), found[0], "task")
            _ack(tx, box_id, home, message, f"its task is {found[1].state}")


def _ack(tx: Transaction, box_id: str, home: str, message: Message, why: str) -> None:
    tx.expect_member(home, message.raw, "mail")
    tx.do("LREM", home, 1, message.raw)
    tx.do("HDEL", tx.keys.attempts(box_id), message.id)
    tx.event(mail.message_event("message_acked", why, message, box_id))


def _bury(tx: Transaction, box_id: str, home: str, text: str, why: str) -> None:
    tx.expect_member(home, text, "mail")
    tx.do("LREM", home, 1, text)
    bury(tx, box_id, text, why, clock.stamp(), 0)
    tx.event(Event("message_dead", why[:300], clock.stamp(), agent_id=box_id, message_id=mail.message_id(text)))
