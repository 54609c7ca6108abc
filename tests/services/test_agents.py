"""Finding, registering, restarting, killing agents: the records, without any process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import make_message
from tests.support.interleaving import visited
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
    stats,
    task_now,
    texts,
    with_settings,
)
from tests.support.waiting import wait_until
from tinytown import ids, processes
from tinytown.domain.agent import Agent
from tinytown.domain.states import AgentState, TaskState
from tinytown.errors import AgentNotFound, Conflict, Invalid, NotFound, TimedOut
from tinytown.journal import ActorEntry
from tinytown.processes import Identity
from tinytown.services import agents, backlog, messages, tasks, waiting
from tinytown.services.agents import SpawnRequest
from tinytown.services.caller import Caller
from tinytown.store.agents import save_wish
from tinytown.store.inboxes import bury
from tinytown.town import Town, change


def spawn(town: Town, name: str = "backend", **wishes: Any) -> Agent:
    """As `tt spawn --foreground` does before it runs the actor: nothing is started."""
    usual: dict[str, Any] = {"cli": "true", "foreground": True}
    return agents.spawn(town, SpawnRequest(name, **usual | wishes))


def test_a_spawn_is_registered(town: Town) -> None:
    """Record, name, wish and event in one step; the wish says rounds, host and epoch."""
    boss = spawn(town, "boss")
    agent = spawn(town, "backend", rounds=7, role="api", nickname="Bea", parent="boss")

    row = town.store.agents.row(agent.id)
    assert row is not None
    assert row.wish is not None
    assert (row.agent.state, row.agent.role_id, row.agent.parent_agent_id) == (AgentState.STARTING, "api", boss.id)
    assert (row.wish.epoch, row.wish.rounds, row.wish.host, row.wish.foreground) == (1, 7, town.host, True)
    assert town.store.agents.names() == {"boss": boss.id, "backend": agent.id}
    assert [e["agent_id"] for e in events(town, "agent_spawned")] == [boss.id, agent.id]


def test_finding_an_agent(town: Town) -> None:
    """By name, in any case, by nickname, id or a prefix of it; the reserved mailbox is no agent."""
    agent = register(town, "Back.End", nickname="Bea")
    register(town, "other")

    for reference in ("Back.End", "back.end", " BACK.END ", "bea", agent.id, agent.id[:4], agent.id[:13].upper()):
        assert agents.resolve(town, reference).agent.id == agent.id, reference
    for reference in ("back", "conductor", ids.SUPERVISOR_ID, agent.id[:3], "*"):
        with pytest.raises(AgentNotFound):
            agents.resolve(town, reference)


@pytest.mark.parametrize("reference", ["", " ", "\n"])
def test_nothing_finds_nobody(town: Town, reference: str) -> None:
    """An empty reference is no agent, not even when there is only one without a nickname."""
    register(town)

    with pytest.raises(AgentNotFound):
        agents.resolve(town, reference)


def test_an_ambiguous_reference_is_refused(town: Town) -> None:
    """Two agents under one reference are a conflict; the exact name is never ambiguous."""
    upper = register(town, "Bob")
    register(town, "bob")
    register(town, "x", nickname="twin")
    register(town, "y", nickname="Twin")

    assert agents.resolve(town, "Bob").agent.id == upper.id
    for reference in ("BOB", "twin"):
        with pytest.raises(Conflict, match="ambiguous"):
            agents.resolve(town, reference)


@pytest.mark.parametrize(
    ("asked", "error", "part"),
    [
        ({"name": "a/b"}, Invalid, "Agent name 'a/b' is not valid"),
        ({"name": ""}, Invalid, "is not valid"),
        ({"name": ".."}, Invalid, "is not valid"),
        ({"name": "x" * 65}, Invalid, "is not valid"),
        ({"name": "größe"}, Invalid, "is not valid"),
        ({"name": "supervisor"}, Conflict, "reserved"),
        ({"name": "Conductor"}, Conflict, "reserved"),
        ({"role": "a b"}, Invalid, "Role name"),
        ({"nickname": ""}, Invalid, "Nickname name"),
        ({"rounds": 0}, Invalid, "must be 1 or more"),
        ({"cli": "no-such-cli"}, Invalid, "Unknown CLI"),
        ({"cli": "/no/such/cli"}, NotFound, "was not found"),
        ({"parent": "nobody"}, AgentNotFound, "nobody"),
        ({"name": "taken"}, Conflict, "is alive"),
    ],
)
def test_a_spawn_that_is_refused(town: Town, asked: dict[str, Any], error: type[Exception], part: str) -> None:
    """What cannot be: one line that says why, and nothing registered."""
    register(town, "taken")
    before = snapshot(town)

    with pytest.raises(error, match=part):
        spawn(town, **({"name": "fresh"} | asked))
    assert snapshot(town) == before


def test_there_is_a_most(town: Town) -> None:
    """`max_agents` bounds what is wanted at one time; an ended agent makes room."""
    small = with_settings(town, max_agents=2)
    spawn(small, "a")
    spawn(small, "b")
    before = snapshot(town)
    with pytest.raises(Conflict, match="There are 2 agents already"):
        spawn(small, "c")
    assert snapshot(town) == before
    agents.kill(small, "a")
    spawn(small, "c")
    small.store.close()


def test_there_is_a_most_for_restarts_too(town: Town) -> None:
    """A restart does not lead above `max_agents`."""
    small = with_settings(town, max_agents=1)
    register(town, "old", wanted=False)
    spawn(small, "new")

    with pytest.raises(Conflict, match="max_agents"):
        agents.restart(small, "old", foreground=True)
    small.store.close()


def test_eight_spawns_of_one_name(town: Town, tmp_path: Path) -> None:
    """One of eight processes gets the name, the others hear that it is alive; one record, one wish."""

    def work(number: int) -> str | None:
        try:
            return spawn(same_town(town)).id
        except Conflict:
            return None
        finally:  # the winner's terminal has to live until all have tried
            (tmp_path / f"tried-{number}").touch()
            wait_until(lambda: len(list(tmp_path.glob("tried-*"))) == 8, what="all eight to have tried")

    won = [i for i in in_processes(8, work) if i is not None]

    assert len(won) == 1
    assert town.store.agents.names() == {"backend": won[0]}
    assert list(town.store.agents.wishes()) == won


def test_eight_spawns_for_two_places(town: Town) -> None:
    """The bound holds for spawns at the same moment."""

    def work(number: int) -> bool:
        own = with_settings(town, max_agents=2)
        try:
            spawn(own, f"a{number}")
        except Conflict:
            return False
        return True

    assert sum(in_processes(8, work)) == 2
    assert len(town.store.agents.wishes()) == 2


def test_an_ended_name_is_taken_over(town: Town) -> None:
    """A new agent of an ended one's name gets its mail, dead letters, attempts and open tasks; the old record goes."""
    old, other = register(town, wanted=False), register(town, "other")
    task, message = give_task(town, old)
    foreign, _message = give_task(town, other)
    urgent = give_mail(town, old, urgent=True)
    town.store.redis.hset(town.store.keys.attempts(old.id), message.id, 2)
    town.store.redis.set(town.store.keys.pause(old.id), "1")  # by hand, after its end
    letter = make_message("query", to=old.id)
    change(town.store, lambda tx: bury(tx, old.id, letter.raw, "why", "t", 3))

    new = spawn(town)

    assert new.id != old.id
    assert town.store.agents.names()["backend"] == new.id
    assert (texts(town, "inbox", new.id), texts(town, "urgent", new.id)) == ([message.raw], [urgent.raw])
    assert [found.text for found in town.store.inboxes.dead(new.id)] == [letter.raw]
    assert town.store.redis.hgetall(town.store.keys.attempts(new.id)) == {message.id: "2"}
    assert (task_now(town, task).assigned_to, task_now(town, task).state) == (new.id, TaskState.ASSIGNED)
    assert task_now(town, foreign).assigned_to == other.id
    assert not [key for key in snapshot(town) if old.id in key]
    assert claim_all(town, new).tasks.keys() == {task.id}


def test_a_round_that_was_left_is_taken_over(town: Town) -> None:
    """The wish was deleted by hand in mid-round: refused while the old process lives, then its mail comes first."""
    old = register(town)
    task, message = give_task(town, old)
    later = give_mail(town, old)
    claim_all(town, old)
    town.store.redis.hdel(town.store.keys.wanted, old.id)
    journal = town.journal("backend")
    journal.write_actor(ActorEntry(processes.own(), old.id, 1))
    with pytest.raises(Conflict, match="has not ended yet"):
        spawn(town)
    journal.write_actor(ActorEntry(Identity(2**22 - 1, 1), old.id, 1))

    new = spawn(town)

    assert message.raw in texts(town, "inbox", new.id) + texts(town, "urgent", new.id)
    assert later.raw in texts(town, "inbox", new.id)
    assert (task_now(town, task).assigned_to, task_now(town, task).state) == (new.id, TaskState.ASSIGNED)
    assert not [key for key in snapshot(town) if old.id in key]


def test_a_take_over_loses_no_mail_that_comes_meanwhile(town: Town) -> None:
    """Mail sent by seven processes while the name changes hands is all at the new agent's, or was refused."""
    register(town, wanted=False)

    def work(number: int) -> list[str]:
        own = same_town(town)
        if number == 0:
            spawn(own)
            return []
        sent = []
        for n in range(10):
            try:
                sent.append(messages.send(own, "backend", str(n), Caller()).id)
            except (AgentNotFound, Conflict):
                continue
        return sent

    sent = [i for some in in_processes(8, work) for i in some]

    box = messages.mailbox(town, "backend")
    assert sorted(m.id for m in box.messages) == sorted(sent)


def test_what_an_ended_agent_assigned_comes_home(town: Town) -> None:
    """The end of a task that the old agent of this name assigned is told to the new one."""
    old, worker = register(town, "boss", wanted=False), register(town, "worker")
    task, _message = give_task(town, worker, assigned_by=old.id)
    new = spawn(town, "boss")

    assert task_now(town, task).assigned_by == new.id


WORK: dict[str, Callable[[Town], Any]] = {
    "assign": lambda town: tasks.assign(town, "backend", "build it", Caller()),
    "send": lambda town: messages.send(town, "backend", "hello", Caller()),
    "claim": lambda town: backlog.claim(town, backlog.listing(town)[0].id, "backend", Caller()),
    "assign all": lambda town: backlog.assign_all(town, "backend", Caller()),
}


@pytest.mark.parametrize("verb", WORK)
def test_a_name_that_is_taken_over_meanwhile_is_always_there(town: Town, verb: str) -> None:
    """Whoever gives it work gives it to one of the two, and never hears that there is no such agent."""
    for trip in range(6):
        town.store.redis.flushdb()
        register(town, wanted=False)
        backlog.add(town, "someday", [], Caller())
        with visited(town, {trip: partial(spawn, town)}) as (client, _store):
            WORK[verb](client)
        assert len(texts(town, "inbox", agents.resolve(town, "backend").agent.id)) == 1


def test_a_claim_that_nobody_took_back_stops_a_take_over_in_words(town: Town) -> None:
    """Mail still claimed by the old agent (its record was broken by hand) is not lost by a take-over."""
    old = register(town, wanted=False)
    text = make_message("query", to=old.id).raw
    town.store.redis.rpush(town.store.keys.claimed(old.id), text)
    try:
        new = spawn(town)
    except Conflict:
        assert texts(town, "claimed", old.id) == [text]
    else:
        assert text in texts(town, "inbox", new.id) + texts(town, "claimed", new.id)


def test_kill_of_an_agent_without_a_process(town: Town) -> None:
    """Without a supervisor the command itself writes the last record: stopped, wish and flags gone."""
    agent = register(town)
    message = give_mail(town, agent)

    agents.kill(town, "backend")

    assert (agent_now(town, agent).state, agent_now(town, agent).reason) == (AgentState.STOPPED, "stopped on request")
    assert town.store.agents.wishes() == {}
    assert not town.store.redis.exists(town.store.keys.stop(agent.id))
    assert texts(town, "inbox", agent.id) == [message.raw]
    assert len(events(town, "agent_stop_requested")) == len(events(town, "agent_stopped")) == 1


def test_kill_of_an_agent_with_a_process(town: Town) -> None:
    """A living actor obeys by itself: the wish says how, its bell rings, `now` is never taken back."""
    agent = register(town)
    town.journal("backend").write_actor(ActorEntry(processes.own(), agent.id, 1))

    for now, expected in ((False, "graceful"), (True, "now"), (False, "now")):
        agents.kill(town, "backend", now=now)
        row = town.store.agents.row(agent.id)
        assert row is not None
        assert row.wish is not None
        assert row.wish.stop == expected
    assert town.store.redis.get(town.store.keys.stop(agent.id)) == "1"
    assert texts(town, "wake", agent.id) == ["1"]


def test_kill_of_an_ended_agent_changes_nothing(town: Town) -> None:
    """It is left as it is."""
    register(town, wanted=False)
    before = snapshot(town)

    assert agents.kill(town, "backend").agent.state is AgentState.STOPPED
    assert snapshot(town) == before


def test_kill_takes_back_what_the_dead_actor_held(town: Town) -> None:
    """The claims of an actor that died go back before its record is closed; the task is assigned, not running."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    dead = Identity(2**22 - 1, 1)
    town.journal("backend").write_actor(ActorEntry(dead, agent.id, 1))

    agents.kill(town, "backend")

    assert (texts(town, "claimed", agent.id), texts(town, "inbox", agent.id)) == ([], [message.raw])
    assert task_now(town, task).state is TaskState.ASSIGNED
    assert agent_now(town, agent).state is AgentState.STOPPED


def test_stop_all(town: Town) -> None:
    """Everybody who is wanted is asked, nobody else."""
    for name in ("a", "b"):
        register(town, name)
    register(town, "ended", wanted=False)

    assert [a.name for a in agents.stop_all(town)] == ["a", "b"]
    assert town.store.agents.wishes() == {}


def test_restart_keeps_who_it_is(town: Town) -> None:
    """The same id and mail, a new epoch, fresh rounds counted from now."""
    agent = register(town, wanted=False, epoch=4, reason="done")
    message = give_mail(town, agent)
    town.store.redis.hset(town.store.keys.stats(agent.id), "rounds", 10)

    agents.restart(town, "backend", 3, foreground=True)

    row = town.store.agents.row(agent.id)
    assert row is not None
    assert row.wish is not None
    assert (row.wish.epoch, row.wish.rounds, row.wish.rounds_from) == (5, 3, 10)
    assert (row.agent.state, row.agent.reason, row.stats) == (AgentState.STARTING, None, {"rounds": 10})
    assert texts(town, "inbox", agent.id) == [message.raw]
    assert stats(town, agent) == {"rounds": 10}


def test_restart_of_a_living_agent_is_refused(town: Town) -> None:
    """It is still active: refused, nothing changed; senseless rounds too."""
    register(town)
    before = snapshot(town)

    with pytest.raises(Conflict, match="still active"):
        agents.restart(town, "backend", foreground=True)
    with pytest.raises(Invalid):
        agents.restart(town, "backend", 0, foreground=True)
    with pytest.raises(AgentNotFound):
        agents.restart(town, "nobody", foreground=True)
    assert snapshot(town) == before


def test_a_terminal_that_went_away_gives_the_name_back(town: Town) -> None:
    """A foreground agent whose process is dead does not hold its name for ever."""
    first = spawn(town)
    row = agents.resolve(town, first.id)
    assert row.wish is not None
    tx = town.store.transaction()
    save_wish(tx, first.id, row.wish_raw, row.wish.having(holder=Identity(2**22 - 1, 1).to_dict()))
    town.store.commit(tx)

    second: Agent | None = None
    for _ in range(2):
        try:
            second = spawn(town)
        except Conflict:
            continue
    assert second is not None
    assert town.store.agents.names() == {"backend": second.id}


def test_waiting_for_an_end(town: Town) -> None:
    """Returns the last state as soon as the wish is gone; a time-out says how it stands."""
    agent = register(town)
    with pytest.raises(TimedOut, match=r"did not finish within 0.05 s \(idle\)"):
        waiting.for_agent(town, "backend", 0.05)

    def work(number: int) -> str:
        own = same_town(town)
        return waiting.for_agent(own, agent.id, 15).value if number else agents.kill(own, "backend").agent.state.value

    assert in_processes(2, work) == ["idle", "stopped"]
    assert waiting.for_agent(town, "backend", 0) is AgentState.STOPPED


@pytest.mark.parametrize("break_it", [
    lambda r, k, i: r.set(k.agent(i), "broken"),
    lambda r, k, _i: r.hset(k.agents, "ghost", "no-such-id"),
    lambda r, k, i: r.hset(k.wanted, i, "broken"),
    lambda r, k, i: r.hset(k.stats(i), "rounds", "many"),
], ids=["record", "name", "wish", "counter"])  # fmt: skip
def test_broken_records_hide_nobody(town: Town, break_it: Callable[[Any, Any, str], None]) -> None:
    """What somebody broke by hand never keeps the rest of the town from being listed."""
    broken, whole = register(town, "broken"), register(town, "whole")
    break_it(town.store.redis, town.store.keys, broken.id)

    assert whole.id in {row.agent.id for row in town.store.agents.all()}
