"""What stands between a submission and its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.missions.builders import (
    OTHER_URL,
    RED,
    RUNNING,
    URL,
    USUAL,
    a_comment,
    a_pull,
    at,
    handed_in,
    of_kind,
    watched,
)  # fmt: skip
from tinytown.clock import parse
from tinytown.domain.mission import Policy
from tinytown.domain.pull_request import Answer, Failure
from tinytown.domain.watch import WatchKind, WatchStatus
from tinytown.domain.work import Job, WorkItem, WorkKind
from tinytown.missions import gates, watching
from tinytown.missions.decisions import Merge
from tinytown.missions.gates import Gate, Mergeable, Needs, Passed, Waits

FREE = Policy(reviewer_required=False)
AUTO = Policy(auto_merge=True)
APPROVED = handed_in(1, URL, reviewer_approved=True, approved_by="eve")


def judged(item: WorkItem, answer: Answer | None = None, policy: Policy = USUAL) -> Gate:
    """The gate of an item with one pull request that GitHub tells this of (None: all is well)."""
    return gates.judge(item, watched(item, answer, policy=policy), policy)


def needs(gate: Gate) -> Needs:
    assert isinstance(gate, Needs), gate
    return gate


def waits(gate: Gate) -> Waits:
    assert isinstance(gate, Waits), gate
    return gate


# Without a pull request


def test_without_a_pull_request_it_passes_when_verified_and_approved() -> None:
    """Without a pull request it passes when verified and approved."""
    item = handed_in(1, verify=["pytest"])
    assert needs(gates.judge(item, [], Policy())).job is Job.VERIFY
    verified = replace(item, is_verified=True)
    assert needs(gates.judge(verified, [], Policy())).job is Job.REVIEW
    assert isinstance(gates.judge(replace(verified, reviewer_approved=True), [], Policy()), Passed)


@pytest.mark.parametrize("kind", list(WorkKind))
def test_every_kind_of_work_is_reviewed(kind: WorkKind) -> None:
    """What a title sounds like opens no gate."""
    assert needs(gates.judge(handed_in(1, kind=kind), [], Policy())).job is Job.REVIEW


def test_where_no_review_is_asked_for_its_task_is_enough() -> None:
    """Where no review is asked for its task is enough."""
    assert isinstance(gates.judge(handed_in(1), [], FREE), Passed)


def test_an_approval_does_not_stand_in_for_a_verification() -> None:
    """An approval does not stand in for a verification."""
    assert needs(gates.judge(handed_in(1, verify=["x"], reviewer_approved=True), [], Policy())).job is Job.VERIFY


# Rejections


def test_a_rejection_is_fixed_with_its_reason_and_only_once() -> None:
    """A rejection is fixed with its reason and only once."""
    item = handed_in(1, rejections=["no tests"])
    fix = needs(gates.judge(item, [], Policy()))
    assert (fix.job, fix.key) == (Job.FIX, "reject:1")
    assert "no tests" in fix.report
    assert needs(gates.judge(replace(item, handled=["reject:1"]), [], Policy())).job is Job.REVIEW


def test_fixes_are_bounded_then_a_person_is_asked() -> None:
    """Fixes are bounded then a person is asked."""
    item = handed_in(1, rejections=["no"] * 3, rounds=5)
    gate = waits(gates.judge(item, [], Policy(max_rounds=5)))
    assert gate.for_person
    assert "tt mission retry" in (gate.remedy or "")


def test_reviews_without_a_verdict_are_bounded_then_a_person_is_asked() -> None:
    """Reviews without a verdict are bounded then a person is asked."""
    gate = waits(gates.judge(handed_in(1, silent_reviews=3), [], Policy()))
    assert gate.for_person
    assert "tt mission approve" in (gate.remedy or "")
    assert needs(gates.judge(handed_in(1, silent_reviews=2), [], Policy())).job is Job.REVIEW


def test_a_person_who_approves_on_github_ends_the_wait_for_a_silent_reviewer() -> None:
    """A person who approves on GitHub ends the wait for a silent reviewer."""
    said = a_pull(reviews=(a_comment("r", state="approved", commit="sha1"),))
    assert "waits for its merge" in waits(judged(handed_in(1, URL, silent_reviews=3), said)).text


# With one


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (a_pull(checks=RUNNING), "1 of 1 checks are running"),
        (a_pull(is_draft=True), "draft"),
        (a_pull(mergeable=None), "working out"),
        (Failure(URL, "503"), "cannot be looked at: 503"),
    ],
)
def test_it_waits_for_what_is_not_clear(answer: Answer, said: str) -> None:
    """It waits for what is not clear."""
    assert said in waits(judged(APPROVED, answer, AUTO)).text


def test_it_waits_for_its_merge_and_the_conductor_is_told() -> None:
    """It waits for its merge and the conductor is told."""
    gate = waits(judged(APPROVED))
    assert (gate.for_person, gate.remedy) == (False, f"Merge it: {URL}")


def test_it_is_merged_by_the_town_only_where_that_is_wanted_and_every_gate_holds() -> None:
    """It is merged by the town only where that is wanted and every gate holds."""
    assert judged(APPROVED, policy=AUTO) == Mergeable(Merge(URL, "sha1"))
    assert needs(judged(replace(APPROVED, reviewer_approved=False), policy=AUTO)).job is Job.REVIEW
    assert needs(judged(replace(APPROVED, verify=["x"]), policy=AUTO)).job is Job.VERIFY
    for bad in (a_pull(checks=RED), a_pull(checks=RUNNING), a_pull(mergeable=False), a_pull(is_draft=True)):
        assert not isinstance(judged(APPROVED, bad, AUTO), Mergeable)


def test_it_is_not_merged_twice_while_it_is_being_merged() -> None:
    """It is not merged twice while it is being merged."""
    watches = [w.having(state=watching.MERGING) if w.kind == "mergeability" else w for w in watched(APPROVED)]
    assert "is being merged" in waits(gates.judge(APPROVED, watches, AUTO)).text


def test_a_merge_that_github_refuses_is_told_with_what_would_help() -> None:
    """A merge that GitHub refuses is told with what would help."""
    watches = watched(APPROVED)
    refused = watching.merge_refused(
        Failure(URL, "two reviews are missing"), of_kind(watches, WatchKind.MERGEABILITY), parse(at())
    )
    gate = waits(gates.judge(APPROVED, [*watches[:-1], refused], AUTO))
    assert "two reviews are missing" in gate.text
    assert gate.remedy is not None


def test_before_the_first_look_after_a_submission_nothing_is_clear() -> None:
    """Before the first look after a submission nothing is clear."""
    soon = [watching.due_soon(w, parse(at())) for w in watched(APPROVED)]
    assert "not looked at yet" in waits(gates.judge(APPROVED, soon, AUTO)).text


def test_a_review_begins_when_the_head_was_seen_once() -> None:
    """What the reviewer approves is told from what is pushed later by the head that was seen before."""
    item = handed_in(1, URL)
    soon = [watching.due_soon(w, parse(at())) for w in watched(item)]
    assert "not looked at yet" in waits(gates.judge(item, soon, Policy())).text
    assert needs(judged(item)).job is Job.REVIEW


def test_no_checks_pass_or_are_waited_for() -> None:
    """No checks pass or are waited for."""

    def gate(policy: Policy) -> Gate:
        first = watched(APPROVED, a_pull(checks=()), policy=policy)
        later = watching.learn(a_pull(checks=()), first, APPROVED, policy, parse(at(900)), lambda: 0.0)
        return gates.judge(APPROVED, later, policy)

    assert isinstance(gate(AUTO), Mergeable)
    held = waits(gate(replace(AUTO, no_checks="wait")))
    assert "waits for one" in held.text
    assert held.remedy is not None, "somebody has to know"


def test_all_that_was_found_goes_into_one_fix() -> None:
    """All that was found goes into one fix."""
    pull = a_pull(checks=RED, mergeable=False, comments=(a_comment("c1", "rename it"), a_comment("c2")))
    fix = needs(judged(APPROVED, pull))
    assert fix.job is Job.FIX
    assert len((fix.key or "").split("\n")) == 4
    assert all(part in fix.report for part in ("boom", "rename it", "conflicts"))


def test_what_a_fix_was_handed_in_for_is_not_fixed_again() -> None:
    """The same red build, an old review, an old comment."""
    pull = a_pull(checks=RED, comments=(a_comment("c1"),))
    keys = (needs(judged(APPROVED, pull)).key or "").split("\n")
    fixed = replace(APPROVED, handled=keys, submitted_at=at(290))
    assert not isinstance(judged(fixed, pull), Needs)
    new = a_pull(checks=(replace(RED[0], id="77"),))
    assert needs(judged(fixed, new)).job is Job.FIX, "a new red build"


def test_only_what_is_new_makes_a_fix() -> None:
    """Only what is new makes a fix."""
    item = replace(APPROVED, handled=["comment:c1"])
    fix = needs(judged(item, a_pull(comments=(a_comment("c1"), a_comment("c2")))))
    assert fix.key == "comment:c2"


def test_a_fix_that_changed_nothing_is_for_a_person() -> None:
    """A fix that changed nothing is for a person."""
    keys = (needs(judged(APPROVED, a_pull(checks=RED))).key or "").split("\n")
    late = waits(judged(replace(APPROVED, handled=keys, submitted_at=at(100)), a_pull(checks=RED)))
    assert late.for_person
    assert "still" in late.text


def test_a_look_that_was_under_way_at_the_submission_says_nothing_of_it() -> None:
    """A look that was under way at the submission says nothing of it."""
    keys = (needs(judged(APPROVED, a_pull(checks=RED))).key or "").split("\n")
    early = waits(judged(replace(APPROVED, handled=keys, submitted_at=at(299)), a_pull(checks=RED)))
    assert not early.for_person


def test_changes_that_a_person_asked_for_wait_for_that_person() -> None:
    """Changes that a person asked for wait for that person."""
    pull = a_pull(reviews=(a_comment("r1", state="changes_requested"),))
    gate = waits(judged(replace(APPROVED, handled=["review:r1"]), pull, AUTO))
    assert "changes were requested by eve" in gate.text


# Ends of pull requests


def test_a_human_s_merge_passes_every_gate() -> None:
    """A human's merge passes every gate."""
    merged = a_pull(is_open=False, is_merged=True, ended_by="eve")
    assert judged(handed_in(1, URL, verify=["x"]), merged) == Passed(f"{URL} was merged by eve")


def test_closed_without_a_merge_is_for_a_person() -> None:
    """Closed without a merge is for a person."""
    gate = waits(judged(APPROVED, a_pull(is_open=False, ended_by="eve"), AUTO))
    assert gate.for_person
    assert "closed by eve without a merge" in gate.text
    assert "tt mission retry" in (gate.remedy or "")


def test_an_unreadable_one_is_for_a_person_and_says_why() -> None:
    """An unreadable one is for a person and says why."""
    gate = waits(judged(APPROVED, Failure(URL, "no such thing", is_final=True), AUTO))
    assert gate.for_person
    assert "no such thing" in gate.text


def test_of_several_all_have_to_be_merged_but_for_closed_ones() -> None:
    """Of several all have to be merged but for closed ones."""
    item = replace(APPROVED, artifact_refs=[URL, OTHER_URL])
    merged, closed = (a_pull(is_open=False, is_merged=yes) for yes in (True, False))
    first = watched(item, merged)
    waiting = gates.judge(item, [*first, *watched(item, url=OTHER_URL)], Policy())
    assert OTHER_URL in (waits(waiting).remedy or "")
    assert isinstance(gates.judge(item, [*first, *watched(item, merged, OTHER_URL)], Policy()), Passed)
    assert isinstance(gates.judge(item, [*first, *watched(item, closed, OTHER_URL)], Policy()), Passed)


def test_an_approval_on_github_of_one_of_several_is_not_one_of_all() -> None:
    """An approval on GitHub of one of several is not one of all."""
    item = handed_in(1, URL, OTHER_URL)
    yes = a_pull(reviews=(a_comment("r", state="approved", commit="sha1"),))
    assert not gates.is_approved(item, [*watched(item, yes), *watched(item, url=OTHER_URL)])
    assert gates.is_approved(item, [*watched(item, yes), *watched(item, yes, OTHER_URL)])
    assert not gates.is_approved(item, [w.having(status=WatchStatus.DONE) for w in watched(item)])
