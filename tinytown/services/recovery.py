"""Take back what a dead actor held, and write the last record of agents that will not come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tinytown import clock, processes
from tinytown.domain.agent import Agent, Wish
from tinytown.domain.event import Event, task_changed
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import AgentState, TaskState
from tinytown.errors import Conflict, EpochLost
from tinytown.files import remove_half_written
from tinytown.journal import ActorEntry, Journal, RoundEntry
from tinytown.services import mail
from tinytown.services.settlement import Round, guard, settle
from tinytown.store.agents import AgentRow, save_agent, save_wish
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

END_WITHIN_S = 1.0
DIED = Outcome(OutcomeKind.CRASHED, "the agent's process died during the round")


def leftovers(journal: Journal, agent_id: str) -> list[processes.Identity]:
    """What still lives of the models of this agent's (dead) actors; none when no round was in progress."""
    entry = journal.round()
    if entry is None or entry.agent_id != agent_id:
        return []
    found = {p.pid: p for p in processes.marked(f"{agent_id}:")}
    if entry.model is not None:
        found |= {p.pid: p for p in processes.kin(entry.model)}
    return list(found.values())


def end_leftovers(journal: Journal, agent_id: str) -> bool:
    """Kill what `leftovers` finds, until nothing is left; False when something lives after a second."""
    deadline = clock.monotonic() + END_WITHIN_S
    while left := leftovers(journal, agent_id):
        processes.kill_all(left)
        if clock.monotonic() > deadline:
            return False
        clock.sleep(0.002)
    return True


def take_back(town: Town, agent: Agent, epoch: int, state: AgentState) -> int:
    """Settle what the last spawn left: a recorded outcome counts and nothing runs, else the messages go back.

    The caller holds `epoch`. Returns how many messages went back or were acked. Raises EpochLost, RedisAway.
    """
    journal = town.journal(agent.name)
    entry = journal.last_round()
    mine = entry if entry is not None and entry.agent_id == agent.id else None
    reclaim_done(town, mine, agent.id, epoch)
    count = 0
    claimed = town.store.call(lambda r: r.lrange(town.store.keys.claimed(agent.id), 0, -1))
    is_held = mine is not None and any(text in claimed for text in mine.messages)
    if mine is not None and mine.outcome is not None and knows_better(mine) and (is_held or not mine.is_settled):
        ended = Round(mine.outcome, mine.messages, mine.run, 0 if mine.is_settled else mine.number)
        done = settle(town, agent.id, epoch, replace(ended, charges_round=not mine.is_settled), state)
        count += done.acked + done.buried + len(done.attempts)
    if town.store.call(lambda r: r.llen(town.store.keys.claimed(agent.id))):
        is_open = mine is not None and mine.outcome is None
        number = mine.number if mine is not None and is_open else 0
        run = mine.run if mine is not None and is_open else ""
        done = settle(town, agent.id, epoch, Round(DIED, None, run, number, charges_round=False), state)
        count += done.acked + done.buried + len(done.attempts)
    journal.close_round()
    return count


def knows_better(entry: RoundEntry) -> bool:
    """The entry's outcome counts for its messages if they are still claimed.

    One that was settled already counts only when it was a success: then Redis lost the settle. After anything
    else the messages went back, and may have been claimed anew.
    """
    return entry.outcome is not None and (not entry.is_settled or entry.outcome.kind is OutcomeKind.OK)


def reclaim_done(town: Town, entry: RoundEntry | None, agent_id: str, epoch: int) -> None:
    """What Redis knows as waiting again although this round did it is claimed again: to be settled, not repeated.

    By the messages' ids: a text without one may well have been sent a second time. A task that needs its model's
    word to be done is not done by the end of a run; a round of a former agent of that name is nobody's any more.
    """
    if entry is None or entry.agent_id != agent_id:
        return
    waits_for_word = town.config.agent.complete_on == "explicit" and entry.task_id is not None
    if entry.outcome is None or entry.outcome.kind is not OutcomeKind.OK or waits_for_word:
        return
    known = [text for text in entry.messages if (m := mail.read(text)) is not None and not m.is_by_hand]
    reclaim_lost(town, agent_id, epoch, known, is_there=True)


def reclaim_lost(town: Town, agent_id: str, epoch: int, texts: list[str], *, is_there: bool = False) -> None:
    """Claim these messages (again): Redis lost the claim or, unless it `is_there`, the message. Raises EpochLost."""

    def build(tx: Transaction) -> None:
        keys = tx.keys
        wish_raw, claimed, urgent, inbox = town.store.read(
            ("HGET", keys.wanted, agent_id),
            ("LRANGE", keys.claimed(agent_id), 0, -1),
            ("LRANGE", keys.urgent(agent_id), 0, -1),
            ("LRANGE", keys.inbox(agent_id), 0, -1),
        )
        guard(agent_id, epoch, wish_raw)
        tx.expect_field(keys.wanted, agent_id, wish_raw)
        for text in texts:
            homes = [h for h, held in ((keys.urgent(agent_id), urgent), (keys.inbox(agent_id), inbox)) if text in held]
            if text in claimed or (is_there and not homes):
                continue
            for home in homes:
                tx.expect_member(home, text, "mail")
                tx.do("LREM", home, 1, text)
            tx.do("RPUSH", keys.claimed(agent_id), text)
            _restart_lost_task(town, tx, text)

    change(town.store, build)


def _restart_lost_task(town: Town, tx: Transaction, text: str) -> None:
    message = mail.read(text)
    found = town.store.tasks.get(message.task_id) if message is not None and message.task_id else None
    if found is not None and found[1].state is TaskState.ASSIGNED:
        started = found[1].started(clock.stamp())
        tx.save_task(found[0], started, found[1])
        tx.event(task_changed("task_started", "its round goes on", started, found[1].state, clock.stamp()))


def finish(
    town: Town, row: AgentRow, state: AgentState, reason: str, also: Callable[[Transaction], object] | None = None
) -> None:
    """An agent's last record: its wish goes in the same step. Its process must be dead, the caller the supervisor.

    `also` adds to that step what becomes of the work that is left. Raises Conflict when its model cannot be ended: its
    work must not be given to a second one.
    """
    assert row.wish is not None
    epoch, journal = row.wish.epoch, town.journal(row.agent.name)
    if not end_leftovers(journal, row.agent.id):
        pids = ", ".join(str(p.pid) for p in leftovers(journal, row.agent.id))
        name = row.agent.name
        raise Conflict(f"What the last round of agent '{name}' left cannot be ended (pid {pids}).", "End it first.")
    remove_half_written(journal.folder)
    take_back(town, row.agent, epoch, row.agent.state)

    def build(tx: Transaction) -> None:
        seen = town.store.agents.row(row.agent.id)
        if seen is None:
            return
        guard(row.agent.id, epoch, seen.wish_raw)
        last_record(tx, seen, state, reason)
        if also is not None:
            also(tx)

    try:
        change(town.store, build)
    except EpochLost:
        return  # somebody wished it anew meanwhile


def last_record(tx: Transaction, row: AgentRow, state: AgentState, reason: str) -> None:
    """Record, wish, flags and lease of an agent that ends now."""
    agent = row.agent.having(
        state=state, reason=reason, current_task=None, last_active_at=clock.stamp(),
        epoch=row.wish.epoch if row.wish else row.agent.epoch,
    )  # fmt: skip
    save_agent(tx, row.raw, agent)
    save_wish(tx, agent.id, row.wish_raw, None)
    tx.do("DEL", tx.keys.lease(agent.id))
    tx.do("DEL", tx.keys.wake(agent.id))
    kind = "agent_stopped" if state is AgentState.STOPPED else "agent_gave_up"
    tx.event(
        Event(
            kind, f"Agent '{agent.name}': {reason}", clock.stamp(), agent_id=agent.id,
            old_state=row.agent.state.value, new_state=state.value,
        )
    )  # fmt: skip


def holds(wish: Wish) -> bool:
    """The terminal that wished this still lives."""
    return processes.is_alive(processes.Identity.from_dict(wish.holder))


def actor_of(town: Town, agent: Agent) -> ActorEntry | None:
    """The entry of the agent's actor on this host; None when no process of this agent lives."""
    entry = town.journal(agent.name).actor()
    return entry if entry is not None and entry.agent_id == agent.id and processes.is_alive(entry.process) else None


def require_round_over(town: Town, agent: Agent) -> None:
    """What an agent without a wish still holds may be moved: its process and its model are gone. Raises Conflict."""
    if actor_of(town, agent) is not None or leftovers(town.journal(agent.name), agent.id):
        raise Conflict(f"The last round of agent '{agent.name}' has not ended yet.", "Try again in a moment.")


def finish_stopped(town: Town, agent_ids: list[str] | None = None, *, waits: bool = True) -> list[str]:
    """End the agents (of `agent_ids`) that are wished to stop, or ran in a terminal, and have no living process.

    Only those of this host. For whoever holds the supervisor's lock. Returns their names. Without `waits` an
    agent whose model still has to go is left for the next call.
    """
    agents = town.store.agents
    names = []
    for row in agents.all() if agent_ids is None else agents.rows(agent_ids):
        wish = row.wish
        if wish is None or wish.host not in (None, town.host):
            continue
        if actor_of(town, row.agent) or not (wish.stop or (wish.foreground and not holds(wish))):
            continue
        if not waits and (left := leftovers(town.journal(row.agent.name), row.agent.id)):
            processes.kill_all(left)
            continue
        finish(town, row, AgentState.STOPPED, "stopped on request" if wish.stop else "its terminal went away")
        names.append(row.agent.name)
    return names
