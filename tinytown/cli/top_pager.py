"""A text over the whole screen of `tt top`: a log as it is written, the reasons why, the help."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinytown import logs
from tinytown.cli.top_cells import Line, fitted, wrapped
from tinytown.domain.task import Task
from tinytown.services import logs as service
from tinytown.town import Town

SHOWN_BYTES = 256 * 1024  # of the end of a log

HELP = """\
Up, Down, PgUp, PgDn, Home, End   select a line (k and j as well)
Enter   the log of what is selected, as it is written; a mission's work items
Tab     agents or tasks
/       show only what contains these words; nothing: everything

m  send a message                 a  approve what was handed in
i  interrupt, after the round     x  reject it, with a reason
r  resume                         t  retry a task, an item, a dead letter
s  stop, after the round          c  cancel a task, an item; asks first
R  restart                        n  leave a note in a mission
w  why it does not go on          q  quit

The last line shows the keys that do something to what is selected.

The capital letter in a title sorts by that column; once more, the other way.
W  the worst first: given up, run by nobody (!), ended with mail, paused,
   silent for long; of tasks what needs you, then the newest

► working  ○ idle  … starting  ‖ paused  ▼ draining  ■ stopped  ✗ error
Missions: █ done  ▓ running  ! blocked  ✗ failed  · waiting  - cancelled
"""


@dataclass(frozen=True)
class Source:
    """A text to look at, or the end of a file that may grow; `path` wins."""

    title: str
    text: str = ""
    path: Path | None = None


@dataclass
class Pager:
    """Which of its sources is shown, and where in it. Follows the end of a file until somebody scrolls up."""

    sources: Sequence[Source]
    shown: int = 0
    first: int = 0
    follows: bool = True
    _lines: list[str] = field(default_factory=list)
    _seen: tuple[object, ...] = ()

    @property
    def source(self) -> Source:
        """What is shown now."""
        return self.sources[self.shown]

    def next(self) -> None:
        """The next of the sources, from its end."""
        self.shown = (self.shown + 1) % len(self.sources)
        self.first, self.follows, self._seen = 0, True, ()

    def look(self, width: int) -> bool:
        """Read what is new; True when there is something."""
        path = self.source.path
        mark = (self.shown, width, _mark(path) if path is not None else None)
        if mark == self._seen:
            return False
        self._seen = mark
        text = _end_of(path) if path is not None else self.source.text
        self._lines = wrapped(text, max(1, width))
        return True

    def scroll(self, by: int, height: int) -> None:
        """So many lines down; at the end of a file, follow it again."""
        last = max(0, len(self._lines) - height)
        here = last if self._is_at_end else self.first
        self.first = max(0, min(last, here + by))
        self.follows = self.first >= last

    def draw(self, width: int, height: int) -> list[Line]:
        """Exactly so many lines, the title first."""
        self.look(width)
        room = height - 1
        first = max(0, len(self._lines) - room) if self._is_at_end else self.first
        lines: list[Line] = [fitted([(self.source.title, "bold")], width)]
        lines += [[(line, "")] for line in self._lines[first : first + room]]
        return [*lines, *([[]] * (height - len(lines)))][:height]

    @property
    def _is_at_end(self) -> bool:
        return self.follows and self.source.path is not None


def of_agent(town: Town, name: str) -> Pager:
    """What the agent did, and what the model of its last round prints."""
    sources = [Source(f"Log of {name}", path=service.digest(town, name))]
    numbers = logs.round_numbers(town.logs_dir, name)
    if numbers:
        path = logs.round_log(town.logs_dir, name, numbers[-1])
        sources.append(Source(f"Output of {name}, round {numbers[-1]}", path=path))
    return Pager(sources)


def of_task(town: Town, task: Task) -> Pager:
    """What the model prints, or printed, in the last round that worked on the task. Raises NotFound."""
    name, number = service.round_of_task(town, task)
    path = service.round_path(town, name, number)
    return Pager([Source(f"Task {task.id[:8]}: output of {name}, round {number}", path=path)])


def of_text(title: str, text: str) -> Pager:
    """A text that does not change."""
    return Pager([Source(title, text)], follows=False)


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_size


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - SHOWN_BYTES))
            data = stream.read(SHOWN_BYTES)
            if size > SHOWN_BYTES:
                data = data.partition(b"\n")[2] or data  # from the first line that is whole
    except FileNotFoundError:
        return "There is no log yet."
    except OSError as error:
        return f"The log cannot be read: {error.strerror}"
    return data.decode("utf-8", "replace")
