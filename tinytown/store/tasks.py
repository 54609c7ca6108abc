"""Tasks as stored: records, the index by state, the backlog."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tinytown.domain.states import TaskState
from tinytown.domain.task import Task

if TYPE_CHECKING:
    import redis

    from tinytown.store import Store

_CHUNK = 1000


class Tasks:
    """Read tasks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys

    def get(self, task_id: str) -> tuple[str, Task] | None:
        """Raw text and record; None when there is none (or none that can be read)."""
        raw = self._store.call(lambda r: r.get(self._keys.task(task_id)))
        task = read_task(raw, task_id)
        return None if task is None else (raw, task)

    def raws(self, task_ids: Sequence[str]) -> list[str | None]:
        """The stored texts, in order; in chunks, so that no answer is huge."""
        found: list[str | None] = []
        for start in range(0, len(task_ids), _CHUNK):
            keys = [self._keys.task(i) for i in task_ids[start : start + _CHUNK]]
            found += self._store.call(functools.partial(_mget, keys))
        return found

    def many(self, task_ids: Sequence[str]) -> list[Task]:
        """The records that are there, in order."""
        wanted = list(task_ids)
        pairs = zip(wanted, self.raws(wanted), strict=True)
        return [task for task_id, raw in pairs if (task := read_task(raw, task_id)) is not None]

    def ids(self, states: Iterable[TaskState]) -> list[str]:
        """Ids of the tasks in these states, state by state, oldest first."""
        answers = self._store.read(*(("ZRANGE", self._keys.tasks(state), 0, -1) for state in states))
        return [task_id for answer in answers for task_id in answer]

    def newest(self, states: Iterable[TaskState], most: int) -> list[str]:
        """Ids of tasks in these states, state by state; of each state the `most` that were made last, newest first."""
        answers = self._store.read(*(("ZREVRANGE", self._keys.tasks(state), 0, most - 1) for state in states))
        return [task_id for answer in answers for task_id in answer]

    def counts(self) -> dict[TaskState, int]:
        """How many tasks are in each state."""
        states = list(TaskState)
        answers = self._store.read(*(("ZCARD", self._keys.tasks(state)) for state in states))
        return dict(zip(states, (int(n) for n in answers), strict=True))

    def backlog_ids(self, start: int = 0, stop: int = -1) -> list[str]:
        """Ids of the tasks without an agent, in order."""
        found: list[str] = self._store.call(lambda r: r.lrange(self._keys.backlog, start, stop))
        return found


def _mget(keys: list[str], client: redis.Redis) -> Any:
    return client.mget(keys)


def read_task(raw: str | None, task_id: str) -> Task | None:
    """The record in this text; None when there is none, it cannot be read or is another task's (copied by hand)."""
    if raw is None:
        return None
    try:
        task = Task.from_json(raw)
    except ValueError:
        return None
    return task if task.id == task_id else None
