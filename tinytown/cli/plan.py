"""`tt plan`, `tt sync`."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render
from tinytown.cli.icons import task_mark

if TYPE_CHECKING:
    from tinytown.services.plan.entries import Entry, Plan
    from tinytown.services.plan.pushing import Pushed


@base.command(examples="tt plan --init\ntt plan\ntt plan --json")
@click.option("--init", "-i", is_flag=True, help="Make a new tasks.toml.")
@base.json_option()
def plan(*, init: bool, as_json: bool) -> None:
    """Show the task plan in tasks.toml, or make one."""
    from tinytown.services import plan as service  # noqa: PLC0415  not for --help

    town = base.open_town()
    if init:
        made = service.init(town)
        render.out(f"{render.icon('📝')}Created {_shown(made)}")
        render.talk("Edit it, then run: tt sync push")
        return
    loaded = service.load(town)
    if as_json:
        from tinytown.services import shapes  # noqa: PLC0415  only with --json

        render.print_json(shapes.plan(service.path(town), loaded))
    else:
        _print(loaded, service.path(town))


@base.command(examples="tt sync push\ntt sync push --dry-run\ntt sync push --reset\ntt sync pull")
@click.argument("direction", type=click.Choice(["push", "pull"]), default="push")
@click.option("--reset", is_flag=True, help="Push: start finished tasks anew whose status in the file is open.")
@click.option("--dry-run", is_flag=True, help="Push: only say what would be done.")
def sync(direction: str, *, reset: bool, dry_run: bool) -> None:
    """Push tasks.toml to the town, or pull the town's state into it."""
    gc.disable()  # a process of a second that makes many small things and no circles
    if direction == "push":
        _push(reset=reset, dry_run=dry_run)
    elif reset or dry_run:
        raise click.UsageError("--reset and --dry-run belong to 'push'.")
    else:
        _pull()


def _push(*, reset: bool, dry_run: bool) -> None:
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above
    from tinytown.services.plan import pushing  # noqa: PLC0415  not for --help

    town = base.open_to_read() if dry_run else base.open_town()
    pushed = pushing.push(town, from_environment(), reset=reset, dry_run=dry_run)
    would = "Would push" if dry_run else "Pushed"
    render.out(f"{render.icon('⬆️ ')}{would} {pushed.counts.total()} tasks from tasks.toml to Redis")
    if pushed.counts:
        render.out(f"   {', '.join(f'{pushed.counts[did]} {did}' for did in pushing.Did if pushed.counts[did])}")
    _explain(pushed, reset=reset)
    if not dry_run and not town.supervisor_lock.is_taken():
        from tinytown.cli.agents import warn_if_waiting  # noqa: PLC0415  rare

        warn_if_waiting(town)


def _pull() -> None:
    from tinytown.services import plan as service  # noqa: PLC0415  not for --help

    pulled = service.pull(base.open_to_read())
    render.out(f"{render.icon('⬇️ ')}Pulled {pulled.tasks} tasks from Redis to tasks.toml")
    if pulled.changed or pulled.added:
        render.out(f"   {pulled.changed} changed, {pulled.added} added")
    if not pulled.layout_kept:
        render.talk("Warning: comments and layout could not be kept. Plain [[tasks]] blocks keep them.")


def _explain(pushed: Pushed, *, reset: bool) -> None:
    from tinytown.services.plan import pushing  # noqa: PLC0415  not for --help

    for plan_id in pushed.held[:5]:
        render.talk(f"Task '{render.clean(plan_id)}' is running: it was left as it is.")
    if len(pushed.held) > 5:
        render.talk(f"{len(pushed.held) - 5} more running tasks were left as they are.")
    if reset and pushed.counts[pushing.Did.FINISHED]:
        render.talk("Those that are finished in tasks.toml too stay so: set their status to pending.")


def _print(loaded: Plan, path: Path) -> None:
    if not loaded.entries:
        render.out(f"No tasks in plan ({_shown(path)}). Add [[tasks]] blocks with an id and a description.")
        return
    render.out(f"{render.icon('📋')}Tasks in plan ({_shown(path)}):")
    for entry in loaded.entries:
        render.out(f"  {_line(loaded, entry)}")


def _line(loaded: Plan, entry: Entry) -> str:
    who = render.clean(f"[{loaded.agent_of(entry) or 'unassigned'}] {entry.id}")
    after = f" (after {render.clean(', '.join(entry.depends_on))})" if entry.depends_on else ""
    return f"{task_mark(entry.status.value)}{who} - {render.clean(entry.description, 80)}{after}"


def _shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else f"./{relative}"
