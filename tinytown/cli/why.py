"""`tt why`."""

from __future__ import annotations

import click

from tinytown.cli import base, render


@base.command(examples="tt why backend\ntt why 550e8400\ntt why 550e8400 --json")
@click.argument("what", metavar="AGENT|TASK")
@base.json_option()
def why(what: str, *, as_json: bool) -> None:
    """Say what an agent or a task is waiting for, and the command that helps."""
    from tinytown.services import shapes  # noqa: PLC0415  not for --help
    from tinytown.services import why as service  # noqa: PLC0415  as above

    found = service.explain(base.open_to_read(), what)
    if as_json:
        render.print_json(shapes.explanation(found))
        return
    thing = f"Agent '{found.name}'" if found.kind == "agent" else f"Task {found.id[:8]}"
    for reason in found.reasons:
        render.out(f"{thing}: {render.clean(reason.text)}")
        if reason.remedy:
            render.out(f"   Remedy: {render.clean(reason.remedy)}")
