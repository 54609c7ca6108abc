"""What the demo shows: a block that is redrawn on a terminal, a line for each change on a pipe."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import Any

DONE, OPEN = ("completed", "failed", "cancelled"), ("pending", "assigned")  # states of tasks
ENDED = ("stopped", "error", "cold")  # states of agents that have no process


@dataclass
class View:
    """Lines that stay scroll up; below them stands how things are now."""

    titles: dict[str, str] = field(default_factory=dict)  # by task id
    start: float = field(default_factory=time.monotonic)
    is_live: bool = field(default_factory=lambda: sys.stdout.isatty() and os.environ.get("TERM") != "dumb")
    _drawn: int = 0
    _known: dict[str, str] = field(default_factory=dict)

    def say(self, text: str = "", style: str = "") -> None:
        """A line that stays."""
        self._erase()
        self._write(self._styled(text, style) + "\n")

    def event(self, text: str, style: str = "") -> None:
        """A line that stays, with the time."""
        self.say(f"{time.monotonic() - self.start:5.1f} s  {text}", style)

    def show(self, seen: dict[str, Any]) -> None:
        """How the town is now: `tt status --tasks --json`."""
        counts = seen["tasks"]
        done, waiting = (sum(counts[state] for state in states) for states in (DONE, OPEN))
        tally = f"{done} done, {counts['running']} running, {waiting} open"
        rows = [self._agent(agent) for agent in seen["agents"]]
        pid = seen["supervisor"]["pid"]
        head = f"supervisor {f'pid {pid}' if pid else 'DEAD'}"
        if self.is_live:
            self._erase()
            clock = f"{time.monotonic() - self.start:5.1f} s"
            width = shutil.get_terminal_size().columns - 1
            lines = [f"{clock}  {head}   tasks: {tally}"[:width], *(f"         {row}"[:width] for row in rows)]
            self._write("".join(self._styled(line, "dim" if n else "bold") + "\n" for n, line in enumerate(lines)))
            self._drawn = len(lines)
            return
        for name, line in [("", head), *zip((agent["name"] for agent in seen["agents"]), rows, strict=True)]:
            if self._known.get(name) != line:
                self._known[name] = line
                self.event(f"{line:<66}  tasks: {tally}")

    def table(self, rows: list[tuple[str, ...]]) -> None:
        """The first row is the head; the last column is free."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for n, row in enumerate(rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.say("  " + line.rstrip(), "" if n else "bold")

    def _agent(self, agent: dict[str, Any]) -> str:
        pid = f"pid {agent['pid']}" if agent["pid"] else "no process"
        is_missing = not agent["pid"] and agent["state"] not in ENDED
        state = "dead" if is_missing else agent["state"]
        return f"{agent['name']:<9} {state:<8} {pid:<11} {self.titles.get(agent['current_task'] or '', '')}".rstrip()

    def _erase(self) -> None:
        if self._drawn:
            self._write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _styled(self, text: str, style: str) -> str:
        code = {"bold": "1", "dim": "2", "red": "31", "green": "32"}.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if code and self.is_live and not os.environ.get("NO_COLOR") else text

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
