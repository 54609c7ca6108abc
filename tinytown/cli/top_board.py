"""The widget of `tt top`: lines as they were drawn, of which only those that changed are written again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tinytown.cli.top_cells import Line


class Board(Widget, can_focus=True):
    """Shows lines; asks for them with `draw` when its size has changed."""

    def __init__(self, draw: Callable[[], None]) -> None:
        super().__init__()
        self._draw = draw
        self._lines: list[tuple[Line, bool]] = []

    def show(self, lines: list[Line], selected: int | None) -> None:
        """These lines, one of them marked."""
        new = [(line, n == selected) for n, line in enumerate(lines)]
        old, self._lines = self._lines, new
        width = self.size.width
        changed = [n for n in range(max(len(old), len(new))) if old[n : n + 1] != new[n : n + 1]]
        if changed:
            self.refresh(*(Region(0, n, width, 1) for n in changed))

    def on_resize(self) -> None:
        """Everything anew."""
        self._lines = []
        self._draw()

    def render_line(self, y: int) -> Strip:
        """As textual asks for it."""
        width = self.size.width
        line, is_selected = self._lines[y] if y < len(self._lines) else ([], False)
        segments = [Segment(text, _style(style, is_selected)) for text, style in line]
        return Strip(segments).adjust_cell_length(width, _style("", is_selected))


@cache
def _style(name: str, is_selected: bool) -> Style:  # noqa: FBT001  a cache takes no keywords as well
    if is_selected:
        return Style(reverse=True, bold=name == "bold")
    return Style.parse(name) if name else Style()
