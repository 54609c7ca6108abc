"""`tt backlog ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render
from tinytown.cli.tasks import names, split_tags

if TYPE_CHECKING:
    from tinytown.domain.task import Task


@base.group(
    examples="tt backlog add 'Harden error handling' --tags backend,security\ntt backlog list\n"
    "tt backlog claim 550e8400 backend"
)
def backlog() -> None:
    """Work that waits for an agent."""


@backlog.command("add", cls=base.Command, examples="tt backlog add 'Document token refresh' --tags docs,api")
@click.argument("task")
@click.option("--tags", metavar="A,B", help="Agents with one of these as role take it when they are idle.")
def add(task: str, tags: str | None) -> None:
    """Park a task without an agent."""
    from tinytown.services import backlog as service  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    parked = service.add(base.open_town(), task, split_tags(tags), from_environment())
    render.out(f"{render.icon('📋')}Added task {parked.id} to the backlog{_tags(parked)}")


@backlog.command("list", cls=base.Command, examples="tt backlog list\ntt backlog list --json")
@base.json_option()
def list_backlog(*, as_json: bool) -> None:
    """List the tasks that wait for an agent, in order."""
    from tinytown.services import backlog as service  # noqa: PLC0415  not for --help

    town = base.open_to_read()
    found = service.listing(town)
    if as_json:
        from tinytown.services import shapes  # noqa: PLC0415  only with --json

        render.print_json([shapes.task(t, {}) for t in found])
    elif not found:
        render.out("The backlog is empty. Run 'tt backlog add <task>' to park work there.")
    else:
        render.out(f"{render.icon('📋')}Backlog ({len(found)}):")
        for task in found:
            render.out(f"   {task.id} - {render.clean(task.description, 80)}{_tags(task)}")


@backlog.command("claim", cls=base.Command, examples="tt backlog claim 550e8400 backend")
@click.argument("task_id")
@click.argument("agent")
def claim(task_id: str, agent: str) -> None:
    """Give a backlog task to an agent."""
    from tinytown.services import backlog as service  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    town = base.open_town()
    given = service.claim(town, task_id, agent, from_environment())
    name = names(town).get(given.assigned_to or "", agent)
    render.out(f"{render.icon('📌')}Claimed task {given.id} for agent '{name}'")


@backlog.command("assign-all", cls=base.Command, examples="tt backlog assign-all backend")
@click.argument("agent")
def assign_all(agent: str) -> None:
    """Give every backlog task to one agent."""
    from tinytown.services import backlog as service  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    town = base.open_town()
    given = service.assign_all(town, agent, from_environment())
    name = names(town).get(given[0].assigned_to or "", agent) if given else agent
    render.out(f"{render.icon('📌')}Assigned {len(given)} backlog task(s) to agent '{render.clean(name)}'")


@backlog.command("remove", cls=base.Command, examples="tt backlog remove 550e8400")
@click.argument("task_id")
def remove(task_id: str) -> None:
    """Delete a backlog task."""
    from tinytown.services import backlog as service  # noqa: PLC0415  not for --help

    gone = service.remove(base.open_town(), task_id)
    render.out(f"{render.icon('🗑️ ')}Removed task {gone.id} from the backlog")
    render.out(f"   Description: {render.clean(gone.description, 200)}")


def _tags(task: Task) -> str:
    return f" [{render.clean(', '.join(task.tags))}]" if task.tags else ""
