"""Redis is killed in mid-mission and comes again: the mission goes on as if nothing had been."""

from __future__ import annotations

import pytest

from tests.support.moments import MOMENTS
from tests.support.stage import Stage
from tinytown.domain.mission import MissionState

pytestmark = [pytest.mark.slow, pytest.mark.fault]


@pytest.mark.parametrize("when", ["work", "review", "fix assigned", "watched"])
def test_killed_at(stage: Stage, when: str) -> None:
    """Agents and scheduler wait for it; nothing is given or done twice, and no watch is forgotten."""
    moment = MOMENTS[when]
    moment.arrive(stage)
    watches = set(stage.file.watches)
    scheduler = stage.scheduler()
    stage.town.kill_redis()
    stage.town.go()
    for check in stage.github.pulls["acme/web", 11].checks.values():
        for each in check:
            each.status, each.conclusion = "completed", "success"
    stage.town.wait(lambda: stage.town.town.store.call(lambda r: r.ping()), "Redis")
    stage.town.wait(
        lambda: stage.living_scheduler() == scheduler or stage.file.run.state is MissionState.COMPLETED,
        "the scheduler, or (that quickly) the end",
    )
    stage.until_state()
    assert stage.given() == list(moment.given)
    assert watches <= set(stage.file.watches)
    assert stage.github.pulls["acme/web", 11].merged_by == "owner"
