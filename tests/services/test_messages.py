"""Sending, mailboxes, dead letters."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

from tests.support.builders import by_hand
from tests.support.interleaving import visited
from tests.support.town import (
    claim_all,
    events,
    give_task,
    in_processes,
    register,
    same_town,
    snapshot,
    task_now,
    texts,
    with_settings,
    writing,
)
from tinytown import ids
from tinytown.domain.message import Sort, parse
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import TaskState
from tinytown.errors import AgentNotFound, Conflict, Invalid, NotFound, TinytownError
from tinytown.services import agents, backlog, messages
from tinytown.services.agents import SpawnRequest
from tinytown.services.caller import Caller
from tinytown.services.settlement import Round, settle
from tinytown.store.inboxes import bury
from tinytown.town import Town, change

USER = Caller()


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("task", {"type": "task", "description": "hello"}),
        ("query", {"type": "query", "question": "hello"}),
        ("info", {"type": "informational", "summary": "hello"}),
        ("ack", {"type": "confirmation", "ack_type": {"type": "acknowledged", "reason": "hello"}}),
    ],
)
def test_every_kind(town: Town, kind: str, stored: dict[str, object]) -> None:
    """Each kind is stored as its type with its payload, accepted once, with an event that names it."""
    agent = register(town)

    sent = messages.send(town, "backend", "hello", USER, kind=kind)

    (text,) = texts(town, "inbox", agent.id)
    assert stored.items() <= json.loads(text).items()
    assert (parse(text).id, parse(text).sender, parse(text).to) == (sent.id, ids.SUPERVISOR_ID, agent.id)
    assert town.store.redis.exists(town.store.keys.sent(sent.id))
    assert [e["message_id"] for e in events(town, "message_sent")] == [sent.id]
    assert texts(town, "wake", agent.id) == ["1"]


def test_urgent_goes_first(town: Town) -> None:
    """Urgent mail has a list of its own, first in first out, shown before the inbox."""
    agent = register(town)
    sent = [messages.send(town, "backend", str(n), USER, urgent=n != 1) for n in range(3)]

    assert [parse(t).id for t in texts(town, "urgent", agent.id)] == [sent[0].id, sent[2].id]
    box = messages.mailbox(town, "backend")
    assert [m.text for m in box.messages] == ["0", "2", "1"]
    assert (box.actionable, box.count(Sort.TASK), box.count(Sort.INFORMATION)) == (3, 3, 0)


def test_who_sends(town: Town) -> None:
    """The caller, or whoever `--from` names: an agent or the conductor; somebody unknown is refused."""
    agent, mate = register(town), register(town, "mate")
    sent = [
        messages.send(town, "backend", "x", Caller(mate.id, "run")),
        messages.send(town, "backend", "x", USER, sender="mate"),
        messages.send(town, "backend", "x", Caller(mate.id, "run"), sender="supervisor"),
    ]
    before = snapshot(town)

    assert [m.sender for m in sent] == [mate.id, mate.id, ids.SUPERVISOR_ID]
    assert len(texts(town, "inbox", agent.id)) == 3
    for to, sender in (("nobody", None), ("backend", "nobody"), ("", None)):
        with pytest.raises(AgentNotFound):
            messages.send(town, to, "x", USER, sender=sender)
    with pytest.raises(Invalid):
        messages.send(town, "backend", "", USER)
    assert snapshot(town) == before


@pytest.mark.parametrize("name", ["supervisor", "conductor", "Conductor", ids.SUPERVISOR_ID])
def test_the_reserved_mailbox(town: Town, name: str) -> None:
    """`supervisor` and `conductor` are one mailbox that needs no agent."""
    messages.send(town, name, "hello", USER, kind="info")

    box = messages.mailbox(town, name)
    assert (box.name, box.id, box.state, [m.text for m in box.messages]) == (
        "conductor",
        ids.SUPERVISOR_ID,
        None,
        ["hello"],
    )


def test_the_reserved_mailbox_is_bounded(town: Town) -> None:
    """Nobody has to read it: the oldest mail makes room, with an event that names it."""
    small = with_settings(town, retention={"mailbox": 3})
    sent = [messages.send(small, "conductor", str(n), USER).id for n in range(5)]

    assert [parse(t).id for t in texts(town, "inbox", ids.SUPERVISOR_ID)] == sent[2:]
    assert [e["message_id"] for e in events(town, "message_dropped")] == sent[:2]
    small.store.close()


def test_the_reserved_mailbox_is_bounded_for_urgent_mail_too(town: Town) -> None:
    """Urgent mail to the conductor lies in a list of its own; it is bounded like the rest."""
    small = with_settings(town, retention={"mailbox": 3})
    for n in range(8):
        messages.send(small, "conductor", str(n), USER, urgent=True)

    assert len(texts(town, "urgent", ids.SUPERVISOR_ID)) + len(texts(town, "inbox", ids.SUPERVISOR_ID)) <= 3
    small.store.close()


def test_a_mailbox_without_bound(town: Town) -> None:
    """0 keeps all."""
    endless = with_settings(town, retention={"mailbox": 0})
    for n in range(5):
        messages.send(endless, "conductor", str(n), USER)

    assert len(texts(town, "inbox", ids.SUPERVISOR_ID)) == 5
    endless.store.close()


def test_eight_senders_lose_nothing(town: Town) -> None:
    """What eight processes send at once is all there, each once."""
    agent = register(town)

    def work(number: int) -> list[str]:
        own = same_town(town)
        return [messages.send(own, "backend", f"{number}/{n}", USER, urgent=n % 2 == 0).id for n in range(20)]

    sent = [i for some in in_processes(8, work) for i in some]

    found = [parse(t).id for kind in ("urgent", "inbox") for t in texts(town, kind, agent.id)]
    assert sorted(found) == sorted(sent)


def test_all_mailboxes(town: Town) -> None:
    """Every agent's in the order of names, the conductor's last; what cannot be read is counted."""
    backend, _api = register(town), register(town, "api")
    town.store.redis.rpush(town.store.keys.inbox(backend.id), "garbage", by_hand("ping"), by_hand("query"))
    messages.send(town, "conductor", "hello", USER)

    boxes = messages.all_mailboxes(town)

    assert [(b.name, len(b.messages), b.unreadable) for b in boxes] == [
        ("api", 0, 0),
        ("backend", 2, 1),
        ("conductor", 1, 0),
    ]
    with pytest.raises(AgentNotFound):
        messages.mailbox(town, "nobody")


def failed_task(town: Town) -> tuple[str, str, str]:
    """Agent id, task id and message id of a task whose message is a dead letter."""
    agent = register(town)
    task, message = give_task(town, agent)
    claim_all(town, agent)
    settle(town, agent.id, 1, Round(Outcome(OutcomeKind.NEEDS_INPUT, "which?"), run="r"))
    return agent.id, task.id, message.id


@pytest.mark.parametrize("by", ["message", "task"])
def test_a_dead_letter_gets_another_life(town: Town, by: str) -> None:
    """Retried by its own or its task's id: back in the inbox as it was, attempts forgotten, task assigned again."""
    agent_id, task_id, message_id = failed_task(town)
    town.store.redis.hset(town.store.keys.attempts(agent_id), message_id, 3)
    assert [(name, letter.reason) for name, letter in messages.dead_letters(town)] == [
        ("backend", "needs_input: which?")
    ]

    again = messages.retry_dead(town, (message_id if by == "message" else task_id)[:8])

    assert (again.id, [parse(t).id for t in texts(town, "inbox", agent_id)]) == (message_id, [message_id])
    assert messages.dead_letters(town) == []
    assert (task_now(town, task_id).state, task_now(town, task_id).assigned_to) == (TaskState.ASSIGNED, agent_id)
    assert not town.store.redis.hexists(town.store.keys.attempts(agent_id), message_id)
    assert [e["message_id"] for e in events(town, "message_retried")] == [message_id]
    before = snapshot(town)
    with pytest.raises(NotFound):
        messages.retry_dead(town, message_id)
    assert snapshot(town) == before


def test_a_dead_letter_of_an_earlier_agent_of_that_name(town: Town) -> None:
    """The letter still names the agent that was replaced; it goes to the one that has it now."""
    agent_id, task_id, message_id = failed_task(town)
    agents.kill(town, "backend")
    agents.spawn(town, SpawnRequest("backend", "true", foreground=True))
    now = agents.resolve(town, "backend").agent.id
    assert now != agent_id

    again = messages.retry_dead(town, message_id)

    assert (again.id, again.to) == (message_id, now)
    assert (task_now(town, task_id).state, task_now(town, task_id).assigned_to) == (TaskState.ASSIGNED, now)


def test_a_dead_letter_is_dropped(town: Town) -> None:
    """Gone for good, with an event that names it; its task stays failed."""
    agent_id, task_id, message_id = failed_task(town)

    messages.drop_dead(town, message_id, "backend")

    assert texts(town, "dead", agent_id) == []
    assert task_now(town, task_id).state is TaskState.FAILED
    assert [e["message_id"] for e in events(town, "message_dropped")] == [message_id]


def test_unreadable_dead_letters(town: Town) -> None:
    """What is no message can be shown and dropped by a made-up id, but not retried."""
    agent = register(town)
    change(town.store, lambda tx: bury(tx, agent.id, "garbage \udcff", "no message", "t", 0))
    (letter,) = town.store.inboxes.dead(agent.id)
    made_up = messages.letter_id(letter)

    with pytest.raises(Conflict, match="no readable message"):
        messages.retry_dead(town, made_up)
    messages.drop_dead(town, made_up[:8])
    assert texts(town, "dead", agent.id) == []


@pytest.mark.parametrize("reference", ["", "abc", "hand", "zzzz", "*"])
def test_a_dead_letter_that_is_not_clear(town: Town, reference: str) -> None:
    """Too short, unknown or ambiguous: refused, nothing done."""
    agent = register(town)
    for n in range(2):
        text = by_hand("query", n=n)
        with writing(town) as tx:
            bury(tx, agent.id, text, "why", "t", 3)
    before = snapshot(town)

    for verb in (messages.retry_dead, messages.drop_dead):
        with pytest.raises(Conflict if reference == "hand" else NotFound):
            verb(town, reference)
    with pytest.raises(AgentNotFound):
        messages.drop_dead(town, "hand", "nobody")
    assert snapshot(town) == before


def test_a_dead_letter_whose_task_goes_on(town: Town) -> None:
    """A letter of a task that was retried by other means is refused; nothing leads to the task twice."""
    agent_id, task_id, message_id = failed_task(town)
    raw, task = next((r, t) for r, t in [town.store.tasks.get(task_id) or ("", None)] if t)
    change(town.store, lambda tx: tx.save_task(raw, task.retried(agent_id, "now"), task))

    with pytest.raises(Conflict):
        messages.retry_dead(town, message_id)
    assert texts(town, "inbox", agent_id) == []


def test_a_dead_letter_whose_task_cannot_start(town: Town) -> None:
    """It depends on one that was restarted, it is done, it is gone: refused with what helps, and nothing changed."""
    agent_id, task_id, message_id = failed_task(town)
    first = backlog.add(town, "first", [], Caller())
    raw, task = next((r, t) for r, t in [town.store.tasks.get(task_id) or ("", None)] if t)
    change(town.store, lambda tx: tx.save_task(raw, replace(task, depends_on=[first.id]), task))
    drop = f"Drop the letter with: tt inbox --dead --drop {task_id[:8]}"

    def refused(error: type[TinytownError], said: str) -> str | None:
        before = snapshot(town)
        with pytest.raises(error, match=said) as found:
            messages.retry_dead(town, message_id)
        assert snapshot(town) == before
        return found.value.remedy

    remedy = refused(Conflict, rf"depends on {first.id[:8]} \(pending\)")
    assert remedy == f"To let it wait for that: tt task retry {task_id[:8]}"
    done = replace(task, state=TaskState.COMPLETED)
    with writing(town) as tx:
        tx.do("SET", tx.keys.task(task_id), done.to_json())
    assert refused(Conflict, "is completed") == drop
    with writing(town) as tx:
        tx.do("DEL", tx.keys.task(task_id))
    assert refused(NotFound, "is gone") == drop
    assert texts(town, "inbox", agent_id) == []


def test_two_retry_one_dead_letter(town: Town) -> None:
    """At whichever moment the other comes: one does it, and the other hears that there is no such letter any more."""
    for trip in range(8):
        agent = register(town)
        task, _ = give_task(town, agent)
        claim_all(town, agent)
        settle(town, agent.id, 1, Round(Outcome(OutcomeKind.NEEDS_INPUT, "which?")))
        heard: list[str] = []

        def retry(client: Town, task_id: str = task.id, heard: list[str] = heard) -> None:
            try:
                heard.append(messages.retry_dead(client, task_id).to)
            except NotFound as error:
                heard.append(str(error))

        with visited(town, {trip: partial(retry, town)}) as (client, _store):
            retry(client)
        assert sorted(heard) == sorted([f"No dead letter {task.id}.", agent.id])
        town.store.redis.flushdb()
