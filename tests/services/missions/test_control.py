"""Stop, resume, note, retry, cancel: one step each, with its event; what makes no sense changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support import invariants
from tests.support.builders import make_item, make_mission, make_watch
from tests.support.missions import file_now, item_now, put_mission
from tests.support.town import claim_all, events, give_task, in_processes, register, same_town, snapshot, task_now
from tinytown import clock, ids
from tinytown.domain.mission import Mission, MissionState
from tinytown.domain.states import TaskState
from tinytown.domain.watch import WatchKind, WatchStatus
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.errors import Conflict, Invalid, NotFound, TinytownError
from tinytown.missions import watching
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.services.missions import control, verdicts
from tinytown.town import Town

PERSON = Caller()
PULL = "https://github.com/acme/web/pull/7"


def at_work(town: Town, run: Mission, number: int, job: Job = Job.WORK, **fields: Any) -> WorkItem:
    """An item whose task lies with an agent of its own, `agent-<number>`, and was not begun."""
    agent = register(town, f"agent-{number}")
    item = make_item(run, number)
    task, _message = give_task(town, agent, tags=[f"work-item:{item.id}"])
    given = {"status": WorkStatus.ASSIGNED, "job": job, "task_id": task.id, "assigned_to": agent.id} | fields
    return replace(item, **given)


def refuses(town: Town, call: Callable[[], object], kind: type[TinytownError], *words: str) -> None:
    """It raises that, with these words, and changes nothing."""
    before = snapshot(town)
    with pytest.raises(kind) as caught:
        call()
    said = f"{caught.value} {caught.value.remedy}"
    assert all(word in said for word in words), said
    assert snapshot(town) == before


def test_stop_takes_back_what_no_round_has_begun(town: Town) -> None:
    """Its task is cancelled and the item can start again; a fix is due again; a running round goes on to its end."""
    run = make_mission()
    fresh = at_work(town, run, 1)
    fix = at_work(town, run, 2, Job.FIX, author="a", fix_keys=["reject:1"], rejections=["no"])
    begun = at_work(town, run, 3)
    waiting = make_item(run, 4, depends_on=[begun.id])
    put_mission(town, run, fresh, fix, begun, waiting)
    runner = town.store.agents.row(begun.assigned_to or "")
    assert runner is not None
    claim_all(town, runner.agent)
    begun = replace(begun, status=WorkStatus.RUNNING)

    done = control.stop(town, run.id[:6], PERSON)

    assert (done.taken_back, done.running) == (2, 1)
    stopped = file_now(town, run).run
    assert (stopped.state, stopped.blocked_reason) == (MissionState.BLOCKED, "Stopped by user")
    assert stopped.stopped_at is not None
    assert town.store.missions.active_ids() == []
    assert task_now(town, fresh.task_id or "").state is task_now(town, fix.task_id or "").state is TaskState.CANCELLED
    assert task_now(town, begun.task_id or "").state is TaskState.RUNNING
    now = item_now(town, fresh)
    assert (now.status, now.task_id, now.job, now.assigned_to) == (WorkStatus.READY, None, None, None)
    now = item_now(town, fix)
    assert (now.status, now.task_id, now.fix_keys, now.handled) == (WorkStatus.BLOCKED, None, [], [])
    assert item_now(town, begun).task_id == begun.task_id
    assert item_now(town, waiting) == waiting
    (event,) = events(town, "mission_stopped")
    assert (event["mission_id"], event["old_state"], event["new_state"]) == (run.id, "running", "blocked")
    invariants.check(town, settled=False)


def test_stop_with_force_ends_it_for_good(town: Town) -> None:
    """Every task of it ends, running ones too; the mission has failed."""
    run = make_mission()
    fresh, begun = at_work(town, run, 1), at_work(town, run, 2)
    put_mission(town, run, fresh, begun)
    runner = town.store.agents.row(begun.assigned_to or "")
    assert runner is not None
    claim_all(town, runner.agent)

    assert control.stop(town, run.id, PERSON, force=True).taken_back == 2

    failed = file_now(town, run).run
    assert failed.state is MissionState.FAILED
    assert failed.ended_at is not None
    assert {task_now(town, item.task_id or "").state for item in (fresh, begun)} == {TaskState.CANCELLED}
    assert not any(item.task_id for item in file_now(town, run).items.values())
    (event,) = events(town, "mission_failed")
    assert event["new_state"] == "failed"
    refuses(town, lambda: control.stop(town, run.id, PERSON, force=True), Conflict, "is failed")
    refuses(town, lambda: control.resume(town, run.id, PERSON), Conflict, "cannot be resumed", "tt mission start")
    invariants.check(town, settled=False)


def test_a_round_that_has_ended_does_not_run(town: Town) -> None:
    """What was done before the stop and not taken up is no running round; after a forced stop nothing is at work."""
    run = make_mission()
    done = at_work(town, run, 1)
    put_mission(town, run, done)
    tasks.complete(town, done.task_id or "", "by hand", Caller())
    assert (control.stop(town, run.id, PERSON).running, item_now(town, done).status) == (0, WorkStatus.ASSIGNED)
    ended = control.stop(town, run.id, PERSON, force=True)
    assert (ended.running, ended.taken_back) == (0, 0)
    assert not item_now(town, done).status.has_task


def test_stopped_missions_may_be_stopped_for_good(town: Town) -> None:
    """A second plain stop is refused, with the way back; --force still works."""
    run = make_mission()
    put_mission(town, run, make_item(run))
    control.stop(town, run.id, PERSON)
    refuses(town, lambda: control.stop(town, run.id, PERSON), Conflict, "stopped already", "tt mission resume")
    control.stop(town, run.id, PERSON, force=True)
    assert file_now(town, run).run.state is MissionState.FAILED
    invariants.check(town, settled=False)


def test_resume_goes_on_where_it_was(supervised: Town) -> None:
    """Items and watches are as they were, and it is active again."""
    town, run = supervised, make_mission()
    item = make_item(run, status=WorkStatus.BLOCKED, author="a", artifact_refs=[PULL])
    watch = make_watch(item, status=WatchStatus.SNOOZED, state="failing", key="checks:1")
    put_mission(town, run, item, watches=[watch])
    control.stop(town, run.id, PERSON)

    resumed = control.resume(town, run.id[:4], PERSON)

    file = file_now(town, run)
    assert file.run == resumed
    assert (resumed.state, resumed.stopped_at, resumed.blocked_reason) == (MissionState.RUNNING, None, None)
    assert town.store.missions.active_ids() == [run.id]
    assert (list(file.items.values()), list(file.watches.values())) == ([item], [watch])
    assert events(town, "mission_resumed")[0]["mission_id"] == run.id
    refuses(town, lambda: control.resume(town, run.id, PERSON), Conflict, "is not stopped")
    invariants.check(town, settled=False)


def test_a_mission_that_waits_says_for_what_when_it_is_resumed(supervised: Town) -> None:
    """It is no stopped one: the remedy is what it waits for."""
    run = make_mission(state=MissionState.BLOCKED, blocked_reason="no agent runs", remedy="tt spawn worker")
    put_mission(supervised, run)
    refuses(
        supervised, lambda: control.resume(supervised, run.id, PERSON), Conflict, "no agent runs", "tt spawn worker"
    )


@pytest.mark.parametrize("state", [MissionState.COMPLETED, MissionState.FAILED])
def test_what_has_ended_stays_as_it_is(town: Town, state: MissionState) -> None:
    """Every command refuses, names the state and where to look."""
    run = make_mission(state=state)
    item = make_item(run, author="a", status=WorkStatus.BLOCKED, needs_person=True)
    put_mission(town, run, item)
    for call in (
        lambda: control.stop(town, run.id, PERSON),
        lambda: control.resume(town, run.id, PERSON),
        lambda: control.note(town, run.id, "text", PERSON),
        lambda: control.retry(town, item.id, PERSON),
        lambda: control.cancel(town, item.id, PERSON),
        lambda: verdicts.approve(town, item.id, PERSON),
        lambda: verdicts.reject(town, item.id, "why", PERSON),
    ):
        refuses(town, call, Conflict, ids.short(run.id))


def test_notes(town: Town) -> None:
    """Kept in full, with who wrote it; a model's by its agent's name; an empty one is none."""
    run, agent = make_mission(), register(town, "backend")
    put_mission(town, run)
    control.note(town, run.id, "  first\nsecond \udce4 ", PERSON)
    control.note(town, run.id, "mine", Caller(agent.id, f"{agent.id}:1:1"))
    notes = town.store.missions.notes(run.id, 9)
    assert [(note["by"], note["text"]) for note in notes] == [
        ("backend", "mine"),
        ("user", "first\nsecond \ufffd\ufffd\ufffd"),
    ]
    assert [event["message"] for event in events(town, "mission_noted")][1] == "Note by backend: mine"
    refuses(town, lambda: control.note(town, run.id, " \n", PERSON), Invalid)


def test_retry_of_what_needs_a_person(town: Town) -> None:
    """What was handed in goes on at its gates, with fresh rounds; the gates decide anew."""
    run = make_mission()
    item = make_item(
        run, status=WorkStatus.BLOCKED, author="a", authors=["ann"], result="done", rounds=5, needs_person=True,
        reason="too many fixes", remedy="tt mission retry", rejections=["no tests"], handled=["reject:1", "checks:1"],
        tries=9,
    )  # fmt: skip
    put_mission(town, run, item)

    new = control.retry(town, "#1", PERSON)

    assert new == item_now(town, item)
    assert (new.status, new.needs_person, new.rounds, new.reason) == (WorkStatus.BLOCKED, False, 0, None)
    assert (new.author, new.result, new.handled, new.tries) == ("a", "done", ["reject:1"], 9)
    (event,) = events(town, "work_item_retried")
    assert event["work_item_id"] == item.id
    refuses(town, lambda: control.retry(town, "#1", PERSON), Conflict, "nothing to retry")
    invariants.check(town, settled=False)


@pytest.mark.parametrize("state", [watching.CLOSED, watching.UNREADABLE])
def test_retry_after_a_closed_pull_request_begins_anew(town: Town, state: str) -> None:
    """Nothing of it can be gone on with; who wrote it still does not review it."""
    run = make_mission()
    item = make_item(
        run, status=WorkStatus.BLOCKED, author="a", authors=["ann"], needs_person=True, artifact_refs=[PULL]
    )
    put_mission(town, run, item, watches=[make_watch(item, status=WatchStatus.DONE, state=state)])
    new = control.retry(town, item.id[:8], PERSON)
    assert (new.status, new.author, new.artifact_refs) == (WorkStatus.PENDING, None, [])
    assert new.authors == ["ann"]


def test_cancel_ends_task_and_watches(town: Town) -> None:
    """Its own watches, and those of issues that nobody else waits for; a retry looks at these again."""
    run = make_mission()
    item = at_work(town, run, 1, outside=["acme/api#1", "acme/api#2"])
    other = make_item(run, 2, outside=["acme/api#2"])
    own = make_watch(item)
    alone, shared = (
        make_watch(item, kind=WatchKind.ISSUE_CLOSED, target_ref=ref, state="open", status=WatchStatus.ACTIVE)
        for ref in item.outside
    )
    put_mission(town, run, item, other, watches=[own, alone, shared])

    new = control.cancel(town, "acme/web#1", PERSON, reason="not any more")

    assert new == item_now(town, item)
    assert (new.status, new.task_id, new.reason) == (WorkStatus.CANCELLED, None, "cancelled by user: not any more")
    assert new.ended_at is not None
    assert task_now(town, item.task_id or "").state is TaskState.CANCELLED
    watches = file_now(town, run).watches
    assert {i: w.status for i, w in watches.items()} == {
        own.id: WatchStatus.DONE, alone.id: WatchStatus.DONE, shared.id: WatchStatus.ACTIVE,
    }  # fmt: skip
    refuses(town, lambda: control.cancel(town, item.id, PERSON), Conflict, "was cancelled already")

    again = control.retry(town, item.id, PERSON)

    assert (again.status, again.ended_at, again.reason) == (WorkStatus.PENDING, None, None)
    watch = file_now(town, run).watches[alone.id]
    assert watch.status is WatchStatus.ACTIVE
    assert watch.next_due_at <= clock.stamp()
    invariants.check(town, settled=False)


@pytest.mark.parametrize("status", [WorkStatus.PENDING, WorkStatus.READY, WorkStatus.DONE])
def test_what_goes_on_by_itself_is_not_retried(town: Town, status: WorkStatus) -> None:
    """Only what needs a person, or was cancelled."""
    run = make_mission()
    item = make_item(run, status=status)
    put_mission(town, run, item)
    refuses(town, lambda: control.retry(town, item.id, PERSON), Conflict, "acme/web#1 is", "nothing to retry")
    if status is WorkStatus.DONE:
        refuses(town, lambda: control.cancel(town, item.id, PERSON), Conflict, "is done already")


def test_what_is_meant(town: Town) -> None:
    """Missions by the beginning of their ids; items by that, source, `#N`, or number in one mission."""
    run, other = make_mission(), make_mission(objectives=["acme/api#1"])
    items = [make_item(run, 1), make_item(run, 2, source_ref="docs/design.md#login")]
    twin = make_item(other, 1, source_ref="acme/api#1")
    put_mission(town, run, *items)
    for name in (items[1].id[:8], "docs/design.md#login", "2", "DOCS/design.md#login"):
        assert control.cancel(town, name, PERSON).id == items[1].id
        control.retry(town, name, PERSON)
    put_mission(town, other, twin)
    refuses(town, lambda: control.cancel(town, "2", PERSON), Conflict, "Several missions are at work", "--run")
    refuses(town, lambda: control.cancel(town, "#1", PERSON), Conflict, "acme/web#1", "acme/api#1")
    assert control.cancel(town, "1", PERSON, run=run.id).id == items[0].id
    control.retry(town, "1", PERSON, run=run.id)
    refuses(town, lambda: control.cancel(town, "#9", PERSON), NotFound, "Work item not found: #9")
    refuses(town, lambda: control.cancel(town, "#1", PERSON, run="ffff"), NotFound, "Mission ffff not found")
    refuses(town, lambda: control.stop(town, "abc", PERSON), NotFound, "Mission abc not found", "tt mission list")
    assert control.cancel(town, "#1", PERSON, run=other.id[:8]).id == twin.id
    assert control.cancel(town, "2", PERSON, run=run.id).id == items[1].id


def test_a_number_of_an_item_and_of_another_ones_issue(town: Town) -> None:
    """It is not guessed which is meant; the number of an issue alone is one."""
    run = make_mission()
    items = [make_item(run, 1, source_ref="acme/web#9"), make_item(run, 2, source_ref="acme/web#1")]
    put_mission(town, run, *items)
    refuses(town, lambda: control.cancel(town, "1", PERSON), Conflict, "acme/web#9", "acme/web#1", "'#1'")
    assert control.cancel(town, "9", PERSON).id == items[0].id


def test_people_at_once(town: Town) -> None:
    """Of several who do the same, one does it; the others hear that it was done."""
    run = make_mission()
    item = make_item(run, author="a", status=WorkStatus.BLOCKED, result="x")
    put_mission(town, run, item)

    def work(number: int) -> list[str]:
        mine, said = same_town(town), []
        for call in (
            lambda: verdicts.approve(mine, item.id, PERSON),
            lambda: control.stop(mine, run.id, PERSON),
            lambda: control.note(mine, run.id, str(number), PERSON),
        ):
            try:
                call()
                said.append("done")
            except Conflict as error:
                said.append(str(error))
        return said

    told = in_processes(4, work)

    assert sorted(row[0] == "done" for row in told) == [False, False, False, True]
    assert sorted(row[1] == "done" for row in told) == [False, False, False, True]
    assert all(row[2] == "done" for row in told)
    assert len(town.store.missions.notes(run.id, 99)) == 4
    assert len(events(town, "work_item_approved", "mission_stopped")) == 2
    invariants.check(town, settled=False)
