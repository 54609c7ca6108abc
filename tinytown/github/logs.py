"""The end of a build's log, as somebody who is to repair it wants to read it. Pure."""

from __future__ import annotations

import re

LINES = 60
LINE_CHARS = 300
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[@-Z\\-_])")
_STAMP = re.compile(r"^\ufeff?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z ?")
_ERROR = "##[error]"


def trimmed(text: str) -> str:
    """At most 60 lines, up to the last error that a runner marked: what follows is its tidying up.

    Without time stamps, colours and empty ends; of a line that redraws itself, the last state.
    """
    lines = [_clean(line) for line in text.split("\n")]
    errors = [number for number, line in enumerate(lines) if line.startswith(_ERROR)]
    if errors:
        lines = lines[: errors[-1] + 1]
    while lines and not lines[-1]:
        lines.pop()
    shown = lines[-LINES:]
    while shown and not shown[0]:
        shown.pop(0)
    return "\n".join(shown)


def _clean(line: str) -> str:
    line = _ANSI.sub("", _STAMP.sub("", line)).rstrip()
    line = line.rpartition("\r")[2]
    return line if len(line) <= LINE_CHARS else f"{line[: LINE_CHARS - 1]}…"
