"""`tt conductor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytown.cli import base, render

if TYPE_CHECKING:
    from tinytown.town import Town


@base.command(
    examples="tt conductor\ntt conductor --model codex\ntt conductor --cli 'my-model --chat {prompt_file}'\n"
    "tt conductor --print-context"
)
@click.option(
    "--model", "-m", "--cli", "-c", "cli", metavar="CLI",
    help="A preset, one of [agent_clis], or a command.  [default: conductor_cli, else default_cli]",
)  # fmt: skip
@click.option("--print-context", is_flag=True, help="Print what the conductor would be told; start nothing.")
def conductor(*, cli: str | None, print_context: bool) -> None:
    """Talk to an AI that orchestrates the town."""
    from tinytown.services import conductor as service  # noqa: PLC0415  not for --help
    from tinytown.services.caller import from_environment  # noqa: PLC0415  as above

    if print_context:
        if cli is not None:
            raise click.UsageError("--print-context and --model exclude each other.")
        render.out(render.shown(service.context(base.open_to_read())).rstrip("\n"))
        return
    town = base.open_town()
    chosen = service.choose(town, cli, from_environment())
    _bring_up(town)
    start = service.prepare(town, chosen)
    render.out(f"{render.icon('🚂')}Starting conductor with {render.clean(chosen.name)} model...")
    render.out(f"   Context: {render.clean(str(start.context))}\n")
    render.out(f"   Running: {render.clean(start.shown)}\n")
    render.flush()
    service.become(start)


def _bring_up(town: Town) -> None:
    """A conductor without Redis and a supervisor could only say so."""
    from tinytown.services import supervision  # noqa: PLC0415  not for --help

    if town.ensure_redis():
        render.talk("Started Redis.")
    town.store.connector.check(town.store.redis)
    if supervision.ensure_running(town):
        render.talk(f"Started the supervisor; its log is {town.state_dir / 'supervisor.log'}")
