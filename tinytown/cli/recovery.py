"""`tt recover`, `tt reclaim`, `tt prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.services.orphans import OrphanTask
    from tinytown.services.reclaiming import Item, Reclaimed
    from tinytown.town import Town

_WIDTH = 80


class Goal(NamedTuple):
    """Where mail goes: in a list, and in a sentence."""

    name: str
    shown: str


@base.command(examples="tt recover\ntt recover && tt reclaim --to-backlog && tt prune")
def recover() -> None:
    """Find agents whose process is gone, and finish them."""
    from tinytown.services import orphans  # noqa: PLC0415  not for --help

    town = base.open_town()
    render.out(f"{render.icon('🔍')}Scanning for orphaned agents...")
    found = orphans.recover(town)
    for orphan in found.recovered:
        agent, silent = orphan.agent, render.duration(orphan.silent_s)
        line = f"Recovered '{agent.name}' ({agent.state.label}) - last heartbeat {silent} ago"
        render.out(f"   {render.icon('🔄')}{line}")
    render.out()
    if not found.recovered:
        render.out(f"{render.icon('✨')}No orphaned agents found ({found.checked} agents checked)")
        return
    count = f"{len(found.recovered)} orphaned agent(s) ({found.checked} total checked)"
    render.out(f"{render.icon('✨')}Recovered {count}")
    render.out("   Run 'tt prune' to remove them from Redis")


@base.command(
    examples="tt reclaim  # a preview\ntt reclaim --to-backlog\ntt reclaim --to worker-2\n"
    "tt reclaim --from worker-1 --to-backlog\ntt reclaim --orphan-tasks --cancel"
)
@click.option("--to-backlog", is_flag=True, help="Move their tasks to the backlog; other mail stays.")
@click.option("--to", metavar="AGENT", help="Move their tasks and all their mail to this agent.")
@click.option("--from", "from_agent", metavar="AGENT", help="Only of this agent, which must have ended.")
@click.option("--orphan-tasks", "orphans", is_flag=True, help="Tasks whose agent has ended or is gone, mail or not.")
@click.option("--cancel", is_flag=True, help="With --orphan-tasks: cancel them.")
@base.json_option()
def reclaim(
    *, to_backlog: bool, to: str | None, from_agent: str | None, orphans: bool, cancel: bool, as_json: bool
) -> None:  # fmt: skip
    """Move the work of agents that have ended."""
    if sum((to_backlog, to is not None, cancel)) > 1:
        raise click.UsageError("Give one of --to-backlog, --to and --cancel.")
    if orphans:
        if to is not None or from_agent is not None:
            raise click.UsageError("--orphan-tasks goes with --to-backlog or --cancel.")
        _reclaim_orphans(to_backlog=to_backlog, cancel=cancel, as_json=as_json)
        return
    if cancel:
        raise click.UsageError("--cancel goes with --orphan-tasks.")
    from tinytown.services import reclaiming  # noqa: PLC0415  not for --help

    goal = None
    if to is not None:
        town = base.open_town()
        found = reclaiming.to_agent(town, to, from_agent)
        name = _name(town, to)
        goal = Goal(name, f"'{name}'")
    elif to_backlog:
        found, goal = reclaiming.to_backlog(base.open_town(), from_agent), Goal("backlog", "backlog")
    else:
        found = reclaiming.preview(base.open_to_read(), from_agent)
    if as_json:
        render.print_json([_shape(one) for one in found])
    else:
        _show(found, goal)


def _reclaim_orphans(*, to_backlog: bool, cancel: bool, as_json: bool) -> None:
    from tinytown.services import orphans  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    if to_backlog:
        found, did = orphans.requeue_tasks(base.open_town()), "Requeued"
    elif cancel:
        found, did = orphans.cancel_tasks(base.open_town(), from_environment()), "Cancelled"
    else:
        found, did = orphans.orphan_tasks(base.open_to_read()), ""
    if as_json:
        render.print_json([_orphan_shape(orphan) for orphan in found])
    elif not found:
        render.out(f"{render.icon('✨')}No orphan tasks found")
    else:
        render.out(f"{render.icon('🔎')}Found {len(found)} orphan task(s):")
        for orphan in found:
            task = orphan.task
            owner = orphan.agent or task.assigned_to
            render.out(f"   task {task.id} (state={task.state.label}) → {owner} [{orphan.reason}]")
        render.out()
        hint = "   Use --to-backlog or --cancel to settle them"
        render.out(f"{render.icon('✅')}{did} {len(found)} orphan task(s)" if did else hint)


@base.command(examples="tt prune\ntt prune --force\ntt prune --all")
@click.option("--all", "everyone", is_flag=True, help="Stop all agents, wait for their rounds, and remove them too.")
@click.option("--force", is_flag=True, help="Also those with unread mail, which is destroyed; tasks are requeued.")
def prune(*, everyone: bool, force: bool) -> None:
    """Remove agents that have ended."""
    from tinytown.errors import Conflict  # noqa: PLC0415  not for --help
    from tinytown.services import pruning  # noqa: PLC0415  as above

    done = pruning.prune(base.open_town(), everyone=everyone, force=force, say=render.talk)
    for gone in done.removed:
        render.out(f"{render.icon('🗑️ ')}Removed {gone.agent.name} ({gone.agent.id}) - {gone.agent.state.label}")
        if gone.messages or gone.requeued:
            lost = f"{gone.messages} message(s) destroyed, {len(gone.requeued)} task(s) back in the backlog"
            render.out(f"   {lost}")
    if done.removed:
        render.out(f"{render.icon('✨')}Pruned {len(done.removed)} agent(s)")
    elif not done.kept:
        render.out("No agents to prune.")
    for kept in done.kept:
        render.talk(f"Kept {kept.agent.name} ({kept.agent.id}) - {kept.why}. Next: {kept.remedy}")
    if done.kept:
        is_mail = any(not kept.is_active for kept in done.kept)
        remedy = "To destroy what they hold: tt prune --force" if is_mail else None
        raise Conflict(f"{len(done.kept)} agent(s) kept.", remedy)


def _show(found: list[Reclaimed], goal: Goal | None) -> None:
    render.out(f"{render.icon('🔄')}Reclaiming orphaned tasks...")
    held = [one for one in found if one.moved or one.stays]
    for one in held:
        count = len(one.moved) + len(one.stays)
        render.out(f"   {one.agent.name} ({one.agent.state.label}): {count} message(s)")
        for item in one.moved:
            render.out(f"      → {goal.name if goal else ''}: {_words(item)}")
        for item in one.stays:
            head = "stays: " if goal is not None else ""
            render.out(f"      {head}{'task' if item.is_task else item.kind}: {_words(item)}")
    render.out()
    if not found:
        render.out(f"{render.icon('✨')}No dead agents found with tasks to reclaim")
    elif not held:
        render.out(f"{render.icon('📋')}No tasks found in dead agent inboxes")
    else:
        _sum_up(held, goal)


def _sum_up(held: list[Reclaimed], goal: Goal | None) -> None:
    moved = [item for one in held for item in one.moved]
    stays = [item for one in held for item in one.stays]
    listed = stays if goal is None else moved
    tasks = sum(item.is_task for item in listed)
    others = f" and {len(listed) - tasks} other message(s)" if len(listed) > tasks else ""
    if goal is None:
        render.out(f"{render.icon('📋')}Found {tasks} orphaned task(s){others}")
        render.out("   Use --to-backlog or --to <agent> to reclaim them")
        return
    render.out(f"{render.icon('✅')}Moved {tasks} task(s){others} to {goal.shown}")
    if stays:
        render.out(f"   {len(stays)} other message(s) stay: only tasks go to the backlog. Move them with --to <agent>")


def _words(item: Item) -> str:
    return item.task_id or render.clean(item.text, _WIDTH)


def _name(town: Town, reference: str) -> str:
    from tinytown.services import agents  # noqa: PLC0415  not for --help

    return agents.resolve(town, reference).agent.name


def _shape(one: Reclaimed) -> dict[str, object]:
    """One agent of `--json`."""
    return {
        "agent": one.agent.name,
        "agent_id": one.agent.id,
        "state": one.agent.state.value,
        "moved": [{"type": i.kind, "task_id": i.task_id, "text": i.text} for i in one.moved],
        "stays": [{"type": i.kind, "task_id": i.task_id, "text": i.text} for i in one.stays],
    }


def _orphan_shape(orphan: OrphanTask) -> dict[str, object]:
    """One orphan task of `--json`: the task as it was."""
    from tinytown.services import shapes  # noqa: PLC0415  only with --json

    reason = "agent_missing" if orphan.agent is None else "agent_terminal"
    return shapes.task(orphan.task, {orphan.task.assigned_to or "": orphan.agent or ""}) | {"reason": reason}
