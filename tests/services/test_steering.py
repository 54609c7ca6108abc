"""Interrupt, resume, close: the wishes, without any process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.builders import make_message
from tests.support.interleaving import visited
from tests.support.town import (
    agent_now,
    events,
    give_mail,
    in_processes,
    mailroom,
    register,
    same_town,
    snapshot,
    texts,
)
from tinytown import clock, processes
from tinytown.domain.agent import BY_PROGRAM, Agent, Wish
from tinytown.domain.event import state_changed
from tinytown.domain.message import Message
from tinytown.domain.states import AgentState
from tinytown.errors import AgentNotFound, Conflict
from tinytown.journal import ActorEntry
from tinytown.services import agents, reclaiming, reset, steering
from tinytown.services.agents import SpawnRequest
from tinytown.services.caller import Caller
from tinytown.store.agents import read_wish, save_agent, save_wish
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

PERSON = Caller()


def wish_of(town: Town, agent: Agent) -> Wish:
    wish = read_wish(town.store.agents.wishes().get(agent.id))
    assert wish is not None
    return wish


def set_wish(town: Town, agent: Agent, **changes: Any) -> None:
    row = agents.resolve(town, agent.id)
    assert row.wish is not None
    tx = town.store.transaction()
    save_wish(tx, agent.id, row.wish_raw, row.wish.having(**changes))
    town.store.commit(tx)


def become(town: Town, agent: Agent, state: AgentState) -> None:
    """As its actor would write it."""
    row = agents.resolve(town, agent.id)

    def build(tx: Transaction) -> None:
        save_agent(tx, row.raw, row.agent.having(state=state))
        tx.event(state_changed(row.agent, state, "obeys", clock.stamp()))

    change(town.store, build)


def flag(town: Town, agent: Agent) -> bool:
    return bool(town.store.redis.exists(town.store.keys.pause(agent.id)))


def test_an_interrupt_is_a_wish(town: Town) -> None:
    """Wish, flag for redis-cli, bell, event; nobody runs it, so nothing is waited for, and it says so."""
    agent = register(town)

    done = steering.interrupt(town, "backend", PERSON)

    assert (done.changed, done.is_attended, done.has_ended, done.is_in_round) == (True, False, False, False)
    assert (wish_of(town, agent).pause, wish_of(town, agent).pause_now, flag(town, agent)) == (True, False, True)
    assert texts(town, "wake", agent.id) == ["1"]
    assert [e["agent_id"] for e in events(town, "agent_interrupted")] == [agent.id]
    assert mailroom(town, agent).look("true", {}).block == "paused"


def test_an_interrupt_twice_is_once(town: Town) -> None:
    """The second changes nothing; `now` makes it stronger, and is never taken back."""
    agent = register(town)
    for now, changed, stored in ((False, True, False), (False, False, False), (True, True, True), (False, False, True)):
        assert steering.interrupt(town, "backend", PERSON, now=now).changed is changed
        assert wish_of(town, agent).pause_now is stored
    assert len(events(town, "agent_interrupted")) == 2


def test_resume_takes_it_back(town: Town) -> None:
    """Wish and flag go, the bell rings, an event says so; a second resume is refused."""
    agent = register(town)
    steering.interrupt(town, "backend", PERSON, now=True)

    assert steering.resume(town, "backend").changed

    assert (wish_of(town, agent).pause, wish_of(town, agent).pause_now, flag(town, agent)) == (False, False, False)
    assert len(events(town, "agent_resumed")) == 1
    before = snapshot(town)
    with pytest.raises(Conflict, match="Agent 'backend' is Idle, not Paused — cannot resume"):
        steering.resume(town, "backend")
    assert snapshot(town) == before


def test_resume_takes_a_pause_by_hand_away(town: Town) -> None:
    """A flag that was set with redis-cli is a pause like any other."""
    agent = register(town, state=AgentState.PAUSED)
    town.store.redis.set(town.store.keys.pause(agent.id), "1")

    assert steering.resume(town, "backend").changed

    assert not flag(town, agent)
    assert mailroom(town, agent).look("true", {}).block is None


def test_resume_of_what_is_about_to_go_on(town: Town) -> None:
    """Somebody else has resumed it, and its actor has not looked yet: said, no error."""
    register(town, state=AgentState.PAUSED)

    assert not steering.resume(town, "backend").changed


def test_close_is_a_wish(town: Town) -> None:
    """Its moment is stored, a pause ends; a second close keeps the first moment."""
    agent = register(town)
    steering.interrupt(town, "backend", PERSON, now=True)
    before = clock.stamp()

    assert steering.close(town, "backend").changed

    wish = wish_of(town, agent)
    assert before <= (wish.closed_at or "") <= clock.stamp()
    assert (wish.pause, wish.pause_now, wish.stop, flag(town, agent)) == (False, False, None, False)
    assert len(events(town, "agent_close_requested")) == 1
    assert not steering.close(town, "backend").changed
    assert wish_of(town, agent).closed_at == wish.closed_at


def test_a_closed_agent_works_off_what_it_has(town: Town) -> None:
    """Mail from before the close starts rounds, later mail stays; without any of the former it is done."""
    agent = register(town)
    early = give_mail(town, agent)
    by_hand = '{"type":"query","question":"no time in it"}'
    town.store.redis.rpush(town.store.keys.inbox(agent.id), by_hand)
    steering.close(town, "backend")
    fresh = make_message("query", to=agent.id)
    late = Message(fresh.id, fresh.sender, agent.id, "query", fresh.payload, created_at=clock.stamp())
    change(town.store, lambda tx: tx.put(agent.id, late))
    room = mailroom(town, agent)

    look = room.look("true", {})
    assert [picked.message.raw for picked in look.batch.chosen] == [early.raw, by_hand]
    assert look.fulfilled is None
    claim = room.claim(look)
    assert claim is not None
    assert agent_now(town, agent).state is AgentState.DRAINING
    look = room.look("true", {})
    assert (look.batch.chosen, look.fulfilled) == ([], "closed, its mail is done")
    assert texts(town, "inbox", agent.id) == [late.to_json()]


def test_a_closed_agent_waits_for_what_is_held_back(town: Town) -> None:
    """A failed message that is to be tried again is still to be worked off."""
    agent = register(town)
    message = give_mail(town, agent)
    steering.close(town, "backend")

    look = mailroom(town, agent).look("true", {message.id: clock.monotonic() + 60})

    assert (look.batch.chosen, look.fulfilled) == ([], None)


def test_what_has_ended_cannot_be_steered(town: Town) -> None:
    """An error that names the state and the way on; nothing is changed."""
    register(town, wanted=False)
    before = snapshot(town)

    verbs: list[tuple[Callable[[], object], str]] = [
        (lambda: steering.interrupt(town, "backend", PERSON), "is in terminal state Stopped and cannot be interrupted"),
        (lambda: steering.resume(town, "backend"), "is Stopped, not Paused — cannot resume"),
        (lambda: steering.close(town, "backend"), "is already in terminal state Stopped"),
    ]
    for verb, text in verbs:
        with pytest.raises(Conflict, match=f"Agent 'backend' {text}") as caught:
            verb()
        assert caught.value.remedy == "Start it again with: tt restart backend"
    for name in ("nobody", "conductor"):
        with pytest.raises(AgentNotFound):
            steering.close(town, name)
    assert snapshot(town) == before


def test_what_is_stopping_is_not_paused_or_closed(town: Town) -> None:
    """The stop is the stronger wish."""
    agent = register(town)
    set_wish(town, agent, stop="graceful")

    verbs: list[Callable[[], object]] = [
        lambda: steering.interrupt(town, "backend", PERSON),
        lambda: steering.close(town, "backend"),
    ]
    for verb in verbs:
        with pytest.raises(Conflict, match="is asked to stop already") as caught:
            verb()
        assert caught.value.remedy == "At once: tt kill backend --now"


def test_a_kill_ends_a_paused_or_closed_agent(town: Town) -> None:
    """Without a process the command writes its last record, and nothing of the pause is left."""
    agent = register(town)
    message = give_mail(town, agent)
    steering.close(town, "backend")
    steering.interrupt(town, "backend", PERSON)

    agents.kill(town, "backend")

    assert agent_now(town, agent).state is AgentState.STOPPED
    assert (town.store.agents.wishes(), flag(town, agent)) == ({}, False)
    assert texts(town, "inbox", agent.id) == [message.raw]
    agents.restart(town, "backend", foreground=True)
    assert (wish_of(town, agent).pause, wish_of(town, agent).closed_at) == (False, None)


@pytest.mark.parametrize(
    ("state", "wish", "remedy"),
    [
        (AgentState.PAUSED, {"pause": True}, "tt resume backend"),
        (AgentState.WORKING, {"pause": True}, "tt resume backend"),
        (AgentState.PAUSED, {}, "tt resume backend"),
        (AgentState.DRAINING, {"closed_at": "2026-01-02T03:04:05Z"}, "It is closing"),
        (AgentState.PAUSED, {"closed_at": "2026-01-02T03:04:05Z", "pause": True}, "tt resume backend"),
        (AgentState.PAUSED, {"stop": "graceful", "pause": True}, "It is stopping"),
        (AgentState.IDLE, {}, "tt kill backend"),
        (AgentState.STOPPED, {}, "tt supervise --detach"),
        (AgentState.STOPPED, {"stop": "graceful"}, "It is stopping"),
    ],
)
def test_what_helps_when_a_name_is_taken(town: Town, state: AgentState, wish: dict[str, Any], remedy: str) -> None:
    """Spawn and restart name the way on that fits the state."""
    set_wish(town, register(town, state=state), **wish)

    verbs: list[Callable[[], object]] = [
        lambda: agents.restart(town, "backend", foreground=True),
        lambda: agents.spawn(town, SpawnRequest("backend", "true", foreground=True)),
    ]
    for verb in verbs:
        with pytest.raises(Conflict, match="still wanted" if state.is_terminal else "alive|active") as caught:
            verb()
        assert remedy in (caught.value.remedy or "")


def test_it_waits_for_a_living_actor_but_not_for_ever(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a process it waits until that obeys, in bounds; one in a round, or its own model, is not waited for."""
    monkeypatch.setattr(steering, "OBEYED_WITHIN_S", 0.2)
    agent = register(town)
    town.journal("backend").write_actor(ActorEntry(processes.own(), agent.id, 1))

    begun = clock.monotonic()
    done = steering.interrupt(town, "backend", PERSON)
    assert clock.monotonic() - begun >= 0.2
    assert (done.agent.state, done.is_attended) == (AgentState.IDLE, True)

    monkeypatch.setattr(steering, "OBEYED_WITHIN_S", 60.0)
    assert steering.interrupt(town, "backend", Caller(agent.id, f"{agent.id}:1:1"), now=True).changed
    town.store.redis.rpush(town.store.keys.claimed(agent.id), make_message("query", to=agent.id).raw)
    assert steering.interrupt(town, "backend", PERSON).is_in_round


def test_it_returns_when_the_actor_has_obeyed(town: Town) -> None:
    """The state is read back: each verb waits for the record that its actor writes."""
    agent = register(town)
    town.journal("backend").write_actor(ActorEntry(processes.own(), agent.id, 1))

    def work(number: int) -> str:
        own = same_town(town)
        if number == 0:
            for wished, state in (
                ("pause", AgentState.PAUSED),
                (None, AgentState.IDLE),
                ("closed_at", AgentState.DRAINING),
            ):
                while bool(wish := wish_of(own, agent)) and not (getattr(wish, wished) if wished else not wish.pause):
                    own.store.events.after(own.store.events.last_id(), 0.02)
                become(own, agent, state)
            return "actor"
        seen = [
            steering.interrupt(own, "backend", PERSON),
            steering.resume(own, "backend"),
            steering.close(own, "backend"),
        ]
        return " ".join(done.agent.state.value for done in seen)

    assert in_processes(2, work) == ["actor", "paused idle draining"]


def test_many_at_once(town: Town) -> None:
    """Eight who interrupt and resume leave wish and flag in agreement, an event for each change."""
    agent = register(town)

    def work(number: int) -> list[int]:
        own = same_town(town)
        changed = [0, 0]
        for _ in range(5):
            try:
                done = steering.interrupt(own, "backend", PERSON) if number % 2 else steering.resume(own, "backend")
                changed[number % 2] += done.changed
            except Conflict:
                continue
        return changed

    results = in_processes(8, work)

    resumed, interrupted = (sum(r[n] for r in results) for n in (0, 1))
    assert (len(events(town, "agent_resumed")), len(events(town, "agent_interrupted"))) == (resumed, interrupted)
    assert interrupted - resumed == wish_of(town, agent).pause == flag(town, agent)


def test_what_a_program_runs_is_not_steered(town: Town) -> None:
    """It has not ended, and nothing would obey: each verb says so and changes nothing."""
    register(town, wanted=False, state=AgentState.IDLE, spawn_mode=BY_PROGRAM)
    before = snapshot(town)

    verbs: list[Callable[[], object]] = [
        lambda: steering.interrupt(town, "backend", PERSON),
        lambda: steering.resume(town, "backend"),
        lambda: steering.close(town, "backend"),
        lambda: reclaiming.to_agent(town, "backend"),
    ]
    for verb in verbs:
        with pytest.raises(Conflict, match=r"Nothing runs agent 'backend' \(Idle\)."):
            verb()
    assert agents.kill(town, "backend").wish is None
    assert snapshot(town) == before


VERBS: dict[str, Callable[[Town], steering.Steered]] = {
    "close": lambda town: steering.close(town, "backend"),
    "resume": lambda town: steering.resume(town, "backend"),
    "interrupt": lambda town: steering.interrupt(town, "backend", PERSON),
}


@pytest.mark.parametrize("verb", VERBS)
def test_removed_as_soon_as_it_was_asked(town: Town, verb: str) -> None:
    """Whenever the agent goes: who is told that there is none has changed nothing, and what was asked was asked."""
    heard = set()
    for trip in range(8):
        agent = register(town)
        town.store.redis.set(town.store.keys.pause(agent.id), "1")
        with visited(town, {trip: partial(reset.reset, town)}) as (client, store):
            try:
                heard.add(VERBS[verb](client).has_ended)
                assert store.commits == 1
            except (AgentNotFound, Conflict):
                assert store.commits == 0
        town.store.redis.flushdb()
    assert heard == {True, False}
