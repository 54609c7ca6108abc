"""What every command is made of: global options, examples, lazy loading, and one way to fail."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from tinytown.cli import render

if TYPE_CHECKING:
    from tinytown.town import Town

TOWN = "tinytown.town"
VERBOSE = "tinytown.verbose"
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141  # as a shell shows a program that SIGPIPE ended


class Entry(NamedTuple):
    """Where a command is, and what the list of commands says of it."""

    module: str
    function: str
    help: str
    section: str


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value:  # the innermost one that is given wins
        ctx.meta[TOWN if param.name == "town" else VERBOSE] = value


GLOBAL_OPTIONS = (
    click.Option(
        ["--town", "-t"], metavar="PATH", expose_value=False, callback=_remember,
        help="The town's folder; else $TINYTOWN_TOWN, else upward from here.",
    ),
    click.Option(
        ["--verbose", "-v"], is_flag=True, expose_value=False, callback=_remember,
        help="Say more when something goes wrong.",
    ),
)  # fmt: skip


class Command(click.Command):
    """A command with the global options and an Examples block."""

    panels: tuple[Any, ...] = ()  # what rich_click asks a command for
    aliases: tuple[str, ...] = ()

    def __init__(self, *args: Any, examples: str = "", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples
        self.params = [*self.params, *GLOBAL_OPTIONS]

    def get_help(self, ctx: click.Context) -> str:
        """Boxes and colour for people, plain text for everything else."""
        if not render.is_terminal(sys.stdout):
            return super().get_help(ctx)
        from tinytown.cli.help import rich_help  # noqa: PLC0415  rich costs 50 ms

        return rich_help(self, ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Plain help: the examples."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.examples.splitlines()))


class Group(Command, click.Group):
    """A command with subcommands, all in one module."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest names for one that is not there."""
        found = self.load(ctx, args[0])
        if found is not None or ctx.resilient_parsing:
            return args[0], found, args[1:]
        from difflib import get_close_matches  # noqa: PLC0415  only an error needs it

        near = get_close_matches(args[0], self.list_commands(ctx), n=1)
        guess = f" Did you mean '{near[0]}'?" if near else ""
        raise click.UsageError(f"No such command '{render.clean(args[0])}'.{guess}", ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """In the order of their definition."""
        return list(self.commands)

    def load(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command that is to run."""
        return self.get_command(ctx, name)


class LazyGroup(Group):
    """Subcommands by a table: listing and completing names loads no module. `former` names work unlisted."""

    def __init__(self, table: dict[str, Entry], former: dict[str, Entry], **attributes: Any) -> None:
        super().__init__(callback=_help_without_command, **attributes)
        self.table = table
        self.former = former

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """In the table's order."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """A stand-in that knows name and help."""
        entry = self.table.get(cmd_name)
        return None if entry is None else click.Command(cmd_name, help=entry.help)

    def load(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002  as Group.load
        """Import the command's module."""
        entry = self.table.get(name) or self.former.get(name)
        if entry is None:
            return None
        import importlib  # noqa: PLC0415  not for --help

        command: click.Command = getattr(importlib.import_module(f"tinytown.cli.{entry.module}"), entry.function)
        return command


@click.pass_context
def _help_without_command(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def command(name: str | None = None, *, examples: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command; its docstring is the one-line help."""
    return click.command(name, cls=Command, examples=examples, **attributes)


def group(*, examples: str) -> Callable[[Callable[..., Any]], Group]:
    """Make a function a group of commands."""
    return click.group(cls=Group, examples=examples)


def version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:  # noqa: FBT001  click's signature
    """The callback of `--version`: print it and leave."""
    if wanted and not ctx.resilient_parsing:
        from tinytown import __version__  # noqa: PLC0415  one command in a thousand

        click.echo(f"{ctx.info_name} {__version__}")
        ctx.exit()


json_option = functools.partial(click.option, "--json", "as_json", is_flag=True, help="Print JSON for programs.")


def open_town() -> Town:
    """The town this command is about; warnings about its settings go to stderr."""
    from tinytown.town import open_town as opened  # noqa: PLC0415  not for --help

    town = opened(click.get_current_context().meta.get(TOWN))
    for warning in town.config.warnings:
        render.talk(f"Warning: {warning}")
    return town


def open_to_read() -> Town:
    """As `open_town`, for a command that only reads: Redis must be there already."""
    from tinytown.services.servers import require  # noqa: PLC0415  not for --help

    town = open_town()
    require(town)
    return town


def run(root: click.Command, args: list[str]) -> int:
    """Run the command line; returns the exit code. Every failure is said on stderr, in one or two lines."""
    render.prepare_streams()
    verbose = False
    try:
        if "_TT_COMPLETE" in os.environ:
            return _complete(root)
        with root.make_context(root.name or "tt", list(args)) as ctx:
            try:
                root.invoke(ctx)
            finally:
                verbose = bool(ctx.meta.get(VERBOSE))
        render.flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code or _flushed()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last stop of every error
        from tinytown.cli.failures import report  # noqa: PLC0415  only an error needs it

        return report(error, verbose=verbose, program=root.name or "tt")
    return 0


def leave(code: int) -> NoReturn:
    """End the process. Everything is written; taking the interpreter apart would cost each command 30 ms."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.flush()
    os._exit(code)


def _flushed() -> int:
    try:
        render.flush()
    except OSError as error:
        from tinytown.cli.failures import report  # noqa: PLC0415  only an error needs it

        return report(error, verbose=False)
    return 0


def _complete(root: click.Command) -> int:
    from click.shell_completion import shell_complete  # noqa: PLC0415  only the shell asks

    return shell_complete(root, {}, "tt", "_TT_COMPLETE", os.environ["_TT_COMPLETE"])
