"""Push: the town's tasks become what tasks.toml says, as far as they have not started.

The plan id gives the task id, so that a push that is repeated, killed and repeated, or made by eight people at
once makes each task once. Tasks go in steps of a few hundred, each after those it depends on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from tinytown import clock, ids
from tinytown.domain.agent import Agent
from tinytown.domain.event import Event
from tinytown.domain.states import TaskState
from tinytown.domain.task import PLAN_TAG, Task
from tinytown.errors import AgentNotFound, NotFound, brief
from tinytown.services import agents, dependencies, mail, plan, tasks
from tinytown.services.caller import Caller
from tinytown.services.plan.entries import Entry, Plan
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

AT_ONCE = 500
ENDED = {
    TaskState.COMPLETED: "Completed via sync",
    TaskState.FAILED: "Failed via sync",
    TaskState.CANCELLED: "Cancelled via sync",
}


class Did(StrEnum):
    """What a push did with a task."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    RESTARTED = "restarted"
    FINISHED = "finished"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Pushed:
    """How many tasks of each kind. `held`: ids in the plan of running tasks whose changes were not pushed."""

    counts: Counter[Did]
    held: list[str]


def push(town: Town, caller: Caller, *, reset: bool = False, dry_run: bool = False) -> Pushed:
    """Make the town's tasks what the plan says; with `reset` also those that have ended and that it calls open.

    `dry_run` only counts. Raises NotFound (no file, or agents that do not exist: then nothing was changed), Invalid.
    """
    loaded = plan.load(town)
    if not dry_run:
        town.ensure_redis()
        dependencies.finish_releases(town)
    task_ids = plan.task_ids(town, loaded.entries)
    job = _Push(town, loaded, task_ids, _agents(town, loaded, task_ids, reset=reset), caller)
    return job.run(reset=reset, commit=not dry_run)


def _agents(town: Town, loaded: Plan, task_ids: dict[str, str], *, reset: bool) -> dict[str, str]:
    """Agent as the plan names it -> its name. Raises NotFound for those that an open task needs and that are not."""
    found: dict[str, str] = {}
    missing = []
    for name in dict.fromkeys(map(loaded.agent_of, loaded.entries)):
        try:
            if name is not None:
                found[name] = agents.resolve(town, name).agent.name
        except AgentNotFound:
            missing.append(name)
    if not missing:
        return found
    doubtful = [entry for entry in loaded.entries if loaded.agent_of(entry) in missing]
    raws = town.store.tasks.raws([task_ids[entry.id] for entry in doubtful])
    needed = dict.fromkeys(
        loaded.agent_of(entry) or ""
        for entry, raw in zip(doubtful, raws, strict=True)
        if _is_open(entry, read_task(raw, task_ids[entry.id]), reset=reset)
    )
    if needed:
        what = "an agent that does not exist" if len(needed) == 1 else "agents that do not exist"
        raise NotFound(f"The plan names {what}: {', '.join(map(brief, needed))}.", _spawns(needed))
    return found


def _spawns(names: Iterable[str]) -> str:
    """The commands that make these agents, as far as they can be."""
    legal = [name for name in names if ids.is_name(name) and name.lower() not in ids.RESERVED_NAMES]
    return "; ".join(f"tt spawn {name}" for name in legal) or "See the agents with: tt list"


def _is_open(entry: Entry, task: Task | None, *, reset: bool) -> bool:
    """This push will leave the task open."""
    if task is None or (reset and task.state.is_terminal):
        return not entry.status.is_terminal
    return not task.state.is_terminal


class _Push:
    """One push. `ids`: plan id -> task id; `names`: agent as the plan names it -> its name."""

    def __init__(self, town: Town, loaded: Plan, ids: dict[str, str], names: dict[str, str], caller: Caller) -> None:
        self.town, self.plan, self.ids, self.names, self.caller = town, loaded, ids, names, caller
        self._begun = clock.now()
        self._places = {entry.id: number for number, entry in enumerate(loaded.entries)}

    def run(self, *, reset: bool, commit: bool) -> Pushed:
        """All of it, step by step, each task after those that it depends on."""
        counts: Counter[Did] = Counter()
        held: list[str] = []
        to_restart = self._to_restart() if reset else set()
        for entries in self._steps(to_restart):
            if self.ids[entries[0].id] in to_restart:
                counts[self._restart(entries[0], commit=commit)] += 1
                continue
            step = self._step(entries, commit=commit)
            counts += step.counts
            held += step.held
        return Pushed(counts, held)

    def created_at(self, entry: Entry) -> str:
        """The time of now, a microsecond later for each task: lists are in the order of the file."""
        return clock.stamp(self._begun + timedelta(microseconds=self._places[entry.id]))

    def attributes(self, entry: Entry, task: Task | None = None) -> dict[str, Any]:
        """What the plan says of the task, as its record holds it."""
        own = [PLAN_TAG + entry.id] if task is None else [t for t in task.tags or [] if t.startswith(PLAN_TAG)]
        agent = self.plan.agent_of(entry)
        kept = task.planned_agent if task and task.assigned_to else None
        return {
            "description": entry.description,
            "tags": [*entry.tags, *own],
            "parent_id": self.ids[entry.parent] if entry.parent else None,
            "depends_on": [self.ids[other] for other in entry.depends_on] or None,
            "planned_agent": self.names.get(agent, agent) if agent else kept,
        }

    def owners(self) -> dict[str, Agent]:
        """The plan's agents by name, as they are now. Raises AgentNotFound when one went away meanwhile."""
        found = dependencies.planned_agents(self.town, self.names.values())
        for name in self.names.values():
            if name not in found:
                raise AgentNotFound(name)
        return found

    def _to_restart(self) -> set[str]:
        wanted = [self.ids[entry.id] for entry in self.plan.entries if not entry.status.is_terminal]
        return {task.id for task in self.town.store.tasks.many(wanted) if task.state.is_terminal}

    def _steps(self, to_restart: set[str]) -> Iterator[list[Entry]]:
        some: list[Entry] = []
        for entry in self.plan.in_order():
            alone = self.ids[entry.id] in to_restart
            if some and (alone or len(some) == AT_ONCE):
                yield some
                some = []
            if alone:
                yield [entry]
            else:
                some.append(entry)
        if some:
            yield some

    def _step(self, entries: list[Entry], *, commit: bool) -> _Step:
        def build(tx: Transaction) -> _Step:
            step = _Step(self, tx, entries)
            for entry in entries:
                step.apply(entry)
            mail.park(self.town, tx, *step.parked)
            return step

        return change(self.town.store, build) if commit else build(self.town.store.transaction())

    def _restart(self, entry: Entry, *, commit: bool) -> Did:
        def build(tx: Transaction) -> bool:
            found = self.town.store.tasks.get(self.ids[entry.id])
            if found is None or not found[1].state.is_terminal:
                return False  # somebody was quicker
            wanted = replace(found[1], **self.attributes(entry, found[1]))
            owner = self.owners().get(wanted.planned_agent or "") if self.plan.agent_of(entry) else None
            tasks.revive(self.town, tx, found[0], wanted, owner, self.caller)
            return True

        if commit and not change(self.town.store, build):
            self._step([entry], commit=True)
        return Did.RESTARTED


class _Step:
    """One transaction: what is there, and what becomes of each task."""

    def __init__(self, job: _Push, tx: Transaction, entries: list[Entry]) -> None:
        self.counts: Counter[Did] = Counter()
        self.held: list[str] = []
        self.parked: list[Task] = []
        self._job, self._tx, self._owners = job, tx, job.owners()
        self._raws: dict[str, str | None] = {}
        self._tasks: dict[str, Task] = {}
        self._leads: dict[str, dict[str, list[mail.Lead]]] = {}
        self._read(job.ids[i] for entry in entries for i in (entry.id, *entry.depends_on))
        self._read(i for task in list(self._tasks.values()) for i in task.depends_on or [])
        self._waits = self._links(job.ids[entry.id] for entry in entries)

    def apply(self, entry: Entry) -> None:
        """Make the task what the plan says."""
        task = self._tasks.get(self._job.ids[entry.id])
        if task is None:
            self.counts[Did.NEW] += 1
            self._create(entry)
        elif task.state.is_terminal:
            self.counts[Did.FINISHED] += 1
        elif task.state is TaskState.RUNNING:
            self.counts[Did.RUNNING] += 1
            if self._wanted(entry, task) != task:
                self.held.append(entry.id)
        else:
            self.counts[Did.CHANGED if self._change(entry, task) else Did.UNCHANGED] += 1

    def _create(self, entry: Entry) -> None:
        at, caller = self._job.created_at(entry), self._job.caller
        said = self._job.attributes(entry)
        owner, others = self._owner(entry), self._open(said["depends_on"])
        is_given = owner is not None and not others and not entry.status.is_terminal
        task = Task(
            id=self._job.ids[entry.id], created_at=at, updated_at=at, assigned_by=caller.id,
            state=TaskState.ASSIGNED if is_given else TaskState.PENDING,
            assigned_to=owner.id if owner and is_given else None, **said,
        )  # fmt: skip
        if entry.status.is_terminal:
            ended = task.ended(entry.status, ENDED[entry.status], caller.run, at)
            self._save(None, ended, f"task_{ended.state}", "as tasks.toml says")
        elif others:
            self._wait(None, task, others)
        elif owner is not None:
            self._give(None, task, owner)
        else:
            self._park(None, task)

    def _change(self, entry: Entry, task: Task) -> bool:
        """False when there is nothing to change."""
        wanted = self._wanted(entry, task)
        owner, others = self._owner(entry), self._open(wanted.depends_on)
        is_new = owner is not None and task.assigned_to != owner.id
        if others:
            links = {(task.id, other.id) for other in others}
            if wanted == task and task.state is TaskState.PENDING and links <= self._waits:
                return False
            self._leave(task)
            self._wait(task, wanted, others)
        elif owner is not None and is_new and (task.state is TaskState.PENDING or owner.name != task.planned_agent):
            self._leave(task)
            given = wanted.assigned(owner.id, self._job.caller.id, clock.stamp())
            self._give(task, replace(given, attempts=0), owner)
        elif task.state is TaskState.PENDING and self._open(task.depends_on):
            self._leave(task)
            self._park(task, wanted)
        elif wanted != task:
            self._save(task, replace(wanted, updated_at=clock.stamp()), "task_updated", "changed by tasks.toml")
        else:
            return False
        return True

    def _wanted(self, entry: Entry, task: Task) -> Task:
        wanted = replace(task, **self._job.attributes(entry, task))
        owner = self._owner(entry)
        if task.planned_agent is None and owner is not None and owner.id == task.assigned_to:
            return replace(wanted, planned_agent=None)  # somebody gave it to just that agent: nothing is new
        return wanted

    # Places: with an agent, in the backlog, in wait for others

    def _leave(self, task: Task) -> None:
        if task.state is TaskState.PENDING:
            self._tx.do("LREM", self._tx.keys.backlog, 0, task.id)
            dependencies.leave(self._tx, task)
        elif task.assigned_to:
            if task.assigned_to not in self._leads:
                self._leads[task.assigned_to] = mail.leads(self._job.town, task.assigned_to)
            for lead in self._leads[task.assigned_to].get(task.id, []):
                mail.recall(self._tx, task.assigned_to, lead, "the plan was changed")

    def _wait(self, old: Task | None, task: Task, others: list[Task]) -> None:
        at = clock.stamp()
        if old is not None:
            task = task.parked(at) if task.state is TaskState.ASSIGNED else replace(task, updated_at=at)
        self._save(old, task, _made(old), f"waits for {dependencies.named(others)}")
        dependencies.wait_for(self._tx, task.id, [(self._raws[other.id], other) for other in others])

    def _park(self, old: Task | None, task: Task) -> None:
        if old is not None:
            task = replace(task, updated_at=clock.stamp())
        self._save(old, task, _made(old), "parked in the backlog")
        self.parked.append(task)

    def _give(self, old: Task | None, given: Task, owner: Agent) -> None:
        message = mail.compose(self._job.caller.id, owner.id, "task_assign", {"task_id": given.id})
        self._save(old, given, "task_assigned", f"assigned to '{owner.name}'", message.id)
        self._tx.expect_exists(self._tx.keys.agent(owner.id), "recipient")
        self._tx.put(owner.id, message)

    def _save(self, old: Task | None, task: Task, kind: str, text: str, message_id: str | None = None) -> None:
        """Record, index and one event, which also names the message that goes with it."""
        self._tx.save_task(self._raws[task.id], task, old)
        self._tx.event(
            Event(
                kind, text, task.updated_at, agent_id=task.assigned_to, task_id=task.id, message_id=message_id,
                old_state=old.state.value if old else None, new_state=task.state.value,
            )
        )  # fmt: skip
        self._tasks[task.id] = task

    # Reading

    def _read(self, task_ids: Iterable[str]) -> None:
        wanted = [task_id for task_id in dict.fromkeys(task_ids) if task_id not in self._raws]
        for task_id, raw in zip(wanted, self._job.town.store.tasks.raws(wanted), strict=True):
            self._raws[task_id] = raw
            if (task := read_task(raw, task_id)) is not None:
                self._tasks[task_id] = task

    def _links(self, task_ids: Iterable[str]) -> set[tuple[str, str]]:
        """(task, what it waits for) of these. One waits for less than it depends on when that has been restarted."""
        found = [self._tasks[i] for i in task_ids if i in self._tasks]
        pairs = [(t.id, o.id) for t in found if t.state is TaskState.PENDING for o in self._open(t.depends_on)]
        keys = self._tx.keys
        held = self._job.town.store.read(*(("SISMEMBER", keys.dependents(o), i) for i, o in pairs)) if pairs else []
        return {pair for pair, waits in zip(pairs, held, strict=True) if waits}

    def _open(self, task_ids: list[str] | None) -> list[Task]:
        """Those of these that are not completed; one that is gone had been completed."""
        found = [self._tasks[task_id] for task_id in task_ids or [] if task_id in self._tasks]
        return [task for task in found if task.state is not TaskState.COMPLETED]

    def _owner(self, entry: Entry) -> Agent | None:
        name = self._job.plan.agent_of(entry)
        return self._owners.get(self._job.names.get(name, "")) if name else None


def _made(old: Task | None) -> str:
    return "task_updated" if old else "task_created"
