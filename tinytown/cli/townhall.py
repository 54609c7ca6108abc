"""The `townhall` command: the town over HTTP and MCP."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import click

from tinytown.cli import base, render
from tinytown.errors import Unavailable

_bind = click.option("--bind", metavar="ADDRESS", help="Listen there; else [townhall] bind (127.0.0.1).")


def _port(setting: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    text = f"Listen on this port, 0: any free one; else [townhall] {setting}."
    return click.option("--port", type=click.IntRange(0, 65535), metavar="N", help=text)


_rest_port, _mcp_port = _port("rest_port (8787)"), _port("mcp_port (8788)")


@click.group(
    cls=base.Group,
    invoke_without_command=True,
    examples="townhall\ntownhall rest --port 9000\ntownhall --town ~/shop mcp-stdio\ntownhall mcp-http --port 8788",
)
@_bind
@_rest_port
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=base.version,
    help="Show the version and leave.",
)  # fmt: skip
@click.pass_context
def townhall(ctx: click.Context, bind: str | None, port: int | None) -> None:
    """Serve a town to scripts, phones, editors and AI tools. Without a command: rest."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(rest, bind=bind, port=port)
    elif bind is not None or port is not None:
        if ctx.invoked_subcommand == mcp_stdio.name:
            raise click.UsageError("mcp-stdio listens nowhere: it takes neither --bind nor --port.")
        raise click.UsageError(f"Give --bind and --port behind '{ctx.invoked_subcommand}'.")


@townhall.command("rest", cls=base.Command, examples="townhall rest\ntownhall rest --bind 127.0.0.1 --port 8787")
@_bind
@_rest_port
@click.pass_context
def rest(ctx: click.Context, bind: str | None, port: int | None) -> None:
    """The REST API and the page (the default)."""
    _require("fastapi", "townhall")
    from tinytown.townhall import serving  # noqa: PLC0415  not for --help

    ctx.exit(serving.rest(base.open_town(), bind, port, render.talk, verbose=bool(ctx.meta.get(base.VERBOSE))))


_names = click.option(
    "--tool-names", type=click.Choice(["dots", "underscore"]), default="dots", show_default=True,
    help="underscore: task_assign for task.assign, for hosts that refuse dots.",
)  # fmt: skip


@townhall.command(
    "mcp-stdio",
    cls=base.Command,
    examples="townhall mcp-stdio\ntownhall mcp-stdio --town ~/shop\ntownhall mcp-stdio --tool-names underscore",
)
@_names
@click.pass_context
def mcp_stdio(ctx: click.Context, tool_names: str) -> None:
    """MCP over stdin and stdout, for programs that start it."""
    _require("mcp", "mcp")
    from tinytown.townhall.mcp import stdio  # noqa: PLC0415  not for --help

    verbose = bool(ctx.meta.get(base.VERBOSE))
    town = base.open_town()
    if render.is_terminal(sys.stdin):
        render.talk(
            f"MCP of '{town.name}', for a program that starts this and speaks through its stdin. Ctrl-C ends it."
        )
    ctx.exit(stdio.serve(town, verbose=verbose, underscore=tool_names == "underscore"))


@townhall.command("mcp-http", cls=base.Command, examples="townhall mcp-http\ntownhall mcp-http --port 8788 --sse")
@_bind
@_mcp_port
@click.option("--sse", is_flag=True, help="Serve clients of before 2025, too: at /sse.")
@_names
@click.pass_context
def mcp_http(ctx: click.Context, bind: str | None, port: int | None, sse: bool, tool_names: str) -> None:  # noqa: FBT001
    """MCP over HTTP, at / and /mcp."""
    _require("mcp", "mcp")
    from tinytown.townhall import serving  # noqa: PLC0415  not for --help

    verbose, underscore = bool(ctx.meta.get(base.VERBOSE)), tool_names == "underscore"
    town = base.open_town()
    ctx.exit(serving.mcp_http(town, bind, port, render.talk, verbose=verbose, sse=sse, underscore=underscore))


def _require(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Unavailable("This part of Tinytown is not installed.", f"Install it: pip install 'tinytown[{extra}]'")


def main() -> None:
    """Entry point."""
    base.leave(base.run(townhall, sys.argv[1:]))
