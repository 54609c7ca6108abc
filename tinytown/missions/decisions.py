"""What a tick may decide. Each decision is one step: all of it happens, or nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tinytown.domain.mission import Mission
from tinytown.domain.pull_request import Look
from tinytown.domain.watch import Watch
from tinytown.domain.work import Job, WorkItem


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be given to an agent: record, message, bell. `is_next`: before what lies in its inbox."""

    id: str
    agent_id: str
    job: Job
    description: str
    is_next: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """Ask GitHub to merge the pull request at `url` as long as its head is still `head`."""

    url: str
    head: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One step of one mission. `event` is the type of the town's event, `text` the line for people.

    New records take the place of those in the snapshot (by id; a watch may be new), which must not have changed since.
    `cancel` is the id of a task that is taken back (if it has not ended). `asks` go to the conductor's mailbox. `merge`
    is done after the step was stored; it may come again.
    """

    mission_id: str
    event: str
    text: str
    mission: Mission | None = None
    item: WorkItem | None = None
    watches: Sequence[Watch] = ()
    task: NewTask | None = None
    cancel: str | None = None
    asks: Sequence[str] = ()
    merge: Merge | None = None


@dataclass(slots=True)
class Plan:
    """What to do now. `looks` are due; `wake_at` is when something is due next although nothing happens."""

    decisions: list[Decision] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    wake_at: datetime | None = None
