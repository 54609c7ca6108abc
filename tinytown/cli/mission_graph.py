"""A mission's graph as lines of text: each item below what it waits for, and as deep as it lies."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_BOXES = ("├─ ", "└─ ", "│  ", "   ")
_ASCII = ("|- ", "`- ", "|  ", "   ")
_LEAST_TEXT = 30  # columns that are left for an item


@dataclass(frozen=True, slots=True)
class Node:
    """An item. `text` is what stands in its line, without anything that moves a terminal."""

    id: str
    number: int
    text: str
    depends_on: Sequence[str] = ()


def draw(nodes: Sequence[Node], width: int, *, boxes: bool = True) -> list[str]:
    """Lines of at most `width` columns. `nodes` come after those that they depend on.

    An item hangs below the deepest of those that it depends on; the others are named behind it, by their numbers.
    Where there is no more room, deeper items hang as if they were less deep, and say all that they depend on.
    """
    known = {node.id: node for node in nodes}
    depth = depths(nodes)
    most = max(1, (width - _LEAST_TEXT) // len(_BOXES[0]))
    above: dict[str, str | None] = {}
    for node in nodes:
        inside = [i for i in node.depends_on if i in above]
        parent = max(inside, key=lambda i: (depth[i], known[i].number), default=None)
        while parent is not None and _level(parent, above) >= most:
            parent = above[parent]
        above[node.id] = parent
    below: dict[str | None, list[Node]] = {}
    for node in nodes:
        below.setdefault(above[node.id], []).append(node)
    lines = _lines(below, above, known, _BOXES if boxes else _ASCII)
    return [cut(line, width) for line in lines]


def depths(nodes: Sequence[Node]) -> dict[str, int]:
    """Id -> the length of the longest way to it; 0 for what waits for nothing."""
    found: dict[str, int] = {}
    for node in nodes:
        found[node.id] = 1 + max((found[i] for i in node.depends_on if i in found), default=-1)
    return found


def can_draw_boxes() -> bool:
    """The output's encoding has the characters."""
    try:
        "".join(_BOXES).encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def columns_of(text: str) -> int:
    """How many columns a terminal gives this text."""
    return sum(_columns(character) for character in text)


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns, with three dots where something is missing."""
    if columns_of(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += _columns(character)
        if used > width - 3:
            break
        kept += character
    return kept.rstrip() + "..."


def _level(node_id: str, above: Mapping[str, str | None]) -> int:
    level, at = 0, above[node_id]
    while at is not None:
        level, at = level + 1, above[at]
    return level


def _lines(
    below: Mapping[str | None, list[Node]],
    above: Mapping[str, str | None],
    known: Mapping[str, Node],
    marks: tuple[str, str, str, str],
) -> Iterator[str]:
    tee, corner, bar, gap = marks
    stack = [(node, "", "") for node in reversed(below.get(None, []))]
    while stack:
        node, lead, own = stack.pop()
        others = sorted(known[i].number for i in node.depends_on if i in known and i != above[node.id])
        also = "also after" if above[node.id] is not None and above[node.id] in node.depends_on else "after"
        yield f"{lead}{own}{node.text}" + (f"  ({also} {', '.join(map(str, others))})" if others else "")
        further = lead + ("" if not own else bar if own == tee else gap)
        children = below.get(node.id, [])
        stack += [(child, further, corner if n == 0 else tee) for n, child in enumerate(reversed(children))]


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
