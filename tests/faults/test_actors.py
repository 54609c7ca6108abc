"""Actors that crash again and again, stand still, come back from the dead, or are told to go."""

from __future__ import annotations

import signal

import pytest

from tests.faults.conftest import NewTown
from tests.support.cli import Tt
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.states import AgentState, TaskState
from tinytown.services import agents, messages, waiting
from tinytown.store.agents import save_wish
from tinytown.town import change

pytestmark = pytest.mark.fault


def given_up(town: RunningTown, name: str) -> bool:
    """The supervisor has given this agent up."""
    return town.agent(name).state is AgentState.ERROR


def kill_until_given_up(town: RunningTown, name: str) -> int:
    """Kill its actor at each start; returns how many there were."""
    killed = set()

    def step() -> bool:
        entry = town.journal(name).actor()
        if entry is not None and processes.is_alive(entry.process):
            processes.send(entry.process, signal.SIGKILL)
            killed.add(entry.process)
        return given_up(town, name)

    town.wait(step, f"{name} to be given up")
    return len(killed)


def test_crash_loop(new_town: NewTown) -> None:
    """Too many restarts: the supervisor gives up on that agent, keeps its mail, and the others never notice."""
    town = new_town(supervisor={"restart_intensity": 3, "backoff_s": 0.02, "grace_s": 5})
    town.spawn("ann", "bob")
    running = town.assign("bob", "await go")
    town.wait_run(running)
    bob = town.actor("bob")
    kept = [town.assign("ann", "await go").id for _ in range(3)]
    assert kill_until_given_up(town, "ann") == 4
    town.check()
    assert len(town.events("agent_gave_up")) == 1
    assert "given up: 3 restarts" in (town.agent("ann").reason or "")
    box = messages.mailbox(town.town, "ann")
    assert [message.task_id for message in box.messages] == kept
    town.go()
    town.wait_done(running)
    assert town.actor("bob") == bob
    agents.restart(town.town, "ann")
    town.wait(lambda: all(town.town.store.tasks.get(i)[1].state is TaskState.COMPLETED for i in kept), "ann's tasks")  # type: ignore[index]


def test_crash_loop_counts_across_supervisors(new_town: NewTown) -> None:
    """A new supervisor does not forget the restarts before it."""
    town = new_town(supervisor={"restart_intensity": 2, "backoff_s": 0.02, "grace_s": 5})
    town.spawn("ann")
    for _ in range(2):
        actor = town.actor("ann")
        town.kill(actor)
        town.wait(lambda old=actor: town.actor("ann") != old, "a successor")
        town.wait_idle("ann")
    town.kill_supervisor()
    town.start()
    town.wait_idle("ann")
    town.kill(town.actor("ann"))
    town.wait(lambda: given_up(town, "ann"), "ann to be given up")


def test_give_up_to_the_backlog(new_town: NewTown) -> None:
    """With on_give_up = "backlog" the agent's tasks wait there for anybody."""
    town = new_town(supervisor={"restart_intensity": 1, "backoff_s": 0.02, "on_give_up": "backlog", "grace_s": 5})
    town.spawn("ann")
    kept = [town.assign("ann", "await go") for _ in range(2)]
    kill_until_given_up(town, "ann")
    town.wait(lambda: town.town.store.tasks.backlog_ids() == [task.id for task in kept], "the tasks in the backlog")


def test_broken_folder_of_one_agent(new_town: NewTown) -> None:
    """An agent that can write no journal runs nothing and keeps its mail, says why, and works once it can again."""
    town = new_town(supervisor={"restart_intensity": 2, "backoff_s": 0.02, "grace_s": 5})
    town.spawn("ann", "bob")
    folder = town.journal("ann").folder
    away = folder.with_name("away")
    actor = town.actor("ann")
    folder.rename(away)
    folder.write_text("no folder")
    town.kill(actor)
    task = town.assign("ann", "say done")
    town.wait(lambda: "the journal cannot be written" in " ".join(activity(town, "ann")), "ann to say why")
    town.task_done("bob")
    assert not town.runs(task)
    folder.unlink()
    away.rename(folder)
    town.wait_done(task)


def activity(town: RunningTown, name: str) -> list[str]:
    """What an agent did, newest first."""
    store = town.town.store
    agent_id = store.agents.names()[name]
    lines: list[str] = store.call(lambda r: r.lrange(store.keys.activity(agent_id), 0, -1))
    return lines


def test_hung(new_town: NewTown) -> None:
    """An actor that stands still is ended and replaced; idle ones beat and are left alone."""
    town = new_town(supervisor={"hung_s": 5.0, "grace_s": 5})
    town.spawn("ann", "bob")
    task = town.assign("ann", "await go")
    first = town.wait_run(task)
    stopped, bob = town.actor("ann"), town.actor("bob")
    town.kill(stopped, signal.SIGSTOP)
    town.wait_run(task, 2)
    assert not processes.is_alive(stopped)
    assert first.pid not in {model.pid for model in town.models("ann")}
    town.go()
    town.wait_done(task)
    assert town.actor("bob") == bob


def test_epoch(town: RunningTown) -> None:
    """An actor that was declared dead while it stood still settles nothing when it goes on, and says so."""
    town.spawn("ann")
    task = town.assign("ann", "await go")
    town.wait_run(task)
    old = town.actor("ann")
    town.kill(old, signal.SIGSTOP)
    town.go()
    town.wait(lambda: len(town.ends(task)) == 1, "the end of the model")
    another_epoch(town, "ann")
    town.kill(old, signal.SIGCONT)
    town.wait(lambda: not processes.is_alive(old), "the refused actor to leave")
    town.wait(lambda: town.events("agent_refused"), "the event")
    town.wait_done(task)
    assert len(town.events("task_completed")) == 1


def another_epoch(town: RunningTown, name: str) -> None:
    """What another supervisor's spawn would do."""
    agent_id = town.agent(name).id

    def build(tx: object) -> None:
        row = town.town.store.agents.row(agent_id)
        assert row is not None
        assert row.wish is not None
        save_wish(tx, agent_id, row.wish_raw, row.wish.having(epoch=row.wish.epoch + 1))  # type: ignore[arg-type]

    change(town.town.store, build)


def test_kill_finishes_the_round(town: RunningTown) -> None:
    """`kill` lets the running round end, leaves the rest of the mail, and the agent is stopped."""
    town.spawn("ann")
    running, queued = town.assign("ann", "await go"), town.assign("ann")
    town.wait_run(running)
    agents.kill(town.town, "ann")
    assert town.agent("ann").state is AgentState.WORKING
    town.go()
    town.wait_done(running)
    assert waiting.for_agent(town.town, "ann", 10) is AgentState.STOPPED
    town.check()
    assert town.task(queued).state is TaskState.ASSIGNED
    agents.restart(town.town, "ann")
    town.wait_done(queued)


def test_kill_now(town: RunningTown) -> None:
    """`kill --now` ends the model; the message goes back uncharged and is run by the next spawn."""
    town.spawn("ann")
    task = town.assign("ann", "first ignore-term", "first child kid", "first hang")
    town.wait((town.control / "kid").exists, "the model's child")
    agents.kill(town.town, "ann", now=True)
    assert waiting.for_agent(town.town, "ann", 10) is AgentState.STOPPED
    assert not town.models("ann")
    town.check()
    assert town.task(task).state is TaskState.ASSIGNED
    box = messages.mailbox(town.town, "ann")
    key = town.town.store.keys.attempts(town.agent("ann").id)
    assert [message.task_id for message in box.messages] == [task.id]
    assert set(town.town.store.call(lambda r: r.hvals(key))) <= {"0"}
    agents.restart(town.town, "ann")
    town.wait_done(task)


def test_kill_of_an_agent_that_just_died(town: RunningTown) -> None:
    """A wish to stop that meets a dead actor is fulfilled by the supervisor: its messages go back."""
    town.spawn("ann")
    task = town.assign("ann", "hang")
    town.wait_run(task)
    actor = town.actor("ann")
    town.kill(actor, signal.SIGSTOP)
    agents.kill(town.town, "ann")
    town.kill(actor)
    assert waiting.for_agent(town.town, "ann", 10) is AgentState.STOPPED
    assert town.task(task).state is TaskState.ASSIGNED


def test_kill_of_an_agent_that_comes_up(town: RunningTown) -> None:
    """Who waits for its start is told that somebody else has stopped it, and does not wait in vain."""
    tt = Tt(town.root)
    town.spawn("ann")
    agents.kill(town.town, "ann")
    waiting.for_agent(town.town, "ann", 10)
    town.signal_supervisor(signal.SIGSTOP)  # or it would be up at once
    with tt.running("restart", "ann") as restart:
        wishes = town.town.store.agents
        town.wait(lambda: wishes.all()[0].wish is not None, "the wish")
        assert tt("kill", "ann").code == 0
        _out, err = restart.communicate(timeout=15)
    town.signal_supervisor(signal.SIGCONT)
    assert (restart.returncode, err.splitlines()) == (
        1,
        ["Error: Somebody else stopped agent 'ann' before it was up.", "Start it again with: tt restart ann"],
    )


def test_kill_without_a_supervisor(town: RunningTown) -> None:
    """A wish to stop that meets a dead actor and no supervisor is fulfilled by the command itself."""
    town.spawn("ann")
    task = town.assign("ann", "first child kid", "first hang")
    town.wait((town.control / "kid").exists, "the model's child")
    actor = town.actor("ann")
    town.kill_supervisor()
    town.kill(actor)
    agents.kill(town.town, "ann")
    assert town.agent("ann").state is AgentState.STOPPED
    assert not town.models("ann")
    town.settle()
    town.start()
    agents.restart(town.town, "ann")
    town.wait_done(task)


@pytest.mark.parametrize("now", [False, True])
def test_kill_of_an_orphan(town: RunningTown, *, now: bool) -> None:
    """An actor whose supervisor is dead still obeys: after its round, or now, it ends its agent for good."""
    town.spawn("ann")
    task = town.assign("ann", "first await go")
    town.wait_run(task)
    town.kill_supervisor()
    agents.kill(town.town, "ann", now=now)
    if not now:
        town.go()
    assert waiting.for_agent(town.town, "ann", 10) is AgentState.STOPPED
    town.settle()
    assert town.task(task).state is (TaskState.ASSIGNED if now else TaskState.COMPLETED)
    town.start()
    agents.restart(town.town, "ann")
    town.wait_done(task)


def test_new_agent_of_the_same_name_takes_over(town: RunningTown) -> None:
    """A name whose agent was killed in mid-round gets a new agent, which does the old one's work."""
    town.spawn("ann")
    task, queued = town.assign("ann", "first hang"), town.assign("ann")
    town.wait_run(task)
    agents.kill(town.town, "ann", now=True)
    waiting.for_agent(town.town, "ann", 10)
    town.spawn("ann")
    town.wait_done(task, queued)


def test_an_outage_before_the_first_round_of_a_new_agent(town: RunningTown) -> None:
    """What its predecessor of that name left in the journal is none of its business when Redis comes back."""
    town.spawn("ann")
    town.task_done("ann")
    agents.kill(town.town, "ann")
    waiting.for_agent(town.town, "ann", 5)
    former = town.agent("ann").id
    assert town.spawn("ann").id != former
    town.wait_idle("ann")
    actor = town.actor("ann")
    town.kill_redis()
    town.task_done("ann")
    assert town.actor("ann") == actor
