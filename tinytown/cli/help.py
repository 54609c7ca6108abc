"""Help for a terminal, drawn by rich_click: the one place that imports it."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich_click import RichContext
from rich_click.rich_help_rendering import get_rich_help_text
from rich_click.rich_panel import RichCommandPanel, construct_panels

from tinytown.cli.base import Command, LazyGroup


def rich_help(command: Command, ctx: click.Context) -> str:
    """The whole page of one command."""
    shown = RichContext(command, info_name=ctx.info_name, parent=_rich(ctx.parent), rich_help_config=_settings())
    formatter = shown.make_formatter()
    command.format_usage(shown, formatter)
    drawn: Any = command
    if isinstance(command, LazyGroup):
        command.panels = _sections(command)
    get_rich_help_text(drawn, shown, formatter)
    for panel in construct_panels(drawn, shown, formatter):
        page = panel.render(drawn, shown, formatter)
        if page.renderable.row_count:  # type: ignore[union-attr]
            formatter.write(page)
    if command.examples:
        formatter.write(_examples(command.examples))
    return str(formatter.getvalue()).rstrip("\n")


def _rich(ctx: click.Context | None) -> RichContext | None:
    return None if ctx is None else RichContext(ctx.command, info_name=ctx.info_name, parent=_rich(ctx.parent))


def _settings() -> dict[str, Any]:
    return {"text_markup": None, "text_emojis": False, "show_arguments": True, "width": _width()}


def _width() -> int | None:
    import shutil  # noqa: PLC0415  rich has it already

    return min(100, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def _sections(group: LazyGroup) -> tuple[Any, ...]:
    names = dict.fromkeys(entry.section for entry in group.table.values())
    return tuple(
        RichCommandPanel(section, [name for name, entry in group.table.items() if entry.section == section])
        for section in names
    )


def _examples(text: str) -> Any:
    from rich.panel import Panel  # noqa: PLC0415  rich_click has it already
    from rich.text import Text  # noqa: PLC0415  as above

    return Panel(Text(text), title="Examples", title_align="left", border_style="dim")
