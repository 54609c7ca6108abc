"""What a dead actor left: an outcome in the journal counts, anything else goes back."""

from __future__ import annotations

import pytest

from tests.support.town import (
    agent_now,
    claim_all,
    give_mail,
    give_task,
    register,
    snapshot,
    stats,
    task_now,
    texts,
)
from tinytown import ids, processes
from tinytown.domain.agent import Agent
from tinytown.domain.message import Message
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, EpochLost
from tinytown.journal import ActorEntry, RoundEntry
from tinytown.processes import Identity
from tinytown.services import recovery, tasks
from tinytown.services.caller import Caller
from tinytown.town import Town

DEAD = Identity(2**22 - 1, 1)


def entry_of(agent: Agent, held: list[Message], task: Task | None = None, outcome: Outcome | None = None) -> RoundEntry:
    texts_ = tuple(m.raw for m in held)
    return RoundEntry(agent.id, 1, 3, f"{agent.id}:1:3", texts_, task.id if task else None, None, outcome)


def write(town: Town, agent: Agent, entry: RoundEntry) -> None:
    journal = town.journal(agent.name)
    journal.write_actor(ActorEntry(DEAD, agent.id, 1))
    journal.write_round(entry, sync=False)


def take_back(town: Town, agent: Agent, epoch: int = 1) -> int:
    return recovery.take_back(town, agent, epoch, AgentState.IDLE)


def test_a_recorded_outcome_counts(town: Town) -> None:
    """The model had ended, its actor died before it settled: settled by the journal, nothing runs again."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    write(town, agent, entry_of(agent, [message], task, Outcome(OutcomeKind.OK, result="done")))

    assert take_back(town, agent) == 1

    assert (task_now(town, task).state, task_now(town, task).result) == (TaskState.COMPLETED, "done")
    assert texts(town, "inbox", agent.id) == texts(town, "claimed", agent.id) == []
    assert stats(town, agent) == {"rounds": 1, "tasks_completed": 1}
    assert task_now(town, task).ended_by == f"{agent.id}:1:3"
    assert town.journal("backend").round() is None
    before = snapshot(town)
    assert take_back(town, agent) == 0
    assert snapshot(town) == before


def test_no_outcome_is_the_next_attempt(town: Town) -> None:
    """It died in mid-round: back in the inbox, one attempt charged, no round."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    write(town, agent, entry_of(agent, [message], task))

    assert take_back(town, agent) == 1

    assert texts(town, "inbox", agent.id) == [message.raw]
    assert town.store.redis.hgetall(town.store.keys.attempts(agent.id)) == {message.id: "1"}
    assert task_now(town, task).state is TaskState.ASSIGNED
    assert stats(town, agent).get("rounds", 0) == 0


def test_a_claim_without_a_journal(town: Town) -> None:
    """It died between claim and journal: the claim is found in Redis and goes back."""
    agent = register(town)
    message = give_mail(town, agent)
    claim_all(town, agent)

    assert take_back(town, agent) == 1
    assert texts(town, "inbox", agent.id) == [message.raw]


def test_nothing_was_held(town: Town) -> None:
    """No journal, no claims: nothing is written."""
    agent = register(town)
    before = snapshot(town)

    assert take_back(town, agent) == 0
    assert snapshot(town) == before


def test_the_journal_of_another_agent_of_this_name(town: Town) -> None:
    """A stale file of an earlier agent of the same name decides nothing, and its run is not named."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    earlier = entry_of(agent, [message], task, Outcome(OutcomeKind.OK, result="not ours"))
    write(town, agent, RoundEntry(**{f: getattr(earlier, f) for f in earlier.__slots__} | {"agent_id": ids.new_id()}))

    take_back(town, agent)

    assert task_now(town, task).state is TaskState.ASSIGNED
    assert texts(town, "inbox", agent.id) == [message.raw]
    assert town.journal("backend").round() is None


def test_a_journal_that_cannot_be_read(town: Town) -> None:
    """Half a file (no fsync, power loss) is as none: the claims go back."""
    agent = register(town)
    message = give_mail(town, agent)
    claim_all(town, agent)
    write(town, agent, entry_of(agent, [message]))
    (town.state_dir / "agents" / "backend" / "round.json").write_text('{"agent_id": ')

    assert take_back(town, agent) == 1
    assert texts(town, "inbox", agent.id) == [message.raw]


def test_poison(town: Town) -> None:
    """A message that kills its actor three times is a dead letter with the reason, its task failed."""
    agent = register(town)
    task, message = give_task(town, agent)
    for _ in range(2):
        claim_all(town, agent)
        take_back(town, agent)
        assert task_now(town, task).state is TaskState.ASSIGNED
    claim_all(town, agent)

    take_back(town, agent)

    (letter,) = town.store.inboxes.dead(agent.id)
    assert (letter.text, letter.attempts) == (message.raw, 3)
    assert letter.reason == "crashed: the agent's process died during the round"
    assert task_now(town, task).state is TaskState.FAILED
    assert texts(town, "inbox", agent.id) == []


def test_an_old_epoch_takes_nothing_back(town: Town) -> None:
    """Whoever does not hold the epoch changes nothing, and the journal stays."""
    agent = register(town)
    message = give_mail(town, agent)
    claim_all(town, agent)
    write(town, agent, entry_of(agent, [message], None, Outcome(OutcomeKind.OK)))
    before = snapshot(town)

    with pytest.raises(EpochLost):
        take_back(town, agent, epoch=0)
    assert snapshot(town) == before
    assert town.journal("backend").round() is not None


def test_stopped_by_the_supervisor_charges_nothing(town: Town) -> None:
    """The journal says `stopped`: back as if nothing had been."""
    agent = register(town)
    message = give_mail(town, agent)
    claim_all(town, agent)
    write(town, agent, entry_of(agent, [message], None, Outcome(OutcomeKind.STOPPED, "grace time over")))

    take_back(town, agent)

    assert texts(town, "inbox", agent.id) == [message.raw]
    assert "1" not in town.store.redis.hgetall(town.store.keys.attempts(agent.id)).values()
    assert stats(town, agent).get("rounds", 0) == 0


def test_a_task_ended_while_its_agent_was_dead(town: Town) -> None:
    """Completed by a person meanwhile: the claim is acked, nothing runs, the end stays."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    write(town, agent, entry_of(agent, [message], task))
    tasks.complete(town, task.id, "by hand", Caller())

    take_back(town, agent)

    assert texts(town, "inbox", agent.id) == texts(town, "claimed", agent.id) == []
    assert task_now(town, task).result == "by hand"


@pytest.mark.parametrize("state", [AgentState.STOPPED, AgentState.ERROR])
def test_a_last_record(town: Town, state: AgentState) -> None:
    """Claims back, then record, wish, flags and lease in one step; the mail stays."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    town.store.redis.set(town.store.keys.lease(agent.id), "x")
    row = town.store.agents.row(agent.id)
    assert row is not None

    recovery.finish(town, row, state, "because")

    now = agent_now(town, agent)
    assert (now.state, now.reason, now.current_task) == (state, "because", None)
    assert town.store.agents.wishes() == {}
    assert not town.store.redis.exists(town.store.keys.lease(agent.id))
    assert texts(town, "inbox", agent.id) == [message.raw]
    assert task_now(town, task).state is TaskState.ASSIGNED


def test_only_what_has_no_process_is_finished(town: Town) -> None:
    """Wished to stop and dead: finished. Alive, not asked, or of another host: left alone."""
    made = {name: register(town, name) for name in ("dead", "alive", "unasked", "elsewhere")}
    for name, agent in made.items():
        row = town.store.agents.row(agent.id)
        assert row is not None
        assert row.wish is not None
        host = "another" if name == "elsewhere" else town.host
        wish = row.wish.having(stop=None if name == "unasked" else "graceful", host=host)
        town.store.redis.hset(town.store.keys.wanted, agent.id, wish.to_json())
        town.journal(name).write_actor(ActorEntry(processes.own() if name == "alive" else DEAD, agent.id, 1))

    assert recovery.finish_stopped(town) == ["dead"]
    assert set(town.store.agents.wishes()) == {a.id for n, a in made.items() if n != "dead"}


def test_nothing_of_a_model_lives_when_no_round_was_on(town: Town) -> None:
    """Without a round in the journal there is nothing to look for."""
    agent = register(town)

    assert recovery.leftovers(town.journal("backend"), agent.id) == []
    assert recovery.end_leftovers(town.journal("backend"), agent.id)


def test_no_last_record_while_its_model_cannot_be_ended(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of another user: its work stays where it is, or a second model would get it. Then it goes on."""
    agent = register(town, wanted=True)
    give_task(town, agent)
    claim_all(town, agent)
    left = [processes.Identity(2**22 - 1, 1)]
    monkeypatch.setattr(recovery, "END_WITHIN_S", 0.01)
    monkeypatch.setattr(recovery, "leftovers", lambda *_: left)
    row = town.store.agents.row(agent.id)
    assert row is not None
    before = snapshot(town)

    with pytest.raises(Conflict, match=r"of agent 'backend' left cannot be ended \(pid 4194303\)"):
        recovery.finish(town, row, AgentState.STOPPED, "why")

    assert snapshot(town) == before
    left.clear()
    recovery.finish(town, row, AgentState.STOPPED, "why")
    assert agent_now(town, agent).state is AgentState.STOPPED
    assert texts(town, "claimed", agent.id) == []
