"""What a person or a reviewer says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.missions.builders import URL, an_item, at, handed_in, with_task
from tinytown.domain.mission import Policy
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.errors import Conflict
from tinytown.missions import gates, verdicts
from tinytown.missions.gates import Needs

ITEM = with_task(handed_in(1), Job.REVIEW, "eve")
PERSON = handed_in(1, URL, needs_person=True, reason="r", remedy="m", rounds=5, silent_reviews=2)


def test_an_approval_counts_for_the_submission_and_ends_the_review() -> None:
    """An approval counts for the submission and ends the review."""
    new = verdicts.approved(ITEM, "eve", at())
    assert (new.reviewer_approved, new.approved_by, new.status) == (True, "eve", WorkStatus.BLOCKED)
    assert (new.job, new.task_id, new.assigned_to) == (None, None, None)


def test_an_approval_settles_the_rejection_before_it() -> None:
    """An approval settles the rejection before it."""
    new = verdicts.approved(replace(ITEM, rejections=["no"]), "user", at())
    assert new.handled == ["reject:1"]


def test_an_approval_is_no_new_start_of_counting() -> None:
    """Else a flaky build and a content reviewer would send it round for ever."""
    assert verdicts.approved(replace(ITEM, rounds=3), "eve", at()).rounds == 3


@pytest.mark.parametrize("verdict", [verdicts.approved, verdicts.rejected])
def test_a_verdict_that_a_person_was_asked_for_is_one(verdict: Callable[..., WorkItem]) -> None:
    """Else a rejection with reasons would make no fix."""
    new = verdict(PERSON, "why", at())
    assert (new.rounds, new.needs_person) == (0, False)


def test_a_rejection_takes_approval_and_verification_with_it() -> None:
    """A rejection takes approval and verification with it."""
    new = verdicts.rejected(replace(ITEM, is_verified=True, reviewer_approved=True), "no tests", at())
    assert (new.is_verified, new.reviewer_approved, new.rejections) == (False, False, ["no tests"])


@pytest.mark.parametrize("verdict", [verdicts.approved, verdicts.rejected])
def test_there_is_no_verdict_on_nothing(verdict: Callable[..., WorkItem]) -> None:
    """There is no verdict on nothing."""
    with pytest.raises(Conflict):
        verdict(an_item(1), "eve", at())
    with pytest.raises(Conflict):
        verdict(replace(ITEM, status=WorkStatus.DONE), "eve", at())


def test_a_retry_goes_on_at_the_gates_with_fresh_rounds() -> None:
    """A retry goes on at the gates with fresh rounds."""
    new = verdicts.retried(PERSON, at())
    assert (new.status, new.rounds, new.silent_reviews, new.needs_person) == (WorkStatus.BLOCKED, 0, 0, False)
    assert new.artifact_refs == [URL]


def test_a_retry_fixes_again_what_is_still_wrong_but_not_what_was_settled() -> None:
    """A retry fixes again what is still wrong but not what was settled."""
    handled = ["comment:c1", "bot:b1", "reject:1", "checks:sha:1", "conflict:sha", "review:r1"]
    new = verdicts.retried(replace(PERSON, handled=handled, rejections=["old"]), at())
    assert new.handled == ["comment:c1", "bot:b1", "reject:1"]
    gate = gates.judge(replace(new, artifact_refs=[]), [], Policy())
    assert isinstance(gate, Needs)
    assert gate.job is Job.REVIEW, "the rejection was fixed: what is left is the review"


@pytest.mark.parametrize(
    ("item", "is_closed"), [(PERSON, True), (replace(PERSON, status=WorkStatus.CANCELLED, needs_person=False), False)]
)
def test_a_closed_or_cancelled_one_starts_from_the_beginning(item: WorkItem, *, is_closed: bool) -> None:
    """A closed or cancelled one starts from the beginning."""
    before = replace(item, rejections=["old"], handled=["reject:1"], is_verified=True, reviewer_approved=True)
    new = verdicts.retried(before, at(), is_closed=is_closed)
    assert (new.status, new.author, new.artifact_refs, new.rejections) == (WorkStatus.PENDING, None, [], [])
    assert not new.is_verified
    assert not new.reviewer_approved
    assert "reject:1" not in new.handled, "the first rejection of the new work is a new one"
    assert new.tries == before.tries, "its next task is a new one"
    assert new.authors == before.authors, "and they do not review it"


def test_only_what_stands_still_is_retried() -> None:
    """Only what stands still is retried."""
    with pytest.raises(Conflict):
        verdicts.retried(ITEM, at())


def test_cancelled_is_ended() -> None:
    """Cancelled is ended."""
    new = verdicts.cancelled(ITEM, at())
    assert (new.status, new.task_id, new.ended_at) == (WorkStatus.CANCELLED, None, at())
    with pytest.raises(Conflict):
        verdicts.cancelled(new, at())
