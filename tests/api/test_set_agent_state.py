"""Agents that a program runs itself."""

from __future__ import annotations

import pytest

from tests.support import town as towns
from tinytown import Agent, AgentState, Conflict, Invalid, Task, TaskState, Town
from tinytown.services import agents, orphans
from tinytown.town import Town as OpenTown


def test_a_new_agent_joins_the_town(api: Town, town: OpenTown) -> None:
    """Under its name, with its id; then each stored state is read back, with an event for each change."""
    agent = Agent("worker", "python")
    for state in (AgentState.STARTING, AgentState.IDLE, AgentState.WORKING, AgentState.WORKING):
        agent.state = state
        api.channel().set_agent_state(agent)
        seen = api.channel().get_agent_state(agent.id)
        assert seen is not None
        assert (seen.name, seen.cli, seen.state, seen.created_at) == ("worker", "python", state, agent.created_at)
    assert api.agent("worker").id() == agent.id
    assert [a.name for a in api.list_agents()] == ["worker"]
    changes = [e["new_state"] for e in towns.events(town, "agent_registered", "agent_state_changed")]
    assert changes == ["starting", "idle", "working"]


def test_an_actors_record_is_its_own(api: Town, town: OpenTown) -> None:
    """Refused for an agent that is wanted to run; allowed when it has ended."""
    alive, ended = towns.register(town, "alive"), towns.register(town, "ended", wanted=False)
    record = api.channel().get_agent_state(alive.id)
    assert record is not None
    record.state = AgentState.ERROR
    with pytest.raises(Conflict, match="'alive' is run by the town: its actor alone does this"):
        api.channel().set_agent_state(record)
    assert towns.agent_now(town, alive).state == "idle"
    other = api.channel().get_agent_state(ended.id)
    assert other is not None
    other.state = AgentState.IDLE
    api.channel().set_agent_state(other)
    assert towns.agent_now(town, ended).state == "idle"


def test_names(api: Town) -> None:
    """A name that is taken, reserved or illegal is refused, and so is the supervisor's mailbox."""
    api.channel().set_agent_state(Agent("worker", "python"))
    with pytest.raises(Conflict, match="Another agent has the name 'worker'"):
        api.channel().set_agent_state(Agent("worker", "python"))
    with pytest.raises(Invalid, match="is not valid"):
        api.channel().set_agent_state(Agent("a b", "python"))
    for agent in (Agent("Conductor", "python"), Agent.supervisor("boss"), Agent("x_round_1", "python")):
        with pytest.raises(Conflict, match="is reserved"):
            api.channel().set_agent_state(agent)
    assert len(api.list_agents()) == 1


def test_what_changed_meanwhile_wins(api: Town) -> None:
    """Two programs with the same record: the second one is told to read it again."""
    agent = Agent("worker", "python")
    api.channel().set_agent_state(agent)
    other = api.agent("worker").state()
    assert other is not None
    agent.state = AgentState.IDLE
    api.channel().set_agent_state(agent)
    other.state = AgentState.WORKING
    with pytest.raises(Conflict, match="Agent 'worker' has changed since it was read"):
        api.channel().set_agent_state(other)


def test_recovery_leaves_it_alone(api: Town, town: OpenTown) -> None:
    """No process of the town's stands behind it, and none should: it is no orphan."""
    agent = Agent("worker", "python")
    agent.state = AgentState.WORKING
    api.channel().set_agent_state(agent)
    orphans.recover(town)
    seen = api.channel().get_agent_state(agent.id)
    assert seen is not None
    assert seen.state is AgentState.WORKING


def test_a_spawn_takes_over(api: Town, town: OpenTown) -> None:
    """What a program's worker left, claimed work included, waits for the agent that is spawned under its name."""
    agent = Agent("worker", "python")
    api.channel().set_agent_state(agent)
    taken, waiting = Task("taken"), Task("waiting")
    for task in (taken, waiting):
        api.agent("worker").assign(task)
    assert api.channel().try_receive(agent.id) is not None
    fresh = agents.spawn(town, agents.SpawnRequest("worker", "true", foreground=True))
    assert api.agent("worker").inbox_len() == 2
    for task in (taken, waiting):
        now = api.channel().get_task(task.id)
        assert now is not None
        assert (now.state, now.assigned_to) == (TaskState.ASSIGNED, fresh.id)
