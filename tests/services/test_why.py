"""Why something does not go on: each reason, as those who decide see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.builders import make_message
from tests.support.town import (
    claim_all,
    give_mail,
    give_task,
    register,
    task_now,
    texts,
    with_settings,
)
from tinytown import clock, processes
from tinytown.domain.agent import Agent
from tinytown.domain.event import Event
from tinytown.domain.message import Message
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import AgentState, TaskState
from tinytown.errors import NotFound
from tinytown.journal import ActorEntry
from tinytown.processes import Identity
from tinytown.services import agents, backlog, dependencies, recovery, settlement, steering, supervision, tasks, why
from tinytown.services.caller import Caller
from tinytown.services.obstacles import Reason
from tinytown.store.agents import save_wish
from tinytown.town import Town

PERSON = Caller()
CRASH = Outcome(OutcomeKind.CRASHED, "exit code 3")


def alive(town: Town, name: str = "backend", **fields: Any) -> Agent:
    """An agent with a process: this one."""
    agent = register(town, name, **fields)
    town.journal(name).write_actor(ActorEntry(processes.own(), agent.id, 1))
    return agent


def reasons(town: Town, reference: str) -> list[Reason]:
    return why.explain(town, reference).reasons


def codes(town: Town, reference: str) -> list[str]:
    return [reason.code for reason in reasons(town, reference)]


def first(town: Town, reference: str) -> tuple[str, str | None]:
    found = reasons(town, reference)[0]
    return found.text, found.remedy


def settle(town: Town, agent: Agent, outcome: Outcome) -> None:
    settlement.settle(town, agent.id, 1, settlement.Round(outcome, number=1, run=f"{agent.id}:1:1"))


def test_who_it_is(town: Town) -> None:
    """An agent by its name, a task by its first line; what is neither is an error."""
    agent = register(town)
    task, _message = give_task(town, agent, description="Fix it\nwell")

    seen = why.explain(town, "BACKEND")
    assert (seen.kind, seen.id, seen.name, seen.state) == ("agent", agent.id, "backend", "idle")
    seen = why.explain(town, task.id[:8])
    assert (seen.kind, seen.id, seen.name, seen.state) == ("task", task.id, "Fix it", "assigned")
    with pytest.raises(NotFound):
        why.explain(town, "conductor")


def test_an_agent_with_nothing_to_do(town: Town) -> None:
    """It waits for work; information alone is none."""
    agent = alive(town)
    assert first(town, "backend") == ("it has nothing to do", "tt assign backend 'What is to be done'")
    give_mail(town, agent, "informational")
    assert first(town, "backend")[0] == "it has nothing to do; 1 message without a question or a task"
    give_mail(town, agent)
    assert first(town, "backend") == ("1 message left for its next rounds", "tt inbox backend")


def test_an_agent_that_has_ended(town: Town) -> None:
    """How and why it ended, what is left for it; so for its tasks."""
    agent = register(town, wanted=False, state=AgentState.ERROR, reason="given up: 5 restarts in 60 s")
    task, message = give_task(town, agent)

    assert codes(town, "backend") == ["error", "mail"]
    text, remedy = first(town, "backend")
    assert text.startswith("it has ended (Error) at ")
    assert text.endswith(": given up: 5 restarts in 60 s")
    assert remedy == "tt restart backend"
    assert codes(town, task.id) == ["error"]
    assert first(town, task.id) == (f"agent 'backend': {text}", remedy)
    town.store.redis.lrem(town.store.keys.inbox(agent.id), 1, message.raw)
    assert first(town, task.id) == (
        "no message in the mailbox of 'backend' leads to it",
        f"tt task cancel {task.id[:8]}",
    )


def test_nobody_runs_it(town: Town) -> None:
    """No supervisor; on another host; in a terminal that is gone."""
    agent = register(town)
    task, _message = give_task(town, agent)
    assert first(town, "backend") == ("no supervisor is running", "tt supervise --detach")
    assert first(town, task.id) == ("agent 'backend': no supervisor is running", "tt supervise --detach")

    wishes = town.store.agents.wishes
    for changes, code, remedy in (
        ({"foreground": True}, "no_terminal", "tt kill backend"),
        ({"host": "elsewhere"}, "other_host", "tt supervise --detach (on that host)"),
    ):
        row = agents.resolve(town, "backend")
        assert row.wish is not None
        tx = town.store.transaction()
        save_wish(tx, agent.id, wishes()[agent.id], row.wish.having(**changes))
        town.store.commit(tx)
        found = reasons(town, "backend")[0]
        assert (found.code, found.remedy) == (code, remedy)
    town.store.redis.set(town.store.keys.lease(agent.id), "elsewhere:1:1:1")
    assert codes(town, "backend") == ["mail"]


def test_a_program_runs_it(town: Town) -> None:
    """It has not ended; nothing of the town will do its work."""
    agent = register(town, wanted=False, state=AgentState.IDLE)
    task, _message = give_task(town, agent)
    assert first(town, "backend") == ("nothing runs it (Idle)", "tt restart backend")
    assert first(town, task.id) == ("agent 'backend': nothing runs it (Idle)", "tt restart backend")


def test_what_its_last_round_left_cannot_be_killed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor waits for its end, and so does the agent."""
    register(town)
    left = processes.Identity(2**22 - 1, 1)
    monkeypatch.setattr(supervision, "is_running", lambda _town: True)
    monkeypatch.setattr(recovery, "leftovers", lambda *_: [left])
    assert first(town, "backend") == (
        f"process {left.pid} of its last round has not ended yet", f"End it: sudo kill {left.pid}",
    )  # fmt: skip


def pause(town: Town) -> None:
    steering.interrupt(town, "backend", PERSON)


def set_paused(town: Town) -> None:
    row = agents.resolve(town, "backend")
    town.store.redis.set(town.store.keys.pause(row.agent.id), "1")
    town.store.redis.set(town.store.keys.agent(row.agent.id), row.agent.having(state=AgentState.PAUSED).to_json())


def spend(town: Town) -> None:
    row = agents.resolve(town, "backend")
    town.store.redis.hset(town.store.keys.stats(row.agent.id), "rounds", 10)


@pytest.mark.parametrize(
    ("obstruct", "code", "text", "remedy"),
    [
        (pause, "paused", "it is to be paused", "tt resume backend"),
        (set_paused, "paused", "it is paused", "tt resume backend"),
        (lambda town: agents.kill(town, "backend"), "stopping", "it is asked to stop after its round",
         "tt kill backend --now"),
        (lambda town: agents.kill(town, "backend", now=True), "stopping", "it is asked to stop at once", None),
        (spend, "spent", "it has used its 10 rounds and stops", "tt wait backend && tt restart backend --rounds N"),
    ],
    ids=["pause", "paused", "stop", "stop now", "rounds"],
)  # fmt: skip
def test_what_users_wished(
    town: Town,
    monkeypatch: pytest.MonkeyPatch,
    obstruct: Callable[[Town], object],
    code: str,
    text: str,
    remedy: str | None,
) -> None:
    """The wish, its flags and its rounds stand before whatever waits, of the agent and of its tasks."""
    agent = alive(town)
    task, _message = give_task(town, agent)
    monkeypatch.setattr(steering, "OBEYED_WITHIN_S", 0.0)
    obstruct(town)

    assert reasons(town, "backend")[0] == Reason(code, text, remedy)
    assert codes(town, "backend") == [code, "mail"]
    assert reasons(town, task.id) == [Reason(code, f"agent 'backend': {text}", remedy)]


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (OutcomeKind.RATE_LIMITED, None),
        (OutcomeKind.AUTH_FAILED, "log in to 'true'"),
        (OutcomeKind.NOT_FOUND, "install 'true', or correct its command"),
    ],
)
def test_a_held_cli(town: Town, kind: OutcomeKind, remedy: str | None) -> None:
    """Until when, by whom, why: for every agent on that CLI."""
    one, other = alive(town, "one"), alive(town, "other")
    give_task(town, one)
    claim_all(town, one)
    settle(town, one, Outcome(kind, "5-hour limit", until=clock.wall() + 600))
    task, _message = give_task(town, other)

    found = reasons(town, task.id)[0]
    assert (found.code, found.remedy) == ("held", remedy)
    assert found.text.startswith("agent 'other': CLI 'true' is held until ")
    assert found.text.endswith(f"({kind.value.replace('_', ' ')} by 'one': 5-hour limit)")
    assert 590 < (clock.parse(found.until or "") - clock.now()).total_seconds() <= 600
    town.store.redis.set(town.store.keys.hold("true"), "by hand", ex=60)
    assert "(held)" in reasons(town, task.id)[0].text


def test_a_busy_agent(town: Town) -> None:
    """What it works on and since when; how many messages are before the task; and the task that runs itself."""
    agent = alive(town)
    running, _message = give_task(town, agent, description="Fix the\nlogin")
    claim_all(town, agent)
    give_mail(town, agent)
    give_mail(town, agent, "informational")
    task, _message = give_task(town, agent)

    found = reasons(town, task.id)
    assert [reason.code for reason in found] == ["queue", "working"]
    assert found[0].text == "1 message before it in the mailbox of 'backend'"
    assert found[1].text.startswith(f"agent 'backend': it works on task {running.id[:8]} (Fix the login) since ")
    assert found[1].remedy == "tt logs backend"
    assert codes(town, "backend") == ["working"]
    text, remedy = first(town, running.id)
    assert text.startswith("agent 'backend' works on it since ")
    assert (text.endswith("(attempt 1 of 3)"), remedy) == (True, "tt logs backend")
    town.journal("backend").write_actor(ActorEntry(Identity(2**22 - 1, 1), agent.id, 1))
    assert codes(town, running.id) == ["no_supervisor"]


def test_the_next_in_the_mailbox(town: Town) -> None:
    """Nothing stands before it: its agent is about to start."""
    task, _message = give_task(town, alive(town))
    assert first(town, task.id) == ("agent 'backend' is about to start on it", None)


def test_backing_off(town: Town) -> None:
    """After a failed attempt: which one, why, and until when; a new actor tries at once."""
    slow = with_settings(town, agent={"retry_delay_s": 600.0})
    agent = alive(slow)
    task, _message = give_task(slow, agent)
    claim_all(slow, agent)
    settle(slow, agent, CRASH)

    found = reasons(slow, task.id)[0]
    assert found.code == "backing_off"
    assert found.text.startswith("attempt 1 of 3 failed (crashed: exit code 3); the next is due at ")
    assert 50 < (clock.parse(found.until or "") - clock.now()).total_seconds() <= settlement.RETRY_MAX_S
    assert reasons(slow, "backend") == [found]
    tx = slow.store.transaction()
    tx.event(Event("agent_started", "up", clock.stamp(), agent_id=agent.id))
    slow.store.commit(tx)
    assert codes(slow, task.id) == ["due"]
    slow.store.close()


def test_what_is_tried_again_at_once(town: Town) -> None:
    """A failure without a pause holds nothing back."""
    agent = alive(town)
    task, _message = give_task(town, agent)
    claim_all(town, agent)
    settle(town, agent, Outcome(OutcomeKind.CONTEXT_FULL))
    assert codes(town, task.id) == ["due"]


def test_a_closing_agent(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it still does, and what came too late."""
    agent = alive(town, state=AgentState.DRAINING)
    early, _message = give_task(town, agent)
    monkeypatch.setattr(steering, "OBEYED_WITHIN_S", 0.0)
    steering.close(town, "backend")
    late, message = give_task(town, agent)
    stamped = Message(message.id, message.sender, message.to, message.type, message.payload, created_at=clock.stamp())
    town.store.redis.lset(town.store.keys.inbox(agent.id), 1, stamped.to_json())

    assert first(town, "backend") == ("it is closing: 1 message left for its next rounds", "tt inbox backend")
    assert codes(town, early.id) == ["due"]
    assert reasons(town, late.id) == [
        Reason(
            "late",
            "agent 'backend' is closing; the task came later and waits for its restart",
            "tt wait backend && tt restart backend",
        )
    ]
    claim_all(town, agent)
    assert first(town, "backend")[0].startswith(f"it is closing: it works on task {early.id[:8]}")


def test_a_task_of_an_agent_that_is_gone(town: Town) -> None:
    """Its record was deleted."""
    agent = alive(town)
    task, _message = give_task(town, agent)
    town.store.redis.delete(town.store.keys.agent(agent.id))
    assert first(town, task.id) == (f"its agent {agent.id[:8]} is gone", "tt reclaim --orphan-tasks --to-backlog")


def test_the_backlog_without_takers(town: Town) -> None:
    """No tag, no agent of that role, one that has ended, or nobody by configuration."""
    untagged = backlog.add(town, "x", [], PERSON)
    task = backlog.add(town, "x", ["api", "db"], PERSON)
    alive(town, "other", role_id="web")

    by_hand = f"tt backlog claim {untagged.id[:8]} AGENT"
    assert first(town, untagged.id) == ("in the backlog: it has no tag, so it is for no agent's role", by_hand)
    assert codes(town, untagged.id) == ["no_agent"]
    assert first(town, task.id) == (
        "in the backlog: no agent with one of its tags as role runs (api, db)",
        "tt spawn NAME --role api",
    )
    register(town, "old", wanted=False, role_id="db")
    assert first(town, task.id)[1] == "tt restart old"
    manual = with_settings(town, agent={"auto_claim": False})
    assert first(manual, task.id)[0] == "in the backlog: agents take nothing by themselves (auto_claim is off)"
    manual.store.close()


def test_a_tag_is_no_part_of_a_command_unless_a_role_may_have_that_name(town: Town) -> None:
    """Whoever writes a tag, a model for one, writes no command that a person copies into a shell."""
    odd = backlog.add(town, "x", ["$(touch pwned)", "--all", "api"], PERSON)
    only_odd = backlog.add(town, "x", ["; rm -r ."], PERSON)
    assert first(town, odd.id)[1] == "tt spawn NAME --role api"
    assert first(town, only_odd.id)[1] == f"tt backlog claim {only_odd.id[:8]} AGENT"


def test_the_tag_of_a_plan_is_no_role(town: Town) -> None:
    """Nobody is told to spawn an agent for it."""
    task = backlog.add(town, "x", ["plan:a"], PERSON)
    assert first(town, task.id) == (
        "in the backlog: it has no tag, so it is for no agent's role", f"tt backlog claim {task.id[:8]} AGENT",
    )  # fmt: skip


def test_the_backlog_with_takers(town: Town) -> None:
    """What keeps each agent of that role; the tasks before it; when nothing does, it is about to be taken."""
    before = backlog.add(town, "x", ["api"], PERSON)
    task = backlog.add(town, "x", ["api"], PERSON)
    agent = alive(town, role_id="api")

    assert codes(town, before.id) == ["due"]
    assert codes(town, task.id) == ["due", "queue"]
    assert reasons(town, task.id)[1].text == "1 task for that role before it in the backlog"
    give_task(town, agent)
    claim_all(town, agent)
    found = reasons(town, before.id)[0]
    assert (found.code, found.remedy) == ("working", "tt logs backend")
    assert found.text.startswith("agent 'backend': it works on task ")
    town.store.redis.delete(town.store.keys.backlog)
    assert codes(town, task.id) == ["lost"]


@pytest.mark.parametrize(
    ("end", "state", "verb"),
    [(None, "assigned", "why"), (tasks.fail, "failed", "task retry"), (tasks.cancel, "cancelled", "task retry")],
    ids=["open", "failed", "cancelled"],
)
def test_a_dependency(town: Town, end: Callable[..., object] | None, state: str, verb: str) -> None:
    """Which task is missing, how it stands, and what to do about it."""
    needed, _message = give_task(town, alive(town), description="Design the\nAPI")
    task = backlog.add(town, "x", [], PERSON)
    raw, stored = tasks.find(town, task.id)
    waits = type(stored).from_dict(stored.to_dict() | {"depends_on": [needed.id]})
    tx = town.store.transaction()
    tx.save_task(raw, waits, stored)
    tx.do("LREM", tx.keys.backlog, 0, task.id)
    dependencies.wait_for(tx, task.id, dependencies.open_ones(town, [needed.id]))
    town.store.commit(tx)
    if end is not None:
        end(town, needed.id, None, PERSON)

    assert reasons(town, task.id) == [
        Reason(
            "dependency",
            f"it needs task {needed.id[:8]} (Design the API) first, which is {state}",
            f"tt {verb} {needed.id[:8]}",
        )
    ]


def test_a_task_that_is_done(town: Town) -> None:
    """When, by which agent in which round or by whom else, with what result."""
    agent = alive(town)
    task, _message = give_task(town, agent)
    by_hand, _message = give_task(town, agent)
    claim_all(town, agent)
    settle(town, agent, Outcome(OutcomeKind.OK, result="All\ngood"))
    tasks.cancel(town, by_hand.id, "not needed", PERSON)

    (found,) = reasons(town, task.id)
    assert (found.code, found.remedy) == ("completed", None)
    assert found.text.startswith("it was completed at ")
    assert found.text.endswith(" by agent 'backend' in round 1: All good")
    (found,) = reasons(town, by_hand.id)
    assert (found.code, found.remedy) == ("cancelled", f"tt task retry {by_hand.id[:8]}")
    assert found.text.endswith(" by a person: not needed")


def test_a_dead_letter(town: Town) -> None:
    """A task whose attempts are used up: why, and what tries it again; its agent has a dead letter."""
    once = with_settings(town, agent={"max_attempts": 1})
    agent = alive(once)
    task, _message = give_task(once, agent)
    claim_all(once, agent)
    settle(once, agent, CRASH)

    assert task_now(once, task).state is TaskState.FAILED
    found = reasons(once, task.id)
    assert [(reason.code, reason.remedy) for reason in found] == [
        ("failed", f"tt task retry {task.id[:8]}"),
        ("dead_letter", f"tt inbox --dead --retry {task.id[:8]}"),
    ]
    assert found[1].text == "its message was given up after 1 attempt: crashed: exit code 3"
    assert reasons(once, "backend")[1] == Reason("dead_letters", "1 dead letter", "tt inbox backend --dead")
    once.store.close()


def test_what_was_broken_by_hand(town: Town) -> None:
    """Neither an unreadable message nor a broken time is in the way."""
    agent = alive(town, last_active_at="yesterday")
    town.store.redis.rpush(town.store.keys.inbox(agent.id), "broken")
    task, _message = give_task(town, agent)
    assert codes(town, task.id) == ["due"]
    town.store.redis.rpush(town.store.keys.claimed(agent.id), make_message("query", to=agent.id).raw)
    assert first(town, "backend")[0] == "it works on its messages since an unknown time"
    assert json.loads(texts(town, "inbox", agent.id)[1])["task_id"] == task.id
