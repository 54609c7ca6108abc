"""`tt assign`, `tt task ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render
from tinytown.cli.icons import TASK_ICONS, task_mark

if TYPE_CHECKING:
    from tinytown.domain.task import Task
    from tinytown.town import Town


@base.command(
    examples="tt assign backend 'Implement the login API'\n"
    'tt assign backend "Create POST /users that:\n- validates the email\n- returns 201"\n'
    "tt assign backend --tags api,auth 'Add rate limiting'"
)
@click.argument("agent")
@click.argument("task")
@click.option("--tags", metavar="A,B", help="Tags, separated by commas.")
def assign(agent: str, task: str, tags: str | None) -> None:
    """Give an agent a task."""
    from tinytown.services import tasks  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    town = base.open_town()
    given = tasks.assign(town, agent, task, from_environment(), split_tags(tags))
    name = names(town).get(given.assigned_to or "", agent)
    render.out(f"{render.icon('📋')}Assigned task {given.id} to agent '{name}'")
    if not town.supervisor_lock.is_taken():
        from tinytown.cli.agents import warn_if_waiting  # noqa: PLC0415  rare

        warn_if_waiting(town)


@base.group(
    examples="tt task list --state running\ntt task show 550e8400\ntt task complete 550e8400 --result 'Fixed the bug'"
)
def task() -> None:
    """Complete, show, list, fail, cancel or retry tasks."""


@task.command("complete", cls=base.Command, examples="tt task complete 550e8400 --result 'Fixed the bug'")
@click.argument("task_id")
@click.option("--result", metavar="TEXT", help="What was done.")
def complete(task_id: str, result: str | None) -> None:
    """Mark a task as completed."""
    from tinytown.services import tasks  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    town = base.open_town()
    _ended(town, tasks.complete(town, task_id, result, from_environment()))


@task.command("fail", cls=base.Command, examples="tt task fail 550e8400 --reason 'The API is gone'")
@click.argument("task_id")
@click.option("--reason", "--result", metavar="TEXT", help="Why.")
def fail(task_id: str, reason: str | None) -> None:
    """Mark a task as failed; a run of it ends."""
    from tinytown.services import tasks  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    town = base.open_town()
    _ended(town, tasks.fail(town, task_id, reason, from_environment()))


@task.command("cancel", cls=base.Command, examples="tt task cancel 550e8400 --reason 'No longer needed'")
@click.argument("task_id")
@click.option("--reason", "--result", metavar="TEXT", help="Why.")
def cancel(task_id: str, reason: str | None) -> None:
    """Cancel a task; a run of it ends."""
    from tinytown.services import tasks  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    town = base.open_town()
    _ended(town, tasks.cancel(town, task_id, reason, from_environment()))


@task.command("retry", cls=base.Command, examples="tt task retry 550e8400\ntt task retry 550e8400 --to reviewer")
@click.argument("task_id")
@click.option("--to", metavar="AGENT", help="Give it to this agent.  [default: the one it had, else the backlog]")
def retry(task_id: str, to: str | None) -> None:
    """Run a failed or cancelled task again."""
    from tinytown.services import dependencies, tasks  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    town = base.open_town()
    again = tasks.retry(town, task_id, from_environment(), to)
    if others := dependencies.unmet(town, again):
        render.out(f"{render.icon('🔁')}Task {again.id} waits again, for {render.clean(dependencies.named(others))}")
        return
    where = f"assigned to '{_agent_of(again, names(town))}'" if again.assigned_to else "in the backlog"
    render.out(f"{render.icon('🔁')}Task {again.id} is {where} again")


@task.command("show", cls=base.Command, examples="tt task show 550e8400\ntt task show 550e8400 --json")
@click.argument("task_id")
@base.json_option()
def show(task_id: str, *, as_json: bool) -> None:
    """Show everything about a task."""
    from tinytown.services import dependencies, tasks  # noqa: PLC0415  not for --help

    town = base.open_to_read()
    found = tasks.find(town, task_id)[1]
    others = dependencies.unmet(town, found)
    if as_json:
        from tinytown.services import shapes  # noqa: PLC0415  only with --json

        more = {"attempts_max": town.config.agent.max_attempts, "waits_for": [other.id for other in others]}
        render.print_json(shapes.task(found, names(town)) | more)
    else:
        _print_task(town, found, dependencies.named(others) if others else None)


@task.command(
    "list", cls=base.Command,
    examples="tt task list\ntt task list --state running\ntt task list --agent backend --json",
)  # fmt: skip
@click.option("--state", metavar="STATE", help="pending, assigned, running, completed, failed or cancelled.")
@click.option("--agent", metavar="AGENT", help="Only this agent's.")
@base.json_option()
def list_tasks(*, state: str | None, agent: str | None, as_json: bool) -> None:
    """List tasks, oldest first."""
    from tinytown.services import agents, tasks  # noqa: PLC0415  not for --help

    town = base.open_to_read()
    states = [tasks.parse_state(state)] if state is not None else None
    owner = agents.resolve(town, agent).agent.id if agent is not None else None
    found = [t for t in tasks.listing(town, states) if owner is None or t.assigned_to == owner]
    known = names(town)
    if as_json:
        from tinytown.services import shapes  # noqa: PLC0415  only with --json

        render.print_json([shapes.task(t, known) for t in found])
    elif not found:
        kind = f"{states[0].value} tasks" if states else "tasks"
        whose = f" of agent '{agent}'" if agent else ""
        render.out(f"No {kind}{whose}. Run 'tt assign <agent> <task>' or 'tt backlog add <task>' to create one.")
    else:
        render.out(f"{render.icon('📋')}Tasks ({len(found)}):")
        for one in found:
            render.out(f"   {line_of(one, known)}")


@task.command("current", cls=base.Command, examples="tt task current backend\ntt task current backend --json")
@click.argument("agent", required=False)
@base.json_option()
def current(agent: str | None, *, as_json: bool) -> None:
    """Show what an agent works on (in an agent's round: its own task)."""
    from tinytown.services import tasks  # noqa: PLC0415  not for --help

    reference = agent or own_name()
    if reference is None:
        raise click.UsageError("Missing argument 'AGENT'.")
    town = base.open_to_read()
    found = tasks.current(town, reference)
    if as_json:
        from tinytown.services import shapes  # noqa: PLC0415  only with --json

        shown = shapes.task(found.task, names(town)) if found.task else None
        render.print_json({"agent": found.agent_name, "task": shown})
    elif found.task is None:
        render.out(f"Agent '{found.agent_name}' has no current task. Next: tt assign {found.agent_name} ...")
    else:
        _print_task(town, found.task)


def own_name() -> str | None:
    """The id of the agent in whose round this command runs."""
    from tinytown.services.caller import from_environment  # noqa: PLC0415  not for --help

    caller = from_environment()
    return caller.id if caller.is_model else None


def split_tags(text: str | None) -> list[str]:
    """`a, b` as a list."""
    return [tag.strip() for tag in (text or "").split(",") if tag.strip()]


def names(town: Town) -> dict[str, str]:
    """Agent id -> name."""
    return {agent_id: name for name, agent_id in town.store.agents.names().items()}


def line_of(found: Task, known: dict[str, str]) -> str:
    """A task in a list."""
    owner = f" [{_agent_of(found, known)}]" if found.assigned_to else ""
    return f"{task_mark(found.state.value)}{found.id[:8]} - {render.clean(found.description, 80)}{owner}"


def _agent_of(found: Task, known: dict[str, str]) -> str:
    from tinytown.ids import SUPERVISOR_ID  # noqa: PLC0415  not for --help

    owner = found.assigned_to or ""
    return known.get(owner) or ("conductor" if owner == SUPERVISOR_ID else owner[:8])


def _ended(town: Town, done: Task) -> None:
    from tinytown.services import dependencies  # noqa: PLC0415  not for --help

    icon = render.icon(TASK_ICONS[done.state.value])
    render.out(f"{icon}Task {done.id} marked as {done.state.value}")
    render.out(f"   Description: {render.clean(done.description, 200)}")
    render.out(f"   Result: {render.clean(done.result or '', 500)}")
    if stuck := dependencies.count_of_waiting(town, done):
        render.talk(f"{stuck} task(s) that depend on it will not start. To run it again: tt task retry {done.id[:8]}")


def _print_task(town: Town, found: Task, waits_for: str | None = None) -> None:
    from tinytown.ids import SUPERVISOR_ID  # noqa: PLC0415  not for --help

    known, by = names(town), found.assigned_by
    most = town.config.agent.max_attempts
    rows = [
        ("Description", found.description),
        ("State", found.state.label),
        ("Assigned to", _agent_of(found, known) if found.assigned_to else None),
        ("Assigned by", "conductor" if by == SUPERVISOR_ID else known.get(by or "", by)),
        ("Created", found.created_at),
        ("Updated", found.updated_at),
        ("Started", found.started_at),
        ("Attempts", f"{found.attempts} of {most}" if found.attempts else None),
        ("Ended", found.completed_at),
        ("Ended by", found.ended_by),
        ("Waits for", waits_for),
        ("Then goes to", found.planned_agent if waits_for else None),
        ("Depends on", ", ".join(found.depends_on or []) or None),
        ("Parent", found.parent_id),
        ("Tags", ", ".join(found.tags or []) or None),
        ("Result", found.result),
        *((name, str(value)) for name, value in found.extra.items()),
    ]
    render.out(f"{render.icon('📋')}Task: {found.id}")
    for name, value in rows:
        if value is not None:
            render.out(f"   {render.clean(name)}: {render.indented(render.shown(value))}")
