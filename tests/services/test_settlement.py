"""Settling a round: the whole table of outcomes, once, under the right epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import QUICK, by_hand, make_task
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
from tinytown import clock, ids
from tinytown.domain.agent import Agent
from tinytown.domain.message import Message, parse
from tinytown.domain.outcome import RULES, FollowUp, Outcome, OutcomeKind
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import EpochLost
from tinytown.services import mail, tasks
from tinytown.services.caller import Caller
from tinytown.services.settlement import Fate, Round, fate_of, judge, settle
from tinytown.store.agents import save_wish
from tinytown.town import Town, change

K = OutcomeKind
RETRIED = [k for k, rule in RULES.items() if rule.follow_up in {FollowUp.RETRY_NOW, FollowUp.RETRY_LATER}]
UNCHARGED = [k for k, rule in RULES.items() if not rule.charged]


@dataclass
class Held:
    """A round that holds a task and a plain message."""

    agent: Agent
    boss: Agent
    task: Task
    lead: Message
    plain: Message


def held(town: Town, attempts: int = 0) -> Held:
    agent, boss = register(town), register(town, "boss")
    task, lead = give_task(town, agent, assigned_by=boss.id)
    plain = give_mail(town, agent, "informational")
    for message in (lead, plain):
        if attempts:
            town.store.redis.hset(town.store.keys.attempts(agent.id), message.id, attempts)
    claim = claim_all(town, agent)
    assert [m.id for m in claim.messages] == [lead.id, plain.id]
    assert claim.attempts == ({lead.id: attempts, plain.id: attempts} if attempts else {})
    return Held(agent, boss, task, lead, plain)


def attempts_of(town: Town, agent: Agent) -> dict[str, int]:
    stored: Any = town.store.redis.hgetall(town.store.keys.attempts(agent.id))
    return {name: int(value) for name, value in stored.items() if int(value)}


def end(kind: OutcomeKind, **fields: object) -> Round:
    return Round(Outcome(kind, "why", result="the result", **fields), run="the run", number=1)  # type: ignore[arg-type]


def bump(town: Town, agent: Agent, epoch: int = 2) -> None:
    """Another spawn takes the agent."""
    row = town.store.agents.row(agent.id)
    assert row is not None
    assert row.wish is not None
    change(town.store, lambda tx: save_wish(tx, agent.id, row.wish_raw, row.wish.having(epoch=epoch)))  # type: ignore[union-attr]


def test_a_good_end(town: Town) -> None:
    """OK: everything acked, the task completed with the result, a round counted, its assigner told."""
    here = held(town)

    done = settle(town, here.agent.id, 1, end(K.OK))

    assert (done.acked, done.buried, done.attempts) == (2, 0, {})
    for kind in ("claimed", "inbox", "urgent", "dead"):
        assert texts(town, kind, here.agent.id) == []
    task = task_now(town, here.task)
    assert (task.state, task.result, task.ended_by) == (TaskState.COMPLETED, "the result", "the run")
    assert stats(town, here.agent) == {"rounds": 1, "tasks_completed": 1}
    agent = agent_now(town, here.agent)
    assert (agent.state, agent.current_task) == (AgentState.IDLE, None)
    told = parse(texts(town, "inbox", here.boss.id)[0])
    assert (told.type, told.payload["result"]) == ("task_done", "the result")
    assert {e["message_id"] for e in events(town, "message_acked")} == {here.lead.id, here.plain.id}
    assert texts(town, "activity", here.agent.id) == ["Round 1: ✅ completed"]


@pytest.mark.parametrize("kind", RETRIED)
def test_a_bad_end_is_tried_again(town: Town, kind: OutcomeKind) -> None:
    """Below the bound: messages back in order, one attempt charged to each, a round counted, the task assigned."""
    here = held(town, attempts=1)

    done = settle(town, here.agent.id, 1, end(kind))

    assert (done.acked, done.buried, done.attempts) == (0, 0, {here.lead.id: 2, here.plain.id: 2})
    assert texts(town, "inbox", here.agent.id) == [here.lead.raw, here.plain.raw]
    assert texts(town, "claimed", here.agent.id) == []
    assert attempts_of(town, here.agent) == {here.lead.id: 2, here.plain.id: 2}
    assert task_now(town, here.task).state is TaskState.ASSIGNED
    assert stats(town, here.agent) == {"rounds": 1}
    assert texts(town, "inbox", here.boss.id) == []
    assert not texts(town, "wake", here.agent.id) or kind  # putting back does not ring by itself


@pytest.mark.parametrize("kind", RETRIED)
def test_the_last_attempt(town: Town, kind: OutcomeKind) -> None:
    """At the bound: dead letters with reason and count, the task failed, its assigner told, attempts forgotten."""
    here = held(town, attempts=2)

    done = settle(town, here.agent.id, 1, end(kind))

    assert (done.acked, done.buried, done.attempts) == (0, 2, {})
    assert [(d.text, d.reason, d.attempts) for d in town.store.inboxes.dead(here.agent.id)] == [
        (m.raw, f"{kind}: why", 3) for m in (here.lead, here.plain)
    ]
    task = task_now(town, here.task)
    assert (task.state, task.result, task.ended_by) == (TaskState.FAILED, f"{kind}: why", "the run")
    told = parse(texts(town, "inbox", here.boss.id)[0])
    assert (told.type, told.payload["error"]) == ("task_failed", f"{kind}: why")
    assert attempts_of(town, here.agent) == {}
    assert {e["message_id"] for e in events(town, "message_dead")} == {here.lead.id, here.plain.id}
    assert "tasks_completed" not in stats(town, here.agent)


@pytest.mark.parametrize("kind", UNCHARGED)
def test_what_is_not_the_agents_fault(town: Town, kind: OutcomeKind) -> None:
    """No attempt and no round, however often it was tried before; everything back as it was."""
    here = held(town, attempts=2)

    done = settle(town, here.agent.id, 1, end(kind))

    assert (done.acked, done.buried) == (0, 0)
    assert texts(town, "inbox", here.agent.id) == [here.lead.raw, here.plain.raw]
    assert attempts_of(town, here.agent) == {here.lead.id: 2, here.plain.id: 2}
    assert stats(town, here.agent).get("rounds", 0) == 0
    assert task_now(town, here.task).state is TaskState.ASSIGNED


@pytest.mark.parametrize("kind", OutcomeKind)
def test_holds(town: Town, kind: OutcomeKind) -> None:
    """Rate limit, login and a missing CLI hold the CLI for all agents until it is worth a look; nothing else does."""
    here = held(town)

    settle(town, here.agent.id, 1, end(kind))

    left = town.store.redis.pttl(town.store.keys.hold("true"))
    held_s = {K.RATE_LIMITED: 60, K.AUTH_FAILED: 300, K.NOT_FOUND: 60}.get(kind)
    if held_s is None:
        assert left == -2
    else:
        assert held_s * 1000 - 5000 < left <= held_s * 1000
        stored: Any = town.store.redis.get(town.store.keys.hold("true"))
        hold = json.loads(stored)
        assert (hold["kind"], hold["by"], hold["detail"]) == (kind.value, "backend", "why")
        assert len(events(town, "cli_held")) == 1


@pytest.mark.parametrize(("until", "least", "most"), [(120.0, 115, 120), (-50.0, 0.2, 1), (1e12, 604_000, 604_800)])
def test_a_hold_ends_when_the_vendor_says(town: Town, until: float, least: float, most: float) -> None:
    """A known end of a rate limit is kept to, at least a second, at most a week."""
    here = held(town)

    settle(town, here.agent.id, 1, end(K.RATE_LIMITED, until=clock.wall() + until))

    assert least * 1000 < town.store.redis.pttl(town.store.keys.hold("true")) <= most * 1000


@pytest.mark.parametrize("kind", OutcomeKind)
def test_questions(town: Town, kind: OutcomeKind) -> None:
    """What only a person can solve is a question in the conductor's mailbox; nothing else is."""
    here = held(town)

    settle(town, here.agent.id, 1, end(kind))

    asked = [parse(text) for text in texts(town, "inbox", ids.SUPERVISOR_ID)]
    if kind in {K.NEEDS_INPUT, K.AUTH_FAILED, K.NOT_FOUND, K.UNPREPARED}:
        (question,) = asked
        assert (question.type, question.sender) == ("query", here.agent.id)
        assert question.text == f"Agent 'backend' (true) needs you: {kind}: why"
    else:
        assert asked == []


def test_a_question_parks_the_work(town: Town) -> None:
    """needs_input: dead letters at the first attempt, the task failed with the question."""
    here = held(town)

    done = settle(town, here.agent.id, 1, end(K.NEEDS_INPUT))

    assert (done.buried, task_now(town, here.task).state) == (2, TaskState.FAILED)
    assert task_now(town, here.task).result == "needs_input: why"


@pytest.mark.parametrize("kind", OutcomeKind)
def test_settling_twice_changes_nothing(town: Town, kind: OutcomeKind) -> None:
    """A round that is settled again (its first answer was lost, its actor died) finds nothing to do."""
    here = held(town)
    ended = Round(Outcome(kind, "why"), (here.lead.raw, here.plain.raw), "the run", 1)
    settle(town, here.agent.id, 1, ended)
    before = snapshot(town)

    again = settle(town, here.agent.id, 1, ended)

    assert (again.acked, again.buried, again.attempts) == (0, 0, {})
    after = snapshot(town)
    ignored = {key for key in {*before, *after} if ":sent:" in key or key.endswith((":activity:" + here.agent.id,))}
    ignored.add(town.store.keys.agent(here.agent.id))  # the time of its last activity
    changed = {key for key in {*before, *after} - ignored if before.get(key) != after.get(key)}
    assert not changed


@pytest.mark.parametrize("complete_on", ["exit", "explicit"])
@pytest.mark.parametrize("kind", [k for k in OutcomeKind if k is not K.STOPPED])
def test_a_task_its_model_completed(town: Town, kind: OutcomeKind, complete_on: str) -> None:
    """Completed by the model during its run: however the run ended, the messages are acked and the end stays."""
    here = held(town, attempts=2)
    tasks.complete(town, here.task.id, "from the model", Caller(here.agent.id, "the run"))
    own = with_settings(town, agent={"complete_on": complete_on})

    done = settle(own, here.agent.id, 1, end(kind))

    assert (done.outcome.kind, done.acked) == (K.OK, 2)
    assert task_now(town, here.task).result == "from the model"
    assert stats(town, here.agent) == {"rounds": 1, "tasks_completed": 1}
    assert len(events(town, "task_completed")) == 1
    own.store.close()


@pytest.mark.parametrize("state", [TaskState.CANCELLED, TaskState.FAILED])
@pytest.mark.parametrize("kind", [K.OK, K.STOPPED, K.CRASHED])
def test_a_task_that_was_ended_from_outside(town: Town, state: TaskState, kind: OutcomeKind) -> None:
    """Its message is acked, its end stays, whatever the run says."""
    here = held(town)
    verb = tasks.cancel if state is TaskState.CANCELLED else tasks.fail
    verb(town, here.task.id, "not any more", Caller())

    settle(town, here.agent.id, 1, end(kind))

    assert (task_now(town, here.task).state, task_now(town, here.task).result) == (state, "not any more")
    assert here.lead.raw not in texts(town, "inbox", here.agent.id)
    assert (here.plain.raw in texts(town, "inbox", here.agent.id)) == (kind is not K.OK)


def test_explicit_completion(town: Town) -> None:
    """With `complete_on = "explicit"` a run without the call is no success: tried again."""
    here = held(town)
    own = with_settings(town, agent={"complete_on": "explicit"})

    done = settle(own, here.agent.id, 1, end(K.OK))

    assert (done.outcome.kind, done.attempts[here.lead.id]) == (K.NO_CHANGE, 1)
    assert task_now(town, here.task).state is TaskState.ASSIGNED
    own.store.close()


def test_explicit_completion_asks_nothing_of_plain_mail(town: Town) -> None:
    """A query without a task needs no call."""
    agent = register(town)
    give_mail(town, agent)
    claim_all(town, agent)
    own = with_settings(town, agent={"complete_on": "explicit"})

    assert settle(own, agent.id, 1, end(K.OK)).acked == 1
    own.store.close()


def test_the_bound_is_the_configured_one(town: Town) -> None:
    """`max_attempts = 1`: the first failure is the last."""
    here = held(town)
    own = with_settings(town, agent={"max_attempts": 1})

    assert settle(own, here.agent.id, 1, end(K.CRASHED)).buried == 2
    own.store.close()


def test_order_is_kept(town: Town) -> None:
    """Put back: urgent to the head of urgent, the rest to the head of the inbox, before what came meanwhile."""
    agent = register(town)
    urgent = [give_mail(town, agent, urgent=True) for _ in range(2)]
    normal = [give_mail(town, agent) for _ in range(3)]
    claim_all(town, agent)
    late_urgent, late = give_mail(town, agent, urgent=True), give_mail(town, agent)

    settle(town, agent.id, 1, end(K.STOPPED))

    assert texts(town, "urgent", agent.id) == [m.raw for m in (*urgent, late_urgent)]
    assert texts(town, "inbox", agent.id) == [m.raw for m in (*normal, late)]


def test_two_equal_texts(town: Town) -> None:
    """A message pushed twice by hand is two messages: both are claimed, both go back or are acked."""
    agent = register(town)
    text = by_hand("query", id="same")
    town.store.redis.rpush(town.store.keys.inbox(agent.id), text, text)
    claim_all(town, agent)
    assert texts(town, "claimed", agent.id) == [text, text]
    settle(town, agent.id, 1, Round(Outcome(K.STOPPED), (text, text)))
    assert (texts(town, "inbox", agent.id), texts(town, "claimed", agent.id)) == ([text, text], [])
    claim_all(town, agent)
    assert settle(town, agent.id, 1, Round(Outcome(K.OK), (text, text))).acked == 2


def test_only_what_the_round_held_is_settled(town: Town) -> None:
    """Texts that are not claimed any more are left alone; claimed ones that the round does not name too."""
    here = held(town)

    settle(town, here.agent.id, 1, Round(Outcome(K.OK), (here.plain.raw, by_hand("ping"))))

    assert texts(town, "claimed", here.agent.id) == [here.lead.raw]
    assert task_now(town, here.task).state is TaskState.RUNNING


@pytest.mark.parametrize("kind", OutcomeKind)
def test_an_old_epoch_is_refused(town: Town, kind: OutcomeKind) -> None:
    """Another spawn holds the agent: refused, and nothing changes; without a wish likewise."""
    here = held(town)
    bump(town, here.agent)
    before = snapshot(town)

    with pytest.raises(EpochLost, match=r"Epoch 1 of agent .* is over \(now: 2\)"):
        settle(town, here.agent.id, 1, end(kind))
    with pytest.raises(EpochLost):
        settle(town, ids.new_id(), 1, end(kind))
    assert snapshot(town) == before
    town.store.redis.delete(town.store.keys.agent(here.agent.id))
    with pytest.raises(EpochLost):
        settle(town, here.agent.id, 2, end(kind))


def test_a_task_that_moved_on_is_not_ours_to_end(town: Town) -> None:
    """Given to somebody else while we ran: our outcome does not touch their run."""
    here = held(town)
    other = register(town, "other")
    raw, task = tasks.find(town, here.task.id)
    moved = task.put_back(task.updated_at).assigned(other.id, here.boss.id, task.updated_at)
    tx = town.store.transaction()
    tx.save_task(raw, moved, task)
    mail.deliver(town, tx, mail.compose(here.boss.id, other.id, "task_assign", {"task_id": task.id}))
    town.store.commit(tx)
    claim_all(town, other)

    settle(town, here.agent.id, 1, end(K.OK))

    task = task_now(town, here.task)
    assert (task.state, task.assigned_to) == (TaskState.RUNNING, other.id)
    assert here.lead.raw not in texts(town, "inbox", here.agent.id) + texts(town, "claimed", here.agent.id)


def test_eight_settle_one_round(town: Town) -> None:
    """Whoever comes may settle: eight at once are as one."""
    here = held(town)

    def work(_number: int) -> int:
        return settle(same_town(town), here.agent.id, 1, end(K.OK)).acked

    assert sorted(in_processes(8, work)) == [0] * 7 + [2]
    assert stats(town, here.agent) == {"rounds": 1, "tasks_completed": 1}
    assert len(texts(town, "inbox", here.boss.id)) == 1


def test_a_claim_that_cannot_be_read(town: Town) -> None:
    """Claimed by another version: put back or acked like any other, never lost in silence."""
    agent = register(town)
    town.store.redis.rpush(town.store.keys.claimed(agent.id), "garbage")

    settle(town, agent.id, 1, end(K.CRASHED))

    assert texts(town, "inbox", agent.id) == ["garbage"]


@QUICK
@given(
    st.sampled_from(OutcomeKind),
    st.none() | st.sampled_from(TaskState),
    st.integers(0, 6),
    st.integers(1, 5),
    st.sampled_from(["exit", "explicit"]),
)
def test_every_message_has_a_fate(
    kind: OutcomeKind, state: TaskState | None, attempts: int, most: int, how: str
) -> None:
    """The pure part: an ended task is acked; what is uncharged is never buried but for a person; the bound holds."""
    task = None if state is None else make_task(state)
    outcome = judge(Outcome(kind), task, how)
    fate = fate_of(outcome, task, attempts, most)

    if task is not None and task.state.is_terminal:
        assert fate is Fate.ACK
    elif outcome.kind is K.OK:
        assert fate is Fate.ACK
        assert task is None or how == "exit"
    elif outcome.kind is K.NEEDS_INPUT:
        assert fate is Fate.BURY
    else:
        assert fate is (Fate.BURY if RULES[outcome.kind].charged and attempts >= most else Fate.PUT_BACK)


def test_words_without_sense_do_not_stop_a_settlement(town: Town) -> None:
    """Half an emoji in what the model said (it comes in JSON) neither loses the outcome nor stops the actor."""
    here = held(town)
    broken = replace(end(K.OK), outcome=Outcome(K.OK, "half \ud83d", result="an emoji \ud83d"))

    settle(town, here.agent.id, 1, broken)

    assert task_now(town, here.task).state is TaskState.COMPLETED
