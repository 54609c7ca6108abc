"""What the scheduler knows at one moment: records as they are stored, and agents as they matter to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tinytown.domain.mission import Mission
from tinytown.domain.task import Task
from tinytown.domain.watch import Watch
from tinytown.domain.work import WorkItem


@dataclass(slots=True)
class MissionView:
    """One mission with its items (in the order of their numbers) and watches, by id; notes oldest first."""

    run: Mission
    items: dict[str, WorkItem] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Worker:
    """An agent. `role`: as it was spawned with, None without one. `load`: its open tasks, queued ones included.

    `is_ended`: no process stands behind it, nor is one wished for. `takes_work`: it would begin a task some time (not
    paused, not on its way out). `is_free`: it would begin at once. `is_leaving`: it takes no work because it ends soon.
    """

    id: str
    name: str
    role: str | None = None
    is_ended: bool = False
    takes_work: bool = True
    is_free: bool = True
    load: int = 0
    is_leaving: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Active missions, the tasks that their items name (one that is missing is gone), all agents.

    `shares_folder`: agents work in one folder, so that what one of them made can be verified by another.
    """

    missions: Sequence[MissionView]
    tasks: Mapping[str, Task] = field(default_factory=dict)
    agents: Sequence[Worker] = ()
    shares_folder: bool = True
