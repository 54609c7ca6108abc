"""Reset: everything in one step, or the agents one by one; nothing of the past comes back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import invariants
from tests.support.builders import make_item, make_mission, make_watch, make_wish
from tests.support.missions import put_mission
from tests.support.town import (
    claim_all,
    events,
    give_mail,
    give_task,
    in_processes,
    register,
    same_town,
    snapshot,
    writing,
)
from tinytown import ids
from tinytown.domain.states import AgentState
from tinytown.domain.task import Task
from tinytown.errors import Conflict
from tinytown.journal import ActorEntry, RoundEntry
from tinytown.processes import Identity
from tinytown.services import agents, backlog, messages, pruning, tasks
from tinytown.services import reset as service
from tinytown.services.agents import SpawnRequest
from tinytown.services.caller import Caller
from tinytown.services.missions import steps
from tinytown.services.reset import Plan, plan, reset, reset_agents
from tinytown.services.stopping import end_actors
from tinytown.store.inboxes import bury
from tinytown.town import Town


def fill(town: Town) -> dict[str, Any]:
    """Agents in every condition, work in every place."""
    busy, dead = register(town, "busy"), register(town, "dead", wanted=False)
    register(town, "cold", wanted=False, state=AgentState.COLD)
    running, _ = give_task(town, busy)
    claim_all(town, busy)
    assigned, _ = give_task(town, dead)
    query = give_mail(town, dead)
    parked = backlog.add(town, "parked", [], Caller())
    done, _ = give_task(town, busy)
    tasks.complete(town, done.id, "done", Caller())
    messages.send(town, "conductor", "read me", Caller(), kind="query")
    journal = town.journal("busy")
    journal.write_actor(ActorEntry(Identity(2**22 - 1, 1), busy.id, 1))
    journal.write_round(RoundEntry(busy.id, 1, 1, f"{busy.id}:1:1", ()), sync=False)
    town.store.redis.set(town.store.keys.hold("claude"), "{}", ex=60)
    town.store.redis.set(town.store.keys.lease(f"supervisor:{town.host}"), "me", ex=30)
    return {"busy": busy, "dead": dead, "open": {running.id, assigned.id}, "parked": parked.id, "query": query.id}


def left(town: Town) -> set[str]:
    """Keys without their town, but for the tokens of transactions."""
    found = {key.split(":", 2)[2] for key in snapshot(town)}
    return {key for key in found if not key.startswith("sent:")}


def test_missions_go_with_everything(town: Town) -> None:
    """Counted in the plan, and no key of them is left."""
    run = make_mission()
    item = make_item(run)
    put_mission(town, run, item, watches=[make_watch(item)])
    with writing(town) as tx:
        steps.note(tx, run.id, "user", "careful")
        steps.log(tx, "mission_noted", "careful", run)
    assert plan(town).missions == 1
    reset(town)
    assert left(town) == {"events"}


def test_a_plan_changes_nothing(town: Town) -> None:
    """What is there, counted."""
    fill(town)
    before = snapshot(town)
    assert plan(town) == Plan(agents=3, tasks=4, backlog=1, at_work=2)
    assert snapshot(town) == before


def test_everything(town: Town) -> None:
    """Only the supervisor's lease and one event are left; journals are gone; another town is not touched."""
    fill(town)
    foreign = f"tt:{town.name}x:agent:1"
    town.store.redis.set(foreign, "x")

    done = reset(town)

    assert left(town) == {"events", f"lease:supervisor:{town.host}"}
    (event,) = events(town)
    assert (event["event_type"], event["message"]) == (
        "town_reset", f"3 agent(s), 4 task(s), {done.keys} key(s) deleted",
    )  # fmt: skip
    assert done.keys > 15
    assert list((town.state_dir / "agents").iterdir()) == []
    assert town.store.redis.get(foreign) == "x"
    assert plan(town) == Plan(0, 0, 0, 0)
    invariants.check(town, settled=True)
    agents.spawn(town, SpawnRequest("busy", cli="true", foreground=True))


def test_twice(town: Town) -> None:
    """The second finds the first one's event, and what somebody left half-way."""
    fill(town)
    reset(town)
    journal = town.journal("late")
    journal.write_actor(ActorEntry(Identity(2**22 - 1, 1), ids.new_id(), 1))
    reset(town)
    assert left(town) == {"events", f"lease:supervisor:{town.host}"}
    assert not journal.folder.exists()


@pytest.mark.parametrize("call", [reset, reset_agents])
def test_an_actor_that_cannot_be_stopped(town: Town, monkeypatch: pytest.MonkeyPatch, call: Any) -> None:
    """Nothing is deleted."""
    busy = fill(town)["busy"]
    monkeypatch.setenv("TINYTOWN_AGENT_ID", busy.id)
    monkeypatch.setenv("TINYTOWN_RUN", f"{busy.id}:1:1")
    before = snapshot(town)
    with pytest.raises(Conflict, match="cannot wait for its own end"):
        call(town)
    assert snapshot(town) == before


@pytest.mark.parametrize("call", [reset, reset_agents])
def test_a_spawn_meanwhile(town: Town, monkeypatch: pytest.MonkeyPatch, call: Any) -> None:
    """It is not deleted half: the caller is told, and the next call does it."""
    fill(town)

    def spawn_after(*args: Any, **more: Any) -> None:
        end_actors(*args, **more)
        agents.spawn(town, SpawnRequest("late", cli="true", foreground=True))

    monkeypatch.setattr(service, "end_actors", spawn_after)
    with pytest.raises(Conflict, match="Started again meanwhile: late"):
        call(town)
    assert agents.resolve(town, "late").wish is not None
    assert town.store.agents.wishes().keys() == {agents.resolve(town, "late").agent.id}


def test_work_that_comes_meanwhile(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change between the look at the keys and their end is looked at again: nothing is deleted half."""
    fill(town)
    scan = town.store.scan
    added: list[Task] = []

    def add_after() -> list[str]:
        found = scan()
        if not added:
            added.append(backlog.add(town, "late", [], Caller()))
        return found

    monkeypatch.setattr(town.store, "scan", add_after)
    reset(town)
    assert left(town) == {"events", f"lease:supervisor:{town.host}"}


def test_agents_only(town: Town) -> None:
    """Tasks stay; those in hand are in the backlog; mail that goes is named; the conductor's mailbox stays."""
    given = fill(town)

    done = reset_agents(town)

    assert town.store.agents.names() == town.store.agents.wishes() == {}
    assert set(town.store.tasks.backlog_ids()) == {*given["open"], given["parked"]}
    assert done.requeued == 2
    assert len(tasks.listing(town)) == 4
    assert given["query"] in {e["message_id"] for e in events(town, "message_reset")}
    assert len(messages.mailbox(town, "conductor").messages) >= 1
    assert {e["agent_id"] for e in events(town, "agent_reset")} >= {given["busy"].id, given["dead"].id}
    assert [e["event_type"] for e in events(town)][-1] == "town_reset"
    assert "hold:claude" in left(town)
    assert list((town.state_dir / "agents").iterdir()) == []
    invariants.check(town, settled=True, accepted=[given["query"]])


def test_agents_only_takes_spoilt_ones_too(town: Town) -> None:
    """A record that cannot be read, a name and a wish without one: no key is left, work and mail are accounted for."""
    spoilt, gone = register(town, "spoilt"), register(town, "gone", wanted=False)
    task, lead = give_task(town, spoilt)
    query = give_mail(town, gone)
    buried = give_mail(town, gone)
    with town.store.redis.pipeline() as pipe:
        pipe.set(town.store.keys.agent(spoilt.id), "{")
        pipe.delete(town.store.keys.agent(gone.id))
        pipe.hset(town.store.keys.wanted, ids.new_id(), make_wish("nobody").to_json())
        pipe.lrem(town.store.keys.inbox(gone.id), 1, buried.raw)
        pipe.execute()
    tx = town.store.transaction()
    bury(tx, gone.id, buried.raw, "gave up", "2026-01-02T03:04:05Z", 3)
    town.store.commit(tx)

    reset_agents(town)

    assert town.store.agents.names() == town.store.agents.wishes() == {}
    assert town.store.tasks.backlog_ids() == [task.id]
    assert {e["message_id"] for e in events(town, "message_reset")} == {query.id, buried.id}
    assert [e["message_id"] for e in events(town, "message_moved")] == [lead.id]
    assert not [key for key in left(town) if spoilt.id in key or gone.id in key]
    invariants.check(town, settled=True, accepted=[lead.id, query.id, buried.id])


def test_agents_only_goes_on(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed half-way: the next call removes the rest."""
    fill(town)
    remove = pruning.remove
    calls: list[Any] = []

    def once(*args: Any, **more: Any) -> Any:
        calls.append(args)
        return remove(*args, **more) if len(calls) == 1 else 1 / 0

    monkeypatch.setattr(pruning, "remove", once)
    with pytest.raises(ZeroDivisionError):
        reset_agents(town)
    monkeypatch.undo()
    assert len(town.store.agents.names()) == 2
    invariants.check(town, settled=False)

    reset_agents(town)

    assert town.store.agents.names() == {}
    invariants.check(town, settled=True)


@pytest.mark.slow
def test_four_at_once(town: Town) -> None:
    """Full and half resets beside people who add work: what is left is whole."""
    fill(town)

    def work(number: int) -> int:
        mine = same_town(town)
        if number % 2:
            return len([backlog.add(mine, f"w{n}", [], Caller()) for n in range(20)])
        return (reset if number else reset_agents)(mine).keys

    in_processes(4, work)

    assert town.store.agents.names() == {}
    records = [key for key in left(town) if key.startswith("task:")]
    assert len(records) == len(town.store.tasks.backlog_ids())


@pytest.mark.slow
def test_a_large_town(town: Town) -> None:
    """Ten thousand tasks and messages go in one step, within the client's patience."""
    dead = register(town, "dead", wanted=False)
    for _ in range(40):
        with town.store.redis.pipeline() as pipe:
            for _n in range(500):
                pipe.set(town.store.keys.task(ids.new_id()), "{}")
            pipe.execute()
    with town.store.redis.pipeline() as pipe:
        pipe.rpush(town.store.keys.inbox(dead.id), *(f"m{n}" for n in range(10_000)))
        pipe.execute()

    assert reset(town).keys > 20_000
    assert left(town) == {"events"}
