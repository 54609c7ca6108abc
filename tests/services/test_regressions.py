"""Rules of the services that break easily: who is kin, what was settled, who hears of a task, whose name is free."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.builders import make_task, make_wish
from tests.support.town import (
    claim_all,
    give_mail,
    give_task,
    in_processes,
    mailroom,
    register,
    same_town,
    stats,
    task_now,
    texts,
    writing,
)
from tinytown import clock, ids, processes
from tinytown.domain.agent import Agent
from tinytown.domain.message import Message
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import Conflict, Unavailable
from tinytown.journal import ActorEntry, RoundEntry
from tinytown.processes import Identity
from tinytown.services import agents, reclaiming, recovery, tasks
from tinytown.services.caller import Caller
from tinytown.services.settlement import Round, settle
from tinytown.store.agents import read_wish, save_wish
from tinytown.supervisor import agents as keeping
from tinytown.supervisor.child import Child, ChildSpec, Phase
from tinytown.town import Town

DEAD = Identity(2**22 - 1, 1)
SLEEP = "import time; time.sleep(60)"
FORKS = f"import os\nif os.fork(): os._exit(0)\nprint(os.getpid(), flush=True)\n{SLEEP}"


# Whose process is it


@contextmanager
def session(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, of no run, as a terminal's shell."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, start_new_session=True
    ) as leader:
        yield leader
        leader.kill()


def round_of(town: Town, agent: Agent, leader: Identity) -> None:
    """The journal says that this was the model."""
    entry = RoundEntry(agent.id, 1, 1, f"{agent.id}:1:1", (), None, leader)
    journal = town.journal(agent.name)
    journal.write_actor(ActorEntry(DEAD, agent.id, 1))
    journal.write_round(entry, sync=False)


def test_a_session_that_got_the_models_number(town: Town) -> None:
    """A process that has the pid of a model that ended is none of its leftovers, and lives on."""
    agent = register(town)
    with session(SLEEP) as innocent:
        now = processes.identity(innocent.pid)
        assert now is not None
        round_of(town, agent, Identity(now.pid, now.started - 360_000))
        assert recovery.leftovers(town.journal(agent.name), agent.id) == []
        assert recovery.end_leftovers(town.journal(agent.name), agent.id)
        assert processes.is_alive(now)


def test_a_group_that_got_the_models_number(town: Town) -> None:
    """Nor is what stays of a session whose leader had that pid and has ended, too."""
    agent = register(town)
    with session(FORKS) as leader:
        assert leader.stdout is not None
        rest = processes.identity(int(leader.stdout.readline()))
        assert rest is not None
        leader.wait()
        try:
            round_of(town, agent, Identity(leader.pid, rest.started - 360_000))
            assert recovery.leftovers(town.journal(agent.name), agent.id) == []
            assert recovery.end_leftovers(town.journal(agent.name), agent.id)
            assert processes.is_alive(rest)
        finally:
            processes.kill_all([rest])


# A settlement that Redis lost


def settled(town: Town, agent: Agent, held: list[Message], kind: OutcomeKind, task: Task | None = None) -> None:
    """The agent's last round, as its journal knows it."""
    outcome = Outcome(kind, result="done")
    raws = tuple(m.raw for m in held)
    entry = RoundEntry(agent.id, 1, 3, f"{agent.id}:1:3", raws, task.id if task else None, None, outcome)
    town.journal(agent.name).write_actor(ActorEntry(DEAD, agent.id, 1))
    town.journal(agent.name).write_round(entry.settled(), sync=False)


def test_a_success_that_redis_forgot(town: Town) -> None:
    """Settled by its journal, running by Redis: settled again, with its result, and without a charge for a round."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    settled(town, agent, [message], OutcomeKind.OK, task)

    assert recovery.take_back(town, agent, 1, AgentState.IDLE) == 1

    assert (task_now(town, task).state, task_now(town, task).result) == (TaskState.COMPLETED, "done")
    assert texts(town, "inbox", agent.id) == texts(town, "claimed", agent.id) == []
    assert stats(town, agent).get("rounds", 0) == 0


def test_a_failure_that_was_settled_decides_nothing(town: Town) -> None:
    """After anything but a success the message was put back: a claim of it is one of another attempt."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    settled(town, agent, [message], OutcomeKind.CRASHED, task)

    assert recovery.take_back(town, agent, 1, AgentState.IDLE) == 1

    assert task_now(town, task).state is TaskState.ASSIGNED
    assert texts(town, "inbox", agent.id) == [message.raw]


def test_a_settled_round_is_none_in_progress(town: Town) -> None:
    """It stays in the journal until the next claim, and nothing of it is left to end or to settle."""
    agent = register(town)
    _task, message = give_task(town, agent)
    settled(town, agent, [], OutcomeKind.OK)
    journal = town.journal(agent.name)

    assert journal.round() is None
    last = journal.last_round()
    assert last is not None
    assert last.is_settled
    assert recovery.leftovers(journal, agent.id) == []
    assert recovery.take_back(town, agent, 1, AgentState.IDLE) == 0
    assert texts(town, "inbox", agent.id) == [message.raw]


# A task's next life


def run_goes_on(town: Town, agent: Agent) -> tuple[Task, Message]:
    """A task whose run is being ended: it is cancelled, and its message is still claimed."""
    task, message = give_task(town, agent)
    claim_all(town, agent)
    tasks.cancel(town, task.id, None, Caller())
    return task, message


def test_a_retry_waits_for_the_end_of_the_run(town: Town) -> None:
    """A task that is given elsewhere while its run goes on is given when that run has been settled, not before."""
    old = register(town, "old")
    other = register(town, "other")
    task, message = run_goes_on(town, old)

    def work(number: int) -> list[str]:
        mine = same_town(town)
        if number == 0:
            return [tasks.retry(mine, task.id, Caller(), "other").state]
        before = texts(mine, "inbox", other.id)
        settle(mine, old.id, 1, Round(Outcome(OutcomeKind.STOPPED), (message.raw,)))
        return before

    assert in_processes(2, work)[1] == []
    assert task_now(town, task).state is TaskState.ASSIGNED
    assert texts(town, "claimed", old.id) == texts(town, "inbox", old.id) == []
    assert len(texts(town, "inbox", other.id)) == 1


def test_a_retry_does_not_wait_for_good(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that does not end makes a retry elsewhere a conflict, and nothing was changed."""
    monkeypatch.setattr(tasks, "RUN_ENDS_WITHIN_S", 0.05)
    task, _message = run_goes_on(town, register(town, "old"))
    other = register(town, "other")

    with pytest.raises(Conflict):
        tasks.retry(town, task.id, Caller(), "other")

    assert task_now(town, task).state is TaskState.CANCELLED
    assert texts(town, "inbox", other.id) == []


def test_an_agent_hears_of_a_task_that_is_parked_again(town: Town) -> None:
    """A retry to the backlog rings those whose role is one of the task's tags, and nobody else."""
    worker = register(town, "worker", role_id="worker")
    other = register(town, "other", role_id="other")
    gone = register(town, "gone", wanted=False, role_id="worker")
    task = make_task(TaskState.CANCELLED, tags=["worker"])
    with writing(town) as tx:
        tx.save_task(None, task)

    tasks.retry(town, task.id, Caller())

    assert town.store.tasks.backlog_ids() == [task.id]
    assert [len(texts(town, "wake", agent.id)) for agent in (worker, other, gone)] == [1, 0, 0]


def test_an_agent_hears_of_the_tasks_of_one_that_was_given_up(town: Town) -> None:
    """Tasks that go from a mailbox to the backlog ring those whose role fits."""
    dead = register(town, "dead", wanted=False)
    worker = register(town, "worker", role_id="worker")
    task, _message = give_task(town, dead, tags=["worker"])

    assert [parked.task_id for parked in reclaiming.park_work(town, dead.id)] == [task.id]

    assert len(texts(town, "wake", worker.id)) == 1


# Wishes


BAD_WISHES = [
    '{"name":"foo","epoch":"1","rounds":5}',
    '{"name":"../x","epoch":1,"rounds":5}',
    '{"name":"foo","epoch":1,"rounds":5,"since":null}',
    '{"name":"foo","epoch":1,"rounds":true}',
    '{"name":7,"epoch":1,"rounds":5}',
    '{"name":"foo","epoch":1}',
    "[]",
    "null",
    "no json",
    "",
]


@pytest.mark.parametrize("text", BAD_WISHES)
def test_a_wish_that_no_door_wrote_is_none(town: Town, text: str) -> None:
    """Whatever is typed into `wanted` by hand is read as no wish, and troubles no list of agents."""
    agent = register(town, wanted=False)
    town.store.redis.hset(town.store.keys.wanted, agent.id, text)

    assert read_wish(text) is None
    assert [row.wish for row in town.store.agents.all()] == [None]


def spawn_in_terminal(town: Town, name: str, holder: Identity) -> Agent:
    """The wish of a foreground spawn; its actor has not written its file yet."""
    agent = register(town, name, wanted=False)
    wish = make_wish(name, host=town.host, since=clock.wall(), foreground=True, holder=holder.to_dict())
    with writing(town) as tx:
        save_wish(tx, agent.id, None, wish)
    return agent


def test_a_terminal_that_died_before_its_actor_was_up(town: Town) -> None:
    """Its name is free for the next spawn, without a supervisor, and the mail goes along."""
    old = spawn_in_terminal(town, "ann", DEAD)
    mail = give_mail(town, old)

    new = agents.spawn(town, agents.SpawnRequest("ann", cli="true", foreground=True))

    assert new.id != old.id
    assert texts(town, "inbox", new.id) == [mail.raw]
    assert list(town.store.agents.wishes()) == [new.id]


def test_a_terminal_that_lives_keeps_its_agent(town: Town) -> None:
    """Before and after its actor is up: the name is taken, and nobody ends the agent."""
    agent = spawn_in_terminal(town, "ann", processes.own())

    with pytest.raises(Conflict):
        agents.spawn(town, agents.SpawnRequest("ann", cli="true", foreground=True))
    assert recovery.finish_stopped(town) == []
    assert list(town.store.agents.wishes()) == [agent.id]


def test_a_foreground_spawn_names_its_terminal(town: Town) -> None:
    """The wish says which process holds it; one for the supervisor has no holder."""
    agent = agents.spawn(town, agents.SpawnRequest("ann", cli="true", foreground=True))

    wish = read_wish(town.store.agents.wishes()[agent.id])
    assert wish is not None
    assert Identity.from_dict(wish.holder) == processes.own()


def test_giving_up_an_agent_without_a_record(town: Town) -> None:
    """Its wish goes all the same: nobody starts it again."""
    agent = register(town)
    town.store.redis.delete(town.store.keys.agent(agent.id))
    child = Child(ChildSpec(agent.id, agent.name), Phase.DEAD)

    keeping.give_up(town, child, "its record is gone")

    assert town.store.agents.wishes() == {}


def test_starts_count_though_the_clock_was_set_back(town: Town) -> None:
    """A wish of the future hides no restart of now."""
    agent = register(town)
    child = Child(ChildSpec(agent.id, agent.name), Phase.DEAD)
    child.starts = [clock.wall() - n for n in range(4)]
    wish = make_wish(agent.name, since=clock.wall() + 3600)

    assert len(keeping.starts_of(town, child, wish)) == 4
    assert keeping.starts_of(town, child, wish.having(since=clock.wall() - 1.5)) == child.starts[:2]


def test_a_pause_by_hand_outlives_a_change_of_the_wish(town: Town) -> None:
    """A wish that says nothing new of pausing leaves the flag as it is; the end of the wish takes it away."""
    agent = register(town)
    key = town.store.keys.pause(agent.id)
    town.store.redis.set(key, "1")
    raw = town.store.agents.wishes()[agent.id]
    with writing(town) as tx:
        raw = save_wish(tx, agent.id, raw, make_wish(agent.name, epoch=2)) or ""
    assert town.store.redis.exists(key)
    assert mailroom(town, agent, 2).look("true", {}).pause
    with writing(town) as tx:
        save_wish(tx, agent.id, raw, None)
    assert not town.store.redis.exists(key)


def test_a_claim_of_the_wrong_type_is_said(town: Town) -> None:
    """What cannot be settled because of a spoilt key raises, and changes nothing."""
    agent = register(town)
    town.store.redis.set(town.store.keys.claimed(agent.id), ids.new_id())

    with pytest.raises(Unavailable):
        recovery.take_back(town, agent, 1, AgentState.IDLE)
