"""One old task becomes a task of this version: in one state's index, with exactly one thing that leads to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinytown import clock, ids
from tinytown.domain.event import Event
from tinytown.domain.message import Message
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.services import mail
from tinytown.services.migration.records import MIGRATED, fields_of, task_of
from tinytown.store import keys, records
from tinytown.store.records import Source
from tinytown.store.transaction import Transaction, creation_score
from tinytown.town import Town, change


@dataclass(frozen=True, slots=True)
class Lead:
    """A message in an agent's list that assigns the task."""

    owner: str
    home: str
    text: str
    message: Message


def migrate_task(town: Town, source: Source, leads: list[Lead], citizens: set[str]) -> bool:
    """Take it over: what leads to it decides whose it is; one that nothing leads to waits in the backlog.

    False when it has gone meanwhile.
    """

    def build(tx: Transaction) -> bool:
        stored = records.read(town.store, source)
        fields = fields_of(stored)
        if fields is None or not records.take(tx, source, stored):
            return False
        task = task_of(source.id, fields)
        kind = f"task_{task.state}" if task.state.is_terminal else "task_migrated"
        if not task.state.is_terminal:
            task = _owned(tx, task, _still_there(town, leads), citizens)
        tx.do("SET", tx.keys.task(task.id), task.to_json())
        tx.do("ZADD", tx.keys.tasks(task.state), creation_score(task), task.id)
        _place_in_backlog(town, tx, task)
        text = "taken over from an older version"
        tx.event(
            Event(
                kind, text, clock.stamp(), agent_id=task.assigned_to, task_id=task.id, new_state=task.state.value
            )
        )  # fmt: skip
        return True

    return change(town.store, build)


def _owned(tx: Transaction, task: Task, leads: list[Lead], citizens: set[str]) -> Task:
    """An open task: assigned where a message leads to it, or where it was; else pending."""
    lead = next((each for each in leads if each.owner == task.assigned_to), leads[0] if leads else None)
    for other in leads:
        if lead is not None and other is not lead:
            tx.expect_member(other.home, other.text)
            tx.do("LREM", other.home, 1, other.text)
            tx.event(mail.message_event("message_dropped", "another one leads to its task", other.message, other.owner))
    if lead is not None:
        tx.expect_member(lead.home, lead.text)
        return replace(task, state=TaskState.ASSIGNED, assigned_to=lead.owner, started_at=None)
    if task.state is not TaskState.PENDING and task.assigned_to in citizens:
        message = mail.compose(ids.SUPERVISOR_ID, task.assigned_to or "", "task_assign", {"task_id": task.id})
        tx.put(message.to, message)
        tx.event(mail.message_event("message_sent", MIGRATED, message))
        return replace(task, state=TaskState.ASSIGNED, started_at=None)
    return replace(task, state=TaskState.PENDING, assigned_to=None, started_at=None)


def _still_there(town: Town, leads: list[Lead]) -> list[Lead]:
    if not leads:
        return []
    places = town.store.read(*(("LPOS", lead.home, lead.text) for lead in leads))
    return [lead for lead, place in zip(leads, places, strict=True) if place is not None]


def _place_in_backlog(town: Town, tx: Transaction, task: Task) -> None:
    """Once in the backlog when it is pending, in its old place if it has one; else not at all."""
    tx.do("LREM", keys.FORMER_BACKLOG, 0, task.id)
    (places,) = town.store.read(("LPOS", tx.keys.backlog, task.id, "COUNT", 2))
    if len(places) == 1 and task.state is TaskState.PENDING:
        return
    if places:
        tx.do("LREM", tx.keys.backlog, 0, task.id)
    if task.state is TaskState.PENDING:
        tx.do("RPUSH", tx.keys.backlog, task.id)
