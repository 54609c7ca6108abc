"""Reviews: rejected, silent, nobody there to give one; and who may not."""

from __future__ import annotations

import pytest

from tests.scenarios.conftest import NewStage
from tests.support.stage import Stage
from tinytown.domain.mission import MissionState
from tinytown.domain.work import WorkStatus

pytestmark = [pytest.mark.slow, pytest.mark.fault]


def verdicts(stage: Stage) -> list[int]:
    """How the agents' own `tt` commands ended."""
    return [int(mark.what.removeprefix("tt:")) for mark in stage.town.marks() if mark.what.startswith("tt:")]


def test_a_rejected_review(stage: Stage) -> None:
    """It goes back to its author with the whole reason; what is handed in then is reviewed anew."""
    stage.issues("Implement login")
    why = "Errors are swallowed in login(), see the second handler"
    stage.plays("review", f'tt mission reject {{item}} --reason "{why}"', "say It will not do", of=1, turn=1)
    stage.plays("work", "tt mission approve #1", "say done", of=1)
    stage.spawn("backend", "reviewer")
    stage.start(issues=(1,))
    stage.until_state()
    assert stage.given() == ["work 1", "review 1", "fix 1", "review 1"]
    (fix,) = stage.told("fix", 1)
    assert why in fix
    assert "All about implement login." in fix
    assert stage.told("review", 1)[1].count("put right")
    assert verdicts(stage) == [1, 0, 0]  # its author's own approval was refused
    item = stage.item(1)
    assert (item.rounds, item.approved_by, item.authors) == (1, "reviewer", ["backend"])
    assert stage.asked() == []


def test_reviews_without_end(new_stage: NewStage) -> None:
    """After some rounds a person is asked, once; a retry gives fresh ones."""
    stage = new_stage(mission={"watch_interval_secs": 1, "max_rounds": 2})
    stage.issues("Implement login")
    stage.plays("review", 'tt mission reject {item} --reason "Not yet"', of=1)
    stage.plays("review", "tt mission approve {item}", of=1, turn=4)
    stage.spawn("backend", "reviewer")
    stage.start(issues=(1,))
    stage.until(1, WorkStatus.BLOCKED, "was rejected after 2 fixes")
    assert stage.given() == ["work 1", *["review 1", "fix 1"] * 2, "review 1"]
    stage.until_state(MissionState.BLOCKED)
    assert len(stage.asked()) == 1
    stage.mission("retry", "#1")
    stage.until_state()
    assert stage.given()[6:] == ["fix 1", "review 1"]


def test_silence_is_no_approval(stage: Stage) -> None:
    """Nor is prose: the review is asked for again, three times in all; then a person is, and approves."""
    stage.issues("Implement login")
    stage.plays("review", "say Approved! Looks good to me.")
    stage.spawn("backend", "reviewer")
    stage.start(issues=(1,))
    item = stage.until(1, WorkStatus.BLOCKED, "3 reviews ended without a verdict")
    assert stage.given() == ["work 1", *["review 1"] * 3]
    stage.until_state(MissionState.BLOCKED)
    (asked,) = stage.asked()
    assert f"tt mission approve {item.id[:8]}" in asked
    stage.mission("approve", item.id[:8], "--reason", "I have read it")
    stage.until_state()
    assert stage.item(1).approved_by == "user"


@pytest.mark.parametrize("who", ["an agent", "a person"])
def test_nobody_there_to_review(stage: Stage, who: str) -> None:
    """It says so, and asks the conductor once; whoever comes then gets it, or a person approves."""
    stage.issues("Implement login")
    stage.opens(1, pull := stage.pull(11, "success"))
    stage.spawn("backend")
    stage.start("--auto-merge", issues=(1,))
    stage.until(1, WorkStatus.BLOCKED, "no agent may review it")
    stage.until_state(MissionState.BLOCKED)
    before = stage.github.count(path="/pulls/11")
    stage.town.wait(lambda: stage.github.count(path="/pulls/11") > before + 2, "more looks")
    (asked,) = stage.asked()
    shown = stage.shown(1)
    assert shown["remedy"] in asked
    command, _, _more = shown["remedy"].removeprefix("tt ").partition(" (")
    assert stage.given() == ["work 1"]
    if who == "an agent":
        stage.tt.ok(*command.split())
    else:
        stage.mission("approve", "#1")
    stage.until_state()
    assert pull.merged_by == "owner"
    assert stage.given() == ["work 1", *["review 1"] * (who == "an agent")]
    assert stage.item(1).approved_by == ("reviewer" if who == "an agent" else "user")
    assert len(stage.asked()) == 1
