"""Pull requests that do not just turn green: a red build, a flaky one, one that a person closes."""

from __future__ import annotations

import pytest

from tests.support.stage import Stage
from tinytown.domain.mission import MissionState
from tinytown.domain.watch import WatchStatus
from tinytown.domain.work import WorkStatus

pytestmark = [pytest.mark.slow, pytest.mark.fault]

STEPS = (("Set up", "success"), ("Run tests", "failure"))


def some_looks(stage: Stage, pull: int = 11) -> None:
    """GitHub was asked about the pull request a few times more."""
    before = stage.github.count(path=f"/pulls/{pull}$")
    stage.town.wait(lambda: stage.github.count(path=f"/pulls/{pull}$") >= before + 2, "more looks")


def test_a_red_build(stage: Stage) -> None:
    """One fix for one red build, however often it is looked at; a new red build makes a second."""
    stage.issues("Implement login")
    stage.opens(1, pull := stage.pull(11))
    red = pull.check("unit-tests", "failure", steps=STEPS, log="collecting\nE  AssertionError: 401 != 200\n")
    for turn in (1, 2):
        stage.plays("fix", f"touch fixing{turn}", f"await pushed{turn}", "say Pushed it", of=1, turn=turn)
    stage.spawn("backend", "reviewer")
    stage.start("--auto-merge", issues=(1,))
    stage.until_touched("fixing1")
    some_looks(stage)
    assert stage.given() == ["work 1", "fix 1"]
    (told,) = stage.told("fix", 1)
    for part in (pull.url, "unit-tests", "Run tests", "AssertionError: 401 != 200", str(red.id)):
        assert part in told
    pull.push()
    pull.check("unit-tests", "failure", steps=STEPS, log="E  AssertionError: 500 != 200\n")
    stage.town.go("pushed1")
    stage.until_touched("fixing2")
    some_looks(stage)
    assert stage.given() == ["work 1", "fix 1", "fix 1"]
    assert "500 != 200" in stage.told("fix", 1)[1]
    assert "401 != 200" not in stage.told("fix", 1)[1]
    pull.push()
    running = pull.check("unit-tests", None)
    stage.town.go("pushed2")
    stage.until_given("review 1")
    stage.until(1, WorkStatus.BLOCKED, "checks are running")  # which is not green
    assert pull.merged_by is None
    running.status, running.conclusion = "completed", "success"
    stage.until_state()
    assert stage.given() == ["work 1", "fix 1", "fix 1", "review 1"]
    assert stage.item(1).rounds == 2


def test_a_flaky_build(stage: Stage) -> None:
    """It turns green by itself before anybody has begun to fix it: the fix is taken back."""
    stage.issues("Implement login")
    stage.opens(1, pull := stage.pull(11))
    check = pull.check("build", None)
    stage.spawn("backend", "reviewer")
    stage.start("--auto-merge", issues=(1,))
    stage.until(1, WorkStatus.BLOCKED, "checks are running")
    busy = stage.town.assign("backend", "touch busy", "await free")
    stage.until_touched("busy")
    check.status, check.conclusion = "completed", "failure"
    assert stage.until_given("fix 1").status is WorkStatus.ASSIGNED
    pull.check("build", "success")
    stage.until_state()
    stage.town.go("free")
    stage.town.wait_done(busy)
    assert stage.told("fix", 1) == []
    assert stage.given() == ["work 1", "review 1", "fix 1"]
    assert stage.item(1).rounds == 0


def test_a_flaky_build_that_is_being_fixed(stage: Stage) -> None:
    """Whoever is at it ends; there is nothing to do, and nobody is asked for more."""
    stage.issues("Implement login")
    stage.opens(1, pull := stage.pull(11, "failure"))
    stage.plays("fix", "touch fixing", "await go", "say It is flaky, I ran it again")
    stage.spawn("backend", "reviewer")
    stage.start("--auto-merge", issues=(1,))
    stage.until_touched("fixing")
    pull.check("build", "success")
    some_looks(stage)
    stage.town.go()
    stage.until_state()
    assert stage.given() == ["work 1", "fix 1", "review 1"]


def test_closed_by_a_person(stage: Stage) -> None:
    """A person said no: it waits for one, asks once, and no watch goes on; a retry begins anew."""
    stage.issues("Implement login", "Implement logout")
    stage.opens(1, first := stage.pull(11, "success"))
    stage.spawn("backend", "reviewer")
    stage.start(issues=(1, 2))
    stage.until(1, WorkStatus.BLOCKED, "it waits for its merge")
    first.close(by="zoe")
    item = stage.until(1, WorkStatus.BLOCKED, "was closed by zoe without a merge")
    assert item.needs_person
    stage.until_state(MissionState.BLOCKED)
    asks = [text for text in stage.until_asked() if "was closed by zoe" in text]
    assert len(asks) == 1
    assert f"tt mission retry {item.id[:8]}" in asks[0]
    assert {watch.status for watch in stage.file.watches.values()} == {WatchStatus.DONE}
    assert stage.item(2).status is WorkStatus.PENDING
    second = stage.pull(12, "success")
    stage.opens(1, second)
    stage.mission("retry", "#1")
    stage.until(1, WorkStatus.BLOCKED, "it waits for its merge")
    second.merge(by="zoe")
    stage.until_state()
    assert stage.given() == ["work 1", "review 1", "work 1", "review 1", "work 2", "review 2"]
    assert [text for text in stage.asked() if "was closed" in text] == asks


def test_closed_and_given_up(stage: Stage) -> None:
    """The other way on: the item is cancelled, and what depends on it says so."""
    stage.issues("Implement login", "Implement logout")
    stage.opens(1, pull := stage.pull(11, "success"))
    stage.spawn("backend", "reviewer")
    stage.start(issues=(1, 2))
    stage.until(1, WorkStatus.BLOCKED, "it waits for its merge")
    pull.close()
    stage.until(1, WorkStatus.BLOCKED, "was closed")
    stage.mission("cancel", "#1")
    stage.town.wait(lambda: "which was cancelled" in (stage.file.run.blocked_reason or ""), "the reason")
    assert f"tt mission cancel {stage.item(2).id[:8]}" in stage.shown(2)["remedy"]
    stage.mission("cancel", "#2")
    stage.until_state()
    assert stage.given() == ["work 1", "review 1"]
