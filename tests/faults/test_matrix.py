"""Actor, supervisor or Redis killed with SIGKILL, in each moment of a round: nothing lost, nothing done twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.running_town import RunningTown
from tinytown import processes

pytestmark = pytest.mark.fault


def kill_actor(town: RunningTown) -> None:
    """The supervisor starts a successor."""
    town.kill(town.actor("ann"))


def kill_supervisor(town: RunningTown) -> None:
    """A new one is started at once."""
    town.kill_supervisor()
    town.start()


def kill_redis(town: RunningTown) -> None:
    """The supervisor starts it again."""
    town.kill_redis()


VICTIMS = {"actor": kill_actor, "supervisor": kill_supervisor, "redis": kill_redis}


@pytest.mark.parametrize("victim", VICTIMS)
def test_idle(town: RunningTown, victim: str) -> None:
    """Killed while the agent is idle: it takes work again, and every message sent meanwhile is there."""
    town.spawn("ann")
    before = town.task_done("ann")
    VICTIMS[victim](town)
    after = town.wait(lambda: town.assign("ann"), "a town that accepts work")
    town.wait_done(before, after)
    assert len(town.runs(before)) == len(town.runs(after)) == 1


@pytest.mark.parametrize("victim", VICTIMS)
def test_before_the_claim(town: RunningTown, victim: str) -> None:
    """Killed with a message in the inbox that the actor had no time to see: it is run, once."""
    town.spawn("ann")
    actor = town.actor("ann")
    town.kill(actor, signal.SIGSTOP)
    task = town.assign("ann")
    VICTIMS[victim](town)
    if victim != "actor":
        town.kill(actor, signal.SIGCONT)
    town.wait_done(task)
    assert len(town.runs(task)) == 1


@contextmanager
def stuck_before_the_model(town: RunningTown, agent: str) -> Iterator[Callable[[], None]]:
    """Its next round's log is a pipe without a reader: the actor claims, writes its journal, and gets no further.

    Yields what lets it go on.
    """
    number = len(list(town.town.logs_dir.glob(f"{agent}_round_*.log"))) + 1
    pipe = town.town.logs_dir / f"{agent}_round_{number}.log"
    pipe.parent.mkdir(exist_ok=True)
    os.mkfifo(pipe)
    fds: list[int] = []
    try:
        yield lambda: fds.append(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
    finally:
        for fd in fds:
            os.close(fd)
        pipe.unlink()


@pytest.mark.parametrize("victim", VICTIMS)
def test_between_claim_and_model(town: RunningTown, victim: str) -> None:
    """Killed after the claim, before the model: its messages go back, or the round goes on; it is run once."""
    town.spawn("ann")
    with stuck_before_the_model(town, "ann") as go_on:
        task = town.assign("ann")
        entry = town.wait(lambda: town.journal("ann").round(), "the journal of the claim")
        assert entry.model is None
        town.check()
        VICTIMS[victim](town)
        go_on()
        town.wait_done(task)
        town.wait_idle("ann")
    assert len(town.runs(task)) == 1


@pytest.mark.parametrize("victim", VICTIMS)
def test_during_the_model(town: RunningTown, victim: str) -> None:
    """Killed while the model works: an actor's run is repeated, after its model is dead; the others' run counts."""
    town.spawn("ann")
    task = town.assign("ann", "await go")
    first = town.wait_run(task)
    town.check()
    VICTIMS[victim](town)
    if victim == "actor":
        town.wait_run(task, 2)
        assert first.pid not in {model.pid for model in town.models("ann")}
    town.go()
    town.wait_done(task)
    assert len(town.runs(task)) == (2 if victim == "actor" else 1)
    assert len(town.ends(task)) == 1


@pytest.mark.parametrize("victim", VICTIMS)
def test_between_outcome_and_settle(town: RunningTown, victim: str) -> None:
    """Killed with the outcome in the journal only: whoever comes settles it, and nothing runs again."""
    town.spawn("ann")
    task = town.assign("ann", "await go", "say forty-two")
    town.wait_run(task)
    town.signal_redis(signal.SIGSTOP)
    town.go()
    entry = town.wait(lambda: (e := town.journal("ann").round()) and e.outcome and e, "the outcome in the journal")
    assert entry.outcome.kind == "ok"
    if victim == "redis":
        town.kill_redis()
    elif victim == "supervisor":
        town.kill_supervisor()
        town.signal_redis(signal.SIGCONT)
        town.start()
    else:
        town.kill(town.actor("ann"))
        town.signal_redis(signal.SIGCONT)
    town.wait_done(task)
    assert town.task(task).result == "forty-two"
    assert len(town.runs(task)) == 1


def test_a_whole_town_killed_at_once(town: RunningTown) -> None:
    """Everything killed in one moment: the next supervisor finds it all and finishes it."""
    town.spawn("ann", "bob")
    running, waiting = town.assign("ann", "await go"), [town.assign("ann"), town.assign("bob", "await go")]
    town.wait_run(running)
    town.wait_run(waiting[1])
    models = [*town.models("ann"), *town.models("bob")]
    processes.kill_all([town.supervisor, town.actor("ann"), town.actor("bob"), *models])
    town.kill_redis()
    town.kill_supervisor()
    town.go()
    town.start()
    town.wait_done(running, *waiting)
