"""The parts of a prompt that a program can read back: fenced text, and one mark per item of work.

A mark is an HTML comment, so a model sees it and a reader of the rendered prompt does not; the item's text is
the fenced block that follows it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_MARK = re.compile(r"<!-- tinytown:item (\{.*\}) -->")
_FENCE = re.compile(r"(`{3,})\w*")
_RUN = re.compile(r"`{3,}")


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work as a prompt names it. `task` is None for a message without a task."""

    message: str
    task: str | None
    type: str
    sender: str
    text: str


def fenced(text: str) -> str:
    """The text, verbatim, in a fence longer than any in it: nothing in it can look like a part of the prompt."""
    longest = max((len(run) for run in _RUN.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def mark(message: str, task: str | None, kind: str, sender: str) -> str:
    """The line that precedes an item's fenced text."""
    fields = json.dumps({"message": message, "task": task, "type": kind, "from": sender}, ensure_ascii=False)
    return f"<!-- tinytown:item {fields.replace('<', chr(92) + 'u003c').replace('>', chr(92) + 'u003e')} -->"


def items(prompt: str) -> list[Item]:
    """Read the items back; what only looks like a mark inside a fenced text is none."""
    found: list[Item] = []
    fence = ""
    pending: dict[str, str | None] | None = None
    block: list[str] = []
    for line in prompt.split("\n"):
        if fence:
            if line != fence:
                block.append(line)
                continue
            if pending is not None:
                found.append(_item(pending, "\n".join(block)))
            fence, pending = "", None
        elif opening := _FENCE.fullmatch(line):
            fence, block = opening[1], []
        elif marked := _MARK.fullmatch(line):
            pending = json.loads(marked[1])
    return found


def _item(fields: dict[str, str | None], text: str) -> Item:
    return Item(
        message=fields.get("message") or "",
        task=fields.get("task"),
        type=fields.get("type") or "",
        sender=fields.get("from") or "",
        text=text,
    )
