"""`[retention]`: what has been kept long enough goes, with an event each."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from tinytown import clock, logs
from tinytown.domain.event import Event
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, Forbidden, Invalid, NotFound
from tinytown.services import dependencies, mail
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Stale
from tinytown.town import Town

_ENDED = (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED)
_DAY_S = 86400.0


def apply(town: Town) -> dict[str, int]:
    """Apply all of it once; how many of each went. What a killed release left is finished first."""
    dependencies.finish_releases(town)
    gone = {"tasks": _tasks(town), "missions": _missions(town)}
    gone |= {"dead_letters": _dead_letters(town), "round_logs": _round_logs(town)}
    if any(gone.values()):
        text = ", ".join(f"{count} {what}" for what, count in gone.items() if count)
        tx = town.store.transaction()
        tx.event(Event("retention_applied", text, clock.stamp()))
        town.store.commit(tx)
    return gone


def _tasks(town: Town) -> int:
    days = town.config.retention.tasks_days
    if days <= 0:
        return 0
    count = 0
    ids = town.store.tasks.ids(_ENDED)
    read = zip(ids, town.store.tasks.raws(ids), strict=True)
    old = [(raw, task) for task_id, raw in read if (task := read_task(raw, task_id)) and _is_older(task, days * _DAY_S)]
    planned = _planned(town) if old else set()
    for raw, task in old:
        if task.id in planned:
            continue
        tx = town.store.transaction()
        tx.expect(tx.keys.task(task.id), raw)
        tx.expect_size(tx.keys.dependents(task.id), 0, "tasks that wait for it")
        tx.do("DEL", tx.keys.task(task.id))
        tx.do("ZREM", tx.keys.tasks(task.state), task.id)
        tx.event(Event("task_expired", f"{task.state} {days:g} days ago", clock.stamp(), task_id=task.id))
        with contextlib.suppress(Stale):
            town.store.commit(tx)
            count += 1
    return count


def _missions(town: Town) -> int:
    """Those that ended long ago, with everything of them."""
    days = town.config.retention.missions_days
    if days <= 0 or not town.store.call(lambda r: r.exists(town.store.keys.missions_all)):
        return 0
    count = 0
    for raw, run in town.store.missions.many(town.store.missions.all_ids()):
        if not run.state.is_terminal or clock.seconds_since(run.ended_at or run.updated_at) < days * _DAY_S:
            continue
        tx = town.store.transaction()
        tx.expect(tx.keys.mission(run.id), raw)
        for key in tx.keys.of_mission(run.id):
            tx.do("DEL", key)
        tx.do("ZREM", tx.keys.missions_all, run.id)
        tx.event(Event("mission_expired", f"{run.state} {days:g} days ago", clock.stamp(), mission_id=run.id))
        with contextlib.suppress(Stale):
            town.store.commit(tx)
            count += 1
    return count


def _is_older(task: Task, seconds: float) -> bool:
    return clock.seconds_since(task.completed_at or task.updated_at) >= seconds


def _planned(town: Town) -> Collection[str]:
    """The tasks that a push would make anew, and run, if they were gone: tasks.toml calls them open.

    All, while the file cannot be read.
    """
    from tinytown.services import plan  # noqa: PLC0415  not in every supervisor's memory

    try:
        entries = plan.load(town).entries
        ids = plan.task_ids(town, entries)
    except NotFound:
        return set()
    except (Invalid, Forbidden, Conflict):
        return set(town.store.tasks.ids(_ENDED))
    return {ids[entry.id] for entry in entries if not entry.status.is_terminal}


def _dead_letters(town: Town) -> int:
    most = town.config.retention.dead_letters
    if most <= 0:
        return 0
    count = 0
    for agent_id in town.store.agents.names().values():
        for letter in town.store.inboxes.dead(agent_id)[:-most]:
            tx = town.store.transaction()
            tx.expect_member(tx.keys.dead(agent_id), letter.raw)
            tx.do("LREM", tx.keys.dead(agent_id), 1, letter.raw)
            tx.event(
                Event(
                    "message_expired", "oldest dead letter", clock.stamp(), agent_id=agent_id,
                    message_id=mail.message_id(letter.text),
                )
            )  # fmt: skip
            with contextlib.suppress(Stale):
                town.store.commit(tx)
                count += 1
    return count


def _round_logs(town: Town) -> int:
    most = town.config.retention.round_logs
    if most <= 0:
        return 0
    count = 0
    for name in town.store.agents.names():
        for number in logs.round_numbers(town.logs_dir, name)[:-most]:
            with contextlib.suppress(OSError):
                logs.round_log(town.logs_dir, name, number).unlink()
                count += 1
    return count
