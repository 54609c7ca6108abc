"""`tt migrate`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.services.migration.takeover import Done, Plan

SHOWN = 200
SHARED = "Keys without a town belong to whoever migrates first: on a shared Redis, do it in the town they came from."


@base.command(
    examples="tt migrate --dry-run\ntt migrate\ntt migrate --force",
    epilog=SHARED,
)
@click.option("--dry-run", is_flag=True, help="Show what would be migrated; change nothing.")
@click.option("--force", is_flag=True, help="Do not ask.")
def migrate(*, dry_run: bool, force: bool) -> None:
    """Take over the state of an older version."""
    from tinytown.services.migration import takeover  # noqa: PLC0415  not for --help

    town = base.open_to_read() if dry_run else base.open_town()
    if not dry_run:
        town.ensure_redis()
    plan = takeover.plan(town)
    if plan.is_empty:
        _warn(plan.left)
        render.out(f"{render.icon('✅')}No migration needed: the keys of town '{town.name}' are in the current format.")
        return
    if dry_run:
        _warn(plan.left)
        _show(town.name, plan)
        render.out("   Run 'tt migrate' (without --dry-run) to perform migration.")
        return
    if not force and not _is_confirmed(town.name, plan):
        render.out("   Nothing was changed.")
        return
    done = takeover.migrate(town, render.talk)
    _warn(done.left)
    _report(done)


def _show(town: str, plan: Plan) -> None:
    render.out("• Migration Preview (dry run)")
    render.out(f"   Town: {town}")
    render.out("\n   Keys to migrate:")
    for old, new in plan.moves[:SHOWN]:
        render.out(f"   {render.clean(old)} → {render.clean(new)}")
    if len(plan.moves) > SHOWN:
        render.out(f"   ... and {len(plan.moves) - SHOWN:,} more")
    render.out(f"\n   Total: {len(plan.moves)} key(s) would be migrated\n")


def _is_confirmed(town: str, plan: Plan) -> bool:
    from tinytown.errors import Invalid  # noqa: PLC0415  rare

    if not render.is_terminal(sys.stdin):
        raise Invalid(
            f"{len(plan.moves)} key(s) would be migrated into town '{town}', and nobody can be asked.",
            "Look first with: tt migrate --dry-run; then run: tt migrate --force",
        )
    render.talk(f"{len(plan.moves)} key(s) would be migrated into town '{town}' (see them with: tt migrate --dry-run).")
    render.talk(SHARED)
    try:
        return click.confirm("   Continue?", err=True)
    except click.Abort:
        render.talk("")
        return False


def _report(done: Done) -> None:
    render.out(f"{render.icon('✅')}Migration complete")
    render.out(f"   Agents migrated:   {done.agents}")
    render.out(f"   Tasks migrated:    {done.tasks}")
    render.out(f"   Messages migrated: {done.messages}")
    render.out(f"   Backlog:           {done.backlog}")
    if done.missions:
        render.out(f"   Missions migrated: {done.missions}, stopped. Let one go on with: tt mission resume <id>")
    if done.agents:
        render.out("   All migrated agents are stopped. Start one with: tt restart <name>")
    for note in done.notes:
        render.talk(f"Note: {render.clean(note)}")


def _warn(left: list[str]) -> None:
    for line in left[:SHOWN]:
        render.talk(f"Left as it is: {render.clean(line)}")
    if len(left) > SHOWN:
        render.talk(f"... and {len(left) - SHOWN:,} more")
