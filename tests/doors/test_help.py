"""Help, version, completion, and the global options."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from tests.support import town as towns
from tests.support.cli import TT, Tt
from tinytown.cli import TABLE, root
from tinytown.cli.base import Command
from tinytown.town import Town


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    top = root()
    ctx = click.Context(top)
    for name in TABLE:
        command = top.load(ctx, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, sub) for sub, one in command.commands.items() if not one.hidden]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    """One line of help, options, global options, an example that begins with the command."""
    top = root()
    ctx = click.Context(top, info_name="tt")
    command = top.load(ctx, words[0])
    for word in words[1:]:
        assert isinstance(command, click.Group)
        command = command.get_command(ctx, word)
    assert isinstance(command, Command)
    assert f"tt {' '.join(words)}" in command.examples
    page = command.get_help(click.Context(command, info_name=words[-1], parent=ctx))
    for part in ("Usage: ", "--town", "--verbose", "--help", "Examples:"):
        assert part in page
    assert command.help
    assert len(command.help.splitlines()) == 1


def test_help_lists_every_command(tt: Tt) -> None:
    """With its one line; and `tt` alone is the same."""
    page = tt.ok("--help").out
    for name, entry in TABLE.items():
        assert name in page
        assert entry.help.split(":")[0][:30] in page
    assert tt.ok().out == page


def test_help_on_a_terminal(tt: Tt) -> None:
    """Drawn by rich_click, by sections, with the examples."""
    code, shown = tt.on_terminal("--help")
    assert code == 0
    assert "╭" in shown
    for part in ("Agents", "Work", "Examples", "spawn"):
        assert part in shown
    assert "Examples" in tt.on_terminal("spawn", "--help")[1]


def test_version(tt: Tt) -> None:
    """One line."""
    assert tt.ok("--version").out.startswith("tt 0.")


@pytest.mark.slow
def test_global_options_anywhere(town: Town, tmp_path: Path) -> None:
    """--town and --verbose before the command, after it, and after a subcommand; the innermost wins."""
    towns.register(town, "backend", wanted=False)
    tt, here = Tt(tmp_path), str(town.root)
    for args in (
        ("--town", here, "list"),
        ("-t", here, "-v", "list"),
        ("list", "--town", here),
        ("list", "-vt", here),
        ("--town", "/nowhere", "list", "-t", here),
    ):
        assert "backend" in tt.ok(*args).out
    for words in (
        ("-t", here, "task", "list"),
        ("task", "-t", here, "list"),
        ("task", "list", "--verbose", "-t", here),
        ("task", "-t", "/nowhere", "list", "-t", here),
    ):
        assert "No tasks." in tt.ok(*words).out
    assert "backend" in tt.ok("list", env={"TINYTOWN_TOWN": here}).out
    below = town.root / "src" / "deep"
    below.mkdir(parents=True)
    assert "backend" in tt.ok("list", cwd=below).out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(tt: Tt, shell: str) -> None:
    """It is the shell's own language, where that shell is here to ask."""
    script = tt.ok("completion", shell).out
    assert "_TT_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [("tt st", 1, "status"), ("tt task co", 2, "complete"), ("tt spawn --fo", 2, "--foreground")],
)
def test_completion_answers(words: str, number: int, expected: str) -> None:
    """Commands, subcommands and options are completed."""
    env = {"_TT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    done = subprocess.run([TT], env=env, capture_output=True, text=True, check=True)
    assert f"plain,{expected}" in done.stdout.splitlines()
