"""Messages as programs compose them: to one mailbox, or to everybody."""

from __future__ import annotations

from dataclasses import replace

from tinytown import clock, ids
from tinytown.domain.message import Message, Unreadable, parse
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, Invalid
from tinytown.services import agents, mail, records, tasks
from tinytown.services.caller import Caller
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change


def post(town: Town, message: Message, caller: Caller) -> Message:
    """Put a message into its recipient's mailbox; a second time within an hour it changes nothing.

    One that assigns a task takes that task out of the backlog in the same step. Raises AgentNotFound (recipient or
    sender), TaskNotFound, Invalid, Conflict (the task is not in the backlog).
    """
    town.ensure_redis()
    sender, _name = agents.mailbox_of(town, message.sender)
    if message.task_id is not None:
        return _post_assignment(town, replace(message, sender=sender), caller)
    to, _name = agents.mailbox_of(town, message.to)
    sent = _storable(replace(message, sender=sender, to=to))

    def build(tx: Transaction) -> Message:
        agents.mailbox_of(town, to)
        tx.once(sent.id)
        mail.deliver(town, tx, sent)
        return sent

    return change(town.store, build)


def broadcast(town: Town, message: Message) -> int:
    """A copy into the mailbox of each agent that has not ended, but for the sender, in one step; returns how many.

    Each copy has an id of its own and the broadcast's as its correlation. Observers get the message as it is by
    pub/sub. A second time within an hour it changes nothing. Raises AgentNotFound (sender), Invalid.
    """
    if message.task_id is not None:
        raise Invalid("A task has one agent: its assignment cannot be broadcast.")
    town.ensure_redis()
    sender, _name = agents.mailbox_of(town, message.sender)
    sent = _storable(replace(message, sender=sender, to=""))

    def build(tx: Transaction) -> int:
        rows = [r for r in town.store.agents.all() if r.wish is not None or not r.agent.state.is_terminal]
        others = [row.agent.id for row in rows if row.agent.id != sender]
        tx.once(sent.id)
        for to in others:
            copy = replace(sent, id=ids.new_id(), to=to, correlation_id=sent.correlation_id or sent.id, raw="")
            mail.deliver(town, tx, copy)
        tx.do("PUBLISH", tx.keys.broadcast, sent.raw)
        return len(others)

    return change(town.store, build)


def _post_assignment(town: Town, message: Message, caller: Caller) -> Message:
    agent = agents.resolve(town, message.to).agent
    raw, task = tasks.find(town, message.task_id or "")
    sent = _storable(replace(message, to=agent.id, payload={**message.payload, "task_id": task.id}))
    try:
        _expect_pending(task)
        records.set_task(town, task.assigned(agent.id, message.sender, clock.stamp()), raw, caller, sent)
    except Conflict:
        if not town.store.call(lambda r: r.exists(town.store.keys.sent(sent.id))):
            raise  # else it is this very message that has assigned it
    return sent


def _expect_pending(task: Task) -> None:
    if task.state is not TaskState.PENDING:
        raise Conflict(f"Task {ids.short(task.id)} is {task.state}; a message assigns one that is in the backlog.")


def _storable(message: Message) -> Message:
    """With its text as it is stored, which must be one that readers take. Raises Invalid."""
    try:
        text = message.to_json().encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        return parse(text)
    except (Unreadable, TypeError) as error:
        raise Invalid(f"Not a message: {error}") from error
