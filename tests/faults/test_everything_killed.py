"""Every process of a town killed at one instant, Redis and running commands too; then a user types `tt` again.

`KILL_SEEDS=50` (how many moments, default 2) looks at more of them; `KILL_FIRST=7` begins elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal

import pytest

from tests.faults.conftest import NewTown
from tests.support.cli import Tt
from tests.support.power.failure import kill_everything
from tests.support.power.writers import ROLE, Writers, lost
from tests.support.running_town import RunningTown
from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.domain.outcome import OutcomeKind
from tinytown.processes import Identity
from tinytown.services import supervision

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(90)]

FIRST = int(os.environ.get("KILL_FIRST", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("KILL_SEEDS", "2")))
NAMES = ("ann", "bob", "cid")
SETTINGS = {"agent": {"max_attempts": 1000, "retry_delay_s": 0.001}}


def type_again(town: RunningTown, tt: Tt, *, first_start: bool) -> None:
    """What somebody types who finds nothing running: `tt start`, who wants to be sure, then the supervisor."""
    with contextlib.ExitStack() as stack:
        if first_start:
            stack.enter_context(tt.running("start"))
            wait_until(town.redis.identity, what="Redis")
        assert "started" in tt.ok("supervise", "--detach").out


def hand_over(town: RunningTown) -> None:
    """The supervisor of `--detach` leaves in order; one that the test can wait for takes its place."""
    supervision.stop(town.town, 20)
    town.start()


def recorded(town: RunningTown) -> dict[str, int]:
    """Task -> runs so far, of the tasks whose run has ended well and is in a journal, settled or not."""
    entries = [entry for name in NAMES if (entry := town.journal(name).last_round()) is not None]
    done = [entry.task_id for entry in entries if entry.outcome and entry.outcome.kind is OutcomeKind.OK]
    return {task_id: runs_of(town, task_id) for task_id in done if task_id}


def runs_of(town: RunningTown, task_id: str) -> int:
    return sum(mark.what == "start" and mark.task_id == task_id for mark in town.marks())


@pytest.mark.parametrize("seed", SEEDS)
def test_at_a_random_moment(new_town: NewTown, seed: int) -> None:
    """Under load: all that was accepted is there, what was recorded as done runs no more, the rest is done."""
    choice = random.Random(seed)  # noqa: S311  no secret
    town = new_town(**SETTINGS)
    town.spawn(*NAMES, rounds=10_000, role=ROLE)
    writers = Writers(town, NAMES, seed)
    with writers.at_work():
        writers.wait_for(20)
        select.select([], [], [], choice.uniform(0, 0.6))  # a random moment, not a wait for something
        kill_everything(town)
    accepted, done = writers.accepted(), recorded(town)
    assert not town.processes
    type_again(town, Tt(town.root, town=town.root), first_start=seed % 2 == 1)
    assert lost(town.town, accepted) == []
    town.accepted = [each.id for each in accepted if each.what == "message"]
    town.check()
    hand_over(town)
    town.settle()
    assert {task_id: runs_of(town, task_id) for task_id in done} == done
    ended = [e["task_id"] for e in town.events("task_completed")]
    assert len(ended) == len(set(ended))


def test_what_the_models_left_behind(new_town: NewTown) -> None:
    """All but what models started outside of their sessions: that is ended, and only then their tasks run again."""
    town = new_town()
    tt = Tt(town.root, town=town.root)
    town.spawn(*NAMES)
    given = [town.assign(name, f"first child {name}-kid", "first hang") for name in NAMES]
    for task in given:
        town.wait_run(task)
    kids: list[Identity] = [town.wait(lambda name=name: kid_of(town, name), f"the kid of {name}") for name in NAMES]
    with tt.running("wait", given[0].id), tt.running("logs", "ann", "--follow"):
        kill_everything(town, but_not=kids)
    assert town.processes == set(kids)
    type_again(town, tt, first_start=False)
    town.wait_done(*given)
    assert not any(map(processes.is_alive, kids))
    assert [runs_of(town, task.id) for task in given] == [2, 2, 2]
    hand_over(town)


def kid_of(town: RunningTown, name: str) -> Identity | None:
    """The model's child in a session of its own."""
    path = town.control / f"{name}-kid"
    line = path.read_text() if path.exists() else ""
    return processes.identity(int(line.split()[3])) if line.endswith("\n") else None


def test_again_and_again(new_town: NewTown) -> None:
    """Killed five times while it is coming up, by whatever command; what was accepted first is done once."""
    choice = random.Random(FIRST)  # noqa: S311  no secret
    town = new_town(**SETTINGS)
    tt = Tt(town.root, town=town.root)
    town.spawn("ann")
    kept = town.wait(lambda: town.actor("ann"), "the actor")
    town.kill(kept, signal.SIGSTOP)
    task = town.assign("ann", "say fine")
    kill_everything(town)
    for command in (["supervise", "--detach"], ["start"], ["status"], ["restart", "ann"], ["supervise"]):
        with tt.running(*command):
            select.select([], [], [], choice.uniform(0, 0.8))
            kill_everything(town)
    type_again(town, tt, first_start=True)
    town.wait_done(task)
    assert town.task(task).result == "fine"
    hand_over(town)
