"""What a message is about, for people: a task's description instead of its id."""

from __future__ import annotations

from collections.abc import Iterable

from tinytown.domain.message import Message
from tinytown.town import Town


def texts(town: Town, messages: Iterable[Message]) -> dict[str, str]:
    """Message id -> its text, with the tasks looked up in one go."""
    listed = list(messages)
    ids = list(dict.fromkeys(m.task_id for m in listed if m.task_id))
    tasks = {task.id: task.description for task in town.store.tasks.many(ids)} if ids else {}
    return {m.id: tasks.get(m.task_id, m.text) if m.task_id else m.text for m in listed}
