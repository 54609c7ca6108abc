"""The `townhall` command: the town over HTTP and MCP."""

from __future__ import annotations

import importlib.util
import sys

import click

from tinytown.cli import base, render
from tinytown.errors import Unavailable

_bind = click.option("--bind", metavar="ADDRESS", help="Listen there; else [townhall] bind.")
_port = click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Listen on this port; 0: any free one.")


@click.group(
    cls=base.Group,
    invoke_without_command=True,
    examples="townhall\ntownhall rest --port 9000\ntownhall --town ~/shop mcp-stdio\ntownhall mcp-http --port 8788",
)
@_bind
@_port
@click.pass_context
def townhall(ctx: click.Context, bind: str | None, port: int | None) -> None:
    """Serve a town to scripts, phones, editors and AI tools. Without a command: rest."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(rest, bind=bind, port=port)
    elif bind is not None or port is not None:
        raise click.UsageError(f"Give --bind and --port behind '{ctx.invoked_subcommand}'.")


@townhall.command("rest", cls=base.Command, examples="townhall rest\ntownhall rest --bind 127.0.0.1 --port 8787")
@_bind
@_port
@click.pass_context
def rest(ctx: click.Context, bind: str | None, port: int | None) -> None:
    """The REST API and the page (the default)."""
    _require("fastapi", "townhall")
    from tinytown.townhall import serving  # noqa: PLC0415  not for --help

    ctx.exit(serving.rest(base.open_town(), bind, port, render.talk, verbose=bool(ctx.meta.get(base.VERBOSE))))


def _require(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Unavailable("This part of Tinytown is not installed.", f"Install it: pip install 'tinytown[{extra}]'")


def main() -> None:
    """Entry point."""
    base.leave(base.run(townhall, sys.argv[1:]))
