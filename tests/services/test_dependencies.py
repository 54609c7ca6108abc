"""Dependencies: nobody starts too early, nobody is forgotten, whoever is killed."""

from __future__ import annotations

import pytest

from tests.support import invariants
from tests.support.builders import make_task
from tests.support.town import (
    claim_all,
    events,
    give_task,
    in_processes,
    register,
    same_town,
    snapshot,
    task_now,
    texts,
    writing,
)
from tinytown import clock
from tinytown.domain.message import parse
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict
from tinytown.services import backlog, dependencies, retention, tasks
from tinytown.services.caller import Caller
from tinytown.services.settlement import Round, settle
from tinytown.town import Town

USER = Caller()


def waiting(town: Town, *others: Task, agent: str | None = None, tags: list[str] | None = None) -> Task:
    """A task that waits for these."""
    task = make_task(depends_on=[other.id for other in others], planned_agent=agent, tags=tags or [])
    with writing(town) as tx:
        tx.save_task(None, task)
        dependencies.wait_for(tx, task.id, dependencies.open_ones(town, [other.id for other in others]))
    return task


def parked(town: Town, text: str = "first") -> Task:
    return backlog.add(town, text, [], USER)


def test_released_when_the_last_one_is_completed(town: Town) -> None:
    """It waits for both, whatever their order; then it is in its planned agent's inbox, with one message."""
    agent = register(town)
    first, second = parked(town), parked(town, "second")
    task = waiting(town, first, second, agent="backend")
    assert dependencies.unmet(town, task) == [first, second]

    tasks.complete(town, second.id, None, USER)
    assert [t.id for t in dependencies.unmet(town, task_now(town, task))] == [first.id]
    assert task_now(town, task).state is TaskState.PENDING
    tasks.complete(town, first.id, None, USER)

    now = task_now(town, task)
    assert (now.state, now.assigned_to) == (TaskState.ASSIGNED, agent.id)
    assert [parse(text).task_id for text in texts(town, "inbox", agent.id)] == [task.id]
    assert dependencies.unmet(town, now) == []
    invariants.check(town, settled=False)


@pytest.mark.parametrize("name", [None, "nobody"])
def test_released_to_the_backlog(town: Town, name: str | None) -> None:
    """Without a planned agent, or when there is none of that name; agents of its role hear of it."""
    api = register(town, "a", role_id="api")
    first = parked(town)
    task = waiting(town, first, agent=name, tags=["api"])

    tasks.complete(town, first.id, None, USER)

    assert town.store.tasks.backlog_ids() == [task.id]
    assert texts(town, "wake", api.id) == ["1"]
    assert [e["task_id"] for e in events(town, "task_released")] == [task.id]
    invariants.check(town, settled=False)


def test_released_by_the_settle_of_a_round(town: Town) -> None:
    """The end of the run and the release are one step."""
    agent, tester = register(town), register(town, "tester")
    first, _ = give_task(town, agent)
    task = waiting(town, first, agent="tester")
    claim = claim_all(town, agent)

    settle(town, agent.id, 1, Round(Outcome(OutcomeKind.OK), tuple(m.raw for m in claim.messages)))

    assert task_now(town, task).assigned_to == tester.id


@pytest.mark.parametrize("end", [tasks.fail, tasks.cancel])
def test_a_failed_one_is_waited_for(town: Town, end: object) -> None:
    """A failed or cancelled dependency keeps its dependents; when it is retried and completed they go on."""
    first = parked(town)
    task = waiting(town, first)
    end(town, first.id, None, USER)  # type: ignore[operator]
    assert [t.id for t in dependencies.unmet(town, task)] == [first.id]
    invariants.check(town, settled=False)

    tasks.retry(town, first.id, USER)
    tasks.complete(town, first.id, None, USER)

    assert town.store.tasks.backlog_ids() == [task.id]


def test_completed_by_two_at_the_same_moment(town: Town) -> None:
    """Eight processes complete the eight dependencies of forty tasks: each is released, once."""
    agent = register(town)
    others = [parked(town, f"d{n}") for n in range(8)]
    made = [waiting(town, *others, agent="backend") for _ in range(40)]

    in_processes(8, lambda n: tasks.complete(same_town(town), others[n].id, None, USER).id)

    found = [parse(text).task_id for text in texts(town, "inbox", agent.id)]
    assert sorted(str(i) for i in found) == sorted(task.id for task in made)
    invariants.check(town, settled=False)


def test_a_crowd_is_released_in_steps(town: Town) -> None:
    """More dependents than one step takes: all of them, in the order of creation within a step."""
    first = parked(town)
    made = [waiting(town, first) for _ in range(dependencies.AT_ONCE * 2 + 5)]

    tasks.complete(town, first.id, None, USER)

    assert sorted(town.store.tasks.backlog_ids()) == sorted(task.id for task in made)
    invariants.check(town, settled=False)
    assert town.store.redis.exists(town.store.keys.releases) == 0


def test_a_release_that_was_killed_is_finished_by_others(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the completion and the steps that follow everything may die: upkeep goes on, and so does anybody."""
    first = parked(town)
    made = [waiting(town, first) for _ in range(dependencies.AT_ONCE + 1)]
    with monkeypatch.context() as killed:
        killed.setattr(dependencies, "finish_releases", lambda _town: None)
        tasks.complete(town, first.id, None, USER)
    assert town.store.tasks.backlog_ids() == []
    invariants.check(town, settled=False)

    retention.apply(town)

    assert sorted(town.store.tasks.backlog_ids()) == sorted(task.id for task in made)
    invariants.check(town, settled=False)


@pytest.mark.slow
def test_eight_finish_the_same_releases(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is released twice."""
    first = parked(town)
    made = [waiting(town, first) for _ in range(dependencies.AT_ONCE * 4)]
    with monkeypatch.context() as killed:
        killed.setattr(dependencies, "finish_releases", lambda _town: None)
        tasks.complete(town, first.id, None, USER)

    in_processes(8, lambda _n: dependencies.finish_releases(same_town(town)))

    assert sorted(town.store.tasks.backlog_ids()) == sorted(task.id for task in made)


@pytest.mark.parametrize("end", [tasks.complete, tasks.fail, tasks.cancel])
def test_ending_a_waiting_task(town: Town, end: object) -> None:
    """It waits for nothing any more, and is not released later."""
    first = parked(town)
    task = waiting(town, first)

    end(town, task.id, None, USER)  # type: ignore[operator]
    invariants.check(town, settled=False)
    tasks.complete(town, first.id, None, USER)

    assert task_now(town, task).state.is_terminal
    assert town.store.tasks.backlog_ids() == []


def test_a_retried_task_waits_again(town: Town) -> None:
    """Cancelled while it waited, it waits for the same; `to` names who gets it then."""
    agent = register(town)
    first = parked(town)
    task = waiting(town, first)
    tasks.cancel(town, task.id, None, USER)

    again = tasks.retry(town, task.id, USER, to="backend")

    assert (again.state, again.assigned_to, again.planned_agent) == (TaskState.PENDING, None, "backend")
    invariants.check(town, settled=False)
    tasks.complete(town, first.id, None, USER)
    assert task_now(town, task).assigned_to == agent.id


def test_a_retried_task_goes_where_it_was_planned(town: Town) -> None:
    """Cancelled while it waited, retried when there is nothing to wait for."""
    agent = register(town)
    first = parked(town)
    task = waiting(town, first, agent="backend")
    tasks.cancel(town, task.id, None, USER)
    tasks.complete(town, first.id, None, USER)

    assert tasks.retry(town, task.id, USER).assigned_to == agent.id


def test_a_waiting_task_cannot_be_claimed(town: Town) -> None:
    """The refusal names what it waits for."""
    register(town)
    first = parked(town)
    task = waiting(town, first)
    before = snapshot(town)

    with pytest.raises(Conflict, match=rf"waits for {first.id[:8]} \(pending\)"):
        backlog.claim(town, task.id, "backend", USER)
    with pytest.raises(Conflict, match="waits for"):
        backlog.remove(town, task.id)
    assert snapshot(town) == before


def test_a_task_that_others_wait_for_stays(town: Town) -> None:
    """It cannot be removed from the backlog, and retention leaves it."""
    first = parked(town)
    task = waiting(town, first)
    with pytest.raises(Conflict, match="wait for task"):
        backlog.remove(town, first.id)
    old = clock.stamp(clock.parse("2020-01-01T00:00:00Z"))
    failed = make_task(TaskState.FAILED, completed_at=old)
    with writing(town) as tx:
        tx.save_task(None, failed)
    also = waiting(town, failed)

    assert retention.apply(town)["tasks"] == 0
    tasks.cancel(town, also.id, None, USER)
    assert retention.apply(town)["tasks"] == 1
    assert dependencies.unmet(town, task_now(town, task)) == [first]


def test_an_expired_dependency_had_been_completed(town: Town) -> None:
    """One of two is completed and pruned while the other is open: the other decides."""
    first, second = parked(town), parked(town, "second")
    task = waiting(town, first, second)
    tasks.complete(town, first.id, None, USER)
    with writing(town) as tx:
        tx.do("DEL", tx.keys.task(first.id))
        tx.do("ZREM", tx.keys.tasks("completed"), first.id)

    tasks.complete(town, second.id, None, USER)

    assert town.store.tasks.backlog_ids() == [task.id]


def test_naming(town: Town) -> None:
    """A few of many, by the id in the plan where there is one."""
    some = [make_task(TaskState.FAILED, tags=["x", "plan:auth"]), *(make_task() for _ in range(6))]
    assert dependencies.named(some).startswith(f"auth (failed), {some[1].id[:8]} (pending), ")
    assert dependencies.named(some).endswith(" and 2 more")
