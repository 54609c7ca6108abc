"""`tt status --tasks`: tasks by state and by agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinytown.cli import render
from tinytown.cli.icons import TASK_ICONS, task_mark

if TYPE_CHECKING:
    from tinytown.domain.task import Task
    from tinytown.services.status import TownStatus

TASKS_PER_AGENT = 20


def show_tasks(seen: TownStatus, tasks: list[Task]) -> None:
    """Both tables."""
    render.out(f"\n{render.icon('📊')}Task Breakdown by State:")
    rows = [(f"{render.icon(TASK_ICONS[s.value])}{s.label}:", str(count)) for s, count in seen.counts.items()]
    rows.append((f"{render.icon('📋')}Backlog:", str(seen.backlog)))
    for line in render.columns(rows, indent="   "):
        render.out(line)
    render.out(f"\n{render.icon('📋')}Tasks by Agent:")
    if not tasks:
        render.out("   No tasks. Run 'tt assign <agent> <task>' to create one.")
        return
    names = {agent.agent.id: agent.agent.name for agent in seen.agents}
    groups: dict[str | None, list[Task]] = {agent_id: [] for agent_id in names}
    for task in tasks:
        groups.setdefault(task.assigned_to, []).append(task)
    for agent_id, theirs in groups.items():
        if theirs and agent_id is not None:
            _group(names.get(agent_id, agent_id[:8]), theirs)
    if groups.get(None):
        render.out(f"   (unassigned) ({len(groups[None])} tasks):")
        _lines(groups[None])


def _group(name: str, tasks: list[Task]) -> None:
    done = sum(task.state.is_terminal for task in tasks)
    render.out(f"   {render.clean(name)} ({len(tasks) - done} active, {done} done):")
    _lines(sorted(tasks, key=lambda task: task.state.is_terminal))


def _lines(tasks: list[Task]) -> None:
    for task in tasks[:TASKS_PER_AGENT]:
        why = f" - {render.clean(task.result or '', 80)}" if task.state.value in {"failed", "cancelled"} else ""
        render.out(f"      {task_mark(task.state.value)}{task.id[:8]} {render.clean(task.description, 60)}{why}")
    if len(tasks) > TASKS_PER_AGENT:
        render.out(f"      ... and {len(tasks) - TASKS_PER_AGENT} more; all of them: tt task list")
