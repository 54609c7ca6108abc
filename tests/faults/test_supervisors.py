"""A supervisor that is told to go, killed, or started twice: rounds end as they should, and nothing is run twice."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.faults.conftest import NewTown
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.files import FileLock
from tinytown.services import supervision

pytestmark = pytest.mark.fault

SHORT_GRACE = {"grace_s": 0.3, "backoff_s": 0.05}


def uncharged(town: RunningTown, task: Task) -> bool:
    """The task waits for its next run, and no attempt was counted."""
    agent_id = town.task(task).assigned_to
    assert agent_id is not None
    counted = town.town.store.call(lambda r: r.hvals(town.town.store.keys.attempts(agent_id)))
    rounds = town.town.store.call(lambda r: r.hget(town.town.store.keys.stats(agent_id), "rounds"))
    return set(counted) <= {"0"} and rounds is None and town.task(task).state is TaskState.ASSIGNED


def is_away(town: RunningTown) -> bool:
    """The supervisor has noticed that Redis is away."""
    status = supervision.status(town.town)
    return status is not None and status["redis"] == "away"


def test_stop_finishes_the_running_rounds(town: RunningTown) -> None:
    """TERM: the rounds under way end and are settled, no new one begins, exit 0."""
    town.spawn("ann", "bob")
    running, waiting, idle = town.assign("ann", "await go"), town.assign("ann"), town.actor("bob")
    town.wait_run(running)
    town.signal_supervisor(signal.SIGTERM)
    town.wait(lambda: not processes.is_alive(idle), "the idle agent to leave")
    assert processes.is_alive(town.actor("ann"))
    town.go()
    assert town.await_supervisor_end() == 0
    town.wait_done(running)
    town.settle()
    assert town.task(waiting).state is TaskState.ASSIGNED
    town.start()
    town.wait_done(waiting)
    assert len(town.runs(running)) == len(town.runs(waiting)) == 1


def test_term_five_times(town: RunningTown) -> None:
    """More TERMs change nothing: the round is finished, exit 0."""
    town.spawn("ann")
    task = town.assign("ann", "await go")
    town.wait_run(task)
    town.signal_supervisor(*[signal.SIGTERM] * 5)
    town.wait(lambda: (supervision.status(town.town) or {}).get("stopping"), "the supervisor to be stopping")
    town.signal_supervisor(*[signal.SIGTERM] * 5)
    town.go()
    assert town.await_supervisor_end() == 0
    town.wait_done(task)
    town.start()
    town.task_done("ann")
    assert len(town.runs(task)) == 1


def test_second_int_ends_at_once(town: RunningTown) -> None:
    """INT twice: models are ended now, their messages are back and uncharged; the next start runs them."""
    town.spawn("ann", "bob")
    tasks = [town.assign("ann", "first hang"), town.assign("bob", "first ignore-term", "first hang")]
    for task in tasks:
        town.wait_run(task)
    town.signal_supervisor(signal.SIGINT)
    town.wait(lambda: (supervision.status(town.town) or {}).get("stopping"), "the supervisor to be stopping")
    town.signal_supervisor(signal.SIGINT)
    assert town.await_supervisor_end() == 0
    town.settle()
    assert all(uncharged(town, task) for task in tasks)
    town.start()
    town.wait_done(*tasks)


def test_grace_exceeded(new_town: NewTown) -> None:
    """A round that outlasts the grace time is ended: its messages are back, uncharged, and run at the next start."""
    town = new_town(supervisor=SHORT_GRACE)
    town.spawn("ann")
    task = town.assign("ann", "first hang")
    town.wait_run(task)
    town.signal_supervisor(signal.SIGTERM)
    assert town.await_supervisor_end() == 0
    town.settle()
    assert uncharged(town, task)
    town.start()
    town.wait_done(task)
    assert len(town.runs(task)) == 2


def test_stop_with_an_actor_that_stands_still(new_town: NewTown) -> None:
    """An actor that does not go is killed after the grace time, its model with it; the round counts as stopped."""
    town = new_town(supervisor=SHORT_GRACE)
    town.spawn("ann")
    task = town.assign("ann", "first child kid", "first hang")
    town.wait_run(task)
    town.kill(town.actor("ann"), signal.SIGSTOP)
    town.signal_supervisor(signal.SIGTERM)
    assert town.await_supervisor_end() == 0
    assert not town.models("ann")
    town.check()
    town.start()
    town.wait_done(task)
    town.wait_idle("ann")
    assert len(town.runs(task)) == 2


def test_adoption(town: RunningTown) -> None:
    """A supervisor dies: the run goes on under the next one, is settled once, and a successor takes over after it."""
    town.spawn("ann")
    running, waiting = town.assign("ann", "await go"), town.assign("ann")
    run = town.wait_run(running)
    actor, epoch = town.actor("ann"), town.agent("ann").epoch
    town.kill_supervisor()
    town.check()
    town.start()
    town.wait(lambda: (supervision.status(town.town) or {})["children"][0]["adopted"], "the adoption")
    assert town.actor("ann") == actor
    assert processes.identity(run.pid) is not None
    town.go()
    town.wait_done(running, waiting)
    assert town.actor("ann") != actor
    assert town.agent("ann").epoch == epoch + 1
    assert len(town.runs(running)) == len(town.runs(waiting)) == len(town.events("agent_started")) - 1 == 1


def test_adopted_actor_is_killed(town: RunningTown) -> None:
    """An adopted actor that dies leaves no model behind, and its task is run again by its successor."""
    town.spawn("ann")
    task = town.assign("ann", "first child kid", "first hang")
    town.wait_run(task)
    town.wait((town.control / "kid").exists, "the model's child")
    town.kill_supervisor()
    town.start()
    town.wait(lambda: (supervision.status(town.town) or {})["children"][0]["adopted"], "the adoption")
    town.kill(town.actor("ann"))
    town.wait_done(task)
    assert len(town.runs(task)) == 2


def test_stop_reaches_an_adopted_actor(town: RunningTown) -> None:
    """TERM to the next supervisor waits for an adopted actor's round as for any other."""
    town.spawn("ann")
    task = town.assign("ann", "await go")
    town.wait_run(task)
    actor = town.actor("ann")
    town.kill_supervisor()
    town.start()
    town.wait(lambda: (supervision.status(town.town) or {})["children"][0]["adopted"], "the adoption")
    town.signal_supervisor(signal.SIGTERM)
    town.wait(lambda: (supervision.status(town.town) or {}).get("stopping"), "the supervisor to be stopping")
    assert processes.is_alive(actor)
    town.go()
    assert town.await_supervisor_end() == 0
    assert not processes.is_alive(actor)
    town.wait_done(task)


def test_actor_and_supervisor_killed(town: RunningTown) -> None:
    """Both die: the next supervisor ends what the model left, then its task is run again."""
    town.spawn("ann")
    task = town.assign("ann", "first child kid", "first hang")
    town.wait((town.control / "kid").exists, "the model's child")
    actor = town.actor("ann")
    town.kill_supervisor()
    town.kill(actor)
    town.start()
    town.wait_done(task)
    assert len(town.runs(task)) == 2


def test_redis_away_during_the_model(town: RunningTown) -> None:
    """A model that ends while Redis is away: its outcome waits in the journal and is settled when Redis is back."""
    town.spawn("ann", "bob")
    task = town.assign("ann", "await go", "say forty-two")
    town.wait_run(task)
    actors = [town.actor("ann"), town.actor("bob")]
    lock = FileLock(town.town.state_dir / "redis.lock")
    assert lock.acquire()  # nobody can start it
    town.kill_redis()
    town.wait(lambda: is_away(town), "the supervisor to notice")
    town.go()
    town.wait(lambda: (entry := town.journal("ann").round()) and entry.outcome, "the outcome in the journal")
    lock.release()
    town.wait_done(task)
    assert town.task(task).result == "forty-two"
    assert [town.actor("ann"), town.actor("bob")] == actors
    assert len(town.runs(task)) == 1


def test_actor_dies_while_redis_is_away(town: RunningTown) -> None:
    """Its outcome is settled by its successor when Redis is back; nothing runs again."""
    town.spawn("ann")
    task = town.assign("ann", "await go", "say forty-two")
    town.wait_run(task)
    lock = FileLock(town.town.state_dir / "redis.lock")
    assert lock.acquire()
    town.kill_redis()
    town.go()
    town.wait(lambda: (entry := town.journal("ann").round()) and entry.outcome, "the outcome in the journal")
    town.kill(town.actor("ann"))
    lock.release()
    town.wait_done(task)
    assert len(town.runs(task)) == 1


def test_stop_while_redis_is_away(town: RunningTown) -> None:
    """The supervisor can be stopped without Redis: the round ends, its outcome is settled at the next start."""
    town.spawn("ann", "bob")
    task = town.assign("ann", "await go", "say forty-two")
    town.wait_run(task)
    lock = FileLock(town.town.state_dir / "redis.lock")
    assert lock.acquire()
    town.kill_redis()
    town.wait(lambda: is_away(town), "the supervisor to notice")
    town.signal_supervisor(signal.SIGTERM)
    town.go()
    assert town.await_supervisor_end() == 0
    lock.release()
    town.start()
    town.wait_done(task)
    assert town.task(task).result == "forty-two"
    assert len(town.runs(task)) == 1


def test_frozen_redis(town: RunningTown) -> None:
    """A Redis that accepts and does not answer costs no agent its life, and no round."""
    town.spawn("ann", "bob")
    task = town.assign("ann", "await go")
    town.wait_run(task)
    actors = [town.actor("ann"), town.actor("bob")]
    town.signal_redis(signal.SIGSTOP)
    town.wait(lambda: is_away(town), "the supervisor to notice")
    town.go()
    town.wait(lambda: (entry := town.journal("ann").round()) and entry.outcome, "the outcome in the journal")
    town.signal_redis(signal.SIGCONT)
    town.wait_done(task)
    town.task_done("bob")
    assert [town.actor("ann"), town.actor("bob")] == actors


def test_a_second_supervisor_is_refused(town: RunningTown) -> None:
    """One supervisor per town: another one fails and disturbs nothing."""
    town.spawn("ann")
    first = town.supervisor
    with town.log.open("ab") as log:
        assert subprocess.run(town.supervise, stdout=log, stderr=log, timeout=20, check=False).returncode != 0
    assert town.supervisor == first
    town.task_done("ann")
