"""Text that fits: lines of styled pieces, cut to a number of terminal cells; times, sizes and bars in few characters.

Pure, and without textual: `tt top --once` needs no more than this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size

from tinytown.cli import render

Span = tuple[str, str]  # text, and a style by the names of `render.colour`, or none
Line = list[Span]
# Terminals do not agree on how wide these make what stands before them.
_JOINERS = re.compile("[\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff\U000e0000-\U000e01ef]")
_MARKS = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{2})[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)
_FLAGS = re.compile("[\U0001f1e6-\U0001f1ff]")
_AS_LETTER = 0x1F1E6 - ord("A")


def plain(text: object) -> str:
    """One harmless line of which every terminal knows the width."""
    return _of_known_width(render.clean(str(text if text is not None else "")))


def width_of(text: str) -> int:
    """In cells."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, width: int, *, more: str = "…") -> str:
    """At most so many cells; what is cut ends with `more`, if there is room for it."""
    if width_of(text) <= width:
        return text
    room = width - width_of(more)
    return set_cell_size(text, max(0, room)).rstrip() + more if room > 0 else set_cell_size(text, max(0, width))


def padded(text: str, width: int, *, right: bool = False, more: str = "…") -> str:
    """Exactly so many cells."""
    shown = cut(text, width, more=more)
    space = " " * (width - width_of(shown))
    return space + shown if right else shown + space


def fitted(line: Iterable[Span], width: int, *, more: str = "…") -> Line:
    """The line's beginning, as far as it fits."""
    found: Line = []
    left = width
    for text, style in line:
        if left <= 0:
            break
        found.append((cut(text, left, more=more), style))
        left -= width_of(text)
    return found


def length(line: Iterable[Span]) -> int:
    """In cells."""
    return sum(width_of(text) for text, _style in line)


def spread(left: Line, right: Line, width: int) -> Line:
    """One to the left and one to the right edge; the right one gives way where both do not fit."""
    space = width - length(left) - length(right)
    return [*left, (" " * space, ""), *right] if space > 0 else fitted(left, width)


def wrapped(text: str, width: int) -> list[str]:
    """Harmless lines of at most so many cells each; long ones go on in the next."""
    found = []
    for raw in text.expandtabs(4).splitlines() or [""]:
        line = _of_known_width(render.clean_block(raw))
        while width_of(line) > width > 0:
            head = line[:width] if line.isascii() else _head(line, width)
            space = head.rfind(" ")
            head = head[:space] if space > width // 2 else head
            found.append(head)
            line = line[len(head) :].removeprefix(" ")
        found.append(line)
    return found


def _of_known_width(line: str) -> str:
    if line.isascii():
        return line
    return _FLAGS.sub(lambda m: chr(ord(m[0]) - _AS_LETTER), _MARKS.sub(r"\1", _JOINERS.sub("", line)))


def _head(line: str, width: int) -> str:
    used = 0
    for n, character in enumerate(line):
        used += cell_len(character)
        if used > width:
            return line[: max(1, n)]
    return line


def age(seconds: float | None) -> str:
    """`8s`, `12m`, `3h`, `4d`; `-` when it is not known."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def span_of_time(seconds: float | None) -> str:
    """`8s`, `12m 5s`, `3h 20m`; `-` when it is not known."""
    return "-" if seconds is None else render.duration(max(0.0, seconds))


def memory(amount: float | None) -> str:
    """Bytes as `12K`, `340M`, `1.2G`; `-` when it is not known."""
    if amount is None:
        return "-"
    for unit in "BKMG":
        if amount < 1000 or unit == "G":
            return f"{amount:.1f}{unit}" if unit == "G" and amount < 10 else f"{int(amount)}{unit}"
        amount /= 1024
    raise AssertionError


def bar(parts: Iterable[tuple[int, str, str]], width: int) -> Line:
    """Counts as a bar of so many cells: (count, character, style); what is more than nothing has a cell, if it can."""
    given = [(count, character, style) for count, character, style in parts if count > 0]
    total = sum(count for count, _character, _style in given)
    if not total or width < 1:
        return [(" " * max(0, width), "")]
    cells = [max(1, count * width // total) for count, _character, _style in given]
    while sum(cells) != width:
        step = 1 if sum(cells) < width else -1
        many = [n for n, size in enumerate(cells) if step > 0 or size > 1]
        may = many or [n for n, size in enumerate(cells) if size]
        cells[max(may, key=lambda n: (given[n][0] / total - cells[n] / width) * step)] += step
    return [(character * n, style) for n, (_count, character, style) in zip(cells, given, strict=True)]
