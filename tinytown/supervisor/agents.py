"""What keeping an *agent* means, beside the loop that keeps children: wishes, epochs, leftovers, the last record."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from collections.abc import Callable
from functools import partial

from tinytown import clock, processes
from tinytown.actors.agent import AgentActor
from tinytown.actors.post import Post
from tinytown.domain.agent import Wish
from tinytown.domain.event import Event
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import AgentState
from tinytown.errors import RedisAway, TinytownError
from tinytown.services import reclaiming, recovery, retention
from tinytown.signals import SignalQueue
from tinytown.store import Store
from tinytown.store.agents import read_wish, save_wish, take_lease
from tinytown.store.transaction import Stale
from tinytown.supervisor.child import Child
from tinytown.supervisor.decide import Decision, Exit, after_exit
from tinytown.supervisor.log import SupervisorLog
from tinytown.town import Town

UPKEEP_FIRST_S = 30.0
UPKEEP_S = 3600.0
LEFTOVER_PAUSE_S = 0.005
LEFTOVER_PATIENCE_S = 1.0
LEFTOVER_STUBBORN_S = 5.0
ACTOR_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


def hold_lease(town: Town, me: processes.Identity) -> None:
    """The supervisor's own, for everybody on other hosts."""
    tx = town.store.transaction()
    take_lease(tx, f"supervisor:{town.host}", f"{town.host}:{me.pid}:{me.started}")
    town.store.commit(tx)


def drop_lease(town: Town) -> None:
    """On the way out; it lapses by itself when Redis is away."""
    tx = town.store.transaction()
    tx.do("DEL", tx.keys.lease(f"supervisor:{town.host}"))
    with contextlib.suppress(TinytownError):
        town.store.commit(tx)


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


def has_leftovers(town: Town, child: Child, log: Callable[[str], None]) -> bool:
    """Kill what the dead one's models left, and come back soon while something is there; never two models."""
    left = recovery.leftovers(town.journal(child.spec.name), child.spec.id)
    processes.kill_all(left)
    now = clock.monotonic()
    if not left:
        child.leftovers_since = 0.0
        return False
    child.leftovers_since = child.leftovers_since or now
    stubborn = now - child.leftovers_since > LEFTOVER_PATIENCE_S
    if stubborn:
        log(f"⚠️ agent {child.spec.name}: its model's process {left[0].pid} cannot be killed; waiting")
    child.start_at = now + (LEFTOVER_STUBBORN_S if stubborn else LEFTOVER_PAUSE_S)
    return True


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


def actor_main(
    town: Town, supervisor: processes.Identity, assignment: Callable[[], bytes], beat: Callable[[], None]
) -> int:
    """What runs in a forked child: everything is made ready before it is told which agent it is."""
    own = Town(town.root, town.config)
    own.store.on_retry = beat
    signals = SignalQueue(ACTOR_SIGNALS)
    with contextlib.suppress(TinytownError):
        own.store.call(lambda r: r.ping())
    told = assignment()
    if not told:  # not needed any more
        return 0
    post = Post(**json.loads(told), parent=supervisor)
    return AgentActor(own, post, signals, beat).run()


def upkeep(town: Town) -> int:
    """In a child of its own: apply `[retention]`."""
    retention.apply(Town(town.root, town.config))
    return 0
