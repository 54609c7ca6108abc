"""`tt logs`."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from tinytown.cli import base, render


@base.command(examples="tt logs backend\ntt logs backend -f\ntt logs backend -n 200\ntt logs backend --round 3")
@click.argument("name", metavar="AGENT")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@click.option(
    "--lines", "-n", type=click.IntRange(min=0), default=50, show_default=True, help="How many to begin with."
)
@click.option(
    "--round", "number", type=click.IntRange(min=1), metavar="N", help="What the model printed in this round."
)
@base.json_option()
def logs(name: str, *, follow: bool, lines: int, number: int | None, as_json: bool) -> None:
    """Show what an agent did, or what a round printed. With --json: one object, or with -f one per line."""
    from tinytown.errors import NotFound  # noqa: PLC0415  not for --help
    from tinytown.services import logs as service  # noqa: PLC0415  as above

    town = base.open_town()
    agent = service.name_of(town, name)
    path = service.digest(town, agent) if number is None else service.round_path(town, agent, number)
    if as_json:
        _write_json(agent, number, path, lines, follow=follow)
        return
    if follow:
        if not path.exists():
            render.talk(f"Agent '{agent}' has no log yet; waiting for it.")
        _write(service.follow(path, lines))
    elif number is not None:
        _write(service.whole(path))
    else:
        try:
            _write([service.tail(path, lines)])
        except NotFound as error:
            raise NotFound(f"Agent '{agent}' has no log yet.", f"Wait for it with: tt logs {agent} -f") from error


def _write_json(agent: str, number: int | None, path: Path, lines: int, *, follow: bool) -> None:
    from tinytown.services import logs as service  # noqa: PLC0415  not for --help

    if follow:
        for line in service.lines_of(service.follow(path, lines)):
            render.print_json({"agent": agent, "round": number, "line": line}, compact=True)
        return
    blocks = service.whole(path) if number is not None else [service.tail(path, lines)]
    shown = list(service.lines_of(blocks))
    render.print_json({"agent": agent, "round": number, "path": str(path), "lines": shown})


def _write(blocks: Iterable[bytes]) -> None:
    """Harmless text for a terminal, the bytes themselves for a pipe."""
    if render.is_terminal(sys.stdout):
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        for block in blocks:
            sys.stdout.write(render.clean_block(decode(block)))
            sys.stdout.flush()
        return
    render.flush()
    for block in blocks:
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
