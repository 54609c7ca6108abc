"""What a person or a reviewer says of a work item: the record as it was in, as it becomes out; Conflict if not."""

from __future__ import annotations

from tinytown import ids
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.errors import Conflict

REASON_CHARS = 4_000
_AT_GATES = {"job": None, "task_id": None, "assigned_to": None, "reason": None, "remedy": None, "needs_person": False}


def approved(item: WorkItem, by: str, at: str) -> WorkItem:
    """Its last submission is approved; rejections before it are settled. Raises Conflict.

    Fixes are counted on, but for an item that a person was asked about.
    """
    _expect_submitted(item)
    settled = [f"reject:{len(item.rejections)}"] if item.rejections else []
    return item.having(
        at, status=WorkStatus.BLOCKED, reviewer_approved=True, approved_by=by, silent_reviews=0, rounds=_rounds(item),
        handled=list(dict.fromkeys([*item.handled, *settled])), fix_keys=[], **_AT_GATES,
    )  # fmt: skip


def rejected(item: WorkItem, reason: str, at: str) -> WorkItem:
    """Back to its author with the reason: the scheduler makes the fix. Raises Conflict. Rounds as for `approved`."""
    _expect_submitted(item)
    return item.having(
        at, status=WorkStatus.BLOCKED, is_verified=False, reviewer_approved=False, approved_by=None, silent_reviews=0,
        rounds=_rounds(item), rejections=[*item.rejections, reason[:REASON_CHARS]], fix_keys=[], **_AT_GATES,
    )  # fmt: skip


def retried(item: WorkItem, at: str, *, is_closed: bool = False) -> WorkItem:
    """Another try, with fresh rounds, of one that needs a person or was cancelled. Raises Conflict.

    One that was handed in goes on at its gates, and what is still wrong gets a new fix (a rejection or comment that a
    fix was handed in for is not); with `is_closed` (its pull requests were closed or cannot be read) it starts from
    the beginning.
    """
    if not item.needs_person and item.status is not WorkStatus.CANCELLED:
        raise Conflict(f"Item {ids.short(item.id)} is {item.status}; it goes on by itself.")
    goes_on = item.is_submitted and not is_closed and item.status is not WorkStatus.CANCELLED
    settled = ("comment:", "bot:", "reject:") if goes_on else ("comment:", "bot:")
    kept = [key for key in item.handled if key.startswith(settled)]
    fresh = {"rounds": 0, "silent_reviews": 0, "handled": kept, "fix_keys": [], "ended_at": None, **_AT_GATES}
    if goes_on:
        return item.having(at, **fresh)
    return item.having(
        at, status=WorkStatus.PENDING, author=None, artifact_refs=[], is_verified=False, reviewer_approved=False,
        approved_by=None, rejections=[], result=None, submitted_at=None, **fresh,
    )  # fmt: skip


def cancelled(item: WorkItem, at: str) -> WorkItem:
    """Nobody works on it any more. Raises Conflict."""
    if item.status.is_terminal:
        raise Conflict(f"Item {ids.short(item.id)} is {item.status} already.")
    return item.having(at, status=WorkStatus.CANCELLED, ended_at=at, fix_keys=[], **_AT_GATES)


def _rounds(item: WorkItem) -> int:
    return 0 if item.needs_person else item.rounds


def _expect_submitted(item: WorkItem) -> None:
    if item.status.is_terminal:
        raise Conflict(f"Item {ids.short(item.id)} is {item.status} already.")
    if not item.is_submitted:
        raise Conflict(f"Item {ids.short(item.id)} was not handed in yet: it is {item.status}.")
