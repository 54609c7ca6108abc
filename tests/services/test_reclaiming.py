"""Reclaim: what lies with agents that have ended is moved whole, by one of many, and nothing is lost."""

from __future__ import annotations

import json

import pytest

from tests.support import invariants
from tests.support.builders import by_hand, make_message
from tests.support.town import (
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
from tinytown.domain.agent import Agent
from tinytown.domain.message import Priority, parse
from tinytown.domain.states import TaskState
from tinytown.errors import AgentNotFound, Conflict, NotFound
from tinytown.journal import ActorEntry
from tinytown.processes import own
from tinytown.services import agents, reclaiming, tasks
from tinytown.services.caller import Caller
from tinytown.services.reclaiming import Item
from tinytown.town import Town


@pytest.fixture
def dead(town: Town) -> Agent:
    return register(town, "dead", wanted=False)


def fill(town: Town, agent: Agent) -> dict[str, str]:
    """One of everything; name -> message or task id."""
    task, lead = give_task(town, agent, description="Fix it", tags=["api"])
    given = {"task": task.id, "lead": lead.id}
    given["words"] = give_mail(town, agent, "task", description="Do this too").id
    given["query"] = give_mail(town, agent).id
    given["urgent"] = give_mail(town, agent, "informational", urgent=True).id
    with writing(town) as tx:
        tx.do("RPUSH", tx.keys.inbox(agent.id), "no message")
    return given


def test_a_preview_changes_nothing(town: Town, dead: Agent) -> None:
    """Everything is named, urgent mail first; an agent that is wanted is no subject."""
    given = fill(town, dead)
    fill(town, register(town, "alive"))
    before = snapshot(town)

    (found,) = reclaiming.preview(town)

    assert (found.agent.name, found.moved) == ("dead", [])
    assert found.stays == [
        Item("informational", "the port is 80"),
        Item("task_assign", given["task"], given["task"]),
        Item("task", "Do this too"),
        Item("query", "which port?"),
        Item("unreadable", "no message"),
    ]
    assert snapshot(town) == before


def test_to_the_backlog(town: Town, dead: Agent) -> None:
    """Tasks and work in words are in the backlog, their messages named by events; other mail stays where it is."""
    helper = register(town, "helper", role_id="api")
    given = fill(town, dead)
    town.store.redis.hset(town.store.keys.attempts(dead.id), given["lead"], 1)

    (found,) = reclaiming.to_backlog(town)

    fixed, words = town.store.tasks.backlog_ids()
    assert fixed == given["task"]
    assert (task_now(town, fixed).state, task_now(town, fixed).assigned_to) == (TaskState.PENDING, None)
    new = task_now(town, words)
    assert (new.description, new.state, new.assigned_by) == (
        "Do this too", TaskState.PENDING, "00000000-0000-0000-0000-000000000001",
    )  # fmt: skip
    assert [item.task_id for item in found.moved] == [fixed, words]
    assert [item.kind for item in found.stays] == ["informational", "query", "unreadable"]
    assert [json.loads(t)["id"] for t in texts(town, "urgent", dead.id)] == [given["urgent"]]
    assert len(texts(town, "inbox", dead.id)) == 2
    moved = {e["message_id"]: e["task_id"] for e in events(town, "message_moved")}
    assert moved == {given["lead"]: fixed, given["words"]: words}
    assert texts(town, "wake", helper.id) == ["1"]
    assert not town.store.redis.exists(town.store.keys.attempts(dead.id))
    (again,) = reclaiming.to_backlog(town)
    assert again.moved == []
    assert len(town.store.tasks.backlog_ids()) == 2
    invariants.check(town, settled=False, accepted=given_messages(given))


def given_messages(given: dict[str, str]) -> list[str]:
    return [given[name] for name in ("lead", "words", "query", "urgent")]


def test_to_an_agent(town: Town, dead: Agent) -> None:
    """Every message, in its list and order, with its new recipient; the task is the agent's; one ring."""
    helper = register(town, "helper")
    given = fill(town, dead)
    town.store.redis.hset(town.store.keys.attempts(dead.id), given["query"], 2)
    first = give_mail(town, helper)

    (found,) = reclaiming.to_agent(town, "helper")

    assert len(found.moved) == 5
    assert found.stays == []
    inbox = texts(town, "inbox", helper.id)
    assert inbox[-1] == "no message"
    assert [json.loads(t)["id"] for t in inbox[:-1]] == [first.id, given["lead"], given["words"], given["query"]]
    assert {json.loads(t)["to"] for t in inbox[:-1]} == {helper.id}
    assert [json.loads(t)["id"] for t in texts(town, "urgent", helper.id)] == [given["urgent"]]
    assert texts(town, "inbox", dead.id) == texts(town, "urgent", dead.id) == []
    task = task_now(town, given["task"])
    assert (task.state, task.assigned_to) == (TaskState.ASSIGNED, helper.id)
    assert town.store.redis.hgetall(town.store.keys.attempts(helper.id)) == {given["query"]: "2"}
    assert len(texts(town, "wake", helper.id)) == 1
    invariants.check(town, settled=False, accepted=given_messages(given))


def test_what_people_pushed_by_hand(town: Town, dead: Agent) -> None:
    """Unknown fields stay; a message without an id keeps the one that was made of its text, so its count is its own."""
    helper = register(town, "helper")
    text = by_hand("query", mood="good", id=None)
    with writing(town) as tx:
        tx.do("RPUSH", tx.keys.inbox(dead.id), text)
    town.store.redis.hset(town.store.keys.attempts(dead.id), parse(text).id, 1)

    reclaiming.to_agent(town, "helper")

    (moved,) = texts(town, "inbox", helper.id)
    assert json.loads(moved) == json.loads(text) | {"id": parse(text).id, "to": helper.id}
    assert town.store.redis.hgetall(town.store.keys.attempts(helper.id)) == {parse(text).id: "1"}


def test_high_priority_stays_first(town: Town, dead: Agent) -> None:
    """Before what the agent has already, in order; the rest after it."""
    helper = register(town, "helper")
    first = give_mail(town, helper)
    sent = [make_message(to=dead.id, priority=p) for p in (Priority.HIGH, Priority.HIGH, Priority.NORMAL)]
    with writing(town) as tx:
        for message in sent:
            tx.do("RPUSH", tx.keys.inbox(dead.id), message.raw)

    reclaiming.to_agent(town, "helper")

    found = [parse(text).id for text in texts(town, "inbox", helper.id)]
    assert found == [sent[0].id, sent[1].id, first.id, sent[2].id]


@pytest.mark.parametrize("goal", ["backlog", "helper"])
def test_mail_that_leads_nowhere_is_acknowledged(town: Town, dead: Agent, goal: str) -> None:
    """Its task has ended, is another's, or is gone: an event names it, and nothing is moved."""
    helper = register(town, "helper")
    leads = [give_task(town, dead) for _ in range(3)]
    tasks.cancel(town, leads[0][0].id, None, Caller())
    other = task_now(town, leads[1][0]).assigned(helper.id, helper.id, "2026-01-02T03:04:05.000006Z")
    with writing(town) as tx:
        tx.save_task(leads[1][0].to_json(), other, leads[1][0])
        tx.do("ZREM", tx.keys.tasks("assigned"), leads[2][0].id)
        tx.do("DEL", tx.keys.task(leads[2][0].id))

    found = reclaiming.to_backlog(town) if goal == "backlog" else reclaiming.to_agent(town, goal)

    assert found[0].moved == []
    assert texts(town, "inbox", dead.id) == texts(town, "inbox", helper.id) == []
    acked = {e["message_id"]: e["message"] for e in events(town, "message_acked")}
    assert list(acked) == [message.id for _task, message in leads]
    assert [text.rpartition("task ")[2] for text in acked.values()] == ["is cancelled", "has moved", "is gone"]
    assert town.store.tasks.backlog_ids() == []


@pytest.mark.parametrize("goal", ["backlog", "helper"])
def test_two_messages_of_one_task(town: Town, dead: Agent, goal: str) -> None:
    """By somebody's hand: the task is moved once."""
    helper = register(town, "helper")
    task, message = give_task(town, dead)
    with writing(town) as tx:
        tx.do("RPUSH", tx.keys.inbox(dead.id), make_message("task_assign", to=dead.id, task_id=task.id).raw)

    found = reclaiming.to_backlog(town) if goal == "backlog" else reclaiming.to_agent(town, goal)

    assert len(found[0].moved) == 1
    kind = "message_moved" if goal == "backlog" else "message_reclaimed"
    assert [e["message_id"] for e in events(town, kind)] == [message.id]
    assert town.store.tasks.backlog_ids().count(task.id) == (goal == "backlog")
    assert len(texts(town, "inbox", helper.id)) == (goal == "helper")
    invariants.check(town, settled=False)


def test_only_of_one_agent(town: Town, dead: Agent) -> None:
    """By name or a prefix of the id; the others keep theirs."""
    fill(town, dead)
    other = register(town, "other", wanted=False)
    message = give_mail(town, other, "task", description="stay")

    (found,) = reclaiming.to_backlog(town, dead.id[:8])

    assert found.agent.name == "dead"
    assert texts(town, "inbox", other.id) == [message.raw]


@pytest.mark.parametrize("name", ["nobody", "alive"])
def test_from_an_agent_that_has_not_ended(town: Town, dead: Agent, name: str) -> None:
    """Unknown, or alive: refused, and nothing is changed."""
    register(town, "alive")
    fill(town, dead)
    before = snapshot(town)
    for call in (reclaiming.preview, reclaiming.to_backlog):
        with pytest.raises(NotFound, match=f"Agent '{name}' not found or not in terminal state"):
            call(town, name)
    assert snapshot(town) == before


def test_to_an_agent_that_would_not_work(town: Town, dead: Agent) -> None:
    """Unknown, ended (also the very agent itself), or asked to stop: refused, and nothing is changed."""
    fill(town, dead)
    stopping = register(town, "stopping")
    town.journal("stopping").write_actor(ActorEntry(own(), stopping.id, 1))
    agents.kill(town, "stopping")
    before = snapshot(town)
    for to, error, said in (
        ("nobody", AgentNotFound, "nobody"),
        ("conductor", AgentNotFound, "conductor"),
        ("dead", Conflict, r"Agent 'dead' has ended \(Stopped\)."),
        ("stopping", Conflict, "Agent 'stopping' is asked to stop."),
    ):
        with pytest.raises(error, match=said):
            reclaiming.to_agent(town, to)
    assert snapshot(town) == before


def test_a_round_that_was_left(town: Town, dead: Agent) -> None:
    """Claimed by an agent whose wish was deleted: moved too, once its process has gone."""
    agent = register(town, "left")
    task, message = give_task(town, agent)
    claim_all(town, agent)
    row = town.store.agents.row(agent.id)
    assert row is not None
    with writing(town) as tx:
        tx.do("SET", tx.keys.agent(agent.id), row.agent.having(state="stopped").to_json())
        tx.do("HDEL", tx.keys.wanted, agent.id)
    town.journal("left").write_actor(ActorEntry(own(), agent.id, 1))
    with pytest.raises(Conflict, match="has not ended yet"):
        reclaiming.to_backlog(town)
    town.journal("left").discard(town.journal("left").agent_ids())
    (town.state_dir / "agents" / "left" / "actor.json").unlink()

    reclaiming.to_backlog(town)

    assert town.store.tasks.backlog_ids() == [task.id]
    assert texts(town, "claimed", agent.id) == []
    assert [e["message_id"] for e in events(town, "message_moved")] == [message.id]


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["backlog", "helper", "both"])
def test_eight_at_once(town: Town, dead: Agent, goal: str) -> None:
    """Each message is moved by one of them; none is lost, none is there twice."""
    helper = register(town, "helper")
    others = [dead, register(town, "dead2", wanted=False)]
    accepted = [m for n in range(300) for m in [give_mail(town, others[n % 2], "task", description=f"w{n}").id]]
    accepted += [give_task(town, others[n % 2])[1].id for n in range(300)]

    def reclaim(number: int) -> int:
        mine = same_town(town)
        to_helper = goal == "helper" or (goal == "both" and number % 2)
        found = reclaiming.to_agent(mine, "helper") if to_helper else reclaiming.to_backlog(mine)
        return sum(len(one.moved) for one in found)

    moved = in_processes(8, reclaim)

    assert sum(moved) == 600
    assert len(town.store.tasks.backlog_ids()) + len(texts(town, "inbox", helper.id)) == 600
    assert texts(town, "inbox", dead.id) == texts(town, "inbox", others[1].id) == []
    invariants.check(town, settled=False, accepted=accepted)
