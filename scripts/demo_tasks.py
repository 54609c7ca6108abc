"""The eight tasks of the demo, and what must be there when they are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

AGENTS = ("backend", "frontend", "reviewer")
NAMES = "Rosa\nAda\nMoss\nIda"
NOTE = "as it is: $(touch oops) 'quoted' & ünïcode 🏘️"


@dataclass(frozen=True)
class Job:
    """A task for an agent; `check` reads its file or its result, and says what is wrong, if anything."""

    agent: str
    text: str
    check: Callable[[Path, str], str | None]

    @property
    def title(self) -> str:
        """The text in one short line."""
        line = " ".join(self.text.split())
        return line if len(line) <= 34 else line[:31] + "..."


def _file(name: str, wanted: str) -> Callable[[Path, str], str | None]:
    def check(root: Path, _result: str) -> str | None:
        path = root / name
        if not path.exists():
            return f"{name} is missing"
        return None if path.read_text() == wanted else f"{name} holds {path.read_text()!r}, not {wanted!r}"

    return check


def _result(wanted: str) -> Callable[[Path, str], str | None]:
    def check(_root: Path, result: str) -> str | None:
        return None if result == wanted else f"the result is {result!r}, not {wanted!r}"

    return check


def _table(size: int) -> str:
    rows = range(1, size + 1)
    return "".join(" ".join(f"{a * b:5d}" for b in rows) + "\n" for a in rows)


_SORTED = "".join(f"{name}\n" for name in sorted(NAMES.split()))

# In the order in which they are given. The long ones are there to be killed in.
FIRST = (
    Job("reviewer", "write prices.txt: 19.99 5.01 12.5", _file("prices.txt", "19.99 5.01 12.5\n")),
    Job("frontend", "table 9 to docs/table.txt", _file("docs/table.txt", _table(9))),
    Job("backend", f"write names.txt: {NAMES}", _file("names.txt", _SORTED)),
    Job("backend", "wait 4", _result("waited 4 s")),
)
THEN = (
    Job("frontend", f"append NOTES.md: {NOTE}", _file("NOTES.md", f"{NOTE}\n")),
    Job("backend", "sort names.txt", _file("names.txt", _SORTED)),
    Job("reviewer", "sum prices.txt", _result("the sum of 3 numbers in prices.txt is 37.5")),
    Job("frontend", "wait 5", _result("waited 5 s")),
)
