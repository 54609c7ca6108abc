"""Ending actors before something of theirs is destroyed: asked, waited for, then ended by force."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.builders import make_wish
from tests.support.town import agent_now, claim_all, give_task, register, snapshot, task_now, texts, writing
from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.domain.agent import Agent
from tinytown.domain.states import AgentState, TaskState
from tinytown.errors import Conflict
from tinytown.journal import ActorEntry, RoundEntry
from tinytown.services import stopping
from tinytown.services.stopping import end_actors
from tinytown.store.agents import AgentRow, save_wish
from tinytown.town import Town

STUBBORN = "import signal, time\nfor s in (signal.SIGUSR1, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"


@pytest.fixture
def actor() -> Iterator[processes.Identity]:
    """A process that obeys nothing but SIGKILL."""
    with subprocess.Popen([sys.executable, "-c", f"{STUBBORN}print(1, flush=True)\ntime.sleep(60)"], stdout=-1) as one:
        assert one.stdout is not None
        one.stdout.readline()
        found = processes.identity(one.pid)
        assert found is not None
        yield found
        one.kill()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "NOW_WITHIN_S", 0.3)
    monkeypatch.setattr(stopping, "GONE_WITHIN_S", 0.3)
    monkeypatch.setattr(stopping, "PROGRESS_AFTER_S", 0.05)
    monkeypatch.setattr(stopping, "LOOK_S", 0.02)


def row_of(town: Town, agent: Agent) -> AgentRow:
    row = town.store.agents.row(agent.id)
    assert row is not None
    return row


def test_nobody_is_there(town: Town) -> None:
    """Agents that have ended cost nothing and are left as they are."""
    ended = register(town, wanted=False)
    before = snapshot(town)

    end_actors(town, [row_of(town, ended)])

    assert snapshot(town) == before


def test_wanted_without_a_process(town: Town) -> None:
    """No supervisor: this call is it for the moment. What was claimed is back, the mail stays; others live on."""
    agent, other = register(town), register(town, "other")
    task, message = give_task(town, agent)
    claim_all(town, agent)

    end_actors(town, [row_of(town, agent)])

    assert row_of(town, agent).wish is None
    assert agent_now(town, agent).state is AgentState.STOPPED
    assert texts(town, "inbox", agent.id) == [message.raw]
    assert task_now(town, task).state is TaskState.ASSIGNED
    wish = row_of(town, other).wish
    assert wish is not None
    assert wish.stop is None
    assert not town.supervisor_lock.is_taken()


@pytest.mark.usefixtures("_impatient")
def test_an_actor_that_obeys_nothing(town: Town, actor: processes.Identity) -> None:
    """Left by a dead supervisor: after the grace time and a moment more it is killed, and nobody is charged."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    journal = town.journal(agent.name)
    journal.write_actor(ActorEntry(actor, agent.id, 1))
    journal.write_round(RoundEntry(agent.id, 1, 1, f"{agent.id}:1:1", (message.raw,), task.id), sync=False)
    said: list[str] = []

    end_actors(town, [row_of(town, agent)], grace_s=0.2, say=said.append)

    assert not processes.is_alive(actor)
    assert row_of(town, agent).wish is None
    assert set(town.store.redis.hvals(town.store.keys.attempts(agent.id))) <= {"0"}
    assert texts(town, "inbox", agent.id) == [message.raw]
    assert said == ["Waiting up to 0.2 s for: backend", "Waiting up to 0.3 s for: backend"]


@pytest.mark.usefixtures("_impatient")
def test_an_actor_whose_wish_was_deleted(town: Town, actor: processes.Identity) -> None:
    """Nobody wants it and yet it lives: it is rung at, and ended."""
    agent = register(town, wanted=False)
    town.journal(agent.name).write_actor(ActorEntry(actor, agent.id, 1))

    end_actors(town, [row_of(town, agent)], grace_s=0.1)

    assert not processes.is_alive(actor)
    assert town.store.redis.llen(town.store.keys.wake(agent.id)) == 1


@pytest.mark.usefixtures("_impatient")
def test_what_a_supervisor_watches_is_its_own(town: Town, actor: processes.Identity) -> None:
    """It is not killed by others: the caller hears that it could not be stopped."""
    agent = register(town)
    town.journal(agent.name).write_actor(ActorEntry(actor, agent.id, 1))
    lock = town.supervisor_lock
    assert lock.acquire()

    with pytest.raises(Conflict, match="Could not stop: backend") as caught:
        end_actors(town, [row_of(town, agent)], grace_s=0)
    lock.release()

    assert processes.is_alive(actor)
    assert caught.value.remedy == "See: tt status, tt supervise --status"
    wish = row_of(town, agent).wish
    assert wish is not None
    assert wish.stop == "now"


@pytest.mark.usefixtures("_impatient")
def test_a_terminal_is_nobodys_child(town: Town, actor: processes.Identity) -> None:
    """An agent in a terminal that obeys nothing is ended although a supervisor runs; that one writes its record."""
    agent = register(town)
    raw = row_of(town, agent).wish_raw
    with writing(town) as tx:
        save_wish(tx, agent.id, raw, make_wish(host=town.host, foreground=True, holder=actor.to_dict()))
    town.journal(agent.name).write_actor(ActorEntry(actor, agent.id, 1))
    lock = town.supervisor_lock
    assert lock.acquire()

    with pytest.raises(Conflict):
        end_actors(town, [row_of(town, agent)], grace_s=0)
    lock.release()

    wait_until(lambda: not processes.is_alive(actor), 5, "its end")
    end_actors(town, [row_of(town, agent)], grace_s=0)
    assert row_of(town, agent).wish is None


@pytest.mark.usefixtures("_impatient")
def test_an_agent_of_another_host(town: Town) -> None:
    """It is asked; that nobody there obeys is said, with what helps."""
    agent = register(town)
    raw = row_of(town, agent).wish_raw
    with writing(town) as tx:
        save_wish(tx, agent.id, raw, make_wish(host="elsewhere"))

    with pytest.raises(Conflict, match=r"Could not stop: backend \(on elsewhere\)") as caught:
        end_actors(town, [row_of(town, agent)], grace_s=0)

    assert caught.value.remedy == "If that host is gone: tt recover"


def test_nobody_waits_for_the_end_of_its_own_round(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that calls from its round is refused before anybody is asked."""
    agent, other = register(town), register(town, "other")
    monkeypatch.setenv("TINYTOWN_AGENT_ID", agent.id)
    monkeypatch.setenv("TINYTOWN_RUN", f"{agent.id}:1:1")
    before = snapshot(town)

    with pytest.raises(Conflict, match="'backend' cannot wait for its own end"):
        end_actors(town, [row_of(town, other), row_of(town, agent)])

    assert snapshot(town) == before
    end_actors(town, [row_of(town, other)])
    assert row_of(town, other).wish is None
