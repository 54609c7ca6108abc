"""Records for tests of the planner: what a test does not name is as usual."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tinytown.clock import stamp
from tinytown.domain.mission import Mission, MissionState, Policy
from tinytown.domain.pull_request import Answer, Check, Comment, PullRequest
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.domain.watch import Watch, WatchKind
from tinytown.domain.work import Job, WorkItem, WorkStatus
from tinytown.missions import watching
from tinytown.missions.decide import decide
from tinytown.missions.decisions import Decision, Plan
from tinytown.missions.snapshot import MissionView, Snapshot, Worker

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
URL = "https://github.com/o/r/pull/7"
OTHER_URL = "https://github.com/o/r/pull/8"
GREEN = (Check("1", "build", "success"),)
RED = (Check("1", "build", "failure", url="https://ci/1", step="pytest", log="boom"),)
USUAL = Policy()
RUNNING = (Check("2", "build", "pending"),)

_numbers = itertools.count(1)


def after(seconds: float) -> datetime:
    """So long after NOW."""
    return NOW + timedelta(seconds=seconds)


def at(seconds: float = 0) -> str:
    """The same, as records hold it."""
    return stamp(after(seconds))


def a_run(**policy: Any) -> Mission:
    """A running mission with this policy."""
    state = policy.pop("state", MissionState.RUNNING)
    return Mission(
        id=f"run{next(_numbers):05}", objectives=["o/r#1"], created_at=at(), updated_at=at(), state=state,
        repositories=policy.pop("repositories", ["o/r"]), asked=policy.pop("asked", {}), policy=Policy(**policy),
    )  # fmt: skip


def an_item(number: int = 1, **fields: Any) -> WorkItem:
    """A pending item."""
    usual: dict[str, Any] = {
        "id": f"item{number:05}", "mission_id": "run", "number": number, "title": f"Title {number}",
        "source_ref": f"o/r#{number}", "created_at": at(), "updated_at": at(),
    }  # fmt: skip
    return WorkItem(**usual | fields)


def handed_in(number: int = 1, *urls: str, **fields: Any) -> WorkItem:
    """An item that agent `ann` has handed in, with these pull requests."""
    usual: dict[str, Any] = {
        "status": WorkStatus.BLOCKED, "author": "id-ann", "authors": ["ann"], "submitted_at": at(),
        "artifact_refs": list(urls), "result": "done", "tries": 1,
    }  # fmt: skip
    return an_item(number, **usual | fields)


def with_task(item: WorkItem, job: Job, agent: str = "ann", status: WorkStatus = WorkStatus.ASSIGNED) -> WorkItem:
    """The item with an open task at this agent."""
    return replace(item, status=status, job=job, task_id=f"task-{item.number}", assigned_to=f"id-{agent}")


def a_task(item: WorkItem, state: TaskState = TaskState.ASSIGNED, result: str | None = None) -> Task:
    """The task that the item names."""
    assert item.task_id is not None
    return Task(
        id=item.task_id, description="", created_at=at(), updated_at=at(), state=state, result=result,
        assigned_to=item.assigned_to,
    )  # fmt: skip


def worker(name: str = "ann", role: str | None = None, **fields: Any) -> Worker:
    """A free agent; its id is `id-<name>`."""
    return Worker(f"id-{name}", name, role, **fields)


def a_pull(url: str = URL, **fields: Any) -> PullRequest:
    """An open, green, mergeable pull request."""
    usual: dict[str, Any] = {"head": "sha1", "is_open": True, "author": "bot", "mergeable": True, "checks": GREEN}
    return PullRequest(url, **usual | fields)


def a_comment(identifier: str, body: str = "please", author: str = "eve", **fields: Any) -> Comment:
    """A comment, or with a `state` a review."""
    return Comment(identifier, author, body, f"https://github.com/o/r/{identifier}", at(), **fields)


def watched(
    item: WorkItem, answer: Answer | None = None, url: str = URL, policy: Policy = USUAL, seconds: float = 300
) -> list[Watch]:
    """The watches of the item's pull request after this answer (None: green in everything)."""
    watches = [replace(w, head="sha1") for w in watching.open_watches(item, url, policy, NOW)]
    return watching.learn(answer or a_pull(url), watches, item, policy, after(seconds), lambda: 0.0)


def of_kind(watches: Iterable[Watch], kind: WatchKind) -> Watch:
    """The one of this kind."""
    return next(watch for watch in watches if watch.kind is kind)


def a_view(run: Mission, *items: WorkItem, watches: Iterable[Watch] = ()) -> MissionView:
    """The mission with these items and watches."""
    return MissionView(run, {i.id: replace(i, mission_id=run.id) for i in items}, {w.id: w for w in watches})


def plan_of(
    *views: MissionView, tasks: Iterable[Task] = (), agents: Iterable[Worker] = (), seconds: float = 400, **more: Any
) -> Plan:
    """What is decided."""
    return decide(Snapshot(views, {task.id: task for task in tasks}, tuple(agents), **more), after(seconds))


def settle(view: MissionView, **more: Any) -> list[Decision]:
    """Decide and store until nothing is left, as the scheduler does; what was decided. Tasks that were given exist."""
    made: list[Decision] = []
    tasks = {task.id: task for task in more.pop("tasks", ())}
    for _ in range(20):
        plan = plan_of(view, tasks=tasks.values(), **more)
        if not plan.decisions:
            return made
        for decision in plan.decisions:
            made.append(decision)
            apply(view, decision)
            if decision.task is not None and decision.item is not None:
                tasks[decision.task.id] = a_task(decision.item)
    raise AssertionError(f"no end of decisions: {made[-2:]}")


def apply(view: MissionView, decision: Decision) -> None:
    """Store it."""
    if decision.item is not None:
        view.items[decision.item.id] = decision.item
    view.watches.update({watch.id: watch for watch in decision.watches})
    if decision.mission is not None:
        view.run = decision.mission
