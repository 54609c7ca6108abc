"""The id in tasks.toml: what users type, and how a task is known again, whatever became of its town."""

from __future__ import annotations

import pytest

from tests.support import invariants
from tests.support.builders import make_task
from tests.support.town import all_tasks, claim_all, register, task_now, writing
from tinytown import clock, ids
from tinytown.domain.event import task_changed
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import NotFound, TaskNotFound
from tinytown.services import backlog, dependencies, messages, plan, settlement, tasks, waiting, why
from tinytown.services.caller import Caller
from tinytown.services.plan import pushing
from tinytown.services.plan.pushing import Did
from tinytown.town import Town, change

USER = Caller()
LATER = "2026-02-01T00:00:00Z"
PAIR = '[[tasks]]\nid = "{0}"\ndescription = "x"\n[[tasks]]\nid = "b"\ndescription = "y"\ndepends_on = ["{0}"]\n'


def push(town: Town, text: str | None = None, **options: bool) -> dict[Did, int]:
    if text is not None:
        plan.path(town).write_text(text)
    done = dict(pushing.push(town, USER, **options).counts)
    invariants.check(town, settled=False)
    return done


def stored(town: Town, task: Task) -> Task:
    with writing(town) as tx:
        tx.save_task(None, task)
        if task.state is TaskState.PENDING:
            tx.do("RPUSH", tx.keys.backlog, task.id)
        else:
            tx.event(task_changed(f"task_{task.state}", "ended", task, None, clock.stamp()))
    return task


@pytest.mark.parametrize("name", ["a", "my first task", "beef", "Auth/API:v2", "00000000"])
def test_commands_take_it(town: Town, name: str) -> None:
    """Every command that takes a task takes its id in the file, in its case, whatever else it might look like."""
    register(town)
    push(town, PAIR.format(name))
    first = ids.derived_id(town.name, name)
    stored(town, make_task(id=f"beef{ids.new_id()[4:]}"))

    assert tasks.find(town, f" {name} ")[1].id == first
    assert (why.explain(town, "b").id, why.explain(town, name).id) == (ids.derived_id(town.name, "b"), first)
    assert backlog.claim(town, name, "backend", USER).id == first
    assert tasks.complete(town, name, None, USER).id == waiting.wait(town, name, 0).id == first
    assert backlog.remove(town, "b").plan_id == "b"
    for other in ("b", "A", "c"):
        with pytest.raises(TaskNotFound):
            tasks.find(town, other)


def test_its_dead_letter(town: Town) -> None:
    """Retried and dropped by it, too."""
    agent = register(town)
    push(town, '[[tasks]]\nid = "a"\ndescription = "x"\nagent = "backend"\n')
    for _ in range(2):
        claim_all(town, agent)
        settlement.settle(town, agent.id, 1, settlement.Round(Outcome(OutcomeKind.NEEDS_INPUT, "which?")))
        assert messages.retry_dead(town, "a").task_id == ids.derived_id(town.name, "a")
    with pytest.raises(NotFound):
        messages.drop_dead(town, "a")


def test_a_town_that_came_from_another(town: Town) -> None:
    """Restored under another name, or migrated: its tasks have other ids, and are those of the plan all the same."""
    done = stored(town, make_task(TaskState.COMPLETED, tags=["plan:a"], completed_at="2026-01-01T00:00:00Z"))
    parked = stored(town, make_task(tags=["plan:b"], depends_on=[done.id], description="y", created_at=LATER))

    assert push(town, PAIR.format("a")) == {Did.FINISHED: 1, Did.UNCHANGED: 1}

    assert all_tasks(town).keys() == {done.id, parked.id}
    assert tasks.find(town, "b")[1].id == parked.id
    pulled = plan.pull(town)
    assert (pulled.added, pulled.changed) == (0, 1)
    plan.path(town).unlink()
    plan.pull(town)
    assert [entry.id for entry in plan.load(town).entries] == ["a", "b"]
    assert push(town) == {Did.FINISHED: 1, Did.UNCHANGED: 1}


def test_several_with_one_plan_id(town: Town) -> None:
    """The one that this town pushed is meant, else the oldest; a pull gives each another id."""
    later, first = (
        stored(town, make_task(tags=["plan:a"], description="x", created_at=f"2026-01-0{n}T00:00:00Z")) for n in (2, 1)
    )
    text = '[[tasks]]\nid = "a"\ndescription = "x"\n'
    assert push(town, text) == {Did.UNCHANGED: 1}
    assert tasks.find(town, "a")[1].id == first.id
    assert plan.pull(town).added == 1
    assert [entry.id for entry in plan.load(town).entries] == ["a", later.id[:8]]
    assert push(town) == {Did.UNCHANGED: 2}

    mine = stored(town, make_task(id=ids.derived_id(town.name, "a"), tags=["plan:a"], description="x"))
    assert plan.task_ids(town, plan.load(town).entries) == {"a": mine.id, later.id[:8]: later.id}
    plan.pull(town)
    assert plan.task_ids(town, plan.load(town).entries).keys() == {"a", later.id[:8], first.id[:8]}


def test_a_reset_that_was_killed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed when the first task had been restarted and those that depend on it had not been looked at: they wait."""
    first, other, free, half = (ids.derived_id(town.name, name) for name in ("a", "o", "b", "c"))
    text = PAIR.format("a") + (
        '[[tasks]]\nid = "o"\ndescription = "x"\n[[tasks]]\nid = "c"\ndescription = "x"\ndepends_on = ["a", "o"]\n'
    )
    push(town, text)
    tasks.complete(town, first, None, USER)
    assert town.store.tasks.backlog_ids() == [other, free]
    steps = iter(range(9))

    def killed(*args: object) -> object:
        if next(steps):
            raise KeyboardInterrupt
        return change(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pushing, "change", killed)
    with pytest.raises(KeyboardInterrupt):
        push(town, reset=True)
    monkeypatch.undo()
    assert task_now(town, first).state is TaskState.PENDING

    assert push(town) == {Did.UNCHANGED: 2, Did.CHANGED: 2}

    assert town.store.tasks.backlog_ids() == [other, first]
    assert [t.id for t in dependencies.unmet(town, task_now(town, free))] == [first]
    assert [t.id for t in dependencies.unmet(town, task_now(town, half))] == [first, other]
    assert push(town) == {Did.UNCHANGED: 4}
