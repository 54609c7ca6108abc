"""Write docs/commands.md: every command and option, from the code. With --check, only say whether it is current."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tinytown.cli import FORMER, TABLE, root
from tinytown.cli.base import GLOBAL_OPTIONS, Command

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
HEAD = """\
# Every command and option

Generated from the code by `scripts/commands`; the tests check that it is current.

Every command also takes `--town PATH`, `-t PATH` (the town's folder; else `$TINYTOWN_TOWN`, else upward from here),
`--verbose`, `-v` and `--help`. Exit codes: 0 done, 1 failed, 2 wrong usage, 124 timed out, 130 interrupted.
"""


def main() -> int:
    """Write or check the page; the exit code."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text("utf-8") == text:
        return 0
    sys.stderr.write("Error: docs/commands.md is not current.\nWrite it anew with: scripts/commands\n")
    return 1


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for section in dict.fromkeys(entry.section for entry in TABLE.values()):
        names = [name for name, entry in TABLE.items() if entry.section == section]
        parts.append(f"## {section}\n")
        parts.append("| command | what it does |\n|---|---|")
        parts += [f"| [`tt {name}`](#tt-{name}) | {_cell(TABLE[name].help)} |" for name in names]
        for name in names:
            parts += ["", *described(("tt", name), _load(name))]
    parts.append("## Former names\n\nThey work, and no list shows them.\n\n| command | |\n|---|---|")
    parts += [f"| `tt {name}` | {_cell(entry.help)} |" for name, entry in FORMER.items()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip("\n") + "\n"


def described(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    """One command, then its subcommands."""
    yield f"{'#' * (len(words) + 1)} {' '.join(words)}\n"
    yield _cell(command.help or "") + "\n"
    ctx = click.Context(command, info_name=words[-1])
    usage = [piece for piece in command.collect_usage_pieces(ctx) if piece != "[OPTIONS]"]
    options = [p for p in command.params if isinstance(p, click.Option) and p not in GLOBAL_OPTIONS and not p.hidden]
    if not isinstance(command, click.Group):
        yield f"```\n{' '.join([*words, *(['[OPTIONS]'] if options else []), *usage])}\n```\n"
    if options:
        yield "| option | |\n|---|---|"
        for option in options:
            shown = option.get_help_record(ctx)
            assert shown is not None, f"{words} {option.name} has no help"
            yield f"| `{_cell(shown[0])}` | {_cell(shown[1])} |"
        yield ""
    if isinstance(command, Command) and command.examples and not isinstance(command, click.Group):
        yield f"```sh\n{command.examples}\n```\n"
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            if not one.hidden:
                yield from described((*words, name), one)


def _load(name: str) -> click.Command:
    top = root()
    command = top.load(click.Context(top), name)
    assert command is not None
    return command


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(main())
