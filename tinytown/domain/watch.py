"""The watch: something outside the town that a work item waits for, looked at again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import NoneType
from typing import Any, ClassVar, Self

from tinytown.domain.record import Record


class WatchKind(StrEnum):
    """What is watched: four sides of a pull request, and an issue outside the mission."""

    PR_CHECKS = "pr_checks"
    BUGBOT_COMMENTS = "bugbot_comments"
    REVIEW_COMMENTS = "review_comments"
    MERGEABILITY = "mergeability"
    ISSUE_CLOSED = "issue_closed"


OF_PULL_REQUEST = (
    WatchKind.PR_CHECKS,
    WatchKind.REVIEW_COMMENTS,
    WatchKind.BUGBOT_COMMENTS,
    WatchKind.MERGEABILITY,
)


class WatchStatus(StrEnum):
    """Snoozed: it has found something, and a fix is under way. Done: never looked at again."""

    ACTIVE = "active"
    SNOOZED = "snoozed"
    DONE = "done"


class Trigger(StrEnum):
    """What follows when it finds something."""

    CREATE_FIX_TASK = "create_fix_task"
    ADVANCE_PIPELINE = "advance_pipeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Record):
    """A watch's record. Times as records hold them; `interval_secs` in seconds.

    `target_ref`: URL of a pull request, or `owner/repo#N` of an issue. `state` is the last answer in a word (those of
    `missions/watching.py`), `text` in a line for people. `key` names what was found (the same red build has the same
    key), `report` is the text that a fix task carries. `head` is the commit that was looked at.
    """

    KINDS: ClassVar[dict[str, tuple[type, ...]]] = (
        dict.fromkeys(("id", "mission_id", "work_item_id", "target_ref", "next_due_at"), (str,))
        | dict.fromkeys(("last_check_at", "state", "text", "key", "report", "head"), (str, NoneType))
        | dict.fromkeys(("interval_secs", "consecutive_failures"), (int,))
        | {"kind": (str, WatchKind), "status": (str, WatchStatus), "on_trigger": (str, Trigger)}
    )

    id: str
    mission_id: str
    work_item_id: str
    kind: WatchKind
    target_ref: str
    next_due_at: str
    interval_secs: int = 180
    status: WatchStatus = WatchStatus.ACTIVE
    on_trigger: Trigger = Trigger.CREATE_FIX_TASK
    last_check_at: str | None = None
    consecutive_failures: int = 0
    state: str | None = None
    text: str | None = None
    key: str | None = None
    report: str | None = None
    head: str | None = None

    @classmethod
    def convert(cls, picked: dict[str, Any]) -> dict[str, Any]:
        """Type kind, status and trigger."""
        for name, kind in (("kind", WatchKind), ("status", WatchStatus), ("on_trigger", Trigger)):
            if name in picked:
                picked[name] = kind(picked[name])
        return picked

    def having(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return replace(self, **changes)
