"""`tt reset`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.services.reset import Plan


@base.command(examples="tt reset\ntt reset --force\ntt reset --agents-only --force")
@click.option("--force", is_flag=True, help="Do it; without, only show what would be deleted.")
@click.option("--agents-only", is_flag=True, help="Delete agents and their mail; keep tasks and backlog.")
def reset(*, force: bool, agents_only: bool) -> None:
    """Delete all agents, tasks and messages of the town."""
    from tinytown.services import reset as service  # noqa: PLC0415  not for --help

    town = base.open_town() if force else base.open_to_read()
    if force:
        town.ensure_redis()
    what = "agents in town" if agents_only else "town"
    render.out(f"{render.icon('🗑️ ')}Resetting {what} '{town.name}'")
    _show(service.plan(town), agents_only=agents_only)
    if not force:
        render.out(f"{render.icon('⚠️ ')}This action cannot be undone!")
        option = "--agents-only " if agents_only else ""
        render.out(f"   Run with --force to confirm: tt reset {option}--force")
        return
    render.flush()
    done = service.reset_agents(town, render.talk) if agents_only else service.reset(town, render.talk)
    scope = " (agents only)" if agents_only else ""
    render.out(f"{render.icon('✅')}Reset complete: deleted {done.keys} Redis keys{scope}")
    if done.requeued:
        render.out(f"   {done.requeued} task(s) are back in the backlog: tt backlog list")
    render.out("   Run 'tt spawn <name>' to create new agents")


def _show(plan: Plan, *, agents_only: bool) -> None:
    render.out("   This will delete:")
    if agents_only:
        render.out(f"   - {plan.agents} agent(s) and their inboxes")
        render.out("   Tasks and backlog will be preserved.")
        if plan.at_work:
            render.out(f"   {plan.at_work} task(s) that agents have in hand go to the backlog.")
    else:
        render.out(f"   - {plan.agents} agent(s)")
        render.out(f"   - {plan.tasks} task(s)")
        render.out(f"   - {plan.backlog} backlog item(s)")
        if plan.missions:
            render.out(f"   - {plan.missions} mission(s)")
    render.out()
