"""Orphans: who is judged to be gone, and what becomes of what it held; tasks that nobody will run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import invariants
from tests.support.builders import make_agent, make_task, make_wish
from tests.support.town import (
    agent_now,
    claim_all,
    events,
    give_mail,
    give_task,
    in_processes,
    register,
    same_town,
    snapshot,
    task_now,
    texts,
    writing,
)
from tinytown import clock, ids, processes
from tinytown.domain.agent import Agent
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import AgentState, TaskState
from tinytown.journal import ActorEntry, RoundEntry
from tinytown.services import agents, orphans, recovery
from tinytown.services.caller import Caller
from tinytown.store.agents import read_wish, save_wish
from tinytown.town import Town

LONG_AGO = "2026-01-02T03:04:05.000006Z"


def wish_again(town: Town, agent: Agent, **fields: Any) -> None:
    raw = town.store.agents.wishes()[agent.id]
    with writing(town) as tx:
        save_wish(tx, agent.id, raw, make_wish(**{"host": town.host} | fields))


def names(found: orphans.Recovery) -> list[str]:
    return [orphan.agent.name for orphan in found.recovered]


def test_an_orphan_is_finished(town: Town) -> None:
    """Wanted, no process, no supervisor: Stopped, its wish gone, what it held is back with an attempt more."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    before = agent_now(town, agent)

    found = orphans.recover(town)

    assert [(o.agent, found.checked) for o in found.recovered] == [(before, 1)]
    now = agent_now(town, agent)
    assert (now.state, now.reason) == (AgentState.STOPPED, orphans.REASON)
    assert town.store.agents.wishes() == {}
    assert texts(town, "inbox", agent.id) == [message.raw]
    assert town.store.redis.hgetall(town.store.keys.attempts(agent.id)) == {message.id: "1"}
    assert task_now(town, task).state is TaskState.ASSIGNED
    assert texts(town, "activity", agent.id)[0] == "🔄 Recovered by tt recover (orphaned)"
    assert len(events(town, "agent_recovered")) == 1
    assert names(orphans.recover(town)) == []
    assert not town.supervisor_lock.is_taken()
    invariants.check(town, settled=True)


def test_a_recorded_outcome_counts(town: Town) -> None:
    """Its model had ended: the task is done, and nothing runs again."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    done = Outcome(OutcomeKind.OK, result="done")
    entry = RoundEntry(agent.id, 1, 1, f"{agent.id}:1:1", (message.raw,), task.id, None, done)
    journal = town.journal(agent.name)
    journal.write_actor(ActorEntry(processes.Identity(2**22 - 1, 1), agent.id, 1))
    journal.write_round(entry, sync=False)

    orphans.recover(town)

    assert task_now(town, task).result == "done"
    assert texts(town, "inbox", agent.id) == []


def test_who_lives_is_no_orphan(town: Town) -> None:
    """A living process, however long its run takes; a terminal that is there; one that has ended already."""
    working, terminal = register(town, "working", last_heartbeat=LONG_AGO), register(town, "terminal")
    register(town, "ended", wanted=False)
    claimed = give_mail(town, working)
    claim_all(town, working)
    town.journal("working").write_actor(ActorEntry(processes.own(), working.id, 1))
    wish_again(town, terminal, foreground=True, holder=processes.own().to_dict())
    before = snapshot(town)

    assert orphans.recover(town) == orphans.Recovery([], 3)

    assert snapshot(town) == before
    assert texts(town, "claimed", working.id) == [claimed.raw]


def test_a_pid_that_was_reused(town: Town) -> None:
    """The same number is not the same process."""
    agent = register(town)
    me = processes.own()
    town.journal(agent.name).write_actor(ActorEntry(processes.Identity(me.pid, me.started - 1), agent.id, 1))

    assert names(orphans.recover(town)) == ["backend"]


def test_a_supervisor_sees_to_its_own(town: Town) -> None:
    """While one runs on this host nothing here is an orphan: a dead agent is being restarted."""
    register(town)
    lock = town.supervisor_lock
    assert lock.acquire()
    before = snapshot(town)
    assert names(orphans.recover(town)) == []
    assert snapshot(town) == before
    lock.release()
    assert names(orphans.recover(town)) == ["backend"]


def test_a_spawn_under_way_is_no_orphan(town: Town) -> None:
    """Registered a moment ago, its supervisor is about to start; later that is an orphan too."""
    agent = register(town, state=AgentState.STARTING)
    assert names(orphans.recover(town)) == []
    wish_again(town, agent, since=clock.wall() - 60)
    assert names(orphans.recover(town)) == ["backend"]


def test_a_wish_that_was_deleted_by_hand(town: Town) -> None:
    """Its record says Working, nobody wants it, and no process is there."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    town.store.redis.hdel(town.store.keys.wanted, agent.id)

    assert names(orphans.recover(town)) == ["backend"]

    assert agent_now(town, agent).state is AgentState.STOPPED
    assert texts(town, "inbox", agent.id) == [message.raw]
    assert task_now(town, task).state is TaskState.ASSIGNED
    invariants.check(town, settled=True)


@pytest.mark.parametrize(
    ("heard", "lease", "uptime", "expected"),
    [
        (LONG_AGO, None, 60, ["backend"]),
        ("now", None, 60, []),
        (LONG_AGO, "{id}", 60, []),
        (LONG_AGO, "supervisor:elsewhere", 60, []),
        (LONG_AGO, None, 5, []),
    ],
    ids=["silent", "heard of", "leased", "supervised", "a server that has just come back"],
)
def test_an_agent_of_another_host(
    town: Town, monkeypatch: pytest.MonkeyPatch, heard: str, lease: str | None, uptime: int, expected: list[str]
) -> None:
    """Judged by its lease, its supervisor's and its heartbeat; never by a server that has not seen a renewal yet."""
    at = clock.stamp() if heard == "now" else heard
    agent = register(town, last_heartbeat=at)
    wish_again(town, agent, host="elsewhere")
    if lease is not None:
        town.store.redis.set(town.store.keys.lease(lease.format(id=agent.id)), "x", ex=30)
    read = town.store.read
    monkeypatch.setattr(
        town.store, "read", lambda *c: [{"uptime_in_seconds": uptime}] if c[0][0] == "INFO" else read(*c)
    )

    assert names(orphans.recover(town)) == expected
    assert (agent_now(town, agent).state is AgentState.STOPPED) == bool(expected)


def test_killed_in_the_middle(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two steps: the next call, or a supervisor, goes on."""
    agent = register(town)
    message = give_mail(town, agent)
    claim_all(town, agent)
    monkeypatch.setattr(recovery, "finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        orphans.recover(town)
    monkeypatch.undo()
    wish = read_wish(town.store.agents.wishes()[agent.id])
    assert wish is not None
    assert (wish.epoch, wish.stop) == (2, "now")

    assert names(orphans.recover(town)) == ["backend"]

    assert texts(town, "inbox", agent.id) == [message.raw]
    invariants.check(town, settled=True)


@pytest.mark.slow
def test_eight_at_once(town: Town) -> None:
    """One recovers each agent; the others find nothing, and nothing is charged twice."""
    for n in range(4):
        agent = register(town, f"a{n}")
        give_mail(town, agent)
        claim_all(town, agent)

    found = in_processes(8, lambda _: names(orphans.recover(same_town(town))))

    found.append(names(orphans.recover(town)))
    assert sorted(name for each in found for name in each) == ["a0", "a1", "a2", "a3"]
    for n in range(4):
        keys = town.store.keys.attempts(town.store.agents.names()[f"a{n}"])
        assert town.store.redis.hvals(keys) == ["1"]


# Tasks


def lose(town: Town, agent: Agent) -> None:
    """The record is gone, as if somebody had deleted it by hand."""
    town.store.redis.hdel(town.store.keys.agents, agent.name)
    town.store.redis.delete(town.store.keys.agent(agent.id))


def dangling(town: Town, **fields: Any) -> str:
    """A task that no message leads to."""
    task = make_task(**fields)
    with writing(town) as tx:
        tx.save_task(None, task)
    return task.id


def four_orphans(town: Town) -> tuple[Agent, Agent, list[str]]:
    """With and without mail, of an agent that has ended and of one that is gone; beside what is no orphan."""
    dead, gone, alive = register(town, "dead", wanted=False), make_agent("gone"), register(town, "alive")
    give_task(town, alive)
    dangling(town, state=TaskState.ASSIGNED, assigned_to=ids.SUPERVISOR_ID)
    dangling(town, state=TaskState.COMPLETED, assigned_to=gone.id)
    found = [give_task(town, dead)[0].id, give_task(town, gone)[0].id]
    found += [dangling(town, state=TaskState.RUNNING, assigned_to=owner.id) for owner in (dead, gone)]
    return dead, gone, found


def test_orphan_tasks_are_listed(town: Town) -> None:
    """Assigned or running, and nobody there to do it; listing changes nothing."""
    dead, gone, tasks = four_orphans(town)
    before = snapshot(town)

    found = orphans.orphan_tasks(town)

    assert {o.task.id for o in found} == set(tasks)
    said = {o.task.assigned_to: (o.agent, o.reason) for o in found}
    assert said == {dead.id: ("dead", "assignee terminal"), gone.id: (None, "assignee missing")}
    assert snapshot(town) == before


def test_orphan_tasks_to_the_backlog(town: Town) -> None:
    """Pending, in the backlog once, and nothing leads to them any more; other mail stays."""
    dead, gone, tasks = four_orphans(town)
    query = give_mail(town, dead)

    assert {o.task.id for o in orphans.requeue_tasks(town)} == set(tasks)

    assert sorted(town.store.tasks.backlog_ids()) == sorted(tasks)
    assert {task_now(town, i).state for i in tasks} == {TaskState.PENDING}
    assert texts(town, "inbox", dead.id) == [query.raw]
    assert texts(town, "inbox", gone.id) == []
    assert len(events(town, "message_moved")) == 2
    assert orphans.requeue_tasks(town) == []


def test_orphan_tasks_are_cancelled(town: Town) -> None:
    """With the reason; their messages are acknowledged by name, no bell is left behind."""
    dead, gone, tasks = four_orphans(town)

    assert {o.task.id for o in orphans.cancel_tasks(town, Caller())} == set(tasks)

    ended = [task_now(town, i) for i in tasks]
    assert {t.state for t in ended} == {TaskState.CANCELLED}
    assert {t.assigned_to: t.result for t in ended} == {
        dead.id: "Cancelled: assignee is in a terminal state",
        gone.id: "Cancelled: assignee no longer exists",
    }
    assert len(events(town, "message_acked")) == 2
    for agent in (dead, gone):
        assert texts(town, "inbox", agent.id) == texts(town, "wake", agent.id) == []
    assert orphans.orphan_tasks(town) == []


def test_an_agent_that_was_restarted_keeps_its_tasks(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the step somebody wanted it again."""
    dead = register(town, "dead", wanted=False)
    task, message = give_task(town, dead)
    seen = orphans.orphan_tasks(town)
    monkeypatch.setattr(orphans, "orphan_tasks", lambda _town: seen)
    monkeypatch.setattr(agents, "_start", lambda *_: None)
    agents.restart(town, "dead")

    assert orphans.requeue_tasks(town) == []
    assert task_now(town, task).state is TaskState.ASSIGNED
    assert texts(town, "inbox", dead.id) == [message.raw]


@pytest.mark.slow
def test_orphan_tasks_at_once(town: Town) -> None:
    """Eight callers: each task is moved by one of them."""
    dead = register(town, "dead", wanted=False)
    tasks = sorted(give_task(town, dead)[0].id for _ in range(250))

    found = in_processes(8, lambda _: [o.task.id for o in orphans.requeue_tasks(same_town(town))])

    assert sorted(i for each in found for i in each) == sorted(town.store.tasks.backlog_ids()) == tasks
    invariants.check(town, settled=True)
