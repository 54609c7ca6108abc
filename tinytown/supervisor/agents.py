"""What keeping an *agent* means, beside the loop that keeps children: wishes, epochs, leftovers, the last record."""

from __future__ import annotations

import contextlib
import random
import signal
from functools import partial

from tinytown import clock, processes
from tinytown.domain.agent import Wish
from tinytown.domain.event import Event
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import AgentState
from tinytown.errors import RedisAway, TinytownError
from tinytown.services import reclaiming, recovery
from tinytown.store import Store
from tinytown.store.agents import read_wish, save_wish
from tinytown.store.transaction import Stale
from tinytown.supervisor.child import Child, ChildSpec, Phase
from tinytown.supervisor.children import Children
from tinytown.supervisor.decide import Decision, Exit, Forget, after_exit
from tinytown.supervisor.log import SupervisorLog
from tinytown.supervisor.reconcile import reconcile
from tinytown.town import Town

KIND = "agent"


class Agents:
    """Keeps agents: a child for each wish of this host, with a new epoch at each spawn and a last record at its end.

    What needs Redis raises RedisAway when it is away.
    """

    def __init__(self, town: Town, children: Children, log: SupervisorLog) -> None:
        self._town, self._children, self._log = town, children, log
        self._wishes: dict[str, str] = {}
        self._wanted: dict[str, Wish] = {}

    def look(self, wishes: dict[str, str], *, anew: bool) -> None:
        """Compare these wishes with the children. Without `anew` only if they changed or somebody's end is due."""
        if not anew and wishes == self._wishes and not self._finishing():
            return
        self._wishes = wishes
        self._wanted = {i: wish for i, raw in wishes.items() if (wish := read_wish(raw)) is not None}
        for child in self._mine():
            wish = self._wanted.get(child.spec.id)
            if child.phase is Phase.WAITING and (wish is None or wish.stop or wish.foreground):
                self._children.forget(child)
        plan = reconcile(self._wanted, [child.spec.id for child in self._mine()], self._town.host)
        for agent_id in plan.start:
            self._add(agent_id, self._wanted[agent_id])
        for agent_id in plan.finish:
            if lives(self._town, agent_id, self._wanted[agent_id]):
                self._add(agent_id, self._wanted[agent_id])
        gone = [i for i in (*plan.finish, *plan.look_at) if i not in self._children]
        if gone:
            finish_gone(self._town, gone, self._log)
        for agent_id in plan.end:
            self._end(self._children[agent_id])

    def leftovers(self, child: Child) -> list[processes.Identity]:
        """What lives of its dead actors' models."""
        return recovery.leftovers(self._town.journal(child.spec.name), child.spec.id)

    def prepare(self, child: Child) -> int | None:
        """Begin a spawn: its epoch. None: the wish has changed."""
        return new_epoch(self._town.store, child, self._wishes)

    def decide(self, child: Child, exited: Exit) -> Decision:
        """What follows from its end. Who is not wanted any more has had its last record written."""
        wish = wish_of(self._town.store, child.spec.id)
        if wish is None:
            self._log.write(f"⏹️ {child.spec.label} stopped ({exited.describe()})")
            return Forget()
        if wish.stop:
            finish_gone(self._town, [child.spec.id], self._log)
            return Forget()
        return decide(self._town, child, exited, wish)

    def give_up(self, child: Child, reason: str) -> None:
        """It is not started again."""
        give_up(self._town, child, reason)
        self._children.forget(child)

    def note_stopped(self, child: Child) -> None:
        """It died on our way out."""
        note_stopped(self._town, child)

    def _mine(self) -> list[Child]:
        return [child for child in self._children if child.spec.kind == KIND]

    def _finishing(self) -> bool:
        host = self._town.host
        ours = [w for i, w in self._wanted.items() if i not in self._children and w.host in (None, host)]
        return any(w.stop or (w.foreground and not recovery.holds(w)) for w in ours)

    def _add(self, agent_id: str, wish: Wish) -> None:
        """A child for a wish: adopted when an actor of it lives, else to be started."""
        child = self._children.add(ChildSpec(agent_id, wish.name, shutdown_s=self._town.config.supervisor.grace_s))
        entry = self._town.journal(wish.name).actor()
        if entry is None or entry.agent_id != agent_id:
            return
        child.starts = [start for start in entry.starts if start >= wish.since]
        if self._children.adopt(child, entry.process, entry.epoch):
            self._log.write(f"🤝 {child.spec.label} adopted (pid {entry.process.pid}); it finishes its round")

    def _end(self, child: Child) -> None:
        """Nobody wants it any more: ask, then insist."""
        if child.is_alive:
            self._children.end(child, signal.SIGTERM, child.spec.shutdown_s)
        elif child.phase is Phase.WAITING:
            self._children.forget(child)


def wish_of(store: Store, agent_id: str) -> Wish | None:
    """The wish as it is now."""
    return read_wish(store.call(lambda r: r.hget(store.keys.wanted, agent_id)))


def new_epoch(store: Store, child: Child, known: dict[str, str]) -> int | None:
    """Begin a spawn: the next epoch in the wish, the dead one's lease revoked. None: the wish changed, look again."""
    raw = known.get(child.spec.id)
    wish = read_wish(raw)
    if wish is None or wish.stop or wish.foreground:
        return None
    again = wish.having(epoch=wish.epoch + 1)
    tx = store.transaction()
    text = save_wish(tx, child.spec.id, raw, again)
    tx.do("DEL", tx.keys.lease(child.spec.id))
    if child.starts:
        tx.do("HINCRBY", tx.keys.stats(child.spec.id), "restarts", 1)
        tx.event(
            Event("agent_restarted", f"Agent '{wish.name}' restarts", clock.stamp(), agent_id=child.spec.id),
        )
    try:
        store.commit(tx)
    except Stale:
        return None
    assert text is not None
    known[child.spec.id] = text
    return again.epoch


def decide(town: Town, child: Child, exited: Exit, wish: Wish) -> Decision:
    """What follows from the end of a child that is still wanted."""
    return after_exit(
        child.spec.restart,
        exited,
        is_wanted=True,
        starts=starts_of(town, child, wish),
        now=clock.wall(),
        policy=town.config.supervisor,
        jitter=random.random(),  # noqa: S311  no secret
    )


def starts_of(town: Town, child: Child, wish: Wish) -> list[float]:
    """The spawns of this wish, as we and earlier supervisors (by the actor's file) saw them."""
    since = wish.since if wish.since <= clock.wall() else 0.0  # the clock may have been set back
    entry = town.journal(child.spec.name).actor()
    filed = [s for s in entry.starts if s >= since] if entry and entry.agent_id == child.spec.id else []
    ours = [s for s in child.starts if s >= since]
    return max(ours, filed, key=len)


def lives(town: Town, agent_id: str, wish: Wish) -> bool:
    """An actor of this agent lives, whoever forked it."""
    entry = town.journal(wish.name).actor()
    return entry is not None and entry.agent_id == agent_id and processes.is_alive(entry.process)


def finish_gone(town: Town, agent_ids: list[str], log: SupervisorLog) -> None:
    """Write the last record of agents that are wished to stop, or left by a terminal, and have no process.

    One agent's trouble is said and left for the next time. Raises RedisAway only.
    """
    for agent_id in agent_ids:
        try:
            for name in recovery.finish_stopped(town, [agent_id], waits=False):
                log.write(f"⏹️ agent {name} stopped")
        except RedisAway:
            raise
        except TinytownError as error:
            log.write_once(agent_id, f"⚠️ agent {agent_id} cannot be taken leave of: {error}")


def give_up(town: Town, child: Child, reason: str) -> None:
    """State error, an event, the wish gone; its mail is kept, or its work goes to the backlog by configuration."""
    row = town.store.agents.row(child.spec.id)
    if row is None:
        _drop_wish(town, child, reason)
        return
    if row.wish is None:
        return
    parks = town.config.supervisor.on_give_up == "backlog"
    also = partial(reclaiming.park_some, town, agent_id=row.agent.id) if parks else None
    recovery.finish(town, row, AgentState.ERROR, f"given up: {reason}", also)
    if parks:
        reclaiming.park_work(town, row.agent.id)  # what was too much for one step, or came at that moment


def _drop_wish(town: Town, child: Child, reason: str) -> None:
    """Its record is gone: nothing but the wish is left of the agent."""
    raw = town.store.call(lambda r: r.hget(town.store.keys.wanted, child.spec.id))
    tx = town.store.transaction()
    save_wish(tx, child.spec.id, raw, None)
    text = f"Agent '{child.spec.name}' has no record: {reason}"
    tx.event(Event("agent_gave_up", text, clock.stamp(), agent_id=child.spec.id))
    with contextlib.suppress(Stale):
        town.store.commit(tx)


def note_stopped(town: Town, child: Child) -> None:
    """Killed by us on our way out: its round ended as `stopped`, so that nobody is charged."""
    journal = town.journal(child.spec.name)
    entry = journal.round()
    if entry is not None and entry.agent_id == child.spec.id and entry.outcome is None:
        recovery.end_leftovers(journal, child.spec.id)
        with contextlib.suppress(OSError):
            journal.write_round(entry.ended(Outcome(OutcomeKind.STOPPED, "the supervisor stopped")), sync=True)
