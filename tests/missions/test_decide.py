"""What happens next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.missions.builders import (
    OTHER_URL,
    RED,
    URL,
    a_comment,
    a_pull,
    a_run,
    a_task,
    a_view,
    after,
    an_item,
    at,
    handed_in,
    of_kind,
    plan_of,
    settle,
    watched,
    with_task,
    worker,
)  # fmt: skip
from tinytown import ids
from tinytown.domain.mission import MissionState
from tinytown.domain.pull_request import Failure, Issue
from tinytown.domain.states import TaskState
from tinytown.domain.watch import WatchKind, WatchStatus
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.missions import verdicts, watching
from tinytown.missions.decisions import Merge, Plan

ANN, BOB, EVE = worker("ann"), worker("bob"), worker("eve", "reviewer")


def given(plan: Plan) -> list[tuple[str, Job, int]]:
    """Who gets what: agent, job, number of the item."""
    return [
        (step.task.agent_id.removeprefix("id-"), step.task.job, step.item.number)
        for step in plan.decisions
        if step.task is not None and step.item is not None
    ]


def the_item(plan: Plan) -> WorkItem:
    """The item that the one decision is about."""
    assert len(plan.decisions) == 1, plan.decisions
    assert plan.decisions[0].item is not None
    return plan.decisions[0].item


# Starting


def test_an_item_starts_when_all_that_it_depends_on_is_done() -> None:
    """An item starts when all that it depends on is done."""
    first = handed_in(1, status=WorkStatus.DONE)
    last = an_item(3, depends_on=["item00001", "item00002"])
    waiting = a_view(a_run(), first, with_task(an_item(2), Job.WORK), last)
    assert given(plan_of(waiting, tasks=[a_task(waiting.items["item00002"])], agents=[BOB])) == []
    ready = a_view(a_run(), first, handed_in(2, status=WorkStatus.DONE), last)
    assert given(plan_of(ready, agents=[BOB])) == [("bob", Job.WORK, 3)]


def test_what_depends_on_a_pull_request_starts_when_it_is_merged_and_not_before() -> None:
    """What depends on a pull request starts when it is merged and not before."""
    first, last = handed_in(1, URL, reviewer_approved=True), an_item(2, depends_on=["item00001"])
    view = a_view(a_run(), first, last, watches=watched(first))
    assert given(plan_of(view, agents=[BOB])) == []
    view.watches.update({w.id: w for w in watched(first, a_pull(is_open=False, is_merged=True))})
    steps = settle(view, agents=[BOB])
    assert view.items["item00001"].status is WorkStatus.DONE
    assert steps[-1].task is not None


def test_urgent_items_first_then_by_number() -> None:
    """Urgent items first then by number."""
    items = [an_item(1), an_item(2), an_item(3, priority=5)]
    plan = plan_of(a_view(a_run(max_parallel_items=2), *items), agents=[worker("a"), worker("b"), worker("c")])
    assert [row[2] for row in given(plan)] == [3, 1]


def test_no_more_items_at_once_than_the_policy_says() -> None:
    """No more items at once than the policy says."""
    busy = with_task(an_item(1), Job.WORK)
    view = a_view(a_run(max_parallel_items=2), busy, an_item(2), an_item(3))
    assert len(given(plan_of(view, tasks=[a_task(busy)], agents=[ANN, worker("a"), worker("b")]))) == 1


def test_a_review_takes_no_slot_and_a_fix_that_is_due_keeps_one() -> None:
    """A review takes no slot and a fix that is due keeps one."""
    review = with_task(handed_in(1), Job.REVIEW, "eve")
    view = a_view(a_run(max_parallel_items=1), review, an_item(2))
    assert given(plan_of(view, tasks=[a_task(review)], agents=[BOB])) == [("bob", Job.WORK, 2)]
    fix = handed_in(1, rejections=["no"])
    assert given(plan_of(a_view(a_run(max_parallel_items=1), fix, an_item(2)), agents=[ANN, BOB])) == [
        ("ann", Job.FIX, 1)
    ]


def test_a_fix_that_nobody_can_make_does_not_hold_up_the_others() -> None:
    """A fix that nobody can make does not hold up the others."""
    fix = handed_in(1, rejections=["no"], owner_role="backend", is_role_strict=True)
    view = a_view(a_run(max_parallel_items=1), fix, an_item(2))
    assert given(plan_of(view, agents=[worker("tess", "tester")])) == [("tess", Job.WORK, 2)]


def test_two_missions_share_an_agent_and_the_one_with_less_under_way_comes_first() -> None:
    """Two missions share an agent and the one with less under way comes first."""
    busy = with_task(an_item(1), Job.WORK)
    one, two = a_view(a_run(), busy, an_item(2)), a_view(a_run(), an_item(3))
    assert given(plan_of(one, two, tasks=[a_task(busy)], agents=[replace(ANN, is_free=False), BOB])) == [
        ("bob", Job.WORK, 3)
    ]


def test_the_same_step_makes_the_same_task_and_the_next_one_another() -> None:
    """The same step makes the same task and the next one another."""
    view = a_view(a_run(), an_item(1))
    first, again = (plan_of(view, agents=[BOB]).decisions[0] for _ in range(2))
    assert first.task == again.task
    assert first.task is not None
    assert first.task.id == ids.derived_id(view.run.id, "item00001", "0")
    assert first.item is not None
    assert first.item.tries == 1


def test_the_same_snapshot_gives_the_same_plan_and_a_stopped_mission_none() -> None:
    """The same snapshot gives the same plan and a stopped mission none."""
    view = a_view(a_run(), an_item(1), an_item(2))
    assert plan_of(view, agents=[ANN, BOB]) == plan_of(view, agents=[BOB, ANN])
    view.run = replace(view.run, stopped_at=at())
    assert plan_of(view, agents=[ANN]) == Plan()


def test_nobody_fits_is_told_and_help_is_asked_for() -> None:
    """Nobody fits is told and help is asked for."""
    view = a_view(a_run(), an_item(1, owner_role="backend", is_role_strict=True))
    steps = settle(view, agents=[worker("tess", "tester")])
    item = view.items["item00001"]
    assert (item.status, item.reason) == (WorkStatus.READY, "no agent has the role 'backend'")
    assert item.remedy == "tt spawn backend --role backend"
    assert [step.asks for step in steps if step.asks]
    assert (view.run.state, view.run.remedy) == (MissionState.BLOCKED, item.remedy)


# Outside the mission


def test_issues_outside_are_watched_all_at_once_each_by_one_watch() -> None:
    """Issues outside are watched all at once each by one watch."""
    items = [an_item(n, outside=["o/r#90", f"o/r#9{n}"]) for n in (1, 2, 3)]
    view = a_view(a_run(), *items)
    opened = [watch.target_ref for step in plan_of(view).decisions for watch in step.watches]
    assert sorted(opened) == ["o/r#90", "o/r#91", "o/r#92", "o/r#93"]


def test_an_item_starts_when_the_issue_outside_is_closed() -> None:
    """An item starts when the issue outside is closed."""
    item = an_item(1, outside=["o/r#90"])
    view = a_view(a_run(), item)
    settle(view, agents=[BOB])
    assert view.run.blocked_reason == "waits for o/r#90: not looked at yet"
    for is_open in (True, False):
        answer = Issue("o/r#90", "t", "b", "u", is_open)
        view.watches.update(
            {w.id: w for w in watching.learn(answer, [*view.watches.values()], item, view.run.policy, after(9))}
        )
        assert bool(given(plan_of(view, agents=[BOB]))) is not is_open


# With a task


def test_its_status_follows_its_task() -> None:
    """Its status follows its task."""
    item = with_task(an_item(1), Job.WORK)
    view = a_view(a_run(), item)
    running = the_item(plan_of(view, tasks=[a_task(item, TaskState.RUNNING)], agents=[ANN]))
    assert running.status is WorkStatus.RUNNING
    moved = replace(a_task(item), assigned_to="id-bob")
    assert the_item(plan_of(view, tasks=[moved], agents=[ANN, BOB])).assigned_to == "id-bob"
    assert plan_of(view, tasks=[a_task(item)], agents=[ANN]).decisions == [], "nothing changed"


@pytest.mark.parametrize("job", list(Job))
def test_a_task_that_leads_nowhere_is_taken_back(job: Job) -> None:
    """A task that leads nowhere is taken back."""
    item = with_task(handed_in(1) if job is not Job.WORK else an_item(1), job)
    view, task = a_view(a_run(), item), a_task(item)
    for tasks, agents, cancel in (
        ([], [ANN], None),
        ([replace(task, state=TaskState.PENDING, assigned_to=None)], [ANN], task.id),
        ([task], [], task.id),
        ([replace(task, state=TaskState.RUNNING)], [replace(ANN, is_ended=True)], task.id),
    ):
        plan = plan_of(view, tasks=tasks, agents=agents)
        new = the_item(plan)
        assert (new.task_id, new.job, new.assigned_to) == (None, None, None)
        assert new.status is (WorkStatus.READY if job is Job.WORK else WorkStatus.BLOCKED)
        assert plan.decisions[0].cancel == cancel


def test_a_task_that_lies_at_a_paused_agent_is_told() -> None:
    """A task that lies at a paused agent is told."""
    item = with_task(handed_in(1), Job.FIX)
    view, away = a_view(a_run(), item), replace(ANN, takes_work=False, is_free=False)
    steps = settle(view, tasks=[a_task(item)], agents=[away])
    told = view.items[item.id]
    assert "ann takes no work now" in (told.reason or "")
    assert (view.run.state, view.run.remedy) == (MissionState.BLOCKED, told.remedy)
    assert any(step.asks for step in steps)
    settle(view, tasks=[a_task(item)], agents=[ANN])
    assert (view.items[item.id].reason, view.run.state) == (None, MissionState.RUNNING)


def test_work_that_a_human_merged_meanwhile_is_over() -> None:
    """Work that a human merged meanwhile is over."""
    item = with_task(handed_in(1, URL), Job.REVIEW, "eve")
    view = a_view(a_run(), item, watches=watched(item, a_pull(is_open=False, is_merged=True)))
    plan = plan_of(view, tasks=[a_task(item)], agents=[EVE])
    assert (the_item(plan).status, plan.decisions[0].cancel) == (WorkStatus.DONE, item.task_id)
    assert plan_of(view, tasks=[a_task(item, TaskState.RUNNING)], agents=[EVE]).decisions[0].cancel is None


def test_a_review_does_not_take_the_item_from_its_author() -> None:
    """A review does not take the item from its author."""
    item = handed_in(1)
    view = a_view(a_run(), item)
    settle(view, agents=[replace(ANN, is_free=False), EVE])
    reviewed = view.items[item.id]
    assert (reviewed.assigned_to, reviewed.author) == ("id-eve", "id-ann")
    view.items[item.id] = verdicts.rejected(reviewed, "no tests", at())
    assert given(plan_of(view, agents=[ANN, EVE])) == [("ann", Job.FIX, 1)]


# Reviews


def test_a_review_that_nobody_can_make_now_is_made_later() -> None:
    """A review that nobody can make now is made later."""
    view = a_view(a_run(), handed_in(1))
    settle(view, agents=[ANN])
    assert "its author does not" in (view.items["item00001"].reason or "")
    assert "tt mission approve" in (view.items["item00001"].remedy or "")
    assert given(plan_of(view, agents=[ANN, EVE])) == [("eve", Job.REVIEW, 1)]


def test_a_review_whose_reviewers_are_all_at_work_says_so() -> None:
    """A review whose reviewers are all at work says so, and asks nobody for help."""
    other = with_task(an_item(2), Job.REVIEW, "eve")
    view = a_view(a_run(), handed_in(1), other)
    steps = settle(view, tasks=[a_task(other)], agents=[ANN, replace(EVE, is_free=False)])
    assert view.items["item00001"].reason == "waits for a review: no agent is free"
    assert not any(step.asks for step in steps)


def test_reviews_come_before_new_work() -> None:
    """Reviews come before new work."""
    view = a_view(a_run(), an_item(1, priority=9), handed_in(2))
    assert given(plan_of(view, agents=[BOB])) == [("bob", Job.REVIEW, 2)]


def test_a_reviewer_is_kept_free_for_reviews() -> None:
    """A reviewer is kept free for reviews."""
    assert given(plan_of(a_view(a_run(), an_item(1)), agents=[EVE])) == []


def test_a_silent_reviewer_is_asked_again_and_then_a_person() -> None:
    """A silent reviewer is asked again and then a person."""
    view, tasks = a_view(a_run(), handed_in(1)), {}
    for _ in range(3):
        (step,) = plan_of(view, agents=[ANN, EVE]).decisions
        assert step.item is not None
        view.items["item00001"] = step.item
        tasks[step.item.task_id] = a_task(step.item, TaskState.COMPLETED, "nice work, approved")
        view.items["item00001"] = the_item(plan_of(view, tasks=tasks.values(), agents=[ANN, EVE]))
    settle(view, tasks=tasks.values(), agents=[ANN, EVE])
    item = view.items["item00001"]
    assert (item.needs_person, item.reviewer_approved) == (True, False)
    view.items[item.id] = verdicts.approved(item, "user", at())
    settle(view, agents=[ANN, EVE])
    assert view.run.state is MissionState.COMPLETED


# Findings


def test_the_same_red_build_makes_one_fix_task_and_a_new_one_another() -> None:
    """The same red build makes one fix task and a new one another."""
    item = handed_in(1, URL, reviewer_approved=True)
    view = a_view(a_run(), item, watches=watched(item, a_pull(checks=RED)))
    (step,) = plan_of(view, agents=[ANN]).decisions
    assert step.task is not None
    assert step.item is not None
    assert "boom" in step.task.description
    assert "check" in step.text
    busy = a_view(view.run, step.item, watches=watched(step.item, a_pull(checks=RED), seconds=600))
    assert given(plan_of(busy, tasks=[a_task(step.item)], agents=[ANN])) == [], "it is being fixed"
    done = replace(step.item, status=WorkStatus.BLOCKED, task_id=None, job=None, fix_keys=[],
                   handled=step.item.fix_keys, submitted_at=at(700))  # fmt: skip
    again = a_pull(checks=(replace(RED[0], id="2"),))
    for pull, fixes in ((a_pull(checks=RED), 0), (again, 1)):
        looked = a_view(view.run, done, watches=watched(done, pull, seconds=900))
        assert sum(row[1] is Job.FIX for row in given(plan_of(looked, agents=[ANN, EVE], seconds=901))) == fixes


def test_a_comment_whose_fix_was_taken_back_is_not_lost() -> None:
    """A comment whose fix was taken back is not lost."""
    item = with_task(handed_in(1, URL, reviewer_approved=True, fix_keys=["comment:c1"]), Job.FIX)
    view = a_view(a_run(auto_merge=True), item, watches=watched(item, a_pull(comments=(a_comment("c1"),))))
    gone = plan_of(view, tasks=[a_task(item)], agents=[replace(ANN, is_ended=True), BOB])
    view.items[item.id] = the_item(gone)
    assert given(plan_of(view, agents=[BOB])) == [("bob", Job.FIX, 1)]


def test_a_flaky_build_and_a_content_reviewer_are_bounded() -> None:
    """A flaky build and a content reviewer are bounded."""
    item = handed_in(1, URL, rounds=5, reviewer_approved=True)
    view = a_view(a_run(max_rounds=5), verdicts.approved(item, "eve", at()), watches=watched(item, a_pull(checks=RED)))
    assert the_item(plan_of(view, agents=[ANN])).needs_person


def test_a_fix_is_taken_back_when_the_build_passes_by_itself() -> None:
    """A fix is taken back when the build passes by itself."""
    item = with_task(handed_in(1, URL, fix_keys=["checks:sha1:1"]), Job.FIX)
    plan = plan_of(a_view(a_run(), item, watches=watched(item)), tasks=[a_task(item)], agents=[ANN])
    assert plan.decisions[0].cancel == item.task_id
    assert the_item(plan).fix_keys == []


# Merging


def test_a_merge_is_asked_for_with_the_head_that_was_looked_at() -> None:
    """A merge is asked for with the head that was looked at."""
    item = handed_in(1, URL, reviewer_approved=True)
    view = a_view(a_run(auto_merge=True), item, watches=watched(item))
    (step,) = plan_of(view, seconds=310).decisions
    assert step.merge == Merge(URL, "sha1")
    view.watches.update({w.id: w for w in step.watches})
    assert [s.merge for s in settle(view, seconds=310) if s.merge] == [], "once"


def test_before_a_merge_everything_is_looked_at_once_more() -> None:
    """Somebody may have said no since the last look."""
    item = handed_in(1, URL, reviewer_approved=True)
    view = a_view(a_run(auto_merge=True), item, watches=watched(item))
    assert not any(step.merge for step in settle(view, seconds=400))
    assert [look.ref for look in plan_of(view, seconds=400).looks] == [URL]
    for pull, merges in ((a_pull(reviews=(a_comment("r", state="changes_requested"),)), 0), (a_pull(), 1)):
        learnt = watching.learn(pull, [*view.watches.values()], item, view.run.policy, after(402))
        looked = a_view(view.run, item, watches=learnt)
        assert sum(step.merge is not None for step in plan_of(looked, agents=[ANN], seconds=402).decisions) == merges


def test_commits_after_the_approval_are_reviewed_before_they_are_merged() -> None:
    """Commits after the approval are reviewed before they are merged."""
    item = handed_in(1, URL, reviewer_approved=True, is_verified=True)
    view = a_view(a_run(auto_merge=True), item, watches=watched(item))
    moved = watching.learn(a_pull(head="sha2"), [*view.watches.values()], item, view.run.policy, after(600))
    view.watches.update({w.id: w for w in moved})
    steps = settle(view, agents=[ANN, EVE], seconds=601)
    looked = watching.learn(
        a_pull(head="sha2"), [*view.watches.values()], view.items[item.id], view.run.policy, after(602)
    )
    view.watches.update({w.id: w for w in looked})
    steps += settle(view, agents=[ANN, EVE], seconds=603)
    assert not any(step.merge for step in steps)
    assert [step.task.job for step in steps if step.task] == [Job.REVIEW]
    assert not view.items[item.id].is_verified


# Ends


def test_a_closed_pull_request_waits_for_a_person_who_can_let_it_go_on() -> None:
    """A closed pull request waits for a person who can let it go on."""
    item = handed_in(1, URL)
    view = a_view(a_run(), item, watches=watched(item, a_pull(is_open=False)))
    settle(view, agents=[ANN, EVE])
    stuck = view.items[item.id]
    assert stuck.needs_person
    view.items[item.id] = verdicts.retried(stuck, at(), is_closed=True)
    assert given(plan_of(view, agents=[ANN, EVE])) == [("ann", Job.WORK, 1)]


def test_a_failed_task_stays_for_a_person_but_a_merge_ends_it() -> None:
    """A failed task stays for a person but a merge ends it."""
    item = handed_in(1, URL, needs_person=True, job=Job.FIX, reason="failed", remedy="retry")
    view = a_view(a_run(), item, watches=watched(item, a_pull(checks=RED)))
    assert given(plan_of(view, agents=[ANN, EVE])) == []
    view.watches.update({w.id: w for w in watched(item, a_pull(is_open=False, is_merged=True))})
    assert the_item(plan_of(view, agents=[ANN])).status is WorkStatus.DONE


def test_an_end_closes_the_watches_of_the_item() -> None:
    """An end closes the watches of the item."""
    item = handed_in(1, URL, OTHER_URL)
    watches = [*watched(item, a_pull(is_open=False, is_merged=True)), *watched(item, a_pull(is_open=False), OTHER_URL)]
    late = of_kind(watched(item, url="https://github.com/o/r/pull/9"), WatchKind.PR_CHECKS)
    (step,) = plan_of(a_view(a_run(), item, watches=[*watches, late])).decisions
    assert [w.status for w in step.watches] == [WatchStatus.DONE]


# Looks


def test_what_is_due_is_looked_at_once_and_the_rest_tells_when_to_come_back() -> None:
    """What is due is looked at once and the rest tells when to come back."""
    one, two = handed_in(1, URL, handled=["checks:sha1:1,2"]), handed_in(2, URL, handled=["checks:sha1:2"])
    first, second = a_view(a_run(), one, watches=watched(one)), a_view(a_run(), two, watches=watched(two))
    later = plan_of(first, second, seconds=301)
    assert (later.looks, later.wake_at) == ([], after(480))
    due = plan_of(first, second, seconds=500)
    assert [look.ref for look in due.looks] == [URL]
    assert due.looks[0].known == ("2",), "logs that one of them still needs are fetched"


def test_it_comes_back_to_ask_again() -> None:
    """It comes back to ask again."""
    view = a_view(a_run(), handed_in(1, needs_person=True, job=Job.WORK, reason="failed", remedy="retry"))
    settle(view)
    assert plan_of(view).wake_at == after(400 + 1800)


def test_a_rest_is_a_rest() -> None:
    """Looks that find nothing new change no record of an item or mission."""
    item = handed_in(1, URL, reviewer_approved=True)
    view = a_view(a_run(), item, watches=watched(item))
    settle(view, agents=[ANN, EVE])
    for n in range(2, 8):
        answer = Failure(URL, "503") if n % 3 == 0 else a_pull()
        learnt = watching.learn(answer, [*view.watches.values()], item, view.run.policy, after(n * 300))
        view.watches.update({w.id: w for w in learnt})
        assert plan_of(view, agents=[ANN, EVE], seconds=n * 300 + 1).decisions == []
