"""An agent is killed in each state of an item: its successor goes on, and nothing is given or done twice."""

from __future__ import annotations

import pytest

from tests.support.moments import HOLD, MOMENTS
from tests.support.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.fault]


@pytest.mark.parametrize("when", [name for name, moment in MOMENTS.items() if moment.agent])
def test_killed_at(stage: Stage, when: str) -> None:
    """The task stays its agent's, which does it in its next life."""
    moment = MOMENTS[when]
    item = moment.arrive(stage)
    before = stage.town.actor(moment.agent)
    stage.town.kill(before)
    stage.town.wait(lambda: stage.town.actor(moment.agent) != before, "its next life")
    stage.town.go()
    stage.until_state()
    assert stage.given() == list(moment.given)
    assert stage.town.agent(moment.agent).id == item.assigned_to
    lives = {mark.run for mark in stage.town.marks() if mark.task_id == item.task_id and mark.what == "start"}
    assert len(lives) == 1 + moment.is_begun


def test_killed_after_its_verdict(stage: Stage) -> None:
    """What it said counts; nobody reviews it again."""
    stage.issues("Implement login", "Implement logout", chain=False)
    stage.plays("review", "tt mission approve {item}", *HOLD, of=1)
    stage.spawn("backend", "reviewer")
    stage.start("--max-parallel", "1", issues=(1, 2))
    stage.until_touched("there")
    stage.town.kill(stage.town.actor("reviewer"))
    stage.until_state()
    assert sorted(stage.given()) == ["review 1", "review 2", "work 1", "work 2"]
    assert [len(stage.told("review", number)) for number in (1, 2)] == [1, 1]


@pytest.mark.parametrize("when", ["work assigned", "verification", "review", "fix"])
def test_ended_for_good(stage: Stage, when: str) -> None:
    """`tt kill` while it has the task: that goes to another one that fits."""
    moment = MOMENTS[when]
    moment.arrive(stage)
    n = len(stage.given())
    stage.tt.ok("kill", moment.agent, "--now")
    stage.tt.ok("spawn", "other")
    stage.town.go()
    stage.until_state()
    assert stage.given() == [*moment.given[:n], moment.given[n - 1], *moment.given[n:]]
    assert stage.town.agent("other").name in {*stage.item(1).authors, stage.item(1).approved_by} or "verif" in when


def test_its_author_has_gone(stage: Stage) -> None:
    """What is to be put right later goes to another one."""
    moment = MOMENTS["watched"]
    moment.arrive(stage)
    stage.tt.ok("kill", "backend")
    stage.tt.ok("spawn", "other")
    pull = stage.github.pulls["acme/web", 11]
    stage.plays("fix", "touch fixing", "await go", "say pushed")
    (check,) = pull.checks[pull.head]
    check.status, check.conclusion = "completed", "failure"
    stage.until_touched("fixing")
    pull.push()
    pull.check("build")
    stage.town.go()
    stage.until_state()
    assert stage.given() == ["work 1", "verify 1", "review 1", "fix 1", "verify 1", "review 1"]
    assert stage.item(1).authors == ["backend", "other"]
