"""Prune: agents that have ended go, with every key of theirs; work and unread mail are not lost in silence."""

from __future__ import annotations

import contextlib
import shutil
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from tinytown import clock
from tinytown.domain.agent import Agent
from tinytown.domain.event import Event
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.errors import TinytownError
from tinytown.services import estate, mail, recovery
from tinytown.services.estate import Held
from tinytown.services.stopping import Say, end_actors
from tinytown.store.agents import AgentRow
from tinytown.store.inboxes import DeadLetter
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

PRUNED = (AgentState.STOPPED, AgentState.ERROR)
_TOLD = 200  # characters of a destroyed message in the town's history
_OPEN = (TaskState.ASSIGNED, TaskState.RUNNING)


@dataclass(frozen=True, slots=True)
class Kept:
    """An agent that was not removed, what is in the way, and what helps."""

    agent: Agent
    why: str
    remedy: str
    is_active: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """What went with one agent: keys, messages that were not read, tasks that are in the backlog now."""

    agent: Agent
    keys: int
    messages: int
    requeued: list[Task]


@dataclass(frozen=True, slots=True)
class Pruning:
    """What `prune` did."""

    removed: list[Removal]
    kept: list[Kept]


@dataclass(frozen=True, slots=True)
class _Left:
    """All that an ended agent leaves: unread mail, dead letters, open tasks by raw text."""

    row: AgentRow
    mail: list[Held]
    dead: list[DeadLetter]
    tasks: dict[str, Task]

    @property
    def unread(self) -> list[Held]:
        """Mail that would still lead to something."""
        return [held for held in self.mail if not held.is_spent(self.row.agent.id)]


class _Precious(TinytownError):
    """There is something left that nobody has read."""


def prune(town: Town, *, everyone: bool = False, force: bool = False, say: Say | None = None) -> Pruning:
    """Remove the agents that are Stopped or in Error; with `everyone` all of them, whose actors are stopped first.

    One step for each agent. One with unread mail, dead letters or open tasks is kept, unless `force`: then its tasks
    go to the backlog and its messages are named in events. Raises Conflict when an actor cannot be stopped.
    """
    town.ensure_redis()
    rows = town.store.agents.all()
    if everyone:
        end_actors(town, rows, say=say)
    owned = open_tasks(town)
    removed: list[Removal] = []
    kept: list[Kept] = []
    for row in rows:
        if not everyone and not (estate.has_ended(row) and row.agent.state in PRUNED):
            continue
        try:
            gone = remove(town, row.agent.id, owned.get(row.agent.id, []), force=force, in_any_state=everyone)
        except _Precious as precious:
            kept.append(Kept(row.agent, str(precious), precious.remedy or ""))
            continue
        if gone is not None:
            removed.append(gone)
        elif everyone and (now := town.store.agents.row(row.agent.id)) is not None:
            kept.append(Kept(now.agent, "started again meanwhile", "tt prune --all", is_active=True))
    discard_journals(town, [removal.agent.name for removal in removed])
    return Pruning(removed, kept)


def open_tasks(town: Town) -> dict[str, list[str]]:
    """Agent id -> ids of the tasks that it has or had in hand."""
    found: dict[str, list[str]] = defaultdict(list)
    for task in town.store.tasks.many(town.store.tasks.ids(_OPEN)):
        found[task.assigned_to or ""].append(task.id)
    return found


def remove(
    town: Town, agent_id: str, task_ids: list[str], *, force: bool, in_any_state: bool, verb: str = "pruned"
) -> Removal | None:
    """Remove an agent that has ended, in one step; None when it is active (again) or gone.

    `task_ids`: open tasks of its, beside those that its mail leads to. Raises an error when something is left that
    nobody has read and not `force`. `in_any_state`: see `estate.expect_ended`.
    """

    def build(tx: Transaction) -> Removal | None:
        row = estate.expect_ended(town, tx, agent_id, in_any_state=in_any_state)
        if row is None:
            return None
        left = _look(town, tx, row, task_ids)
        if not force:
            _refuse_precious(left)
        return _remove(town, tx, left, verb)

    return change(town.store, build)


def discard_journals(town: Town, names: Collection[str]) -> None:
    """Remove the two files, the prompts and the empty folder of each name that no agent has and no process uses.

    Whatever else lies in such a folder stays, and the folder with it.
    """
    owners = {name: town.journal(name).agent_ids() for name in names}  # before it is asked who has the name now
    taken = town.store.agents.names()
    for name in names:
        journal = town.journal(name)
        entry = journal.round()
        if name in taken or (entry is not None and recovery.leftovers(journal, entry.agent_id)):
            continue
        with contextlib.suppress(OSError):  # what stays is an ended agent's, and decides nothing
            if journal.discard(owners[name]):
                shutil.rmtree(town.runs_dir / name, ignore_errors=True)


def _look(town: Town, tx: Transaction, row: AgentRow, task_ids: list[str]) -> _Left:
    """Read it all, and expect it to stay so."""
    keys, store, agent_id = tx.keys, town.store, row.agent.id
    held = estate.read(town, agent_id)
    dead = store.inboxes.dead(agent_id)
    homes = [keys.claimed(agent_id), keys.urgent(agent_id), keys.inbox(agent_id)]
    for home in homes:
        tx.expect_list(home, [h.text for h in held if h.home == home])
    tx.expect_list(keys.dead(agent_id), [letter.raw for letter in dead])
    for h in held:
        if h.message is not None and h.message.task_id and not h.leads(agent_id):
            tx.expect(keys.task(h.message.task_id), h.task_raw, "task")
    wanted = dict.fromkeys([*task_ids, *(h.task.id for h in held if h.task is not None and h.leads(agent_id))])
    tasks = {}
    for task_id, raw in zip(wanted, store.tasks.raws(list(wanted)), strict=True):
        task = read_task(raw, task_id)
        if raw is not None and task is not None and task.state in _OPEN and task.assigned_to == agent_id:
            tasks[raw] = task
    return _Left(row, held, dead, tasks)


def _refuse_precious(left: _Left) -> None:
    name, unread = left.row.agent.name, left.unread
    led = {h.task.id for h in unread if h.task is not None}
    lost = [task for task in left.tasks.values() if task.id not in led]
    parts = [(len(unread), "unread message(s)"), (len(left.dead), "dead letter(s)"), (len(lost), "open task(s)")]
    why = ", ".join(f"{count} {what}" for count, what in parts if count)
    if not why:
        return
    if any(h.is_new_work or h.task is not None for h in unread):
        remedy = f"tt reclaim --from {name} --to-backlog"
    elif unread:
        remedy = f"tt reclaim --from {name} --to <agent>"
    elif lost:
        remedy = "tt reclaim --orphan-tasks --to-backlog"
    else:
        remedy = f"tt inbox {name} --dead"
    raise _Precious(why, remedy)


def _remove(town: Town, tx: Transaction, left: _Left, verb: str) -> Removal:
    agent = left.row.agent
    led = {h.task.id: h for h in left.mail if h.task is not None and h.leads(agent.id)}
    parked: list[Task] = []
    for raw, task in left.tasks.items():
        held = led.get(task.id)
        message_id = held.message.id if held is not None and held.message is not None else None
        parked.append(estate.unassign(tx, agent.id, raw, task, message_id))
    moved = {id(led[task.id]) for task in parked if task.id in led}
    destroyed = [held.text for held in left.mail if id(held) not in moved]
    destroyed += [letter.text for letter in left.dead]
    for text in destroyed:
        said = f"with its agent '{agent.name}': {text[:_TOLD]}"
        tx.event(Event(f"message_{verb}", said, clock.stamp(), agent_id=agent.id, message_id=mail.message_id(text)))
    mail.park(town, tx, *parked)
    count = _drop_keys(town, tx, agent)
    said = f"Agent '{agent.name}' was {verb}"
    tx.event(Event(f"agent_{verb}", said, clock.stamp(), agent_id=agent.id, old_state=agent.state.value))
    return Removal(agent, count, len(destroyed), parked)


def _drop_keys(town: Town, tx: Transaction, agent: Agent) -> int:
    """Everything that is the agent's alone; returns how many keys there were."""
    own = tx.keys.of_agent(agent.id)
    found: int = town.store.call(lambda r: r.exists(*own))
    for key in own:
        tx.do("DEL", key)
    tx.do("HDEL", tx.keys.wanted, agent.id)
    tx.expect_field(tx.keys.agents, agent.name, agent.id, "name")
    tx.do("HDEL", tx.keys.agents, agent.name)
    return found
