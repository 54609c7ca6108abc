"""Errors as the user sees them: one line, at most one of remedy, an exit code."""

from __future__ import annotations

import os
import sys

import click

from tinytown.cli import render
from tinytown.cli.base import EXIT_BROKEN_PIPE
from tinytown.errors import TimedOut, TinytownError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_TIMED_OUT = 124
LONGEST = 2000  # characters of a line: somebody may have given a whole file as a name


def report(error: Exception, *, verbose: bool, program: str = "tt") -> int:
    """Say it on stderr; returns the exit code. `program`: whose help is named when no command is known yet."""
    if isinstance(error, BrokenPipeError):
        _close_stdout()
        return EXIT_BROKEN_PIPE
    if isinstance(error, TinytownError):
        _say(str(error), error.remedy)
        return EXIT_TIMED_OUT if isinstance(error, TimedOut) else EXIT_FAILED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.message, err=True)
        return EXIT_USAGE
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else program
        _say(error.format_message().replace("\n", " "), f"Try '{path} --help' for help.")
        return EXIT_USAGE
    if isinstance(error, click.ClickException):
        _say(error.format_message())
        return EXIT_FAILED
    return _unexpected(error, verbose=verbose)


def _unexpected(error: Exception, *, verbose: bool) -> int:
    if isinstance(error, OSError) and error.strerror:
        if error.filename is None:
            _close_stdout()  # most likely it could not be written
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        _say(f"{error.strerror}{where}")
    elif not verbose:
        first = (str(error).splitlines() or [""])[0]
        _say(f"unexpected {type(error).__name__}: {first[:200]}", "Run it again with --verbose for the whole story.")
    if verbose:
        import traceback  # noqa: PLC0415  only this needs it

        render.talk("".join(traceback.format_exception(error)).rstrip())
    return EXIT_FAILED


def _say(message: str, remedy: str | None = None) -> None:
    first, *rest = message.strip().splitlines() or [""]
    render.talk(f"{render.colour('Error:', 'red', sys.stderr)} {_line(first)}")
    for line in (" ".join(rest), remedy):
        if line:
            render.talk(_line(line))


def _line(text: str) -> str:
    line = render.clean_block(" ".join(text.splitlines()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _close_stdout() -> None:
    """Nobody can read it any more: keep the interpreter from trying once more at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
