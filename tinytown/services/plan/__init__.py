"""The plan: tasks.toml shown, made, pushed to the town, and pulled from it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytown import ids, toml
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, Forbidden, Invalid, NotFound
from tinytown.files import locked, write_atomic
from tinytown.services.plan import entries, toml_file
from tinytown.services.plan.entries import Entry, Plan
from tinytown.town import Town

PULL_TRIES = 5
MODE = 0o644
TEMPLATE = """\
[meta]
description = "Task plan for this project"

[[tasks]]
id = "example-1"
description = "Example task - replace with your own"
status = "pending"
tags = ["example"]
"""
EMPTY = """\
[meta]
description = "Task plan for this project"
"""
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Pulled:
    """`tasks`: how many of the town are in the file now; `layout_kept` is False when comments could not be kept."""

    tasks: int
    added: int
    changed: int
    layout_kept: bool


def path(town: Town) -> Path:
    """The plan's file."""
    return town.root / toml_file.NAME


def init(town: Town) -> Path:
    """Make a plan with an example. Raises Conflict when there is a file, Forbidden."""
    target = path(town)
    try:
        fd = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, MODE)
        with open(fd, "w", encoding="utf-8") as stream:
            stream.write(TEMPLATE)
    except FileExistsError as error:
        raise Conflict(f"{toml_file.NAME} exists already.", "See it with: tt plan") from error
    except OSError as error:
        raise Forbidden(f"Cannot write {target}: {error.strerror}.") from error
    return target


def load(town: Town) -> Plan:
    """The plan in the file. Raises NotFound, Forbidden, Invalid. Needs no Redis."""
    text = _text_of(path(town))
    if text is None:
        raise NotFound(f"No {toml_file.NAME} found in {town.root}.", "Make one with: tt plan --init")
    return entries.read(toml_file.parse(text))


def task_ids(town: Town, entries: Sequence[Entry]) -> dict[str, str]:
    """Plan id -> task id. The same plan id gives the same task each time, whoever pushes it.

    One that another town or version pushed (this town was restored or migrated from it) is known by its tag. An id
    that a pull wrote for a task of the town (its id, or the first eight digits of it) is that task's. Raises Conflict
    when it is that of several.
    """
    found = {entry.id: ids.derived_id(town.name, entry.id) for entry in entries}
    existing = town.store.tasks.ids(TaskState)
    known = set(existing)
    missing = {plan_id for plan_id, task_id in found.items() if task_id not in known}
    if not missing or not existing:
        return found
    short: dict[str, list[str]] = {}
    for task_id in existing:
        short.setdefault(ids.short(task_id), []).append(task_id)
    for plan_id in filter(_ID.fullmatch, missing):
        matching = [plan_id] if plan_id in known else short.get(plan_id, [])
        if len(matching) > 1:
            raise Conflict(f"{toml_file.NAME}: task id '{plan_id}' is ambiguous.", "Give the whole id.")
        if matching:
            found[plan_id] = matching[0]
    return found | _tagged(town, known - set(found.values()), missing)


def _tagged(town: Town, task_ids: Collection[str], plan_ids: Collection[str]) -> dict[str, str]:
    """Plan id -> the oldest of these tasks that was pushed with it."""
    tasks = sorted(town.store.tasks.many(list(task_ids)), key=lambda task: task.created_at, reverse=True)
    return {plan_id: task.id for task in tasks if (plan_id := task.plan_id) is not None and plan_id in plan_ids}


def pull(town: Town) -> Pulled:
    """Write the state of the town's tasks into the file: status and agent of those in it, all of the others.

    Comments, order and everything else stay; the file is replaced in one step. Raises Invalid when the file is no
    plan, Conflict when it does not stand still, Forbidden.
    """
    target = path(town)
    with locked(town.state_dir / "plan.lock"):
        for _ in range(PULL_TRIES):
            text = _text_of(target)
            new, pulled = _pulled(town, EMPTY if text is None else text)
            if new == text:
                return pulled
            if replaced(target, text, new):
                return pulled
    raise Conflict(f"{target} is being changed by somebody else.", "Try again.")


def _pulled(town: Town, text: str) -> tuple[str, Pulled]:
    document = toml_file.parse(text)
    plan = entries.read(document)
    task_id_of = task_ids(town, plan.entries)
    records = sorted(town.store.tasks.many(town.store.tasks.ids(TaskState)), key=lambda task: task.created_at)
    by_id = {task.id: task for task in records}
    names = {agent_id: name for name, agent_id in town.store.agents.names().items()}
    changes = {}
    for number, entry in enumerate(plan.entries):
        task = by_id.get(task_id_of[entry.id])
        if task is not None and (news := _news(plan, entry, task, names)):
            changes[number] = news
    plan_id_of = {task_id: plan_id for plan_id, task_id in task_id_of.items()}
    missing = [task for task in records if task.id not in plan_id_of]
    plan_id_of |= _new_ids(town, missing, by_id, set(task_id_of))
    added = [_table(plan, task, plan_id_of, names) for task in missing]
    if not changes and not added:
        return text, Pulled(len(records), 0, 0, layout_kept=True)
    new, layout_kept = toml_file.edited(document, changes, added)
    return new, Pulled(len(records), len(added), len(changes), layout_kept)


def _news(plan: Plan, entry: Entry, task: Task, names: Mapping[str, str]) -> dict[str, str]:
    news = {} if entry.status is task.state else {"status": task.state.value}
    owner = _owner(task, names)
    if owner is not None and owner != plan.agent_of(entry):
        news["agent"] = owner
    return news


def _owner(task: Task, names: Mapping[str, str]) -> str | None:
    """The name of the agent that has it, or is to have it."""
    return names.get(task.assigned_to) if task.assigned_to else task.planned_agent


def _new_ids(town: Town, missing: Iterable[Task], known: Iterable[str], taken: set[str]) -> dict[str, str]:
    """An id in the plan for each of these: the one it was pushed with, else its short id if that is enough."""
    known = set(known)
    seen: dict[str, int] = {}
    for task_id in known:
        seen[ids.short(task_id)] = seen.get(ids.short(task_id), 0) + 1
    found = {}
    for task in missing:
        own = task.plan_id
        if own is None or own in taken or _is_shadowed(town, own, task, known):
            own = ids.short(task.id)
            if seen[own] > 1 or own in taken:
                own = task.id
        found[task.id] = own
        taken.add(own)
    return found


def _is_shadowed(town: Town, plan_id: str, task: Task, known: Collection[str]) -> bool:
    """Another task is meant by this id."""
    meant = ids.derived_id(town.name, plan_id)
    return meant != task.id and meant in known


def _table(plan: Plan, task: Task, plan_id_of: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Any]:
    owner = _owner(task, names)
    waits_for = [plan_id_of[i] for i in task.depends_on or [] if i in plan_id_of]
    parent = plan_id_of.get(task.parent_id or "")
    if owner is None and plan.default_agent:
        owner = ""  # nobody, which is not what a missing agent would mean
    values = {
        "id": plan_id_of[task.id],
        "description": task.description,
        "agent": owner,
        "status": task.state.value,
        "tags": task.labels or None,
        "parent": parent,
        "depends_on": waits_for or None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _text_of(target: Path) -> str | None:
    """The file as it is, but for a byte order mark: a pull that changes it leaves that out."""
    try:
        return toml.text_of(target)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise Invalid(f"{target} is not UTF-8 text.") from error
    except OSError as error:
        raise Forbidden(f"Cannot read {target}: {error.strerror}.") from error


def replaced(target: Path, old: str | None, new: str) -> bool:
    """Write the file unless it is another than was read (an editor saved it meanwhile)."""
    where = Path(os.path.realpath(target))
    if _text_of(where) != old:
        return False
    try:
        mode = MODE if old is None else where.stat().st_mode & 0o777
        write_atomic(where, new, mode=mode)
    except OSError as error:
        raise Forbidden(f"Cannot write {where}: {error.strerror}.") from error
    return True
