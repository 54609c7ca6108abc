"""Markdown as far as missions read it: which part of a text is said, and which is code, quoted, struck or a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

HIDDEN = "\0"  # stands where something was left out, so that what is left does not meet

_MARKERS = re.compile(r"(?:[ \t]*(?:[-*+]|[0-9]{1,9}[.)])(?=[ \t]))*[ \t]*")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])(?=[ \t]|$)")
_FENCE = re.compile(r"(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*)", re.DOTALL)
_TICKS = re.compile(r"(?<!\\)`+")
_STRUCK = re.compile(r"~~[^~]+~~")
_PARAGRAPHS = re.compile(r"(\n[ \t]*\n)")
_TAG = re.compile(r"<(pre|code|del|s)\b[^<>]*>", re.IGNORECASE)
_CLOSING = {tag: re.compile(rf"</{tag}[ \t]*>", re.IGNORECASE) for tag in ("pre", "code", "del", "s")}
_TASKLIST = "[tasklist]"  # what GitHub once wrote behind a fence around a list that is no code


@dataclass(frozen=True, slots=True)
class Line:
    """A line as written, and what of it is said: without comments; empty in code and quotes."""

    text: str
    said: str


def lines(text: str) -> list[Line]:
    """The lines of a text, without their ends."""
    split = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    last_end = max((n for n, line in enumerate(split) if "-->" in line), default=-1)
    scan = _Scan()
    return [Line(line, scan.said(line, may_open=n < last_end)) for n, line in enumerate(split)]


def said(text: str) -> str:
    """What the text says in words: no code, quotes, comments, struck passages."""
    joined = _without_tags("\n".join(line.said for line in lines(text)))
    parts = _PARAGRAPHS.split(joined)
    return "".join(_STRUCK.sub(HIDDEN, without_code(part)) for part in parts)


def without_code(text: str) -> str:
    """The text with each code span overwritten, in the same length."""
    runs = [found.span() for found in _TICKS.finditer(text)]
    later: dict[int, list[int]] = {}  # length of a run of backticks -> such runs, the first one last
    for n in reversed(range(len(runs))):
        later.setdefault(runs[n][1] - runs[n][0], []).append(n)
    out, at, n = [], 0, 0
    while n < len(runs):
        start, end = runs[n]
        same = later[end - start]
        while same and same[-1] <= n:
            same.pop()
        if same:
            n = same.pop()
            out += [text[at:start], HIDDEN * (runs[n][1] - start)]
            at = runs[n][1]
        n += 1
    return "".join([*out, text[at:]])


def width(text: str) -> int:
    """Columns of the white space that the line begins with; a tab goes to the next multiple of four."""
    expanded = text.expandtabs(4)
    return len(expanded) - len(expanded.lstrip(" "))


class _Scan:
    """Goes down the lines and knows what they are inside of."""

    def __init__(self) -> None:
        self._fence = ""  # the run of characters that opened it
        self._is_shown = False  # what is in the fence
        self._in_comment = False
        self._in_list = False
        self._in_code = False  # an indented block
        self._was_blank = True

    def said(self, line: str, *, may_open: bool) -> str:
        """What the next line says. `may_open`: a comment that opens in it is closed further down."""
        if self._fence:
            return self._fenced(line)
        if self._in_comment:
            end = line.find("-->")
            if end < 0:
                return ""
            self._in_comment = False
            line = line[end + 3 :]
        if self._is_indented_code(line):
            return ""
        content = line[_markers(line) :]
        if fence := _FENCE.fullmatch(content):
            self._fence, self._is_shown = fence[1], fence[2].startswith(_TASKLIST)
            return ""
        return "" if content.startswith(">") else self._without_comments(line, may_open=may_open)

    def _fenced(self, line: str) -> str:
        closing = line.strip()
        if closing.startswith(self._fence) and not closing.strip(self._fence[0]):
            self._fence = ""
            return ""
        return line if self._is_shown else ""

    def _is_indented_code(self, line: str) -> bool:
        if not line.strip():
            self._was_blank = True
            return False
        indent = width(line)
        if _LIST_ITEM.match(line) and (self._in_list or indent < 4):
            self._in_list = True
        elif indent < 2 and self._was_blank:
            self._in_list = False
        self._in_code = indent >= 4 and not self._in_list and (self._was_blank or self._in_code)
        self._was_blank = False
        return self._in_code

    def _without_comments(self, line: str, *, may_open: bool) -> str:
        if "<!--" not in line:
            return line
        kept, at = [], 0
        masked = without_code(line)
        while (start := masked.find("<!--", at)) >= 0:
            end = masked.find("-->", start + 4)
            if end >= 0:
                kept += [line[at:start], " "]
                at = end + 3
                continue
            is_block = not line[_markers(line) : start].strip()  # goes on to its end, wherever that is
            if not is_block and not may_open:
                break
            self._in_comment = True
            return "".join([*kept, line[at:start]])
        return "".join([*kept, line[at:]])


def _markers(line: str) -> int:
    """Where the line's content begins, behind white space and the marks of lists."""
    found = _MARKERS.match(line)
    return found.end() if found else 0


def _without_tags(text: str) -> str:
    return "".join(_outside_tags(text)) if "<" in text else text


def _outside_tags(text: str) -> Iterator[str]:
    at, unclosed = 0, set()
    for opening in _TAG.finditer(text):
        tag = opening[1].lower()
        if opening.start() < at or tag in unclosed:
            continue
        closing = _CLOSING[tag].search(text, opening.end())
        if closing is None:
            unclosed.add(tag)
            continue
        yield text[at : opening.start()] + HIDDEN
        at = closing.end()
    yield text[at:]
