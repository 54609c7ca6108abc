"""tasks.toml as text: read quickly, changed line by line, so that comments, order and other tables stay.

A file of plain `[[tasks]]` blocks is read by two expressions (tomllib needs a second for 10,000 tasks). Each
block that has more than `key = "text"` and `key = ["text", ...]` goes to tomllib, and so does the whole file
when its blocks cannot be told apart. What an edit made is read again and compared before anybody gets it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinytown import toml
from tinytown.errors import Invalid

NAME = "tasks.toml"
Table = dict[str, Any]

_PLAIN = r'[^"\\\x00-\x08\x0a-\x1f\x7f]*'
_ESCAPE = r'\\(?:["\\bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})'
_TEXT = rf"""(?:"{_PLAIN}(?:{_ESCAPE}{_PLAIN})*"|'[^'\x00-\x08\x0a-\x1f\x7f]*')"""
_LIST = rf"\[[ \t]*(?:{_TEXT}[ \t]*(?:,[ \t]*{_TEXT}[ \t]*)*,?[ \t]*)?\]"
_END = r"[ \t]*(?:#[^\x00-\x08\x0a-\x1f\x7f]*)?\r?\Z"
_PAIR = re.compile(rf"[ \t]*([A-Za-z0-9_-]+)[ \t]*=[ \t]*({_TEXT}|{_LIST}){_END}")
_TEXTS = re.compile(_TEXT)
_BLANK = re.compile(_END)
_HEADER = re.compile(rf"[ \t]*\[\[[ \t]*tasks[ \t]*\]\]{_END}")
_FALSE_HEADERS = 10  # lines of one text that look like a header
_TABLE = re.compile(r"[ \t]*\[")


class _Odd(Exception):
    """The blocks of this text cannot be told apart line by line."""


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. `starts`: the line (from 0) of each task's header; None when only TOML itself knows."""

    lines: list[str]
    rest: Table
    tasks: list[Table]
    starts: list[int] | None

    def line_of(self, number: int) -> int | None:
        """The line, from 1, in which task `number` begins."""
        return None if self.starts is None else self.starts[number] + 1


def parse(text: str) -> Document:
    """Read the text. Raises Invalid when it is not TOML, or `tasks` is no array of tables."""
    lines = text.split("\n")
    with contextlib.suppress(_Odd, ValueError):
        return _by_blocks(lines)
    try:
        data = toml.decode(text)
    except ValueError as error:
        raise Invalid(f"{NAME}: not valid TOML: {error}", "Correct the file.") from error
    tasks = data.pop("tasks", [])
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise Invalid(f"{NAME}: 'tasks' must be tables: [[tasks]].", "See an example with: tt plan --init")
    return Document(lines, data, tasks, None)


def edited(document: Document, changes: Mapping[int, Mapping[str, str]], added: Sequence[Table]) -> tuple[str, bool]:
    """The text with these values of tasks (number -> key -> value) changed and these tasks appended.

    Also whether comments and layout were kept, which an unusual file does not allow. Raises Invalid when the result
    would not say exactly that.
    """
    wanted = [{**task, **changes.get(n, {})} for n, task in enumerate(document.tasks)] + list(added)
    if document.starts is not None:
        text = _spliced(document, changes, added)
        if _says(text, document.rest, wanted):
            return text, True
    import tomli_w  # noqa: PLC0415  rare

    text = tomli_w.dumps({**document.rest, "tasks": wanted})
    if not _says(text, document.rest, wanted):
        raise Invalid(f"{NAME} cannot be rewritten without changing what it says.", "Write [[tasks]] blocks.")
    return text, False


def quoted(value: str | Sequence[str]) -> str:
    """The value as TOML; a text of several lines keeps them."""
    if not isinstance(value, str):
        return f"[{', '.join(quoted(item) for item in value)}]"
    line = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if "\n" not in value:
        return line
    return '"""\n' + line[1:-1].replace("\\n", "\n").replace("\\t", "\t") + '"""' if "\\\\" not in line else line


def block(task: Table) -> list[str]:
    """The lines of a new task."""
    return ["[[tasks]]", *(line for key, value in task.items() for line in f"{key} = {quoted(value)}".split("\n"))]


def _says(text: str, rest: Table, tasks: list[Table]) -> bool:
    try:
        found = parse(text)
    except Invalid:
        return False
    return found.tasks == tasks and found.rest == rest


def _by_blocks(lines: list[str]) -> Document:
    if lines[-1].endswith("\r"):  # a line end only where a line feed follows
        raise _Odd
    starts = [n for n, line in enumerate(lines) if line.lstrip().startswith("[[") and _HEADER.match(line)]
    bounds = [*starts, len(lines)]
    rest = _loads(lines[: bounds[0]])
    if "tasks" in rest:
        raise _Odd
    tasks, true_starts, n = [], [], 0
    while n < len(starts):
        true_starts.append(bounds[n])
        values = _simple(lines, bounds[n] + 1, bounds[n + 1])
        if values is None:
            values, more, n = _complex_at(lines, bounds, n)
            if rest.keys() & more.keys():
                raise _Odd
            rest |= more
        else:
            n += 1
        tasks.append(values)
    return Document(lines, rest, tasks, true_starts)


def _complex_at(lines: list[str], bounds: list[int], n: int) -> tuple[Table, Table, int]:
    """The block at bound `n`, which may go on behind a bound that is part of a text; and the next bound."""
    for m in range(n + 1, min(n + 1 + _FALSE_HEADERS, len(bounds))):
        with contextlib.suppress(ValueError):
            return *_complex(lines[bounds[n] : bounds[m]]), m
    raise _Odd


def _loads(lines: list[str]) -> Table:
    return toml.decode("\n".join([*lines, ""]))


def _simple(lines: list[str], start: int, end: int) -> Table | None:
    """The values of a block that has only texts and lists of texts; None for any other."""
    values: Table = {}
    for line in lines[start:end]:
        pair = _PAIR.match(line)
        if pair is None:
            if _BLANK.match(line):
                continue
            return None
        key, value = pair.groups()
        if key in values:
            return None
        values[key] = [_text(item) for item in _TEXTS.findall(value)] if value[0] == "[" else _text(value)
    return values


def _text(source: str) -> str:
    escaped = source[0] == '"' and "\\" in source
    return json.loads(source, strict=False) if escaped else source[1:-1]


def _complex(lines: list[str]) -> tuple[Table, Table]:
    """The task of this block, and the other tables that follow it."""
    more = _loads(lines)
    tasks = more.pop("tasks")
    if len(tasks) != 1:
        raise _Odd
    return tasks[0], more


def _spliced(document: Document, changes: Mapping[int, Mapping[str, str]], added: Sequence[Table]) -> str:
    lines, starts = document.lines, document.starts or []
    ends = [*starts, len(lines)][1:]
    out = lines[: starts[0] if starts else len(lines)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        own = lines[start:end]
        out += _changed(own, document.tasks[number], changes[number]) if number in changes else own
    if not added:
        return "\n".join(out)
    while out and not out[-1].strip():
        out.pop()
    line_end = "\r" if lines[0].endswith("\r") else ""
    for task in added:
        out += [*([line_end] if out else []), *(line + line_end for line in block(task))]
    return "\n".join([*out, ""])


def _changed(lines: list[str], task: Table, values: Mapping[str, str]) -> list[str]:
    """The block with these values: in their old places, new ones after the last plain line (else after the header)."""
    for places in _plain_lines(lines):
        out = list(lines)
        below = places[-1]
        for key, value in values.items():
            place = next((n for n in places[1:] if key in task and _key(out[n]) == key), None)
            if place is None:
                end = "\r" if lines[0].endswith("\r") else ""
                out.insert(below + 1, f"{key} = {quoted(value)}{end}")
                below += 1
            else:
                pair = _PAIR.match(out[place])
                assert pair is not None
                out[place] = out[place][: pair.start(2)] + quoted(value) + out[place][pair.end(2) :]
        if _is(out, task | dict(values)):
            return out
    return lines  # the comparison of the whole will find it


def _plain_lines(lines: list[str]) -> Iterator[list[int]]:
    """The header and the lines `key = value` of the task itself, not those of a table below it; guess after guess.

    What looks like the head of a table may be a line of a text.
    """
    plain = [n for n in range(1, len(lines)) if _PAIR.match(lines[n])]
    heads = [n for n in range(1, len(lines)) if _TABLE.match(lines[n])]
    for end in (*heads[:_FALSE_HEADERS], len(lines)):
        yield [0, *(n for n in plain if n < end)]
    yield [0]


def _key(line: str) -> str | None:
    pair = _PAIR.match(line)
    return None if pair is None else pair[1]


def _is(lines: list[str], task: Table) -> bool:
    found = _simple(lines, 1, len(lines))
    if found is not None:
        return found == task
    try:
        return _complex(lines)[0] == task
    except (_Odd, ValueError):
        return False
