"""A model that dies, hangs, floods, fails or leaves children: the round ends, the task goes on, nothing outlives it."""

from __future__ import annotations

import pytest

from tests.faults.conftest import NewTown
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.processes import Identity
from tinytown.services import messages, tasks
from tinytown.services.caller import Caller

pytestmark = pytest.mark.fault


def child_of(town: RunningTown, name: str = "kid") -> Identity:
    """The grandchild that `stub: child NAME` left, alive."""
    path = town.control / name
    noted = town.wait(lambda: path.exists() and path.read_text(), "the model's child")
    found = processes.identity(int(noted.split()[-2]))
    assert found is not None
    return found


def rounds(town: RunningTown, agent: str) -> int:
    """How many rounds the agent was charged."""
    row = town.town.store.agents.row(town.agent(agent).id)
    assert row is not None
    return row.stats.get("rounds", 0)


def attempts(town: RunningTown, agent: str) -> dict[str, str]:
    """What the agent's waiting messages were charged."""
    key = town.town.store.keys.attempts(town.agent(agent).id)
    return dict(town.town.store.call(lambda r: r.hgetall(key)))


def test_model_killed(town: RunningTown) -> None:
    """A model killed by SIGKILL costs an attempt, and its task is run again."""
    town.spawn("ann")
    task = town.assign("ann", "first hang")
    town.wait_run(task)
    for model in town.models("ann"):
        town.kill(model)
    town.wait_done(task)
    assert (len(town.runs(task)), len(town.ends(task)), rounds(town, "ann")) == (2, 1, 2)


def test_model_that_cannot_start(new_town: NewTown) -> None:
    """Its folder is gone: the round is over as it begins, is settled at once and costs nothing."""
    town = new_town(agent_clis={"lost": {"command": "cat", "workdir": "/nowhere"}})
    town.spawn("ann", cli="lost")
    town.assign("ann", "anything")
    town.wait(lambda: "was not found" in (town.town.logs_dir / "ann.log").read_text(), "the reason", timeout=3.0)
    assert rounds(town, "ann") == 0


def test_leader_killed_and_its_child_not(town: RunningTown) -> None:
    """Only the model's leader dies: its child is ended before the task is run again."""
    town.spawn("ann")
    task = town.assign("ann", "first child kid", "first hang")
    kid, run = child_of(town), town.wait_run(task)
    leader = processes.identity(run.pid)
    assert leader is not None
    town.kill(leader)
    town.wait_done(task)
    assert not processes.is_alive(kid)


def test_model_hung(new_town: NewTown) -> None:
    """A silent model is ended after the silence time-out, one that ignores TERM too, and its task is run again."""
    town = new_town(agent={"silence_timeout_s": 0.3, "retry_delay_s": 0.05})
    town.spawn("ann", "bob")
    polite, rude = town.assign("ann", "first hang"), town.assign("bob", "ignore-term", "child kid", "first hang")
    kid = child_of(town)
    town.wait_done(polite, rude)
    assert len(town.runs(polite)) == len(town.runs(rude)) == 2
    assert not processes.is_alive(kid)


def test_model_floods(new_town: NewTown) -> None:
    """Ten megabytes of output are drained, the log stays bounded, the agent stays responsive."""
    town = new_town(agent={"log_bytes": 100_000})
    town.spawn("ann")
    task = town.task_done("ann", "flood 10000000", "say end of it")
    assert (town.task(task).result or "").endswith("end of it")
    assert (town.town.logs_dir / "ann_round_1.log").stat().st_size < 110_000


def test_children_end_with_the_run(town: RunningTown) -> None:
    """A child in a session of its own, deaf to TERM, ends with the run that left it."""
    town.spawn("ann")
    task = town.assign("ann", "child kid", "await go")
    kid = child_of(town)
    town.go()
    town.wait_done(task)
    assert not processes.is_alive(kid)


def test_children_end_before_the_successor_runs(town: RunningTown) -> None:
    """The actor dies: its model's child is dead before the task is run again (it holds the run's lock)."""
    town.spawn("ann")
    task = town.assign("ann", "first child kid", "await go")
    kid = child_of(town)
    town.kill(town.actor("ann"))
    town.wait_run(task, 2)
    assert not processes.is_alive(kid)
    town.go()
    town.wait_done(task)


def test_failing_for_good(new_town: NewTown) -> None:
    """Attempts are bounded: then the task has failed with the reason, its message is a dead letter; others go on."""
    town = new_town(agent={"max_attempts": 2, "retry_delay_s": 0.02})
    town.spawn("ann")
    bad, good = town.assign("ann", "exit 3"), town.assign("ann")
    town.wait_done(bad, state=TaskState.FAILED)
    town.wait_done(good)
    assert (len(town.runs(bad)), len(town.runs(good))) == (2, 1)
    assert "exit code 3" in (town.task(bad).result or "")
    assert len(messages.dead_letters(town.town, "ann")) == 1
    assert attempts(town, "ann") == {}
    tasks.retry(town.town, bad.id, Caller())
    town.wait_done(bad, state=TaskState.FAILED)
    assert len(town.runs(bad)) == 4


def test_attempts_survive_the_actor(new_town: NewTown) -> None:
    """A run that kills its own actor each time is given up after its attempts: it cannot go on for good."""
    town = new_town(agent={"max_attempts": 3, "retry_delay_s": 0.02})
    town.spawn("ann")
    poison, good = town.assign("ann", "run kill -9 $PPID", "hang"), town.assign("ann")
    town.wait_done(poison, state=TaskState.FAILED)
    town.wait_done(good)
    assert len(town.runs(poison)) == 3


def cancel(town: RunningTown, task: Task) -> TaskState:
    """By a user."""
    return tasks.cancel(town.town, task.id, None, Caller()).state


def complete(town: RunningTown, task: Task) -> TaskState:
    """By a user."""
    return tasks.complete(town.town, task.id, "done by hand", Caller()).state


def fail(town: RunningTown, task: Task) -> TaskState:
    """By a user."""
    return tasks.fail(town.town, task.id, None, Caller()).state


@pytest.mark.parametrize("end", [cancel, complete, fail])
def test_task_ended_from_outside(town: RunningTown, end: object) -> None:
    """A task that a user ends while it runs: its run ends, uncharged, its message is gone, it is not run again."""
    town.spawn("ann")
    task = town.assign("ann", "await never")
    run = town.wait_run(task)
    model = processes.identity(run.pid)
    state = end(town, task)  # type: ignore[operator]
    town.wait(lambda: not processes.is_alive(model), "the end of the run")
    town.wait_idle("ann")
    town.task_done("ann")
    assert town.task(task).state is state
    assert len(town.runs(task)) == 1
    assert rounds(town, "ann") == 1  # the other task's


def test_task_completed_by_its_own_model(town: RunningTown) -> None:
    """A run that reports its task as done goes on to its end, and the first report stays."""
    town.spawn("ann")
    task = town.assign("ann", "await go", "say from the output")
    run = town.wait_run(task)
    tasks.complete(town.town, task.id, "from the model", Caller(town.agent("ann").id, run.run))
    town.go()
    town.wait_idle("ann")
    assert len(town.ends(task)) == 1
    assert town.task(task).result == "from the model"


def test_run_that_reported_and_died(town: RunningTown) -> None:
    """A run that reported its task as done and then failed is a success: it is not run again."""
    town.spawn("ann")
    task = town.assign("ann", "await go", "exit 1")
    run = town.wait_run(task)
    tasks.complete(town.town, task.id, "from the model", Caller(town.agent("ann").id, run.run))
    town.go()
    town.wait_idle("ann")
    town.task_done("ann")
    assert len(town.runs(task)) == 1
