"""Moments at which something could be run twice, killed by mistake, or forgotten. See also test_spoilt_towns.py."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import NewTown
from tests.support.running_town import RunningTown
from tests.support.waiting import wait_until
from tinytown import clock, processes
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict
from tinytown.files import FileLock
from tinytown.processes import Identity
from tinytown.services import agents, backlog, supervision, tasks, waiting
from tinytown.services.caller import Caller

pytestmark = pytest.mark.fault

TT = [sys.executable, "-m", "tinytown"]


@pytest.fixture
def quiet(tmp_path: Path, stubborn: Path) -> Iterator[RunningTown]:
    """A town without a supervisor. A test that passed has ended what it started, but the supervisor and Redis."""
    made = RunningTown(tmp_path / "quiet", stubborn)
    try:
        yield made
    finally:
        made.close()


def end_in_order(town: RunningTown) -> None:
    """The invariants, then the end of a supervisor that somebody else started, and of everything."""
    town.check()
    supervision.stop(town.town, 10)
    town.settle()
    town.stop()


@contextmanager
def tt(town: RunningTown, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """This command of `tt`, in the background."""
    with (
        town.log.open("ab") as log,
        subprocess.Popen(
            [*TT, "--town", str(town.root), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def in_terminal(town: RunningTown, name: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """An agent in the foreground, idle."""
    with tt(town, "spawn", name, "--foreground", *options) as terminal:
        town.wait(lambda: name in town.town.store.agents.names(), f"the record of {name}")
        town.wait_idle(name)
        yield terminal


# What a model starts


def test_a_model_that_starts_the_supervisor(quiet: RunningTown) -> None:
    """A `tt spawn` in a foreground agent's round starts supervisor and agent, and they outlive the round."""
    with in_terminal(quiet, "boss", "--max-rounds", "1") as terminal:
        quiet.assign("boss", f"run {sys.executable} -m tinytown spawn helper")
        assert terminal.wait(15) == 0
    assert supervision.is_running(quiet.town)
    helper = quiet.actor("helper")
    quiet.task_done("helper")
    assert quiet.actor("helper") == helper
    end_in_order(quiet)


def test_a_model_that_starts_redis(quiet: RunningTown) -> None:
    """A Redis that a `tt` in a round had to start outlives the round, which is settled in it."""
    with in_terminal(quiet, "solo", "--max-rounds", "1") as terminal:
        task = quiet.assign("solo", "await go", f"run {sys.executable} -m tinytown send solo hello")
        quiet.wait_run(task)
        quiet.kill_redis()
        quiet.go()
        assert terminal.wait(15) == 0
    server = quiet.redis.identity()
    assert processes.is_alive(server)
    quiet.wait_done(task)
    assert len(quiet.runs(task)) == 1
    end_in_order(quiet)


def test_a_model_that_stops_the_town(town: RunningTown) -> None:
    """`tt stop --all` in a round returns at once; the round ends well, then everything does."""
    town.spawn("ann", "bob")
    task = town.assign("ann", f"run {sys.executable} -m tinytown stop --all", "say fine")
    assert town.await_supervisor_end(8) == 0
    assert len(town.ends(task)) == 1
    town.wait(lambda: town.town.ensure_redis() or True, "Redis")
    assert town.task(task).state is TaskState.COMPLETED
    assert town.agent("bob").state is AgentState.STOPPED
    town.check()


# A task's next life


def test_a_retry_while_the_run_goes_on(town: RunningTown) -> None:
    """A task that is cancelled and given to another agent waits there for the end of its stubborn run."""
    town.spawn("ann", "bob")
    task = town.assign("ann", "first ignore-term", "first hang")
    first = town.wait_run(task)
    model = processes.identity(first.pid)
    tasks.cancel(town.town, task.id, None, Caller())
    tasks.retry(town.town, task.id, Caller(), "bob")
    assert not processes.is_alive(model)
    town.wait_done(task)
    assert town.task(task).assigned_to == town.agent("bob").id
    assert len(town.runs(task)) == 2


def test_a_retry_while_the_run_cannot_be_ended(town: RunningTown, monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that stands still cannot end its run: the retry elsewhere is refused until it has."""
    monkeypatch.setattr(tasks, "RUN_ENDS_WITHIN_S", 0.1)
    town.spawn("ann", "bob")
    task = town.assign("ann", "first hang")
    town.wait_run(task)
    actor = town.actor("ann")
    town.kill(actor, signal.SIGSTOP)
    tasks.cancel(town.town, task.id, None, Caller())
    with pytest.raises(Conflict):
        tasks.retry(town.town, task.id, Caller(), "bob")
    town.check()
    town.kill(actor, signal.SIGCONT)
    town.wait_idle("ann")
    tasks.retry(town.town, task.id, Caller(), "bob")
    town.wait_done(task)


def test_a_task_that_is_parked_again_is_taken_at_once(town: RunningTown) -> None:
    """An idle agent of the role takes a task that goes back to the backlog."""
    parked = backlog.add(town.town, "do it", ["worker"], Caller())
    tasks.cancel(town.town, parked.id, None, Caller())
    town.spawn("ann", role="worker")
    town.wait_idle("ann")
    tasks.retry(town.town, parked.id, Caller())
    town.wait_done(parked, timeout=3)


# A Redis that forgets


@contextmanager
def forgetting(town: RunningTown, at: str) -> Iterator[Task]:
    """A task runs; when the block ends, Redis is as it was in that moment of it."""
    task = town.assign("ann", "await go", "say forty-two")
    town.wait_run(task)
    kept, data = town.root / at, town.town.state_dir / "appendonlydir"
    town.wait(lambda: town.town.store.read(("WAITAOF", 1, 0, 1000))[0][0], "the disk")
    shutil.copytree(data, kept)
    yield task
    lock = FileLock(town.town.state_dir / "redis.lock")
    assert lock.acquire()
    town.kill_redis()
    shutil.rmtree(data)
    kept.rename(data)
    lock.release()


@pytest.mark.parametrize("dies", [False, True])
def test_the_server_lost_a_settlement(new_town: NewTown, *, dies: bool) -> None:
    """A task that was done, and that Redis knows as running again, is done by its journal: it is not run again."""
    town = new_town(redis={"appendfsync": "everysec"})
    town.spawn("ann")
    with forgetting(town, "in mid-round") as task:
        town.go()
        town.wait_done(task)
        town.wait_idle("ann")
        if dies:
            town.kill(town.actor("ann"))
    town.wait_done(task)
    assert town.task(task).result == "forty-two"
    town.task_done("ann")
    assert len(town.runs(task)) == 1


# Standing still, and going on


def stand_still(seconds: float) -> None:
    """Until that time has passed."""
    until = clock.monotonic() + seconds
    wait_until(lambda: clock.monotonic() > until, seconds + 5)


@pytest.mark.slow
def test_a_town_that_stood_still(new_town: NewTown) -> None:
    """A machine that slept: nobody is called hung because he could not beat, and the round goes on."""
    town = new_town(supervisor={"hung_s": 5.0})
    town.spawn("ann", "bob")
    task = town.assign("ann", "await go")
    town.wait_run(task)
    actors = [town.actor("ann"), town.actor("bob")]
    everybody = [town.supervisor, *actors]
    processes.kill_all(everybody, signal.SIGSTOP)
    stand_still(6.5)
    processes.kill_all(everybody, signal.SIGCONT)
    town.go()
    town.wait_done(task)
    town.task_done("bob")
    stand_still(1.1)  # a pass of the supervisor
    assert [town.actor("ann"), town.actor("bob")] == actors
    assert "hung" not in town.log.read_text()
    assert len(town.runs(task)) == 1


@contextmanager
def orphan_that_stands_still(town: RunningTown) -> Iterator[Identity]:
    """An actor that could not see its supervisor die, and that its agent's user wants to go. Then a new supervisor."""
    town.spawn("ann")
    actor = town.actor("ann")
    town.kill(actor, signal.SIGSTOP)
    town.kill_supervisor()
    agents.kill(town.town, "ann")
    town.start()
    yield actor


def test_an_orphan_is_adopted_though_it_is_to_go(town: RunningTown) -> None:
    """A new supervisor takes it into its care, and writes its last record when it has ended."""
    with orphan_that_stands_still(town) as actor:
        town.wait(lambda: supervision.status(town.town)["children"], "the adoption")  # type: ignore[index]
        town.kill(actor, signal.SIGCONT)
        assert waiting.for_agent(town.town, "ann", 5) is AgentState.STOPPED
        town.wait(lambda: not processes.is_alive(actor), "the end of the actor", 2)


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_an_orphan_that_does_not_go_is_ended(town: RunningTown) -> None:
    """When its lease has lapsed it counts as hung: it is killed, and its agent is stopped."""
    with orphan_that_stands_still(town) as actor:
        assert waiting.for_agent(town.town, "ann", 60) is AgentState.STOPPED
        assert not processes.is_alive(actor)


# Beginnings


def test_a_command_holds_the_supervisors_lock(quiet: RunningTown) -> None:
    """A spawn meets a lock of somebody who is no supervisor: it waits for it and succeeds."""
    quiet.town.ensure_redis()
    lock = quiet.town.supervisor_lock
    assert lock.acquire()
    with tt(quiet, "spawn", "ann") as spawning:
        quiet.wait(quiet.town.store.agents.wishes, "the wish")
        until = clock.monotonic() + 0.7
        wait_until(lambda: spawning.poll() is not None or clock.monotonic() > until)
        lock.release()
        assert spawning.wait(10) == 0
    quiet.task_done("ann")
    end_in_order(quiet)


DIES_AFTER_ITS_WISH = """
import os, signal, sys
from tinytown.services import agents
from tinytown.town import open_town
agents.spawn(open_town(sys.argv[1]), agents.SpawnRequest("ann", foreground=True))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("supervised", [False, True])
def test_a_terminal_killed_before_its_actor_was_up(quiet: RunningTown, *, supervised: bool) -> None:
    """Only its wish is there: the name can be spawned again, with or without a supervisor."""
    if supervised:
        quiet.start()
    assert subprocess.run([sys.executable, "-c", DIES_AFTER_ITS_WISH, quiet.root], check=False).returncode < 0
    if supervised:
        quiet.wait(lambda: quiet.agent("ann").state is AgentState.STOPPED, "the end of what is left", 4)
    with tt(quiet, "spawn", "ann") as spawning:
        assert spawning.wait(10) == 0
    quiet.task_done("ann")
    end_in_order(quiet)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, for a host name of its own")
def test_another_host_name(town: RunningTown) -> None:
    """A town with a Redis of its own stays where it is: renamed, the machine still runs its agents."""
    town.spawn("ann")
    town.task_done("ann")
    town.signal_supervisor(signal.SIGTERM)
    assert town.await_supervisor_end() == 0
    renamed = ("unshare", "--uts", "sh", "-c", 'hostname newbox; exec "$0" "$@"')
    if subprocess.run([*renamed, "true"], capture_output=True, check=False).returncode:
        pytest.skip("host names of one's own are not allowed here")
    town.start(*renamed)
    town.task_done("ann")
    done = subprocess.run([*renamed, *TT, "--town", town.root, "restart", "ann"], capture_output=True, check=False)
    assert b"still active" in done.stderr
    agents.kill(town.town, "ann")
    assert waiting.for_agent(town.town, "ann", 5) is AgentState.STOPPED
