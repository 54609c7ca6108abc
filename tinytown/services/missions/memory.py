"""What the scheduler keeps in memory: the active missions, the tasks of their items, the agents.

It is read once; after that only what the town's events name is read again. Steps of its own come back as events and are
known by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tinytown.domain.mission import Mission
from tinytown.domain.task import Task
from tinytown.domain.watch import Watch
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.ids import SUPERVISOR_ID
from tinytown.missions.snapshot import MissionView, Snapshot
from tinytown.services import worktrees
from tinytown.services.missions import workers
from tinytown.store.missions import MissionFile
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town

OWN_KEPT = 20_000  # events of our own that have not come back
_LIFE = "agent_"  # events of an agent's life, and not of its mail


@dataclass(slots=True)
class Known:
    """A mission, the texts that it is stored as (items and watches by id), and the tasks that its items name."""

    raw: str
    view: MissionView
    raws: dict[str, str]
    task_ids: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, file: MissionFile) -> Known:
        """As it was read."""
        tasks = {item.task_id for item in file.items.values() if item.task_id is not None}
        return cls(file.raw, MissionView(file.run, file.items, file.watches, file.notes), file.raws, tasks)

    def put_run(self, raw: str, run: Mission) -> None:
        """Its record was replaced."""
        self.raw, self.view.run = raw, run

    def put_item(self, raw: str, item: WorkItem) -> None:
        """An item was replaced."""
        self.task_ids.discard(self.view.items[item.id].task_id or "")
        self.task_ids |= {item.task_id} if item.task_id is not None else set()
        self.raws[item.id], self.view.items[item.id] = raw, item

    def put_watch(self, raw: str, watch: Watch) -> None:
        """A watch was made or replaced."""
        self.raws[watch.id], self.view.watches[watch.id] = raw, watch


class Memory:
    """See the module. `hear` what happened, then `refresh`, then look."""

    def __init__(self, town: Town) -> None:
        self.missions: dict[str, Known] = {}
        self.tasks: dict[str, tuple[str | None, Task | None]] = {}
        self.agents: dict[str, workers.Known] = {}
        self._town = town
        self._own: dict[tuple[object, ...], None] = {}
        self._stale_missions: set[str] = set()
        self._stale_tasks: set[str] = set()
        self._stale_agents: set[str] = set()
        self._is_new = self._are_agents_new = True
        self._waits_for_agent = False

    def forget(self) -> None:
        """Anything may have changed: all of it is read again."""
        self._is_new = self._are_agents_new = True
        self.tasks.clear()
        self._own.clear()

    def doubt(self) -> None:
        """Something may have been missed: what is small is read again, missions only when a step is refused."""
        self._are_agents_new = True
        self._stale_tasks |= self._task_ids()

    def doubt_mission(self, mission_id: str) -> None:
        """A step of it was refused: somebody else was quicker."""
        self._stale_missions.add(mission_id)
        self.doubt()

    def hear(self, events: Iterable[Mapping[str, Any]]) -> bool:
        """Take note of what happened; True when something may have to be done about it."""
        task_ids, assigned = self._task_ids(), self._assigned()
        matters = False
        for event in events:
            mission_id, task_id, agent_id = (event.get(f"{noun}_id") for noun in ("mission", "task", "agent"))
            kind = str(event.get("event_type"))
            if self._is_own(event):
                continue
            if agent_id is not None and agent_id != SUPERVISOR_ID:
                self._hear_of_agent(str(agent_id), kind)
            if mission_id is not None:
                self._stale_missions.add(str(mission_id))
                matters = True
            elif task_id is None and agent_id is None and event.get("message_id") is None:
                self.forget()  # the town as a whole: reset, restored
                matters = True
            if task_id in task_ids:
                self._stale_tasks.add(str(task_id))
                matters = True
            is_life = kind.startswith(_LIFE) and agent_id in assigned
            is_news = self._waits_for_agent and agent_id not in {None, SUPERVISOR_ID}
            matters = matters or is_life or is_news
        return matters

    def _is_own(self, event: Mapping[str, Any]) -> bool:
        key = _key(event)
        is_own = key in self._own
        self._own.pop(key, None)
        return is_own

    def _hear_of_agent(self, agent_id: str, kind: str) -> None:
        if agent_id in self.agents and kind != "cli_held":
            self._stale_agents.add(agent_id)
        else:
            self._are_agents_new = True

    def refresh(self) -> None:
        """Read again what is not known to be as it was."""
        self._refresh_missions()
        wanted = self._task_ids()
        self.tasks = {i: known for i, known in self.tasks.items() if i in wanted}
        missing = sorted((wanted - self.tasks.keys()) | (self._stale_tasks & wanted))
        for task_id, raw in zip(missing, self._town.store.tasks.raws(missing) if missing else (), strict=True):
            self.tasks[task_id] = (raw, read_task(raw, task_id))
        self._stale_tasks.clear()
        self._refresh_agents()

    def _refresh_missions(self) -> None:
        if self._is_new:
            self.missions, self._is_new = {}, False
            self._stale_missions.clear()
            self._read_missions(self._town.store.missions.active_ids())
        elif self._stale_missions:
            stale, self._stale_missions = self._stale_missions, set()
            active = self._town.store.missions.active_ids()
            for mission_id in stale | (self.missions.keys() - set(active)):
                self.missions.pop(mission_id, None)
            self._read_missions(i for i in active if i not in self.missions)

    def _read_missions(self, mission_ids: Iterable[str]) -> None:
        for file in self._town.store.missions.files(mission_ids):
            if file.run.is_active:
                self.missions[file.run.id] = Known.of(file)

    def _refresh_agents(self) -> None:
        if self._are_agents_new:
            self.agents = workers.read(self._town)
        elif self._stale_agents:
            fresh = workers.read(self._town, sorted(self._stale_agents))
            if fresh.keys() != self._stale_agents:  # some are gone, and another may have taken over the name
                fresh = self.agents = workers.read(self._town)
            self.agents |= fresh
        self._are_agents_new = False
        self._stale_agents.clear()

    def snapshot(self) -> Snapshot:
        """All of it, for `decide`."""
        views = [known.view for _id, known in sorted(self.missions.items())]
        tasks = {i: task for i, (_raw, task) in self.tasks.items() if task is not None}
        agents = [known.worker for known in self.agents.values()]
        return Snapshot(views, tasks, agents, shares_folder=not worktrees.is_isolated(self._town))

    @property
    def is_empty(self) -> bool:
        """No mission is active, as far as is known."""
        return not self.missions

    @property
    def hold_ends_s(self) -> float | None:
        """Seconds until the first model CLI that is held takes work again, when an item waits for an agent."""
        held = [known.held_s for known in self.agents.values() if known.held_s > 0]
        return min(held) if held and self._waits_for_agent else None

    # After steps of our own

    def applied(self, tx: Transaction) -> None:
        """These events will come back to us; they are known."""
        for event in tx.told:
            key = (event.timestamp, event.type, event.mission_id, event.task_id, event.message_id)
            self._own[key] = None
        while len(self._own) > OWN_KEPT:
            del self._own[next(iter(self._own))]

    def put_task(self, task: Task) -> None:
        """A task was given."""
        self.tasks[task.id] = (task.to_json(), task)
        known = self.agents[task.assigned_to or ""]
        worker = replace(known.worker, is_free=False, load=known.worker.load + 1)
        self.agents[worker.id] = replace(known, worker=worker)

    def doubt_task(self, task_id: str) -> None:
        """It was cancelled."""
        self._stale_tasks.add(task_id)
        task = self.tasks.get(task_id, (None, None))[1]
        self._stale_agents |= {task.assigned_to} if task is not None and task.assigned_to in self.agents else set()

    def drop(self, mission_id: str) -> None:
        """It is not active any more."""
        self.missions.pop(mission_id, None)

    def note_waiting(self) -> None:
        """Everything was decided: look whether an item waits for an agent."""
        self._waits_for_agent = any(
            item.status is WorkStatus.READY or (item.status is WorkStatus.BLOCKED and not item.needs_person)
            for known in self.missions.values()
            for item in known.view.items.values()
        )

    def _task_ids(self) -> set[str]:
        return {task_id for known in self.missions.values() for task_id in known.task_ids}

    def _assigned(self) -> set[str]:
        tasks = (task for _raw, task in self.tasks.values() if task is not None)
        return {task.assigned_to for task in tasks if task.assigned_to is not None}


def _key(event: Mapping[str, Any]) -> tuple[object, ...]:
    """What tells an event from all others."""
    return tuple(event.get(name) for name in ("timestamp", "event_type", "mission_id", "task_id", "message_id"))
