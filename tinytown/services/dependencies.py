"""Dependencies: a task waits, pending and outside the backlog, until the tasks it depends on are completed.

The set `dependents:<task>` holds who waits for that task. A task waits exactly as long as it is in one of these
sets; the step that takes it out of the last one gives it to its planned agent, or to the backlog.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tinytown import clock, ids
from tinytown.domain.agent import Agent
from tinytown.domain.event import task_changed
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict
from tinytown.services import mail
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

AT_ONCE = 100  # tasks that one step releases
SHOWN = 5


def unmet(town: Town, task: Task) -> list[Task]:
    """The tasks that this one waits for, in its order; none when it does not wait."""
    if task.state is not TaskState.PENDING or not task.depends_on:
        return []
    keys = town.store.keys
    held = town.store.read(*(("SISMEMBER", keys.dependents(i), task.id) for i in task.depends_on))
    return town.store.tasks.many([i for i, waits in zip(task.depends_on, held, strict=True) if waits])


def count_of_waiting(town: Town, ended: Task) -> int:
    """How many tasks wait in vain for this one, which was not completed."""
    if ended.state is TaskState.COMPLETED:
        return 0
    count: int = town.store.call(lambda r: r.scard(town.store.keys.dependents(ended.id)))
    return count


def named(others: Sequence[Task]) -> str:
    """The first of these tasks, each with its state, as a line of text names them."""
    shown = [f"{task.plan_id or ids.short(task.id)} ({task.state})" for task in others[:SHOWN]]
    return ", ".join(shown) + (f" and {len(others) - SHOWN} more" if len(others) > SHOWN else "")


def open_ones(town: Town, task_ids: Iterable[str]) -> list[tuple[str, Task]]:
    """Raw text and record of those that are not completed; one that is gone had been completed."""
    wanted = list(dict.fromkeys(task_ids))
    return [(raw, task) for raw, task in _found(town, wanted) if task.state is not TaskState.COMPLETED]


def wait_for(tx: Transaction, task_id: str, others: Iterable[tuple[str | None, Task]]) -> None:
    """Let a task wait for these (raw text and record), which are not completed until the transaction is applied."""
    for raw, other in others:
        tx.expect(tx.keys.task(other.id), raw, f"task {other.id}")
        tx.do("SADD", tx.keys.dependents(other.id), task_id)


def leave(tx: Transaction, task: Task) -> None:
    """It waits for nothing any more."""
    for other in task.depends_on or []:
        tx.do("SREM", tx.keys.dependents(other), task.id)


def release(town: Town, tx: Transaction, task_id: str) -> None:
    """In the step that completes this task: nobody waits for it any more.

    A crowd is only noted, so that no step grows without bound; `finish_releases` comes after the commit.
    """
    waiting = _some(town, task_id, AT_ONCE + 1)
    if len(waiting) > AT_ONCE:
        tx.do("SADD", tx.keys.releases, task_id)
        return
    tx.expect_size(tx.keys.dependents(task_id), len(waiting), f"tasks that wait for {task_id}")
    _release_from(town, tx, task_id, waiting)


def finish_releases(town: Town) -> None:
    """Release, step by step, who waits for tasks that are completed. Whoever comes goes on where another stopped."""
    with contextlib.suppress(Conflict):  # others are at it
        while change(town.store, lambda tx: _next_step(town, tx)):
            pass


def _next_step(town: Town, tx: Transaction) -> bool:
    task_id = town.store.call(lambda r: r.srandmember(tx.keys.releases))
    if task_id is None:
        return False
    waiting = _some(town, task_id, AT_ONCE)
    if not waiting:
        tx.expect_size(tx.keys.dependents(task_id), 0)
        tx.do("SREM", tx.keys.releases, task_id)
    _release_from(town, tx, task_id, waiting)
    return True


def _some(town: Town, task_id: str, most: int) -> list[str]:
    key = town.store.keys.dependents(task_id)
    found: list[str] = town.store.call(lambda r: r.srandmember(key, most))
    return found


def _release_from(town: Town, tx: Transaction, task_id: str, waiting: list[str]) -> None:
    """Take these out of the set of the task; those that are in no other set are free."""
    keys = tx.keys
    free = []
    for waiting_id in waiting:
        tx.expect_in_set(keys.dependents(task_id), waiting_id)
        tx.do("SREM", keys.dependents(task_id), waiting_id)
    for raw, task in _read(town, waiting):
        others = [i for i in task.depends_on or [] if i != task_id]
        held = town.store.read(*(("SISMEMBER", keys.dependents(i), task.id) for i in others)) if others else []
        still = next((i for i, waits in zip(others, held, strict=True) if waits), None)
        if still is None:
            free.append((raw, task))
        else:  # completed at the same moment, it would have left that set: then this is decided again
            tx.expect_in_set(keys.dependents(still), task.id)
    _hand_out(town, tx, free)


def _read(town: Town, task_ids: list[str]) -> list[tuple[str, Task]]:
    """Raw text and record, in the order of creation."""
    return sorted(_found(town, task_ids), key=lambda found: found[1].created_at)


def _found(town: Town, task_ids: list[str]) -> list[tuple[str, Task]]:
    pairs = zip(task_ids, town.store.tasks.raws(task_ids) if task_ids else [], strict=True)
    read = ((raw, read_task(raw, task_id)) for task_id, raw in pairs)
    return [(raw, task) for raw, task in read if raw and task]


def _hand_out(town: Town, tx: Transaction, free: list[tuple[str, Task]]) -> None:
    owners = planned_agents(town, (task.planned_agent for _raw, task in free))
    parked = []
    for raw, task in free:
        at = clock.stamp()
        owner = owners.get(task.planned_agent or "")
        if owner is None:
            now, kind, where = replace(task, updated_at=at), "task_released", "parked in the backlog"
            parked.append(now)
        else:
            by = task.assigned_by or ids.SUPERVISOR_ID
            now, kind, where = task.assigned(owner.id, by, at), "task_assigned", f"assigned to '{owner.name}'"
            mail.deliver(town, tx, mail.compose(by, owner.id, "task_assign", {"task_id": task.id}))
        tx.save_task(raw, now, task)
        text = f"{where}: what it waited for is completed"
        tx.event(task_changed(kind, text, now, task.state, at))
    mail.park(town, tx, *parked)


def planned_agents(town: Town, names: Iterable[str | None]) -> dict[str, Agent]:
    """Those of these names that exist now, by name."""
    wanted = {name for name in names if name}
    known = town.store.agents.names() if wanted else {}
    rows = town.store.agents.rows(known[name] for name in sorted(wanted & known.keys()))
    return {row.agent.name: row.agent for row in rows}
