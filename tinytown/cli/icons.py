"""Marks of task states: an icon on a terminal, the word elsewhere."""

from __future__ import annotations

import sys

from tinytown.cli import render

TASK_ICONS = {
    "pending": "⏳",
    "assigned": "📌",
    "running": "🔄",
    "completed": "✅",
    "failed": "❌",
    "cancelled": "🚫",
}
_WIDTH = max(map(len, TASK_ICONS)) + 2


def task_mark(state: str) -> str:
    """What stands before a task in a list."""
    return f"{TASK_ICONS[state]} " if render.is_terminal(sys.stdout) else state.ljust(_WIDTH)
