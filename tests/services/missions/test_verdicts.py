"""Approve and reject: who may, what of, and what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.services.missions.test_control import refuses
from tests.support import invariants
from tests.support.builders import make_item, make_mission
from tests.support.missions import item_now, put_mission
from tests.support.town import claim_all, events, give_task, register, task_now, texts
from tinytown.domain.agent import Agent
from tinytown.domain.states import TaskState
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.errors import Conflict, Forbidden, Invalid
from tinytown.services.caller import Caller
from tinytown.services.missions import verdicts
from tinytown.town import Town

PERSON = Caller()


def of(agent: Agent) -> Caller:
    """The agent's model, in a round."""
    return Caller(agent.id, f"{agent.id}:1:1")


def handed_in(town: Town, author: Agent, **fields: Any) -> WorkItem:
    """An item of a mission of its own, whose work was handed in by this agent and that waits for its gates."""
    run = make_mission()
    given = {"status": WorkStatus.BLOCKED, "author": author.id, "authors": [author.name], "result": "built it"}
    item = make_item(run, **{**given, **fields})
    put_mission(town, run, item)
    return item


def under_review(town: Town, author: Agent, reviewer: Agent) -> WorkItem:
    """As `handed_in`, with a review at this agent whose round has begun."""
    task, _message = give_task(town, reviewer)
    claim_all(town, reviewer)
    return handed_in(town, author, status=WorkStatus.RUNNING, job=Job.REVIEW, task_id=task.id, assigned_to=reviewer.id)


@pytest.fixture
def author(town: Town) -> Agent:
    return register(town, "backend")


@pytest.fixture
def reviewer(town: Town) -> Agent:
    return register(town, "reviewer", role_id="reviewer")


def test_a_reviewer_approves(town: Town, author: Agent, reviewer: Agent) -> None:
    """Its own review task is completed by that, in the same step; the item goes on to its other gates."""
    item = under_review(town, author, reviewer)

    new = verdicts.approve(town, item.id[:8], of(reviewer), reason="reads well")

    assert new == item_now(town, item)
    assert (new.reviewer_approved, new.approved_by, new.status) == (True, "reviewer", WorkStatus.BLOCKED)
    assert (new.job, new.task_id, new.assigned_to) == (None, None, None)
    task = task_now(town, item.task_id or "")
    assert (task.state, task.ended_by) == (TaskState.COMPLETED, of(reviewer).run)
    assert task.result == "approved by reviewer: reads well"
    (event,) = events(town, "work_item_approved")
    assert (event["work_item_id"], event["old_state"], event["new_state"]) == (item.id, "running", "blocked")
    refuses(town, lambda: verdicts.approve(town, item.id, PERSON), Conflict, "approved already by reviewer")
    invariants.check(town, settled=False)


def test_a_reviewer_rejects(town: Town, author: Agent, reviewer: Agent) -> None:
    """The whole reason is kept for the fix, which the scheduler gives; no fix was given yet."""
    item = under_review(town, author, reviewer)
    reason = "The token is never checked.\n" * 50

    new = verdicts.reject(town, item.id, reason, of(reviewer))

    assert (new.rejections, new.handled, new.reviewer_approved) == ([reason.strip()], [], False)
    assert (new.status, new.job, new.task_id) == (WorkStatus.BLOCKED, None, None)
    assert task_now(town, item.task_id or "").state is TaskState.COMPLETED
    assert events(town, "work_item_rejected")[0]["message"].startswith("acme/web#1: rejected by reviewer: The token")
    refuses(town, lambda: verdicts.approve(town, item.id, of(reviewer)), Conflict, "does not wait for a review")
    invariants.check(town, settled=False)


def test_nobody_reviews_their_own_work(town: Town, author: Agent) -> None:
    """Neither who handed it in last, nor who did before, nor who took over the name."""
    item = handed_in(town, author)
    said = ("'backend'", "nobody reviews")
    refuses(town, lambda: verdicts.approve(town, item.id, of(author)), Forbidden, *said)
    refuses(town, lambda: verdicts.reject(town, item.id, "why", of(author)), Forbidden, *said)
    former = handed_in(town, register(town, "other"), authors=["backend", "other"])
    refuses(town, lambda: verdicts.approve(town, former.id, of(author)), Forbidden)


def test_a_person_may_approve_whatever_was_handed_in(town: Town, author: Agent, reviewer: Agent) -> None:
    """A review that is under way is not needed any more, nor is the person who was asked for."""
    item = under_review(town, author, reviewer)
    assert verdicts.approve(town, item.id, PERSON).approved_by == "user"
    assert task_now(town, item.task_id or "").state is TaskState.CANCELLED

    asked = handed_in(town, author, needs_person=True, silent_reviews=3, rounds=5, reason="silence")
    new = verdicts.approve(town, asked.id, PERSON)
    assert (new.needs_person, new.rounds, new.silent_reviews, new.reason) == (False, 0, 0, None)
    invariants.check(town, settled=False)


def test_a_person_overrules_a_rejection(town: Town, author: Agent) -> None:
    """While no fix was given, the approval settles it."""
    item = handed_in(town, author, rejections=["no"])
    new = verdicts.approve(town, item.id, PERSON)
    assert (new.reviewer_approved, new.handled) == (True, ["reject:1"])


def test_an_approval_can_be_taken_back(town: Town, author: Agent) -> None:
    """By a rejection, as long as the item is not done."""
    item = handed_in(town, author, reviewer_approved=True, approved_by="reviewer", is_verified=True)
    new = verdicts.reject(town, item.id, "on second thoughts", PERSON)
    assert (new.reviewer_approved, new.approved_by, new.is_verified) == (False, None, False)


def test_two_rejections_make_one_fix(town: Town, author: Agent) -> None:
    """With both reasons, when no fix was given in between; else the new one counts."""
    item = handed_in(town, author)
    verdicts.reject(town, item.id, "first", PERSON)
    assert verdicts.reject(town, item.id, "second", PERSON).rejections == ["first\n\nsecond"]
    other = handed_in(town, author, rejections=["first"], handled=["reject:1"])
    assert verdicts.reject(town, other.id, "second", PERSON).rejections == ["first", "second"]


def test_a_verification_goes_on_beside_an_approval(town: Town, author: Agent) -> None:
    """The person has looked, the commands have not run yet: both count. A rejection makes it needless."""
    task, _message = give_task(town, author)
    at_it = {"status": WorkStatus.ASSIGNED, "job": Job.VERIFY, "task_id": task.id, "assigned_to": author.id}
    item = handed_in(town, author, verify=["true"], **at_it)
    new = verdicts.approve(town, item.id, PERSON)
    assert new == replace(item, reviewer_approved=True, approved_by="user", updated_at=new.updated_at)
    other = of(register(town, "other"))
    refuses(town, lambda: verdicts.approve(town, item.id, other), Conflict, "does not wait for a review")

    assert verdicts.reject(town, item.id, "no", PERSON).status is WorkStatus.BLOCKED
    assert task_now(town, task.id).state is TaskState.CANCELLED
    invariants.check(town, settled=False)


@pytest.mark.parametrize("job", [Job.WORK, Job.FIX])
def test_what_is_being_worked_on_again_gets_no_verdict(town: Town, author: Agent, job: Job) -> None:
    """What is handed in next is reviewed anew."""
    task, _message = give_task(town, author)
    item = handed_in(
        town, author, status=WorkStatus.ASSIGNED, job=job, task_id=task.id, assigned_to=author.id, rejections=["no"]
    )
    refuses(town, lambda: verdicts.approve(town, item.id, PERSON), Conflict, "worked on again", "reviewed anew")
    refuses(town, lambda: verdicts.reject(town, item.id, "no", PERSON), Conflict, "worked on again")


def test_nothing_was_handed_in(town: Town, author: Agent, reviewer: Agent) -> None:
    """Or it is over: there is nothing to give a verdict on, and a rejection says why."""
    run = make_mission()
    fresh = make_item(run, status=WorkStatus.READY)
    put_mission(town, run, fresh)
    refuses(town, lambda: verdicts.approve(town, fresh.id, PERSON), Conflict, "Nothing was handed in", "is ready")
    done, gone = (handed_in(town, author, status=status) for status in (WorkStatus.DONE, WorkStatus.CANCELLED))
    refuses(town, lambda: verdicts.approve(town, done.id, PERSON), Conflict, "is done already")
    refuses(town, lambda: verdicts.approve(town, gone.id, PERSON), Conflict, "was cancelled already")
    item = handed_in(town, author)
    refuses(town, lambda: verdicts.reject(town, item.id, " ", of(reviewer)), Invalid, "needs a reason", "--reason")
    assert texts(town, "inbox", reviewer.id) == []
