"""What the end of a task means for its work item."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from tinytown import ids
from tinytown.clock import stamp
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.domain.watch import Watch, WatchKind, WatchStatus
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.missions import texts, verdicts, watching
from tinytown.missions.snapshot import MissionView
from tinytown.missions.team import Team

_NO_TASK = {"task_id": None, "assigned_to": None}


def after(
    item: WorkItem, task: Task, view: MissionView, team: Team, now: datetime
) -> tuple[WorkItem, str, Sequence[Watch]]:
    """The item after this task of it has ended, a line that says so, and watches that are new or due now."""
    at = stamp(now)
    if item.job is Job.REVIEW:
        return (*_silent(item, task, at), ())
    if task.state is not TaskState.COMPLETED:
        reason = f"its {item.job} task {task.state}: {texts.one_line(task.result or 'no reason given')[:300]}"
        remedy = f"To try again: tt mission retry {ids.short(item.id)}"
        failed = item.having(at, status=WorkStatus.BLOCKED, needs_person=True, reason=reason, remedy=remedy, **_NO_TASK)
        return failed, reason, ()
    if item.job is Job.VERIFY:
        return (*_verified(item, task, at), ())
    return _submitted(item, task, view, team, now)


def is_needless(item: WorkItem, task: Task, watches: Sequence[Watch]) -> bool:
    """A fix that nobody has begun, for a build that passes by now."""
    if item.job is not Job.FIX or task.state is not TaskState.ASSIGNED or not item.fix_keys:
        return False
    checks = [watch for watch in watches if watch.kind is WatchKind.PR_CHECKS and watch.status is not WatchStatus.DONE]
    only_checks = all(key.startswith("checks:") for key in item.fix_keys)
    return only_checks and bool(checks) and all(watch.state == watching.PASSING for watch in checks)


def _submitted(
    item: WorkItem, task: Task, view: MissionView, team: Team, now: datetime
) -> tuple[WorkItem, str, Sequence[Watch]]:
    found = _pulls(item, task, view)
    urls = list(dict.fromkeys([*item.artifact_refs, *found]))
    is_fix = item.job is Job.FIX
    author = task.assigned_to or item.assigned_to
    name = team.name_of(author)
    new = item.having(
        stamp(now), status=WorkStatus.BLOCKED, job=None, reason=None, remedy=None, result=task.result,
        author=author, authors=[*(other for other in item.authors if other != name), name], artifact_refs=urls,
        submitted_at=stamp(now), is_verified=False, reviewer_approved=False, approved_by=None, silent_reviews=0,
        rounds=item.rounds + is_fix, handled=[*item.handled, *item.fix_keys], fix_keys=[], **_NO_TASK,
    )  # fmt: skip
    text = f"{item.job} handed in by {name}" + (f": {texts.some(found)}" if found else "")
    return new, text, _watches(new, found, view, now)


def _pulls(item: WorkItem, task: Task, view: MissionView) -> list[str]:
    """Pull requests that the result names, but for those of items that are done: it speaks of what it builds on."""
    found = texts.pulls_in(task.result or "", view.run.repositories)
    others = {url for i in view.items.values() if i.status is WorkStatus.DONE for url in i.artifact_refs}
    return [url for url in found if url not in others or url in item.artifact_refs]


def _watches(item: WorkItem, found: Sequence[str], view: MissionView, now: datetime) -> list[Watch]:
    """Of new requests, and of those that were closed or unreadable and are handed in again; others are due now."""
    changed = []
    for url in item.artifact_refs:
        for fresh in watching.open_watches(item, url, view.run.policy, now):
            old = view.watches.get(fresh.id)
            if old is None or (url in found and old.status is WatchStatus.DONE and old.state != watching.MERGED):
                changed.append(fresh)
            elif old.status is not WatchStatus.DONE:
                changed.append(watching.due_soon(old, now))
    return changed


def _verified(item: WorkItem, task: Task, at: str) -> tuple[WorkItem, str]:
    try:
        told = json.loads(task.result or "")
    except ValueError:
        told = None
    if not isinstance(told, dict) or "ok" not in told:
        told = {"ok": False, "command": "the verification", "exit": None, "output": task.result or ""}
    if told["ok"] is True:
        new = item.having(
            at, status=WorkStatus.BLOCKED, job=None, reason=None, remedy=None, is_verified=True, **_NO_TASK
        )
        return new, "verified"
    ended = f"exit code {told.get('exit')}" if told.get("exit") is not None else "no exit code"
    reason = f"`{told.get('command')}` failed ({ended}):\n\n{told.get('output') or ''}"
    return verdicts.rejected(item, reason, at), f"`{told.get('command')}` failed ({ended})"


def _silent(item: WorkItem, task: Task, at: str) -> tuple[WorkItem, str]:
    """A review that ended without a verdict: it is asked for again, up to a limit that its gate knows."""
    text = "the review ended without a verdict" if task.state is TaskState.COMPLETED else f"the review {task.state}"
    count = item.silent_reviews + 1
    return item.having(
        at, status=WorkStatus.BLOCKED, job=None, reason=None, remedy=None, silent_reviews=count, **_NO_TASK
    ), text
