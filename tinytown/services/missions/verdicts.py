"""Verdicts on what was handed in: approve and reject. Nothing else counts as one, neither silence nor prose."""

from __future__ import annotations

from dataclasses import replace

from tinytown import clock
from tinytown.domain.states import TaskState
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.errors import Conflict, Forbidden, Invalid
from tinytown.missions.verdicts import approved, rejected
from tinytown.services.caller import Caller
from tinytown.services.missions import finding, steps
from tinytown.services.missions.control import name_of, standing, store_item
from tinytown.services.missions.finding import Found
from tinytown.services.settlement import finish_task
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change


def approve(town: Town, reference: str, caller: Caller, *, run: str | None = None, reason: str = "") -> WorkItem:
    """Let what was handed in pass the review; the other gates stay as they are.

    A person overrules a rejection that no fix was handed in for. Raises NotFound, Invalid, Forbidden (its author),
    Conflict (nothing was handed in, it is being fixed, it was approved already, it has ended).
    """
    town.ensure_redis()
    name = name_of(town, caller)
    said = f"approved by {name}" + (f": {steps.storable(reason)}" if reason.strip() else "")

    def build(tx: Transaction) -> WorkItem:
        found = finding.item(town, reference, run)
        item = found.item
        _check(found, caller, name)
        if item.reviewer_approved and _last_rejection(item) is None:
            raise Conflict(f"{item.source_ref} was approved already by {item.approved_by}.", found.hint)
        at = clock.stamp()
        if item.job is Job.VERIFY and item.task_id is not None:  # which goes on
            new = replace(item, updated_at=at, reviewer_approved=True, approved_by=name)
        else:
            _end_review(town, tx, item, caller, said)
            new = approved(item, name, at)
        store_item(tx, found, new, "work_item_approved", said)
        return new

    return change(town.store, build)


def reject(town: Town, reference: str, reason: str, caller: Caller, *, run: str | None = None) -> WorkItem:
    """Send what was handed in back to its author with the reason: the scheduler makes a fix task of it.

    Raises as `approve`.
    """
    why = steps.storable(reason)
    if not why:
        raise Invalid("A rejection needs a reason.", "Say what must change: --reason '...'")
    town.ensure_redis()
    name = name_of(town, caller)

    def build(tx: Transaction) -> WorkItem:
        found = finding.item(town, reference, run)
        item = found.item
        _check(found, caller, name)
        said = f"rejected by {name}: {why}"
        _end_review(town, tx, item, caller, said)
        all_of_it = why
        if _last_rejection(item) is not None:  # which no fix was given for: one fix for both
            all_of_it = f"{item.rejections[-1]}\n\n{why}"
            item = replace(item, rejections=item.rejections[:-1])
        new = rejected(item, all_of_it, clock.stamp())
        store_item(tx, found, new, "work_item_rejected", said)
        return new

    return change(town.store, build)


def _check(found: Found, caller: Caller, name: str) -> None:
    """Raise Forbidden for the author, Conflict where there is nothing to give a verdict on."""
    run, item = found.file.run, found.item
    finding.check_open(run)
    if item.status.is_terminal:
        raise Conflict(f"{item.source_ref} {standing(item)} already.", found.hint)
    if not item.is_submitted:
        raise Conflict(f"Nothing was handed in yet for {item.source_ref}: it {standing(item)}.", found.hint)
    if caller.is_model and (caller.id == item.author or name in item.authors):
        raise Forbidden(
            f"{item.source_ref} is the work of '{name}', and nobody reviews their own.",
            "Another agent or a person gives the verdict; say what you did in the task's result.",
        )
    if item.task_id is not None and item.job in {Job.WORK, Job.FIX}:
        raise Conflict(
            f"{item.source_ref} is being worked on again; what is handed in next is reviewed anew.", found.hint
        )
    if caller.is_model and item.job is not Job.REVIEW and not _waits_for_verdict(item):
        raise Conflict(f"{item.source_ref} does not wait for a review: it {standing(item)}.", found.hint)


def _waits_for_verdict(item: WorkItem) -> bool:
    is_idle = item.status is WorkStatus.BLOCKED and item.job is None
    return is_idle and not item.reviewer_approved and _last_rejection(item) is None


def _last_rejection(item: WorkItem) -> str | None:
    """The key of the last rejection while no fix was handed in for it."""
    key = f"reject:{len(item.rejections)}"
    return key if item.rejections and key not in item.handled else None


def _end_review(town: Town, tx: Transaction, item: WorkItem, caller: Caller, said: str) -> None:
    """The open task of the item is over: completed if it is the caller's own review, else nobody needs it any more."""
    if item.task_id is None:
        return
    raw = town.store.tasks.raws([item.task_id])[0]
    task = read_task(raw, item.task_id)
    is_own = caller.is_model and task is not None and task.assigned_to == caller.id
    if is_own and raw is not None and task is not None and not task.state.is_terminal:
        finish_task(town, tx, raw, task, TaskState.COMPLETED, said, caller.run)
    else:
        steps.cancel_task(town, tx, item.task_id, said)
