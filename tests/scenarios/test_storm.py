"""A mission among everything at once: kills of whatever lives, stops and resumes, red builds and rejections."""

from __future__ import annotations

import random
from functools import partial

import pytest

from tests.scenarios.conftest import NewStage
from tests.support.stage import Stage
from tinytown.domain.mission import MissionState
from tinytown.domain.work import WorkStatus

pytestmark = [pytest.mark.slow, pytest.mark.fault]

AGENTS = ("ann", "bob", "reviewer")
ITEMS = 4
BLOWS = 8


def arrange(stage: Stage, dice: random.Random) -> None:
    """Four items that depend on each other somehow; some have pull requests, verifications, rejections, red builds."""
    overrides = []
    for number in range(1, ITEMS + 1):
        after = [other for other in range(1, number) if dice.random() < 0.4]
        words = "".join(f"\nDepends on #{other}." for other in after)
        stage.github.issue("acme/web", number, title=f"Part {number}", body=f"All about it.{words}")
        if dice.random() < 0.6:
            stage.opens(number, stage.pull(10 + number, dice.choice(["success", "failure"])))
        if dice.random() < 0.5:
            stage.plays("review", 'tt mission reject {item} --reason "Not yet"', of=number, turn=1)
        if dice.random() < 0.5:
            overrides.append(f"[[overrides]]\nissue = {number}\nverify = ['true']\n")
    stage.town.spawn("ann", "bob", rounds=100)
    stage.town.spawn("reviewer", role="reviewer", rounds=100)
    chosen = tuple(range(1, ITEMS + 1))
    stage.start(
        "--auto-merge", "--max-parallel", "3", "--manifest", stage.manifest("\n".join(overrides)), issues=chosen
    )


def strike(stage: Stage, dice: random.Random) -> None:
    """One of the things that happen."""
    town = stage.town
    blow = dice.choice(["agent", "agent", "scheduler", "Redis", "supervisor", "stop"])
    if blow == "agent":
        town.kill(town.actor(dice.choice(AGENTS)))
    elif blow == "scheduler" and (scheduler := stage.living_scheduler()) is not None:
        town.kill(scheduler)
    elif blow == "Redis":
        town.kill_redis()
        town.wait(lambda: town.town.store.call(lambda r: r.ping()), "Redis")
    elif blow == "supervisor":
        town.kill_supervisor()
        town.start()
    elif blow == "stop":
        ran = stage.tt("mission", "stop", stage.mission_id[:6])
        assert ran.code == 0 or stage.file.run.state is MissionState.COMPLETED, ran
        if ran.code == 0:
            stage.mission("resume", stage.mission_id[:6])


def mend(stage: Stage) -> None:
    """Builds turn green once somebody was asked to fix them; what needs a person is tried again."""
    for item in stage.file.items.values():
        number = int(item.source_ref.rpartition("#")[2])
        pull = stage.github.pulls.get(("acme/web", 10 + number))
        if pull is not None and stage.told("fix", number) and pull.checks[pull.head][-1].conclusion == "failure":
            pull.push()
            pull.check("build")
        if item.needs_person and item.status is WorkStatus.BLOCKED:
            stage.tt("mission", "retry", item.id[:8])


@pytest.mark.parametrize("seed", [2, 5])
def test_a_storm(new_stage: NewStage, seed: int) -> None:
    """Blow after blow, each at a change of something; then calm: all is done, nothing twice, no gate skipped."""
    dice = random.Random(seed)  # noqa: S311
    stage = new_stage(agent={"retry_delay_s": 0.05, "max_attempts": 100})
    arrange(stage, dice)
    for _ in range(BLOWS):
        stage.town.wait(partial(has_moved, stage, stage.town.town.store.events.last_id(), dice.randrange(1, 8)), "news")
        strike(stage, dice)
        stage.town.check_when_up()
    stage.town.wait(partial(is_over, stage), "the end", 30.0)
    assert {item.status for item in stage.file.items.values()} == {WorkStatus.DONE}


def has_moved(stage: Stage, event_id: str, moves: int) -> bool:
    """So many things have happened since, or all is over."""
    return is_over(stage) or len(stage.town.town.store.events.after(event_id, 0.01)) >= moves


def is_over(stage: Stage) -> bool:
    """The mission has ended, after what people do for it."""
    mend(stage)
    return stage.file.run.state is MissionState.COMPLETED
