"""The backlog: parked, claimed by one, never lost."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest

from tests.support.interleaving import visited
from tests.support.town import (
    all_tasks,
    claim_all,
    events,
    in_processes,
    register,
    same_town,
    snapshot,
    task_now,
    texts,
)
from tinytown.domain.message import parse
from tinytown.domain.states import TaskState
from tinytown.errors import AgentNotFound, Conflict, Invalid, TaskNotFound
from tinytown.services import agents, backlog, reset, tasks
from tinytown.services.caller import Caller
from tinytown.store.agents import AgentRow
from tinytown.town import Town

USER = Caller()


def test_parking_a_task(town: Town) -> None:
    """A parked task is pending, in the backlog once, with clean tags; agents of that role are rung, no others."""
    api, other = register(town, "a", role_id="api"), register(town, "b", role_id="apis")

    task = backlog.add(town, "build it", [" api ", "api", "", "ui"], USER)

    assert (task_now(town, task).state, task.tags) == (TaskState.PENDING, ["api", "ui"])
    assert backlog.listing(town) == [task]
    assert (texts(town, "wake", api.id), texts(town, "wake", other.id)) == (["1"], [])
    with pytest.raises(Invalid):
        backlog.add(town, " ", [], USER)


def test_claiming(town: Town) -> None:
    """Out of the backlog, assigned and mailed in one step; a second claim is refused and changes nothing."""
    agent = register(town)
    first, second = backlog.add(town, "one", [], USER), backlog.add(town, "two", [], USER)

    backlog.claim(town, first.id[:8], "backend", USER)

    assert [t.id for t in backlog.listing(town)] == [second.id]
    assert (task_now(town, first).state, task_now(town, first).assigned_to) == (TaskState.ASSIGNED, agent.id)
    assert [parse(text).task_id for text in texts(town, "inbox", agent.id)] == [first.id]
    before = snapshot(town)
    for reference, name, error in ((first.id, "backend", Conflict), ("ffff", "backend", TaskNotFound),
                                   (second.id, "nobody", AgentNotFound)):  # fmt: skip
        with pytest.raises(error):
            backlog.claim(town, reference, name, USER)
    assert snapshot(town) == before


def test_giving_all_to_one(town: Town) -> None:
    """All of it, in order, more than one step holds; ids that lead nowhere are cleaned away."""
    agent = register(town)
    made = [backlog.add(town, f"task {n}", [], USER) for n in range(120)]
    town.store.redis.lpush(town.store.keys.backlog, "00000000-0000-4000-8000-000000000000")

    given = backlog.assign_all(town, "backend", USER)

    assert [t.id for t in given] == [t.id for t in made]
    assert [parse(text).task_id for text in texts(town, "inbox", agent.id)] == [t.id for t in made]
    assert town.store.tasks.backlog_ids() == []
    assert backlog.assign_all(town, "backend", USER) == []


@pytest.mark.parametrize("claims", [True, False])
def test_an_agent_that_is_removed_meanwhile(town: Town, monkeypatch: pytest.MonkeyPatch, claims: bool) -> None:  # noqa: FBT001  a table
    """Gone between the look and the step: not found, and the task stays in the backlog."""
    agent = register(town)
    task = backlog.add(town, "work", [], USER)
    resolve = agents.resolve

    def remove_after(own: Town, reference: str) -> AgentRow:
        row = resolve(own, reference)
        own.store.redis.delete(own.store.keys.agent(agent.id))
        return row

    monkeypatch.setattr(agents, "resolve", remove_after)
    with pytest.raises(AgentNotFound):
        backlog.claim(town, task.id, "backend", USER) if claims else backlog.assign_all(town, "backend", USER)
    assert town.store.tasks.backlog_ids() == [task.id]


def test_removing(town: Town) -> None:
    """A removed task is gone with its record and its index; one that has an agent cannot be removed."""
    register(town)
    gone, kept = backlog.add(town, "one", [], USER), backlog.add(town, "two", [], USER)
    backlog.claim(town, kept.id, "backend", USER)

    backlog.remove(town, gone.id)

    assert list(all_tasks(town)) == [kept.id]
    assert town.store.tasks.ids(TaskState) == [kept.id]
    assert [e["task_id"] for e in events(town, "task_removed")] == [gone.id]
    with pytest.raises(Conflict, match="not in the backlog"):
        backlog.remove(town, kept.id)
    with pytest.raises(TaskNotFound):
        backlog.remove(town, gone.id)


def test_one_winner_for_each_of_eight_claimers(town: Town) -> None:
    """Eight processes claim the same tasks for eight agents: each task has one winner and one message."""
    agents = [register(town, f"a{n}") for n in range(8)]
    made = [backlog.add(town, f"task {n}", [], USER).id for n in range(10)]

    def work(number: int) -> list[str]:
        own, won = same_town(town), []
        for task_id in made:
            try:
                backlog.claim(own, task_id, f"a{number}", USER)
                won.append(task_id)
            except Conflict:
                continue
        return won

    won = in_processes(8, work)

    assert sorted(t for some in won for t in some) == sorted(made)
    assert town.store.tasks.backlog_ids() == []
    for agent, some in zip(agents, won, strict=True):
        assert [parse(text).task_id for text in texts(town, "inbox", agent.id)] == some
        assert all(task_now(town, t).assigned_to == agent.id for t in some)


def test_no_work_is_left_while_somebody_looks(town: Town) -> None:
    """Eight agents of a role that claim until there is nothing: nobody goes while work is left, nothing is twice."""
    agents = [register(town, f"a{n}", role_id="api") for n in range(8)]
    made = [backlog.add(town, f"task {n}", ["api"], USER).id for n in range(40)]

    def work(number: int) -> list[list[str]]:
        own, won = same_town(town), []
        while (task := backlog.claim_for_role(own, agents[number])) is not None:
            won.append(task.id)
        return [won, own.store.tasks.backlog_ids()]

    results = in_processes(8, work)

    assert sorted(t for won, _left in results for t in won) == sorted(made)
    assert [left for _won, left in results] == [[]] * 8


def test_a_role_is_the_whole_tag(town: Town) -> None:
    """An agent claims work whose tag equals its role: no part of it, no other case; without a role none."""
    agent, roleless = register(town, "a", role_id="api"), register(town, "b")
    for tag in ("apis", "API", "ap", "ui"):
        backlog.add(town, tag, [tag], USER)

    assert backlog.claim_for_role(town, agent) is None
    assert backlog.claim_for_role(town, roleless) is None
    mine = backlog.add(town, "mine", ["ui", "api"], USER)
    claimed = backlog.claim_for_role(town, agent)
    assert claimed is not None
    assert claimed.id == mine.id
    assert claim_all(town, agent).tasks.keys() == {mine.id}


def test_an_agent_that_is_gone_claims_nothing(town: Town) -> None:
    """When the agent's record vanished the claim ends, in bounded time, with the task still in the backlog."""
    agent = register(town, role_id="api")
    task = backlog.add(town, "x", ["api"], USER)
    town.store.redis.delete(town.store.keys.agent(agent.id))

    def work(_number: int) -> str | None:
        try:
            found = backlog.claim_for_role(same_town(town), agent)
        except Conflict:
            return None
        return found.id if found else None

    assert in_processes(1, work, within_s=3) == [None]
    assert town.store.tasks.backlog_ids() == [task.id]


def test_work_behind_a_long_queue_of_others_is_found(town: Town) -> None:
    """The search goes on behind the first page of tasks for other roles."""
    agent = register(town, role_id="api")
    redis, keys = town.store.redis, town.store.keys
    redis.rpush(keys.backlog, *(f"ghost-{n}" for n in range(450)))
    mine = backlog.add(town, "mine", ["api"], USER)

    assert [t.id for t in backlog.for_role(town, "api", 8)] == [mine.id]
    claimed = backlog.claim_for_role(town, agent)
    assert claimed is not None
    assert claimed.id == mine.id


def test_tasks_of_the_backlog_can_be_cancelled(town: Town) -> None:
    """A parked task that ends leaves the backlog; it cannot be claimed any more."""
    register(town)
    task = backlog.add(town, "x", [], USER)
    tasks.cancel(town, task.id, None, USER)

    assert backlog.listing(town) == []
    with pytest.raises(Conflict):
        backlog.claim(town, task.id, "backend", USER)


@pytest.mark.parametrize("trip", range(6))
def test_who_was_too_late_hears_what_has_become_of_it(town: Town, trip: int) -> None:
    """At whichever moment somebody else comes: never that a task is not in the backlog because it is pending."""
    agent = register(town)
    first, second = (backlog.add(town, "someday", [], Caller()).id for _ in range(2))
    heard = []
    for task_id, other in (
        (first, lambda: backlog.claim(town, first, agent.name, Caller())),
        (second, lambda: backlog.remove(town, second)),
    ):
        with contextlib.suppress(TaskNotFound), visited(town, {trip: other}) as (client, _store):  # the other, too late
            try:
                heard.append(backlog.remove(client, task_id).description)
            except (Conflict, TaskNotFound) as error:
                heard.append(str(error))
    gone = [f"Task {first} is not in the backlog (assigned).", str(TaskNotFound(second))]
    assert heard in (gone, ["someday", "someday"])


def test_no_bell_is_left_of_an_agent_that_goes(town: Town) -> None:
    """Who parks work for a role while its agents are removed leaves nothing of them."""
    for trip in range(4):
        agent = register(town, role_id="dev")
        with visited(town, {trip: partial(reset.reset, town)}) as (client, _store):
            backlog.add(client, "someday", ["dev"], Caller())
        assert not town.store.redis.exists(town.store.keys.wake(agent.id))
        town.store.redis.flushdb()
