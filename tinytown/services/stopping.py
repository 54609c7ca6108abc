"""End actors and wait until they are gone: what comes before anything of theirs is destroyed."""

from __future__ import annotations

from collections.abc import Callable

from tinytown import clock
from tinytown.errors import Conflict
from tinytown.services import agents, leftovers, recovery, supervision
from tinytown.services.caller import from_environment
from tinytown.store.agents import AgentRow
from tinytown.town import Town

PROGRESS_AFTER_S = 1.0
NOW_WITHIN_S = 10.0  # a model has TERM, then KILL; a supervisor kills what is hung
GONE_WITHIN_S = 2.0
LOOK_S = 0.2

Say = Callable[[str], None]


def end_actors(town: Town, rows: list[AgentRow], *, grace_s: float | None = None, say: Say | None = None) -> None:
    """Stop these agents and wait for their ends: after their rounds, after the grace time at once, then by force.

    The supervisor's children are left to it; without one this command takes its role for the moment. Agents in
    terminals are included, mail and tasks stay. `say` hears of what takes longer than a second. Raises Conflict when
    the caller's own agent is among them (nothing was asked then) or some could not be stopped (they are named).
    """
    _refuse_own(rows)
    grace = town.config.supervisor.grace_s if grace_s is None else grace_s
    left = _left(town, rows)
    for now, patience in ((False, grace), (True, NOW_WITHIN_S)):
        if left and patience > 0:
            _ask(town, left, now=now)
            left = _await_ends(town, rows, patience, say)
        if not left:
            return
    _end_by_force(town, left)
    if left := _await_ends(town, rows, GONE_WITHIN_S, None):
        raise _not_ended(town, left)


def _refuse_own(rows: list[AgentRow]) -> None:
    caller = from_environment()
    for row in rows:
        if caller.is_model and row.agent.id == caller.id:
            name = row.agent.name
            raise Conflict(
                f"Agent '{name}' cannot wait for its own end in its own round.", "A person or another agent can do it."
            )


def _left(town: Town, rows: list[AgentRow]) -> list[AgentRow]:
    """Those that are still wanted, or still have a process on this host."""
    seen = town.store.agents.rows(row.agent.id for row in rows)
    return [row for row in seen if row.wish is not None or recovery.actor_of(town, row.agent) is not None]


def _ask(town: Town, left: list[AgentRow], *, now: bool) -> None:
    tx = town.store.transaction()
    for row in left:
        if row.wish is None:  # taken away by hand: it looks, finds that out, and leaves
            tx.ring(row.agent.id)
    town.store.commit(tx)
    agents.stop_all(town, now=now, only={row.agent.id for row in left})


def _await_ends(town: Town, rows: list[AgentRow], patience: float, say: Say | None) -> list[AgentRow]:
    """Those that are left when that time is over."""
    begun = clock.monotonic()
    told = say is None
    while True:
        seen_until = town.store.events.last_id()
        if not supervision.is_running(town):
            supervision.finish_dead(town)
        left = _left(town, rows)
        waited = clock.monotonic() - begun
        if not left or waited >= patience:
            return left
        if say is not None and not told and waited >= PROGRESS_AFTER_S:
            say(f"Waiting up to {patience:g} s for: {', '.join(row.agent.name for row in left)}")
            told = True
        town.store.events.after(seen_until, min(LOOK_S, patience - waited))


def _end_by_force(town: Town, left: list[AgentRow]) -> None:
    """The actors that nobody watches: left by a dead supervisor, or in a terminal. Nobody is charged."""
    lock = town.supervisor_lock
    is_ours = lock.acquire()
    try:
        alive = [
            (town.journal(row.agent.name), entry)
            for row in left
            if (is_ours or (row.wish is not None and row.wish.foreground))
            and (entry := recovery.actor_of(town, row.agent)) is not None
        ]
        leftovers.end_actors(alive, 0.0)
    finally:
        lock.release()


def _not_ended(town: Town, left: list[AgentRow]) -> Conflict:
    names = ", ".join(row.agent.name for row in left)
    hosts = {row.wish.host for row in left if row.wish is not None} - {None, town.host}
    remedy = "If that host is gone: tt recover" if hosts else "See: tt status, tt supervise --status"
    where = f" (on {', '.join(sorted(filter(None, hosts)))})" if hosts else ""
    return Conflict(f"Could not stop: {names}{where}. Nothing was removed.", remedy)
