"""What a message is about, for people: a task's description instead of its id."""

from __future__ import annotations

from collections.abc import Iterable

from tinytown.domain.message import Message
from tinytown.ids import short
from tinytown.town import Town


def texts(town: Town, messages: Iterable[Message]) -> dict[str, str]:
    """Message id -> its text, with the tasks looked up in one go."""
    listed = list(messages)
    ids = list(dict.fromkeys(m.task_id for m in listed if m.task_id))
    tasks = {task.id: task.description for task in town.store.tasks.many(ids)} if ids else {}
    return {m.id: tasks.get(m.task_id, m.text) if m.task_id else _told(m) for m in listed}


def _told(message: Message) -> str:
    """A finished task by its short id; everything else as it is."""
    task = short(str(message.payload.get("task_id", "")))
    if message.type == "task_done":
        return f"Task {task} is done: {message.payload['result']}"
    if message.type == "task_failed":
        return f"Task {task} has failed: {message.payload['error']}"
    return message.text
