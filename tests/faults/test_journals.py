"""Moments too short to hit, made by hand: what a killed actor or server left in the journal and in Redis."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import NewTown
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.files import FileLock
from tinytown.journal import RoundEntry
from tinytown.services import tasks
from tinytown.services.caller import Caller

pytestmark = pytest.mark.fault


@contextmanager
def killed_in_a_round(town: RunningTown) -> Iterator[tuple[Task, RoundEntry]]:
    """Actor and supervisor are dead in the first round of a task; a new supervisor is started afterwards."""
    town.spawn("ann")
    task = town.assign("ann", "first hang")
    town.wait_run(task)
    actor = town.actor("ann")
    town.kill_supervisor()
    town.kill(actor)
    entry = town.journal("ann").round()
    assert entry is not None
    yield task, entry
    town.start()


def stats(town: RunningTown) -> dict[str, int]:
    """The agent's counters."""
    row = town.town.store.agents.row(town.agent("ann").id)
    assert row is not None
    return row.stats


def test_claimed_and_no_journal(town: RunningTown) -> None:
    """Killed after the claim, before the journal was written: the message goes back and is run."""
    with killed_in_a_round(town) as (task, entry):
        processes.kill_all(town.models("ann"))
        town.journal("ann").close_round(keep=False)
        town.check()
    town.wait_done(task)
    assert entry.task_id == task.id


@pytest.mark.parametrize("text", ["", '{"agent_id":1}'])
def test_journal_that_cannot_be_read(town: RunningTown, text: str) -> None:
    """A torn journal is as none: nothing is lost."""
    with killed_in_a_round(town) as (task, _entry):
        (town.journal("ann").folder / "round.json").write_text(text)
    town.wait_done(task)


def test_outcome_recorded_and_not_settled(town: RunningTown) -> None:
    """An outcome in the journal is settled and nothing runs again."""
    with killed_in_a_round(town) as (task, entry):
        town.journal("ann").write_round(entry.ended(Outcome(OutcomeKind.OK, result="forty-two")), sync=True)
    town.wait_done(task)
    assert town.task(task).result == "forty-two"
    assert len(town.runs(task)) == 1
    assert stats(town) | {"restarts": 0} == {"rounds": 1, "tasks_completed": 1, "restarts": 0}


def test_outcome_of_a_task_that_was_cancelled_meanwhile(town: RunningTown) -> None:
    """The task stays cancelled; its message is acked, nothing runs."""
    with killed_in_a_round(town) as (task, entry):
        town.journal("ann").write_round(entry.ended(Outcome(OutcomeKind.OK, result="forty-two")), sync=True)
        tasks.cancel(town.town, task.id, None, Caller())
    town.task_done("ann")
    assert town.task(task).state is TaskState.CANCELLED
    assert len(town.runs(task)) == 1


@pytest.mark.parametrize("kind", [OutcomeKind.OK, OutcomeKind.RATE_LIMITED])
def test_settled_and_journal_not_cleared(town: RunningTown, kind: OutcomeKind) -> None:
    """Killed between the settlement and the end of its journal: settled once, counted once."""
    town.spawn("ann")
    task = town.assign("ann", "await go")
    town.wait_run(task)
    entry = town.journal("ann").round()
    assert entry is not None
    town.go()
    town.wait_done(task)
    town.wait_idle("ann")
    before, activity = stats(town), town.town.store.keys.activity(town.agent("ann").id)
    lines = town.town.store.call(lambda r: r.lrange(activity, 0, -1))
    actor = town.actor("ann")
    town.kill_supervisor()
    town.wait(lambda: not processes.is_alive(actor), "the actor to leave")
    town.journal("ann").write_round(entry.ended(Outcome(kind, "limit", "again")), sync=True)
    town.start()
    town.wait(lambda: town.journal("ann").round() is None, "the journal to be cleared")
    after = town.task_done("ann")
    assert len(town.runs(task)) == len(town.runs(after)) == 1
    assert town.task(task).result != "again"
    assert stats(town)["rounds"] == before["rounds"] + 1
    assert town.town.store.call(lambda r: r.lrange(activity, 0, -1))[-len(lines) :] == lines


def test_the_server_lost_a_claim(new_town: NewTown) -> None:
    """With everysec Redis may come back without the claim of a running round: it is claimed again, not run twice."""
    town = new_town(redis={"appendfsync": "everysec"})
    town.spawn("ann")
    actor = town.actor("ann")
    town.kill(actor, signal.SIGSTOP)
    task = town.assign("ann", "await go", "say forty-two")
    kept, data = town.root / "earlier", town.town.state_dir / "appendonlydir"
    town.wait(lambda: town.town.store.read(("WAITAOF", 1, 0, 1000))[0][0], "the disk")
    shutil.copytree(data, kept)
    town.kill(actor, signal.SIGCONT)
    town.wait_run(task)
    lock = FileLock(town.town.state_dir / "redis.lock")
    assert lock.acquire()
    town.kill_redis()
    shutil.rmtree(data)
    kept.rename(data)
    lock.release()
    town.wait(lambda: town.task(task).state is TaskState.RUNNING, "the claim to be there again")
    town.check()
    town.go()
    town.wait_done(task)
    assert town.task(task).result == "forty-two"
    assert len(town.runs(task)) == 1


def test_the_server_lost_everything(new_town: NewTown) -> None:
    """Without persistence a dead Redis takes the town with it: actors and models leave, and new work can begin."""
    town = new_town(redis={"persist": False})
    town.spawn("ann")
    task = town.assign("ann", "child kid", "hang")
    run = town.wait_run(task)
    actor, model = town.actor("ann"), processes.identity(run.pid)
    town.kill_redis()
    town.wait(lambda: not processes.is_alive(actor) and not processes.is_alive(model), "actor and model to end")
    town.spawn("ann")
    town.task_done("ann")
