"""`tt doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.services.doctor.check import Check

COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


@base.command(examples="tt doctor\ntt doctor --town ~/git/my-project\ntt doctor --json")
@base.json_option()
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Check everything a town needs, with the remedy for what is broken."""
    from tinytown.services.doctor.examination import examine  # noqa: PLC0415  not for --help
    from tinytown.services.settings import root_here  # noqa: PLC0415  as above

    root = root_here(ctx.meta.get(base.TOWN))
    found = examine(root)
    failed = sum(check.level == "FAIL" for check in found)
    if as_json:
        shapes = [check._asdict() | {"level": check.level.value} for check in found]
        render.print_json({"root": str(root) if root else None, "ok": not failed, "checks": shapes})
    else:
        for check in found:
            _print(check)
        warned = sum(check.level == "warn" for check in found)
        render.talk(f"{len(found)} checks: {failed} failed, {warned} warning(s)")
    ctx.exit(1 if failed else 0)


def _print(check: Check) -> None:
    level = render.colour(check.level.value.ljust(4), COLOURS[check.level])
    render.out(f"{level}  {check.name}: {render.clean(check.finding)}")
    if check.remedy and check.level != "ok":
        render.out(f"      {render.clean(check.remedy)}")
