"""The mission of the tutorial: design, implement, test; from its start to completed."""

from __future__ import annotations

import pytest

from tests.support.stage import Stage
from tinytown.domain.work import WorkStatus

pytestmark = [pytest.mark.slow, pytest.mark.fault]

TEAM = ("designer", "backend", "tester", "reviewer")
IN_ORDER = ["work 1", "review 1", "work 2", "review 2", "work 3", "review 3"]


def prepare(stage: Stage) -> None:
    """Three issues, each with a pull request whose checks are green; somebody for each."""
    stage.issues("Design auth API", "Implement auth endpoints", "Write auth tests")
    for number in (1, 2, 3):
        stage.opens(number, stage.pull(10 + number, "success"))
    for name in TEAM:
        stage.tt.ok("spawn", name, "--role", name)


def test_people_merge(stage: Stage) -> None:
    """Approved by the reviewer's own command, then merged on GitHub by a person, one after the other."""
    prepare(stage)
    stage.start(issues=(1, 2, 3))
    for number in (1, 2, 3):
        stage.until(number, WorkStatus.BLOCKED, "it waits for its merge")
        assert f"/pull/{10 + number}" in (stage.item(number).remedy or "")
        stage.github.pulls["acme/web", 10 + number].merge(by="zoe")
        done = stage.until(number, WorkStatus.DONE)
        assert done.authors == [TEAM[number - 1]]
        assert done.approved_by == "reviewer"
    stage.until_state()
    assert stage.given() == IN_ORDER
    assert stage.github.count(method="PUT") == 0
    (work,) = stage.told("work", 2)
    assert "All about implement auth endpoints." in work
    assert "Opened http" in work  # what it builds on said so
    assert [e["message"] for e in stage.events("mission_completed")] == ["3 items done"]
    assert "Completed" in stage.mission("status", "--run", stage.mission_id[:6])


def test_the_town_merges(stage: Stage) -> None:
    """With --auto-merge nobody has to do anything."""
    prepare(stage)
    stage.start("--auto-merge", issues=(1, 2, 3))
    stage.until_state()
    assert stage.given() == IN_ORDER
    assert stage.github.count(method="PUT", path="/repos/acme/web/pulls/1[123]/merge$") == 3
    assert {pull.merged_by for pull in stage.github.pulls.values()} == {"owner"}
