"""Orphans: agents whose process is gone, and tasks whose agent is."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from functools import partial

from tinytown import clock, ids, processes
from tinytown.domain.agent import BY_PROGRAM, Agent, Wish
from tinytown.domain.event import Event
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import EpochLost
from tinytown.services import estate, mail, recovery
from tinytown.services.caller import Caller
from tinytown.services.settlement import finish_task
from tinytown.store.agents import AgentRow, save_wish
from tinytown.store.keys import LEASE_TTL_S
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

SILENT_S = 120.0  # without a heartbeat, on a host that we cannot look at
STARTING_WITHIN_S = 10.0
REASON = "its process was gone"
_OPEN = (TaskState.ASSIGNED, TaskState.RUNNING)
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class OrphanAgent:
    """An agent as it was before it was recovered, and for how many seconds nothing was heard of it."""

    agent: Agent
    silent_s: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `recover` found among how many agents."""

    recovered: list[OrphanAgent]
    checked: int


@dataclass(frozen=True, slots=True)
class OrphanTask:
    """An open task, its agent's name (None: there is no record of it)."""

    task: Task
    agent: str | None

    @property
    def reason(self) -> str:
        """Why nobody will run it."""
        return "assignee missing" if self.agent is None else "assignee terminal"


def recover(town: Town) -> Recovery:
    """Finish every wanted agent whose process is gone: what it held goes back or is settled, then it is Stopped.

    On this host processes are looked at, and only when no supervisor runs (a dead agent is its to restart). Agents
    of another host are judged by lease and heartbeat. Each agent's end is one step; idempotent.
    """
    town.ensure_redis()
    recovered = [*_recover_here(town), *_recover_elsewhere(town)]
    return Recovery(recovered, len(town.store.agents.names()))


def orphan_tasks(town: Town) -> list[OrphanTask]:
    """The tasks that are assigned to or run by an agent that has ended or is unknown, oldest first."""
    known = {row.agent.id: row for row in town.store.agents.all()}
    found = []
    for task in town.store.tasks.many(town.store.tasks.ids(_OPEN)):
        row = known.get(task.assigned_to or "")
        if task.assigned_to not in (None, ids.SUPERVISOR_ID) and (row is None or estate.has_ended(row)):
            found.append(OrphanTask(task, row.agent.name if row else None))
    return sorted(found, key=lambda orphan: orphan.task.created_at)


def requeue_tasks(town: Town) -> list[OrphanTask]:
    """Every orphan task into the backlog, with what leads to it in the same step. Returns those that were moved."""
    return _settle_all(town, None)


def cancel_tasks(town: Town, caller: Caller) -> list[OrphanTask]:
    """Cancel every orphan task, with what leads to it in the same step. Returns those that were cancelled."""
    return _settle_all(town, caller)


# Agents


def _recover_here(town: Town) -> list[OrphanAgent]:
    lock = town.supervisor_lock
    if not lock.acquire():  # a supervisor sees to them
        return []
    try:
        return [found for row in town.store.agents.all() if _is_orphan_here(town, row) and (found := _end(town, row))]
    finally:
        lock.release()


def _is_orphan_here(town: Town, row: AgentRow) -> bool:
    """Wanted (or left active by a wish that was deleted by hand), and its process is gone."""
    agent, wish = row.agent, row.wish
    if recovery.actor_of(town, agent) is not None:
        return False
    if wish is None:
        is_ours = agent.spawn_mode != BY_PROGRAM and agent.host in (None, town.host)
        return is_ours and not agent.state.is_terminal
    if wish.host not in (None, town.host) or (wish.foreground and recovery.holds(wish)):
        return False
    is_being_spawned = agent.state is AgentState.STARTING and 0 <= clock.wall() - wish.since < STARTING_WITHIN_S
    return not is_being_spawned


def _recover_elsewhere(town: Town) -> list[OrphanAgent]:
    """Agents of other hosts. A server that has just come back has seen no renewals yet: nothing is judged by it."""
    (info,) = town.store.read(("INFO", "server"))
    if int(info.get("uptime_in_seconds", 0)) < LEASE_TTL_S:
        return []
    return [found for r in town.store.agents.all() if _is_orphan_elsewhere(town, r) and (found := _end(town, r))]


def _is_orphan_elsewhere(town: Town, row: AgentRow) -> bool:
    """No lease of it or of its host's supervisor, and silence."""
    wish = row.wish
    if wish is None or wish.host in (None, town.host) or _silence(row.agent) < SILENT_S:
        return False
    leases = (row.agent.id, f"supervisor:{wish.host}")
    return all(town.store.agents.lease(name) is None for name in leases)


def _silence(agent: Agent) -> float:
    heard = (agent.last_heartbeat, agent.last_active_at, agent.created_at)
    return min(clock.seconds_since(at) for at in heard if at)


def _end(town: Town, row: AgentRow) -> OrphanAgent | None:
    """Its epoch is taken from it first: should it live after all, it finds that out. None: it has changed meanwhile."""

    def condemn(tx: Transaction) -> bool:
        seen = town.store.agents.row(row.agent.id)
        if seen is None or (seen.wish_raw, seen.agent.state) != (row.wish_raw, row.agent.state):
            return False
        wish = row.wish or Wish(name=row.agent.name, epoch=row.agent.epoch, rounds=0, host=town.host)
        tx.expect(tx.keys.agent(row.agent.id), seen.raw)
        save_wish(tx, row.agent.id, row.wish_raw, wish.having(epoch=wish.epoch + 1, stop="now"))
        tx.activity(row.agent.id, "🔄 Recovered by tt recover (orphaned)")
        text = f"Agent '{row.agent.name}' recovered: {REASON}"
        tx.event(Event("agent_recovered", text, clock.stamp(), agent_id=row.agent.id))
        return True

    if not change(town.store, condemn):
        return None
    condemned = town.store.agents.row(row.agent.id)
    if condemned is not None and condemned.wish is not None:
        with contextlib.suppress(EpochLost):  # its supervisor was quicker
            recovery.finish(town, condemned, AgentState.STOPPED, REASON)
    return OrphanAgent(row.agent, _silence(row.agent))


# Tasks


def _settle_all(town: Town, canceller: Caller | None) -> list[OrphanTask]:
    """To the backlog, or cancelled by the caller; per agent, up to some hundred in one step."""
    town.ensure_redis()
    by_owner: dict[str, list[OrphanTask]] = defaultdict(list)
    for orphan in orphan_tasks(town):
        by_owner[orphan.task.assigned_to or ""].append(orphan)
    done = []
    for owner, found in by_owner.items():
        for start in range(0, len(found), _AT_ONCE):
            some = found[start : start + _AT_ONCE]
            done += change(town.store, partial(_settle, town, owner=owner, orphans=some, canceller=canceller))
    return done


def _settle(
    town: Town, tx: Transaction, owner: str, orphans: list[OrphanTask], canceller: Caller | None
) -> list[OrphanTask]:
    if not _expect_gone(town, tx, owner):
        return []
    leads: dict[str, list[estate.Held]] = defaultdict(list)
    for held in estate.read(town, owner):
        if held.task is not None:
            leads[held.task.id].append(held)
    done, parked = [], []
    for orphan, raw in zip(orphans, town.store.tasks.raws([o.task.id for o in orphans]), strict=True):
        task = read_task(raw, orphan.task.id)
        if raw is None or task is None or task.state not in _OPEN or task.assigned_to != owner:
            continue  # somebody was quicker
        led = leads[task.id]
        for held in led:
            estate.take(tx, owner, held)
        message_id = next((held.message.id for held in led if held.message is not None), None)
        if canceller is None:
            parked.append(estate.unassign(tx, owner, raw, task, message_id))
        else:
            _cancel(town, tx, raw, OrphanTask(task, orphan.agent), message_id, canceller)
        done.append(OrphanTask(task, orphan.agent))
    mail.park(town, tx, *parked)
    return done


def _cancel(town: Town, tx: Transaction, raw: str, orphan: OrphanTask, message_id: str | None, caller: Caller) -> None:
    task, owner = orphan.task, orphan.task.assigned_to or ""
    why = "no longer exists" if orphan.agent is None else "is in a terminal state"
    finish_task(town, tx, raw, task, TaskState.CANCELLED, f"Cancelled: assignee {why}", caller.run)
    tx.do("DEL", tx.keys.wake(owner))  # nobody hears the bell
    if message_id is not None:
        text = "without a run: its task is cancelled"
        tx.event(Event("message_acked", text, clock.stamp(), agent_id=owner, task_id=task.id, message_id=message_id))


def _expect_gone(town: Town, tx: Transaction, owner: str) -> bool:
    """There is no such agent, or it has ended, and it stays so until the transaction is applied."""
    if town.store.agents.row(owner) is not None:
        return estate.expect_ended(town, tx, owner) is not None
    raw = town.store.call(lambda r: r.get(tx.keys.agent(owner)))
    tx.expect(tx.keys.agent(owner), raw)
    return not processes.marked(f"{owner}:")
