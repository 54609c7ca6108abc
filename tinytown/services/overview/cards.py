"""Tasks and missions as cards: what must happen next, and why it does not yet."""

from __future__ import annotations

from typing import Any

from tinytown import clock, ids
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.domain.work import Job
from tinytown.services.missions import status as missions
from tinytown.services.missions.status import Report
from tinytown.services.obstacles import counted, shown
from tinytown.services.overview.scene import Scene
from tinytown.services.status import AgentStatus

TITLE = 120  # characters
RECENT_S = 24 * 3600.0  # a failed task is asked about for so long
NEEDS_YOU, RUNNING, WAITING, CHECKING, DONE = "needs_you", "running", "waiting", "checking", "done"
_CHECKS = {Job.VERIFY.value, Job.REVIEW.value}
Standing = tuple[str, str | None, str | None]  # column, reason, remedy


def card(scene: Scene, task: Task) -> dict[str, Any]:
    """One task."""
    column, reason, remedy = standing(scene, task)
    owner = scene.agents.get(task.assigned_to or "")
    return {
        "id": task.id,
        "title": title(task),
        "state": task.state.value,
        "column": column,
        "agent": owner.agent.name if owner is not None else None,
        "reason": reason,
        "remedy": remedy,
        "attempts": task.attempts,
        "tags": task.labels,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "started_at": task.started_at,
        "completed_at": task.completed_at,
        "mission_id": task.mission_id,
        "item_id": task.work_item,
    }


def mission(report: Report) -> dict[str, Any]:
    """One mission with its items."""
    run = report.run
    at_work = missions.busy(report.file)
    items = []
    for item in report.file.items.values():
        reason, remedy = missions.why(report.file, item, at_work)
        items.append(
            {
                "id": item.id,
                "number": item.number,
                "source_ref": item.source_ref,
                "title": shown(item.title, TITLE),
                "status": item.status.value,
                "job": item.job.value if item.job else None,
                "agent": report.names.get(item.assigned_to or ""),
                "task_id": item.task_id,
                "reason": reason,
                "remedy": remedy,
                "needs_person": item.needs_person,
                "depends_on": item.depends_on,
                "pull_requests": item.artifact_refs,
            }
        )
    return {
        "id": run.id,
        "state": run.state.value,
        "stopped": run.stopped_at is not None,
        "reason": run.blocked_reason,
        "remedy": run.remedy,
        "auto_merge": run.policy.auto_merge,
        "created_at": run.created_at,
        "ended_at": run.ended_at,
        "counts": {status.value: count for status, count in report.counts.items()},
        "items": items,
    }


def title(task: Task) -> str:
    """Its first line that says something."""
    return shown(next((line for line in task.description.splitlines() if line.strip()), ""), TITLE)


def standing(scene: Scene, task: Task) -> Standing:
    """Which column it is in, why, and what would help."""
    if task.state is TaskState.RUNNING:
        return (CHECKING if task.job in _CHECKS else RUNNING), None, None
    if not task.state.is_terminal:
        return _assigned(scene, task) if task.state is TaskState.ASSIGNED else _pending(scene, task)
    said = shown(task.result, TITLE)
    if task.state is TaskState.COMPLETED:
        return DONE, said or None, None
    is_recent = task.state is TaskState.FAILED and clock.seconds_since(task.completed_at or "") < RECENT_S
    column = NEEDS_YOU if is_recent and not task.is_of_mission else DONE
    return column, f"{task.state}: {said}", None if task.is_of_mission else f"tt task retry {ids.short(task.id)}"


def _assigned(scene: Scene, task: Task) -> Standing:
    owner = scene.agents.get(task.assigned_to or "")
    if owner is None:
        return NEEDS_YOU, "its agent is gone", "tt reclaim --orphan-tasks --to-backlog"
    name, record = owner.agent.name, owner.agent
    if owner.row.wish is None:
        return NEEDS_YOU, f"agent '{name}' has ended ({record.state.label})", f"tt restart {name}"
    return WAITING, *_not_yet(scene, owner)


def _not_yet(scene: Scene, owner: AgentStatus) -> tuple[str, str | None]:
    """Why an agent that is wanted has not begun on it."""
    name, record, wish = owner.agent.name, owner.agent, owner.row.wish
    if owner.waits_for_supervisor and scene.status.supervisor is None:
        return "no supervisor is running", "tt supervise --detach"
    if wish is not None and (wish.pause or record.state is AgentState.PAUSED):
        return f"agent '{name}' is paused", f"tt resume {name}"
    if record.cli in scene.holds:
        return f"CLI '{record.cli}' is held", f"tt why {name}"
    if record.state is AgentState.WORKING:
        return f"agent '{name}' works on something else", None
    return f"agent '{name}' is about to start on it", None


def _pending(scene: Scene, task: Task) -> Standing:
    others = [scene.tasks[i] for i in task.depends_on or () if i in scene.tasks]
    unmet = [other for other in others if other.state is not TaskState.COMPLETED]
    stuck = next((other for other in unmet if other.state.is_terminal), None)
    if stuck is not None:
        return NEEDS_YOU, f"needs '{title(stuck)}', which is {stuck.state}", f"tt task retry {ids.short(stuck.id)}"
    if unmet:
        more = f" and {counted(len(unmet) - 1, 'more task')}" if len(unmet) > 1 else ""
        return WAITING, f"needs '{title(unmet[0])}'{more} first", f"tt why {ids.short(task.id)}"
    if scene.auto_claim and scene.roles.intersection(task.labels):
        return WAITING, "in the backlog, for the next agent of its role", None
    return WAITING, "in the backlog: no agent takes it by itself", f"tt backlog claim {ids.short(task.id)} AGENT"
