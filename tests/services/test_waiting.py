"""Waiting for agents and tasks: what is waited for, and what comes of it."""

from __future__ import annotations

import pytest

from tests.support.town import agent_now, give_task, in_processes, register, same_town
from tinytown import clock, ids
from tinytown.domain.agent import BY_PROGRAM
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, NotFound, TimedOut
from tinytown.services import agents, tasks, waiting
from tinytown.services.caller import Caller
from tinytown.town import Town, change

PERSON = Caller()


def test_finding_what_is_meant(town: Town) -> None:
    """An agent by name, nickname or id, else a task by id; a prefix of both is refused, a name never is."""
    agent = register(town, "cafe", nickname="Bea")
    task, _message = give_task(town, agent, id="cafe" + ids.new_id()[4:])

    for reference in ("cafe", "CAFE", "bea", agent.id, agent.id[:8]):
        found = waiting.find(town, reference)
        assert not isinstance(found, Task), reference
        assert found.agent.id == agent.id
    for reference in (task.id, task.id[:13]):
        assert waiting.find(town, reference) == task
    for reference in ("nobody", "conductor", "caf", ""):
        with pytest.raises(NotFound, match="No agent and no task"):
            waiting.find(town, reference)
    other, _message = give_task(town, agent, id=agent.id[:8] + ids.new_id()[8:])
    with pytest.raises(Conflict, match="both an agent and a task"):
        waiting.find(town, agent.id[:8])
    assert waiting.find(town, other.id) == other


@pytest.mark.parametrize(
    ("state", "well"), [(TaskState.COMPLETED, True), (TaskState.FAILED, False), (TaskState.CANCELLED, False)]
)
def test_a_task_that_has_ended(town: Town, state: TaskState, well: bool) -> None:  # noqa: FBT001  a table
    """No waiting: how it ended, with its result, named by its first line."""
    task, _message = give_task(town, register(town), description="\nFix it\nwell")
    {"completed": tasks.complete, "failed": tasks.fail, "cancelled": tasks.cancel}[state](town, task.id, "so", PERSON)

    done = waiting.wait(town, task.id[:8], 0)

    assert (done.kind, done.id, done.name, done.state, done.reason) == ("task", task.id, "Fix it", state, "so")
    assert done.is_well is well


def test_a_task_that_does_not_end(town: Town) -> None:
    """The time-out says how it stands; one that is removed is said, too."""
    task, _message = give_task(town, register(town))
    with pytest.raises(TimedOut, match=rf"Task {task.id[:8]} did not end within 0.05 s \(assigned\)"):
        waiting.wait(town, task.id, 0.05)
    town.store.redis.delete(town.store.keys.task(task.id))
    with pytest.raises(NotFound):
        waiting.wait(town, task.id, 0.05)


def test_an_agent_that_has_ended(town: Town) -> None:
    """Its last state and the reason; well, however it ended."""
    agent = register(town, wanted=False, reason="done")

    done = waiting.wait(town, "backend", 0)

    assert (done.kind, done.id, done.state, done.reason) == ("agent", agent.id, AgentState.STOPPED, "done")
    assert done.is_well


def test_an_agent_that_does_not_end(town: Town) -> None:
    """The time-out says how it stands."""
    register(town)
    with pytest.raises(TimedOut, match=r"Agent 'backend' did not finish within 0.05 s \(idle\)"):
        waiting.wait(town, "backend", 0.05)


def test_an_agent_that_a_program_runs(town: Town) -> None:
    """Nobody wants it, and yet it has not ended until its program says so."""
    agent = register(town, wanted=False, state=AgentState.IDLE, spawn_mode=BY_PROGRAM)
    with pytest.raises(TimedOut, match=r"did not finish within 0 s \(idle\)"):
        waiting.wait(town, "backend", 0)
    raw = agent.having(state=AgentState.STOPPED).to_json()
    change(town.store, lambda tx: tx.do("SET", tx.keys.agent(agent.id), raw))
    assert waiting.wait(town, "backend", 0).state is AgentState.STOPPED


def test_many_wait_for_one(town: Town) -> None:
    """Everybody hears of the end at once, of a task and of an agent: nobody asks again and again."""
    agent = register(town)
    task, _message = give_task(town, agent)

    def work(number: int) -> list[str]:
        own = same_town(town)
        if number == 0:
            own.store.events.after(own.store.events.last_id(), 0.3)
            ended = [tasks.complete(own, task.id, "so", PERSON).state.value]
            return [*ended, agents.kill(own, "backend").agent.state.value]
        return [waiting.wait(own, reference, 15).state.value for reference in (task.id, "backend")]

    begun = clock.monotonic()
    results = in_processes(5, work)

    assert results == [["completed", "idle"]] + 4 * [["completed", "stopped"]]
    assert clock.monotonic() - begun < 5
    assert agent_now(town, agent).state is AgentState.STOPPED


def test_an_agent_that_is_removed_has_ended(town: Town) -> None:
    """Its record goes while somebody waits: that is an end."""
    agent = register(town)

    def work(number: int) -> str:
        own = same_town(town)
        if number:
            return waiting.wait(own, "backend", 15).reason or ""
        own.store.events.after(own.store.events.last_id(), 0.2)
        change(own.store, lambda tx: tx.do("DEL", tx.keys.agent(agent.id)))
        return ""

    assert in_processes(2, work) == ["", "it was removed"]
