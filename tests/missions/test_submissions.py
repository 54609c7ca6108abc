"""What the end of a task means for its item."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.missions.builders import (
    NOW,
    OTHER_URL,
    URL,
    a_pull,
    a_run,
    a_task,
    a_view,
    after,
    an_item,
    at,
    handed_in,
    watched,
    with_task,
    worker,
)  # fmt: skip
from tinytown.domain.states import TaskState
from tinytown.domain.watch import Watch, WatchStatus
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.missions import submissions
from tinytown.missions.snapshot import Snapshot
from tinytown.missions.team import Team

AGENTS = (worker("ann"), worker("eve"))
AT_WORK = with_task(an_item(1), Job.WORK)
FIXING = replace(with_task(handed_in(1, URL), Job.FIX), fix_keys=["checks:sha1:1"], handled=["reject:1"])


def ended(
    item: WorkItem, result: str = "", state: TaskState = TaskState.COMPLETED, others: tuple[WorkItem, ...] = (),
    watches: tuple[Watch, ...] = (),
) -> tuple[WorkItem, str, list[Watch]]:  # fmt: skip
    view = a_view(a_run(), item, *others, watches=watches)
    new, text, changed = submissions.after(
        item, a_task(item, state, result), view, Team(Snapshot([view], agents=AGENTS)), after(500)
    )
    return new, text, list(changed)


def test_the_end_of_work_is_a_submission_by_its_author() -> None:
    """The end of work is a submission by its author."""
    new, text, watches = ended(AT_WORK, "made it")
    assert (new.status, new.result, new.author, new.authors) == (WorkStatus.BLOCKED, "made it", "id-ann", ["ann"])
    assert (new.submitted_at, new.task_id, new.job, new.rounds) == (at(500), None, None, 0)
    assert (text, watches) == ("work handed in by ann", [])


def test_a_submission_takes_approval_and_verification_of_the_one_before() -> None:
    """A submission takes approval and verification of the one before."""
    new, _text, _watches = ended(replace(FIXING, is_verified=True, reviewer_approved=True, silent_reviews=2))
    assert (new.is_verified, new.reviewer_approved, new.silent_reviews) == (False, False, 0)


def test_a_pull_request_is_watched_from_four_sides_and_looked_at_at_once() -> None:
    """A pull request is watched from four sides and looked at at once."""
    new, _text, watches = ended(AT_WORK, f"see {URL}, like o/r#3")
    assert new.artifact_refs == [URL]
    assert [w.next_due_at for w in watches] == [at(500)] * 4


def test_a_fix_counts_and_is_handled_and_what_was_found_is_looked_at_anew() -> None:
    """A fix counts and is handled and what was found is looked at anew."""
    old = watched(FIXING, a_pull(checks=()))
    new, _text, watches = ended(FIXING, "fixed", watches=tuple(old))
    assert (new.rounds, new.handled, new.fix_keys) == (1, ["reject:1", "checks:sha1:1"], [])
    assert {(w.id, w.next_due_at, w.state) for w in watches} == {(w.id, at(500), None) for w in old}


def test_whoever_handed_in_last_is_the_last_of_the_authors() -> None:
    """Whoever handed in last is the last of the authors."""
    item = replace(with_task(handed_in(1, author="id-eve", authors=["ann", "eve"]), Job.FIX))
    assert ended(item)[0].authors == ["eve", "ann"]


def test_a_pull_request_of_an_item_that_is_done_is_not_this_one_s() -> None:
    """Else its merge would let this one pass all its gates."""
    before = handed_in(2, URL, status=WorkStatus.DONE)
    assert ended(AT_WORK, f"builds on {URL}", others=(before,))[0].artifact_refs == []
    assert ended(AT_WORK, f"builds on {URL}: {OTHER_URL}", others=(before,))[0].artifact_refs == [OTHER_URL]


@pytest.mark.parametrize(("state", "is_again"), [("closed", True), ("unreadable", True), ("merged", False)])
def test_a_closed_one_that_is_handed_in_again_is_watched_again(state: str, *, is_again: bool) -> None:
    """A closed one that is handed in again is watched again."""
    old = tuple(w.having(status=WatchStatus.DONE, state=state) for w in watched(FIXING))
    assert bool(ended(FIXING, f"reopened {URL}", watches=old)[2]) is is_again
    assert ended(FIXING, "nothing to add", watches=old)[2] == []


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELLED])
@pytest.mark.parametrize("job", [Job.WORK, Job.FIX, Job.VERIFY])
def test_a_task_that_did_not_complete_is_for_a_person_who_is_told_how_to_go_on(state: TaskState, job: Job) -> None:
    """A task that did not complete is for a person who is told how to go on."""
    new, text, _watches = ended(with_task(handed_in(1), job), "out of tokens", state)
    assert (new.status, new.needs_person, new.task_id, new.author) == (WorkStatus.BLOCKED, True, None, "id-ann")
    assert "out of tokens" in text
    assert "tt mission retry" in (new.remedy or "")


# Verifications and reviews


def verified(result: str) -> WorkItem:
    return ended(with_task(handed_in(1, verify=["make"]), Job.VERIFY), result)[0]


def test_claimed_and_verified_are_two_states() -> None:
    """Claimed and verified are two states."""
    assert not ended(replace(AT_WORK, verify=["make"]), "all tests pass")[0].is_verified
    assert verified(json.dumps({"ok": True})).is_verified


@pytest.mark.parametrize("said", ['{"ok": false, "command": "make", "exit": 2, "output": "Error 1"}', "", "yes", "[]"])
def test_a_failed_verification_goes_back_like_a_rejection(said: str) -> None:
    """A failed verification goes back like a rejection."""
    new = verified(said)
    assert not new.is_verified
    assert len(new.rejections) == 1
    assert "failed" in new.rejections[0]


def test_the_reason_holds_command_exit_code_and_output() -> None:
    """The reason holds command exit code and output."""
    reason = verified('{"ok": false, "command": "make", "exit": 2, "output": "Error 1"}').rejections[0]
    assert all(part in reason for part in ("make", "exit code 2", "Error 1"))


@pytest.mark.parametrize("said", ["looks good, approved", "rejected: no tests", "", "LGTM"])
def test_silence_and_prose_are_no_verdict(said: str) -> None:
    """Silence and prose are no verdict."""
    new, text, _watches = ended(with_task(handed_in(1), Job.REVIEW, "eve"), said)
    assert (new.reviewer_approved, new.rejections, new.silent_reviews) == (False, [], 1)
    assert "without a verdict" in text
    assert new.author == "id-ann", "a review does not make the reviewer the author"


def test_a_fix_that_nobody_has_begun_is_needless_when_the_build_passes_by_itself() -> None:
    """A fix that nobody has begun is needless when the build passes by itself."""
    green, red = watched(FIXING), watched(FIXING, a_pull(checks=()))
    begun = a_task(FIXING, TaskState.RUNNING)
    assert submissions.is_needless(FIXING, a_task(FIXING), green)
    assert not submissions.is_needless(FIXING, a_task(FIXING), red)
    assert not submissions.is_needless(FIXING, begun, green)
    assert not submissions.is_needless(replace(FIXING, fix_keys=["reject:2"]), a_task(FIXING), green)
    assert not submissions.is_needless(FIXING, a_task(FIXING), []), NOW
