"""A machine that runs short: a Redis that refuses, no descriptors, no Redis at all. The town loses nothing."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys

import pytest

from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.states import AgentState, TaskState
from tinytown.errors import TinytownError
from tinytown.files import FileLock
from tinytown.processes import Identity
from tinytown.services import agents, messages, supervision

pytestmark = pytest.mark.fault


def kid_of(town: RunningTown) -> Identity:
    """The grandchild that `stub: child kid` left."""
    path = town.control / "kid"
    noted = town.wait(lambda: path.exists() and path.read_text(), "the model's child")
    found = processes.identity(int(noted.split()[-2]))
    assert found is not None
    return found


def test_redis_that_refuses_writes(town: RunningTown) -> None:
    """A Redis that refuses every write costs no actor and no run; when it takes writes again all goes on."""
    town.spawn("ann", "bob")
    task = town.assign("ann", "await go", "say forty-two")
    town.wait_run(task)
    actors = [town.actor("ann"), town.actor("bob")]
    redis = town.town.store.redis
    redis.config_set("min-replicas-to-write", "1")
    with pytest.raises(TinytownError):
        town.assign("bob")
    town.go()
    town.wait(lambda: (entry := town.journal("ann").round()) and entry.outcome, "the outcome in the journal")
    town.wait(lambda: redis.info("stats")["total_error_replies"] > 3, "some refusals")
    redis.config_set("min-replicas-to-write", "0")
    town.wait_done(task)
    town.task_done("bob")
    assert len(town.runs(task)) == 1
    assert [town.actor("ann"), town.actor("bob")] == actors


def test_supervisor_without_descriptors(town: RunningTown) -> None:
    """A supervisor that cannot fork goes on with what it has, and starts the agent when it can."""
    town.spawn("ann")
    ann = town.actor("ann")
    pid = town.supervisor.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    town.kill(ann)
    town.wait(lambda: "💥 agent ann" in town.log.read_text(), "the restart to be planned")
    town.wait(lambda: "ann cannot be started" in town.log.read_text(), "a start to fail")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    town.task_done("ann")
    assert town.supervisor.pid == pid


def test_leftovers_end_while_redis_is_away(town: RunningTown) -> None:
    """An actor dies while Redis is away: its model's children end at once, not when Redis is back."""
    town.spawn("ann")
    task = town.assign("ann", "first child kid", "first hang")
    kid = kid_of(town)
    lock = FileLock(town.town.state_dir / "redis.lock")
    assert lock.acquire()
    town.kill_redis()
    town.kill(town.actor("ann"))
    town.wait(lambda: not processes.is_alive(kid), "the end of the model's child", 3)
    lock.release()
    town.wait_done(task)


def test_leftovers_end_with_the_supervisor(town: RunningTown) -> None:
    """An actor dies while Redis is away, and the supervisor is stopped: it leaves no process of a model behind."""
    town.spawn("ann")
    task = town.assign("ann", "first child kid", "first hang")
    kid = kid_of(town)
    lock = FileLock(town.town.state_dir / "redis.lock")
    assert lock.acquire()
    town.kill_redis()
    town.kill(town.actor("ann"))
    town.signal_supervisor(signal.SIGTERM)
    assert town.await_supervisor_end() == 0
    assert not processes.is_alive(kid)
    lock.release()
    town.start()
    town.wait_done(task)


def test_terminal_killed(town: RunningTown) -> None:
    """A foreground agent killed in its round: the supervisor ends its model, and its work waits for a restart."""
    argv = [sys.executable, "-m", "tinytown", "--town", str(town.root), "spawn", "ann", "--foreground"]
    with (
        town.log.open("ab") as log,
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as terminal,
    ):
        town.wait(lambda: "ann" in town.town.store.agents.names(), "ann's record")
        town.wait_idle("ann")
        task = town.assign("ann", "first child kid", "first hang")
        kid = kid_of(town)
        town.check()
        terminal.kill()
    town.wait(lambda: town.agent("ann").state is AgentState.STOPPED, "ann to be stopped")
    assert not processes.is_alive(kid)
    assert town.task(task).state is TaskState.ASSIGNED
    assert len(messages.mailbox(town.town, "ann").messages) == 1
    agents.restart(town.town, "ann")
    town.wait_done(task)
    assert supervision.is_running(town.town)
