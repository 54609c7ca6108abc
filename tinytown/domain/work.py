"""The work item: one node of a mission's graph, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import NoneType
from typing import Any, ClassVar, Self

from tinytown.domain.record import Record
from tinytown.errors import IllegalTransition


class WorkKind(StrEnum):
    """What sort of work it is."""

    DESIGN = "design"
    IMPLEMENT = "implement"
    TEST = "test"
    REVIEW = "review"
    MERGEGATE = "mergegate"
    FOLLOWUP = "followup"


class WorkStatus(StrEnum):
    """Where a work item stands. Blocked: submitted and before a gate, or in need of a person; `reason` says which."""

    PENDING = "pending"
    READY = "ready"
    ASSIGNED = "assigned"
    RUNNING = "running"
    BLOCKED = "blocked"
    DONE = "done"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Nothing more happens to it by itself."""
        return self in _ENDED

    @property
    def has_task(self) -> bool:
        """A task of it is open, at an agent."""
        return self in _AT_WORK


class Job(StrEnum):
    """What a task of a work item is for."""

    WORK = "work"
    FIX = "fix"
    VERIFY = "verify"
    REVIEW = "review"


_ENDED = frozenset({WorkStatus.DONE, WorkStatus.CANCELLED})
_AT_WORK = frozenset({WorkStatus.ASSIGNED, WorkStatus.RUNNING})
_ANY_TIME = frozenset({WorkStatus.CANCELLED, WorkStatus.BLOCKED, WorkStatus.READY})
TRANSITIONS: dict[WorkStatus, frozenset[WorkStatus]] = {
    WorkStatus.PENDING: _ANY_TIME,
    WorkStatus.READY: _ANY_TIME | {WorkStatus.ASSIGNED, WorkStatus.PENDING},
    WorkStatus.ASSIGNED: _ANY_TIME | {WorkStatus.RUNNING, WorkStatus.DONE},
    WorkStatus.RUNNING: _ANY_TIME | {WorkStatus.ASSIGNED, WorkStatus.DONE},
    WorkStatus.BLOCKED: _ANY_TIME | {WorkStatus.ASSIGNED, WorkStatus.PENDING, WorkStatus.DONE},
    WorkStatus.DONE: frozenset(),
    WorkStatus.CANCELLED: frozenset({WorkStatus.PENDING}),  # by `tt mission retry`
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem(Record):
    """A work item's record.

    What it is: `number` (its place in the mission, from 1), `title`, `body` (all of the issue's or document's text),
    `kind`, `source_ref` (`owner/repo#23` or `path` or `path#heading`), `depends_on` (ids of items), `outside`
    (issues outside the mission that it waits for, `owner/repo#N`), `owner_role` (`is_role_strict`: nobody but that
    role or an agent without one), `priority` (higher first), `verify` (commands).

    How far it is: `status`; `reason` and `remedy` (why it is not running, and what would help; `needs_person`: nobody
    but a person; with a `job`: a task for that job failed, and it stays so until a person says otherwise); `job` and
    `task_id` of the one open task, at agent `assigned_to`; `tries` counts its tasks. Each end of a work or fix task is
    a submission: `result`, its `author` (agent id; all of them in `authors`, by name), `artifact_refs` (URLs of its
    pull requests), `submitted_at`. `is_verified` and `reviewer_approved` are of the last submission and go with the
    next; `approved_by` says who. `rounds` counts fixes since a person last looked, `handled` what they were made for,
    `fix_keys` what the present one is made for, `rejections` the reasons of reviews and verifications, newest last,
    `silent_reviews` review tasks that ended without a verdict.
    """

    KINDS: ClassVar[dict[str, tuple[type, ...]]] = (
        dict.fromkeys(("id", "mission_id", "title", "body", "source_ref", "created_at", "updated_at"), (str,))
        | dict.fromkeys(("source_url", "owner_role", "assigned_to", "author", "task_id"), (str, NoneType))
        | dict.fromkeys(("reason", "remedy", "result", "approved_by", "submitted_at", "ended_at"), (str, NoneType))
        | dict.fromkeys(("number", "priority", "tries", "rounds", "silent_reviews"), (int,))
        | dict.fromkeys(("is_role_strict", "needs_person", "is_verified", "reviewer_approved"), (bool,))
        | dict.fromkeys(("depends_on", "outside", "verify", "authors", "artifact_refs", "handled", "fix_keys"), (list,))
        | {"rejections": (list,), "kind": (str, WorkKind), "status": (str, WorkStatus), "job": (str, Job, NoneType)}
    )

    id: str
    mission_id: str
    number: int
    title: str
    source_ref: str
    created_at: str
    updated_at: str
    body: str = ""
    kind: WorkKind = WorkKind.IMPLEMENT
    source_url: str | None = None
    depends_on: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    owner_role: str | None = None
    is_role_strict: bool = False
    priority: int = 0
    verify: list[str] = field(default_factory=list)
    status: WorkStatus = WorkStatus.PENDING
    reason: str | None = None
    remedy: str | None = None
    needs_person: bool = False
    job: Job | None = None
    task_id: str | None = None
    assigned_to: str | None = None
    tries: int = 0
    result: str | None = None
    submitted_at: str | None = None
    author: str | None = None
    authors: list[str] = field(default_factory=list)
    artifact_refs: list[str] = field(default_factory=list)
    is_verified: bool = False
    reviewer_approved: bool = False
    approved_by: str | None = None
    rounds: int = 0
    rejections: list[str] = field(default_factory=list)
    handled: list[str] = field(default_factory=list)
    fix_keys: list[str] = field(default_factory=list)
    silent_reviews: int = 0
    ended_at: str | None = None

    @classmethod
    def convert(cls, picked: dict[str, Any]) -> dict[str, Any]:
        """Type kind, status and job."""
        for name, kind in (("kind", WorkKind), ("status", WorkStatus), ("job", Job)):
            if picked.get(name) is not None:
                picked[name] = kind(picked[name])
        return picked

    @property
    def is_submitted(self) -> bool:
        """Its work was reported done at least once, and what is left are gates and fixes."""
        return self.author is not None

    def having(self, at: str, **changes: Any) -> Self:
        """A copy with these fields changed at this time. Raises IllegalTransition."""
        new = changes.get("status", self.status)
        if new is not self.status and new not in TRANSITIONS[self.status]:
            raise IllegalTransition(f"A work item that is {self.status} cannot become {new}.")
        return replace(self, updated_at=at, **changes)
