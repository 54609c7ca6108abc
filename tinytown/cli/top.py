"""`tt top`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.town import Town

PIPE_WIDTH = 120
BETWEEN_S = 0.25  # two looks of --once: processor time becomes a rate


@base.command(examples="tt top\ntt top --once\nwatch -n 5 tt top --once\ntt top --json | jq '.needs[].remedy'")
@click.option("--once", is_flag=True, help="Print it once, as text.")
@base.json_option()
@click.pass_context
def top(ctx: click.Context, *, once: bool, as_json: bool) -> None:
    """Look at the town live: what needs you, agents, missions, events; with keys to act."""
    from tinytown.errors import Invalid, Unavailable  # noqa: PLC0415  not for --help

    if as_json:
        from tinytown.services import overview  # noqa: PLC0415  as above

        render.print_json(overview.read(base.open_to_read()))
        return
    if once:
        _print(base.open_to_read())
        return
    if importlib.util.find_spec("textual") is None:
        text = "The live view is not installed; tt top --once and --json work without it."
        raise Unavailable(text, "Install it: pip install 'tinytown[top]'")
    if (
        not all(map(render.is_terminal, (sys.stdin, sys.stdout, sys.stderr)))
        or os.environ.get("TERM", "dumb") == "dumb"
    ):
        raise Invalid("The live view needs a terminal.", "Without one: tt top --once, or tt top --json")
    from tinytown.cli.top_screen import run  # noqa: PLC0415  loads textual

    ctx.exit(run(base.open_to_read()))


def _print(town: Town) -> None:
    from tinytown import clock  # noqa: PLC0415  not for --help
    from tinytown.cli.top_view import Frame, Meter, View, page  # noqa: PLC0415  as above
    from tinytown.services.overview.live import Live  # noqa: PLC0415  as above

    live = Live(town)
    seen = live.read()
    meter = Meter(over_s=BETWEEN_S)
    cpu = meter.take(seen)
    if any(agent["cpu_s"] is not None for agent in seen["agents"]):
        clock.sleep(BETWEEN_S)
        seen = live.read()
        cpu = meter.take(seen)
    is_shown = render.is_terminal(sys.stdout)
    width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    drawn = page(View(seen, cpu), Frame(max(20, width), None, icons=is_shown))
    for line in drawn.lines:
        render.out("".join(render.colour(text, style) if style else text for text, style in line).rstrip())
