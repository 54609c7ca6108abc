"""Stop and resume in each state: nothing new begins, what runs ends, and the mission goes on where it was."""

from __future__ import annotations

import pytest

from tests.support.moments import MOMENTS
from tests.support.stage import Stage
from tinytown import processes
from tinytown.domain.work import WorkStatus
from tinytown.services.missions.lease import NAME

pytestmark = [pytest.mark.slow, pytest.mark.fault]


def await_rest(stage: Stage) -> None:
    """Nobody works on missions, or asks GitHub."""
    town = stage.town
    town.wait(lambda: town.town.store.agents.lease(NAME) is None, "the scheduler to leave")
    town.wait(lambda: not processes.marked(f"missions:{town.town.name}:"), "the end of who asks")


@pytest.mark.parametrize("when", MOMENTS)
def test_stopped_at(stage: Stage, when: str) -> None:
    """A task that nobody has begun is taken back; a round that runs ends, and is taken up at the resume."""
    moment = MOMENTS[when]
    item = moment.arrive(stage)
    watches = stage.file.watches
    given = stage.given()
    is_taken_back = moment.job is not None and not moment.is_begun

    said = stage.mission("stop", stage.mission_id[:6])

    assert ("1 task(s) taken back" in said) is is_taken_back
    assert ("1 running round(s)" in said) is moment.is_begun
    await_rest(stage)
    stage.github.clear()
    ended = {event["task_id"] for event in stage.town.events("task_completed")}
    stage.town.go()
    if moment.is_begun:
        done = stage.town.wait(lambda: done_since(stage, ended), "the end of the round")
        assert done == {item.task_id}
    for check in stage.github.pulls["acme/web", 11].checks.values():
        for each in check:
            each.status, each.conclusion = "completed", "success"
    stage.town.wait_idle("backend", "reviewer")
    now = stage.item(1)
    if is_taken_back:
        assert (now.status, now.task_id) == (WorkStatus.BLOCKED if now.is_submitted else WorkStatus.READY, None)
        cancelled = stage.town.events("task_cancelled")
        assert [event["task_id"] for event in cancelled] == [item.task_id]
    assert stage.given() == given
    assert stage.github.requests == []
    assert stage.file.run.stopped_at is not None
    assert {i: watch.status for i, watch in stage.file.watches.items()} == {i: w.status for i, w in watches.items()}
    shown = stage.status()
    assert shown["blocked_reason"] == "Stopped by user"
    assert shown["work_items"][0]["reason"]

    stage.mission("resume", stage.mission_id[:6])

    stage.until_state()
    n = len(given)
    assert stage.given() == [*moment.given[:n], *([given[-1]] if is_taken_back else []), *moment.given[n:]]
    assert stage.github.pulls["acme/web", 11].merged_by == "owner"
    assert set(watches) <= set(stage.file.watches)


def done_since(stage: Stage, before: set[str]) -> set[str]:
    """Ids of the tasks that were completed since."""
    return {event["task_id"] for event in stage.town.events("task_completed")} - before


@pytest.mark.parametrize("when", ["review", "watched"])
def test_stopped_for_good(stage: Stage, when: str) -> None:
    """`--force`: the run ends, its task is cancelled, and the mission cannot be resumed."""
    item = MOMENTS[when].arrive(stage)
    given = stage.given()
    stage.mission("stop", stage.mission_id[:6], "--force")
    await_rest(stage)
    cancelled = [event["task_id"] for event in stage.town.events("task_cancelled")]
    assert cancelled == ([item.task_id] if item.task_id else [])
    stage.town.wait_idle("backend", "reviewer")
    assert stage.given() == given
    assert "cannot be resumed" in stage.tt.fails("mission", "resume", stage.mission_id).err
    assert stage.github.pulls["acme/web", 11].merged_by is None
