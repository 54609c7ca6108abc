"""Prune: an agent that has ended goes with every key; what nobody has read stays, or is named and requeued."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import invariants
from tests.support.builders import make_task
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
from tinytown import ids, processes
from tinytown.domain.agent import Agent
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict
from tinytown.journal import ActorEntry, Journal, RoundEntry
from tinytown.services import agents, mail, pruning, tasks
from tinytown.services.agents import SpawnRequest
from tinytown.services.caller import Caller
from tinytown.services.pruning import prune
from tinytown.store.inboxes import bury
from tinytown.town import Town

GONE = processes.Identity(2**22 - 1, 1)


@pytest.fixture
def dead(town: Town) -> Agent:
    return register(town, "dead", wanted=False)


def bury_one(town: Town, agent: Agent) -> str:
    message = give_mail(town, agent)
    with writing(town) as tx:
        tx.do("DEL", tx.keys.inbox(agent.id))
        bury(tx, agent.id, message.raw, "gave up", "2026-01-02T03:04:05Z", 3)
    return message.id


def touch_every_key(town: Town, agent: Agent) -> None:
    """What an agent collects in its life."""
    keys, redis = town.store.keys, town.store.redis
    for hash_key in (keys.stats(agent.id), keys.attempts(agent.id)):
        redis.hset(hash_key, "x", "1")
    for string_key in (keys.stop(agent.id), keys.pause(agent.id), keys.lease(agent.id)):
        redis.set(string_key, "1", ex=30)
    for list_key in (keys.wake(agent.id), keys.activity(agent.id)):
        redis.rpush(list_key, "1")


def keys_of(town: Town, agent: Agent) -> list[str]:
    return [key for key in snapshot(town) if agent.id in key]


@pytest.mark.parametrize("state", pruning.PRUNED)
def test_an_ended_agent_goes(town: Town, state: AgentState) -> None:
    """Every key of it, its name and its journal, in one step; others are left alone."""
    dead = register(town, "dead", wanted=False, state=state)
    alive, cold = register(town, "alive"), register(town, "cold", wanted=False, state=AgentState.COLD)
    touch_every_key(town, dead)
    journal = town.journal("dead")
    journal.write_actor(ActorEntry(GONE, dead.id, 1))
    journal.write_round(RoundEntry(dead.id, 1, 1, f"{dead.id}:1:1", ()).settled(), sync=False)
    (town.runs_dir / "dead").mkdir(parents=True)

    done = prune(town)

    (gone,) = done.removed
    assert (gone.agent.id, gone.agent.state, gone.keys, gone.messages) == (dead.id, state, 8, 0)
    assert done.kept == []
    assert keys_of(town, dead) == []
    assert town.store.agents.names() == {"alive": alive.id, "cold": cold.id}
    assert [e["agent_id"] for e in events(town, "agent_pruned")] == [dead.id]
    assert not journal.folder.exists()
    assert not (town.runs_dir / "dead").exists()
    assert prune(town) == pruning.Pruning([], [])


def test_wanted_agents_are_not_touched(town: Town) -> None:
    """Also one whose supervisor has stopped in order: its next one starts it again."""
    register(town, "leaving", state=AgentState.STOPPED)
    before = snapshot(town)
    assert prune(town) == pruning.Pruning([], [])
    assert snapshot(town) == before


def a_query(town: Town, agent: Agent) -> None:
    give_mail(town, agent)


def words(town: Town, agent: Agent) -> None:
    give_mail(town, agent, "task", urgent=True)


def a_task(town: Town, agent: Agent) -> None:
    give_task(town, agent)


def a_dead_letter(town: Town, agent: Agent) -> None:
    bury_one(town, agent)


def a_task_without_mail(town: Town, agent: Agent) -> None:
    with writing(town) as tx:
        tx.save_task(None, make_task(TaskState.ASSIGNED, assigned_to=agent.id))


def all_of_it(town: Town, agent: Agent) -> None:
    for give in (a_dead_letter, a_task, a_query, a_task_without_mail):
        give(town, agent)


@pytest.mark.parametrize(
    ("give", "why", "remedy"),
    [
        (a_query, "1 unread message(s)", "tt reclaim --from dead --to <agent>"),
        (words, "1 unread message(s)", "tt reclaim --from dead --to-backlog"),
        (a_task, "1 unread message(s)", "tt reclaim --from dead --to-backlog"),
        (a_dead_letter, "1 dead letter(s)", "tt inbox dead --dead"),
        (a_task_without_mail, "1 open task(s)", "tt reclaim --orphan-tasks --to-backlog"),
        (all_of_it, "2 unread message(s), 1 dead letter(s), 1 open task(s)", "tt reclaim --from dead --to-backlog"),
    ],
)
def test_what_nobody_has_read_is_kept(
    town: Town, dead: Agent, give: Callable[[Town, Agent], None], why: str, remedy: str
) -> None:
    """With the remedy; nothing of it is changed, and others are pruned."""
    empty = register(town, "empty", wanted=False)
    give(town, dead)
    before = {key: value for key, value in snapshot(town).items() if dead.id in key}

    done = prune(town)

    assert [(kept.agent.id, kept.why, kept.remedy) for kept in done.kept] == [(dead.id, why, remedy)]
    assert [gone.agent.id for gone in done.removed] == [empty.id]
    assert {key: value for key, value in snapshot(town).items() if dead.id in key} == before


def test_by_force(town: Town, dead: Agent) -> None:
    """Each message is named by an event, open tasks are in the backlog."""
    helper = register(town, "helper", role_id="api")
    task, lead = give_task(town, dead, tags=["api"])
    mail = [give_mail(town, dead).id, give_mail(town, dead, "task", urgent=True).id]
    with writing(town) as tx:
        tx.do("RPUSH", tx.keys.inbox(dead.id), "no message")
    letter = "gone-" + ids.new_id()
    with writing(town) as tx:
        bury(tx, dead.id, letter, "unreadable", "2026-01-02T03:04:05Z", 0)

    (gone,) = prune(town, force=True).removed

    assert (gone.messages, [t.id for t in gone.requeued]) == (4, [task.id])
    assert town.store.tasks.backlog_ids() == [task.id]
    assert task_now(town, task).state is TaskState.PENDING
    pruned = events(town, "message_pruned")
    assert {e.get("message_id") for e in pruned} == {*mail, None}
    assert any(letter in e["message"] for e in pruned)
    assert [e["message_id"] for e in events(town, "message_moved")] == [lead.id]
    assert texts(town, "wake", helper.id) == ["1"]
    assert keys_of(town, dead) == []
    invariants.check(town, settled=False, accepted=[lead.id, *mail])


def test_mail_of_ended_tasks_is_in_nobodys_way(town: Town, dead: Agent) -> None:
    """It would be acknowledged without a run; an event names it all the same."""
    task, message = give_task(town, dead)
    tasks.cancel(town, task.id, None, Caller())

    assert len(prune(town).removed) == 1
    assert [e["message_id"] for e in events(town, "message_pruned")] == [message.id]


def test_everyone(town: Town) -> None:
    """Also the wanted (here without a process), and what a deleted wish has left in no end state."""
    register(town, "wanted")
    left = register(town, "left")
    task, _ = give_task(town, left)
    claim_all(town, left)
    town.store.redis.hdel(town.store.keys.wanted, left.id)
    register(town, "cold", wanted=False, state=AgentState.COLD)

    done = prune(town, everyone=True, force=True)

    assert sorted(gone.agent.name for gone in done.removed) == ["cold", "left", "wanted"]
    assert town.store.agents.names() == {}
    assert town.store.tasks.backlog_ids() == [task.id]
    invariants.check(town, settled=True)


def test_who_cannot_be_stopped_keeps_everything(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one agent is removed when --all could not stop them all."""
    agent, _ = register(town), register(town, "dead", wanted=False)
    monkeypatch.setenv("TINYTOWN_AGENT_ID", agent.id)
    monkeypatch.setenv("TINYTOWN_RUN", f"{agent.id}:1:1")
    before = snapshot(town)

    with pytest.raises(Conflict):
        prune(town, everyone=True, force=True)
    assert snapshot(town) == before


def test_started_again_meanwhile(town: Town, dead: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarted between the look and the step: it stays."""
    look = pruning.open_tasks

    def restart_first(town: Town) -> dict[str, list[str]]:
        agents.restart(town, "dead", foreground=True)
        return look(town)

    monkeypatch.setattr(pruning, "open_tasks", restart_first)

    assert prune(town) == pruning.Pruning([], [])
    assert town.store.agents.names() == {"dead": dead.id}


def test_mail_that_comes_meanwhile(town: Town, dead: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assigned between the look and the step: it is seen, and the agent is kept."""
    given: list[Task] = []
    park = mail.park

    def assign_first(*args: Any) -> None:
        if not given:
            given.append(tasks.assign(town, "dead", "late work", Caller()))
        park(*args)

    monkeypatch.setattr(mail, "park", assign_first)

    done = prune(town)

    assert [kept.why for kept in done.kept] == ["1 unread message(s)"]
    assert task_now(town, given[0]).state is TaskState.ASSIGNED
    invariants.check(town, settled=True)


def test_mail_that_is_swapped_meanwhile(town: Town, dead: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many messages as there were, and not the same: the ones that are destroyed are those that events name."""
    give_mail(town, dead)
    late: list[str] = []
    park = mail.park

    def swap_first(*args: Any) -> None:
        if not late:
            town.store.redis.delete(town.store.keys.inbox(dead.id))  # reclaimed, say
            late.append(give_mail(town, dead).id)
        park(*args)

    monkeypatch.setattr(mail, "park", swap_first)

    prune(town, force=True)

    assert [event["message_id"] for event in events(town, "message_pruned")] == late


def test_a_worktree_stays(town: Town, dead: Agent) -> None:
    """Whatever else lies in the agent's folder is not ours to delete."""
    folder = town.journal("dead").folder
    (folder / "worktree").mkdir(parents=True)
    (folder / "worktree" / "work.py").write_text("precious")
    town.journal("dead").write_actor(ActorEntry(GONE, dead.id, 1))

    prune(town)

    assert sorted(path.name for path in folder.rglob("*")) == ["work.py", "worktree"]


def test_a_journal_of_somebody_who_lives_stays(town: Town, dead: Agent) -> None:
    """A new agent of this name may have come meanwhile: neither its file nor its prompts are touched."""
    journal = town.journal("dead")
    journal.write_actor(ActorEntry(processes.own(), ids.new_id(), 1))
    (town.runs_dir / "dead").mkdir(parents=True)

    prune(town)

    assert journal.actor() is not None
    assert (town.runs_dir / "dead").is_dir()
    assert [path.name for path in journal.folder.iterdir()] == ["actor.json"]
    agents.spawn(town, SpawnRequest("dead", cli="true", foreground=True))
    pruning.discard_journals(town, ["dead"])
    assert journal.actor() is not None


def test_a_journal_that_was_left_aside(town: Town) -> None:
    """Killed while it looked at a file: the next look puts back what belongs to a living process."""
    journal, agent_id = town.journal("late"), ids.new_id()
    journal.write_actor(ActorEntry(processes.own(), agent_id, 1))
    (journal.folder / "actor.json").rename(journal.folder / "actor.old")

    assert not journal.discard({agent_id})
    assert journal.actor() is not None


@pytest.mark.parametrize("moment", ["before", "while"])
def test_the_journal_of_a_spawn_at_the_same_moment_stays(
    town: Town, dead: Agent, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new agent takes the name and its actor claims mail, just when the files are removed."""
    journal, agent_id = town.journal("dead"), ids.new_id()
    journal.write_actor(ActorEntry(GONE, dead.id, 1))
    journal.write_round(RoundEntry(dead.id, 1, 1, "r", ()), sync=False)
    rename = os.rename

    def claims() -> None:
        journal.write_round(RoundEntry(agent_id, 1, 1, f"{agent_id}:1:1", ("m",)), sync=False)

    def meanwhile(old: Path, new: Path) -> None:
        rename(old, new)
        if old.name == "round.json":  # it is aside now
            claims()

    if moment == "before":
        known = Journal.agent_ids

        def then_claims(self: Journal) -> set[str]:
            found = known(self)
            claims()
            return found

        monkeypatch.setattr(Journal, "agent_ids", then_claims)
    else:
        monkeypatch.setattr("tinytown.journal.os.rename", meanwhile)

    prune(town)

    entry = journal.round()
    assert entry is not None
    assert (entry.agent_id, entry.messages) == (agent_id, ("m",))
    assert [path.name for path in journal.folder.iterdir()] == ["round.json"]


def test_a_journal_whose_model_lives_stays(town: Town, dead: Agent) -> None:
    """It leads to what still has to be ended."""
    journal = town.journal("dead")
    journal.folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=-1) as m:
        assert m.stdout is not None
        m.stdout.readline()
        entry = RoundEntry(dead.id, 1, 1, f"{dead.id}:1:1", (), model=processes.identity(m.pid))
        journal.write_round(entry, sync=False)
        prune(town)
        assert journal.round() is not None
        m.kill()
    pruning.discard_journals(town, ["dead"])
    assert not journal.folder.exists()


def test_a_journal_that_cannot_be_removed(town: Town, dead: Agent) -> None:
    """What stays decides nothing; the agent is gone all the same."""
    journal = town.journal("dead")
    journal.write_actor(ActorEntry(GONE, dead.id, 1))
    (journal.folder / "actor.old").mkdir()

    assert len(prune(town).removed) == 1
    assert journal.actor() is not None


@pytest.mark.slow
def test_eight_at_once(town: Town) -> None:
    """Each agent is removed by one of them."""
    for n in range(20):
        give_task(town, register(town, f"a{n}", wanted=False))

    def work(_number: int) -> list[str]:
        return [gone.agent.name for gone in prune(same_town(town), force=True).removed]

    found = in_processes(8, work)

    assert sorted(name for each in found for name in each) == sorted(f"a{n}" for n in range(20))
    assert len(town.store.tasks.backlog_ids()) == 20
    invariants.check(town, settled=True)
