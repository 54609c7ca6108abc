"""Who gets what when nobody fits, and when two missions want the same agent."""

from __future__ import annotations

import pytest

from tests.scenarios.conftest import NewStage
from tests.support.stage import Stage
from tinytown.domain.mission import MissionState
from tinytown.domain.work import WorkStatus

pytestmark = [pytest.mark.slow, pytest.mark.fault]


@pytest.mark.parametrize("case", ["no agent", "no agent of the role", "a paused agent"])
def test_nobody_fits(stage: Stage, case: str) -> None:
    """The item says why and which command helps; typing that command helps."""
    stage.issues("Implement login")
    options: list[str] = []
    reason, command, who = "no agent runs", "tt spawn backend", "backend"
    stage.github.issues["acme/web", 1].labels = ("backend",)
    if case == "no agent of the role":
        stage.spawn("tester")
        options = ["--manifest", stage.manifest('[[overrides]]\nissue = 1\nowner_role = "security"\n')]
        reason, command = "no agent has the role 'security'", "tt spawn security --role security"
        who = "security"
    if case == "a paused agent":
        stage.spawn("backend")
        stage.tt.ok("interrupt", "backend")
        reason, command = "backend would fit", "tt resume backend"
    stage.start("--no-reviewer", *options, issues=(1,))
    stage.until(1, WorkStatus.READY, reason)
    stage.until_state(MissionState.BLOCKED)
    shown = stage.shown(1)
    typed = shown["remedy"].partition(" (")[0]
    assert typed == command
    (asked,) = stage.asked()
    assert shown["remedy"] in asked
    assert typed in stage.mission("status", "--work")
    stage.tt.ok(*typed.split()[1:])
    stage.until_state()
    assert stage.given() == ["work 1"]
    assert stage.item(1).authors == [who]


def test_an_agent_at_the_end_of_its_rounds(stage: Stage) -> None:
    """The next item does not wait for ever for who has gone: the command that helps is named, and helps."""
    stage.issues("Part A", "Part B")
    stage.tt.ok("spawn", "backend", "--max-rounds", "1")
    stage.start("--no-reviewer", issues=(1, 2))
    stage.until(1, WorkStatus.DONE)
    stage.until(2, WorkStatus.READY, " ")
    stage.until_state(MissionState.BLOCKED)
    stage.tt.ok(*stage.shown(2)["remedy"].partition(" (")[0].split()[1:])
    stage.until_state()
    assert stage.given() == ["work 1", "work 2"]


def at_work_at_once(*stages: Stage) -> int:
    """The most tasks of these missions that were open at one time."""
    most, is_open = 0, set()
    events = [event for _id, event in stages[0].town.town.store.events.newest(10_000)]
    for event in events:
        if event["event_type"] == "task_assigned":
            is_open.add(event["task_id"])
        elif event["event_type"] in {"task_completed", "task_cancelled", "task_failed"}:
            is_open.discard(event["task_id"])
        most = max(most, len(is_open))
    return most


def test_two_missions_and_one_agent(new_stage: NewStage) -> None:
    """They take turns: one task at a time, each thing once, and both end."""
    first, second = new_stage(), new_stage()
    first.issues("Part A", "Part B", "Part C", chain=False)
    second.issues("Part D", "Part E", "Part F", first=4, chain=False)
    first.plays("work", "work 20", "say done")
    first.start("--no-reviewer", issues=(1, 2, 3))
    second.start("--no-reviewer", issues=(4, 5, 6))
    refused = first.tt.fails("mission", "start", "--issue", "6")
    assert "works on acme/web#6 already" in refused.complaint[0]
    first.spawn("backend")
    first.until_state()
    second.until_state()
    assert first.given() == ["work 1", "work 2", "work 3"]
    assert second.given() == ["work 4", "work 5", "work 6"]
    assert at_work_at_once(first, second) == 1


def test_one_waits_and_the_other_goes_on(new_stage: NewStage) -> None:
    """A mission that waits for a merge leaves the agent to the other; its fix comes before what is not begun."""
    first, second = new_stage(), new_stage()
    first.issues("Implement login")
    first.opens(1, pull := first.pull(11, None))
    second.issues("Part D", "Part E", "Part F", first=4, chain=False)
    second.plays("work", "touch begun", "await go", "say done", of=4)
    first.spawn("backend")
    first.start("--no-reviewer", issues=(1,))
    first.until(1, WorkStatus.BLOCKED, "checks are running")
    second.start("--no-reviewer", issues=(4, 5, 6))
    second.until_touched("begun")
    for check in pull.checks[pull.head]:
        check.status, check.conclusion = "completed", "failure"
    first.until_given("fix 1")
    first.plays("fix", "await pushed", "say pushed")
    second.town.go()
    first.until(1, WorkStatus.RUNNING)
    assert second.given() == ["work 4"]
    pull.push()
    pull.check("build")
    first.town.go("pushed")
    second.until_state()
    first.until(1, WorkStatus.BLOCKED, "it waits for its merge")
    pull.merge(by="zoe")
    first.until_state()
    assert first.given() == ["work 1", "fix 1"]
    assert second.given() == ["work 4", "work 5", "work 6"]
