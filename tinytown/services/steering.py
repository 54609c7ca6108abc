"""Steer an agent that is wanted: interrupt, resume, close. Wishes, so they survive the death of whoever obeys them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinytown import clock
from tinytown.domain.agent import Agent, Wish
from tinytown.domain.event import Event
from tinytown.domain.states import AgentState
from tinytown.errors import AgentNotFound, Conflict
from tinytown.services import agents, recovery, supervision
from tinytown.services.caller import Caller
from tinytown.store.agents import AgentRow, save_wish
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

OBEYED_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Steered:
    """What became of it. `agent` is the record afterwards; not `changed`: it had been asked for before.

    `is_in_round`: it obeys when its round is over. Not `is_attended`: there is neither a process of it nor a
    supervisor; the wish holds as soon as there is. `has_ended`: meanwhile, so that nothing is left to obey.
    """

    agent: Agent
    changed: bool
    is_in_round: bool
    is_attended: bool
    has_ended: bool


def interrupt(town: Town, reference: str, caller: Caller, *, now: bool = False) -> Steered:
    """Wish an agent to pause: after its round, or (`now`) by ending the model, uncharged. Twice is once.

    Waits up to 5 s for an agent that can pause at once, never for the round of one that works. Raises
    AgentNotFound, Conflict when it has ended or is asked to stop.
    """
    town.ensure_redis()
    agent = agents.resolve(town, reference).agent
    agent_id = agent.id

    def build(tx: Transaction) -> bool:
        row = _row(town, agent_id)
        wish = _wanted(row, f"Agent '{row.agent.name}' is in terminal state {{}} and cannot be interrupted")
        _refuse_stopping(row.agent, wish)
        if wish.pause and (wish.pause_now or not now):
            return False
        save_wish(tx, agent_id, row.wish_raw, wish.having(pause=True, pause_now=now))
        how = "now" if now else "after its round"
        _note(tx, row.agent, "agent_interrupted", f"Pause of '{row.agent.name}' requested ({how})", "⏸️ Interrupted")
        return True

    changed = change(town.store, build)
    if now and caller.is_model and caller.id == agent_id:  # it is our own round that ends
        return _seen(town, agent, changed=changed)
    return _await(
        town, agent, lambda s: s.agent.state is AgentState.PAUSED or (s.is_in_round and not now), changed=changed
    )


def resume(town: Town, reference: str) -> Steered:
    """Let a paused agent (or one that is to pause) go on; a pause flag that was set by hand goes, too.

    Waits up to 5 s until it does. Raises AgentNotFound, Conflict when it is not paused.
    """
    town.ensure_redis()
    agent = agents.resolve(town, reference).agent
    agent_id = agent.id

    def build(tx: Transaction) -> bool:
        row = _row(town, agent_id)
        no = f"Agent '{row.agent.name}' is {{}}, not Paused — cannot resume"
        wish = _wanted(row, no)
        flag = town.store.call(lambda r: r.get(tx.keys.pause(agent_id)))
        tx.expect(tx.keys.pause(agent_id), flag, "pause flag")
        if not wish.pause and flag is None:
            if row.agent.state is AgentState.PAUSED:
                return False  # somebody else has just asked for it
            raise Conflict(no.format(row.agent.state.label))
        save_wish(tx, agent_id, row.wish_raw, wish.having(pause=False, pause_now=False))
        tx.do("DEL", tx.keys.pause(agent_id))
        _note(tx, row.agent, "agent_resumed", f"'{row.agent.name}' may go on", "▶️ Resumed")
        return True

    changed = change(town.store, build)
    return _await(town, agent, lambda s: s.agent.state is not AgentState.PAUSED, changed=changed)


def close(town: Town, reference: str) -> Steered:
    """Wish an agent to work off the mail that it has now and then to stop; a pause ends. Twice is once.

    Later mail is accepted and left for its next life, like that of an agent that has ended. Waits up to 5 s until
    the agent has heard of it. Raises AgentNotFound, Conflict when it has ended or is asked to stop.
    """
    town.ensure_redis()
    agent = agents.resolve(town, reference).agent
    agent_id = agent.id

    def build(tx: Transaction) -> bool:
        row = _row(town, agent_id)
        wish = _wanted(row, f"Agent '{row.agent.name}' is already in terminal state {{}}")
        _refuse_stopping(row.agent, wish)
        if wish.closed_at is not None:
            return False
        closing = wish.having(closed_at=clock.stamp(), pause=False, pause_now=False)
        save_wish(tx, agent_id, row.wish_raw, closing)
        tx.do("DEL", tx.keys.pause(agent_id))
        _note(tx, row.agent, "agent_close_requested", f"Close of '{row.agent.name}' requested", "🔻 Closing")
        return True

    changed = change(town.store, build)
    return _await(town, agent, lambda s: s.agent.state is AgentState.DRAINING, changed=changed)


def is_attended(town: Town, row: AgentRow) -> bool:
    """Somebody obeys its wish: a process of it, or a supervisor that is to start one."""
    if row.wish is None or row.wish.host not in (None, town.host):
        return town.store.agents.lease(row.agent.id) is not None
    return recovery.actor_of(town, row.agent) is not None or supervision.is_running(town)


def _row(town: Town, agent_id: str) -> AgentRow:
    row = town.store.agents.row(agent_id)
    if row is None:
        raise AgentNotFound(agent_id)
    return row


def _wanted(row: AgentRow, no: str) -> Wish:
    if row.wish is None and not row.agent.state.is_terminal:
        text = f"Nothing runs agent '{row.agent.name}' ({row.agent.state.label})."
        raise Conflict(text, f"Let the town run it with: tt restart {row.agent.name}")
    if row.wish is None:
        raise Conflict(no.format(row.agent.state.label), f"Start it again with: tt restart {row.agent.name}")
    return row.wish


def _refuse_stopping(agent: Agent, wish: Wish) -> None:
    if wish.stop is not None:
        raise Conflict(f"Agent '{agent.name}' is asked to stop already.", f"At once: tt kill {agent.name} --now")


def _note(tx: Transaction, agent: Agent, kind: str, text: str, line: str) -> None:
    """Its bell, what it did last, the town's history."""
    tx.ring(agent.id)
    tx.activity(agent.id, line)
    tx.event(Event(kind, text, clock.stamp(), agent_id=agent.id))


def _seen(town: Town, agent: Agent, *, changed: bool) -> Steered:
    """`agent`: as it was, should its record have been removed since the wish was written."""
    row = town.store.agents.row(agent.id)
    if row is None:
        gone = agent.having(state=AgentState.STOPPED)
        return Steered(gone, changed, is_in_round=False, is_attended=False, has_ended=True)
    (mail,) = town.store.inboxes.lengths([agent.id])
    return Steered(row.agent, changed, mail.claimed > 0, is_attended(town, row), row.wish is None)


def _await(town: Town, agent: Agent, is_reached: Callable[[Steered], bool], *, changed: bool) -> Steered:
    """Until the agent has obeyed or has ended; not for what nobody attends to, and not for long."""
    deadline = clock.monotonic() + OBEYED_WITHIN_S
    while True:
        seen_until = town.store.events.last_id()
        seen = _seen(town, agent, changed=changed)
        left = deadline - clock.monotonic()
        if seen.has_ended or left <= 0 or not seen.is_attended or is_reached(seen):
            return seen
        town.store.events.after(seen_until, left)
