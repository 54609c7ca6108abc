"""Change one key of a TOML file and leave every other character of it, comments included, as it is.

Edits are guesses about lines; only one whose result decodes to exactly what is wanted counts.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from tinytown import toml

Path = tuple[str, ...]
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"\s*\[[^\[\]].*\]\s*(#.*)?")


def change(text: str, path: Path, new: str | bool | None) -> str | None:  # noqa: FBT001  a value of the file
    """The text with `new` at `path` (None: without that key); None when no edit of lines does it."""
    wanted = _without_empty(_wanted(toml.decode(text), path, new))
    return next((edited for edited in _edits(text, path, new) if _without_empty(_decoded(edited)) == wanted), None)


def quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _edits(text: str, path: Path, new: str | bool | None) -> Iterator[str]:  # noqa: FBT001  as above
    if text and not text.endswith("\n"):
        text += "\n"
    lines = text.splitlines(keepends=True)
    tables = list(_tables(lines))
    for number, (line, table) in enumerate(zip(lines, tables, strict=True)):
        if _leaf(table, line) == path:
            yield "".join([*lines[:number], *_replaced(line, new), *lines[number + 1 :]])
    if new is None:
        yield "".join(line for line, table in zip(lines, tables, strict=True) if table[: len(path)] != path)
        return
    row = f"{_key(path[-1:])} = {_dumped(new)}\n"
    ends = [n + 1 for n, table in enumerate(tables) if table == path[:-1] and lines[n].strip()[:1] not in {"", "#"}]
    if ends or len(path) == 1:
        end = ends[-1] if ends else 0 if any(tables) else len(lines)
        gap = "\n" if not ends and any(tables) else ""
        yield "".join([*lines[:end], row, gap, *lines[end:]])
    if len(path) > 1:
        gap = "\n" if text.strip() else ""
        yield f"{text}{gap}[{_key(path[:-1])}]\n{row}"
        end = tables.count(())
        yield "".join([*lines[:end], f"{_key(path)} = {_dumped(new)}\n", *lines[end:]])


def _tables(lines: list[str]) -> Iterator[Path]:
    """To which table each line belongs, a header to its own."""
    current: Path = ()
    for line in lines:
        if _HEADER.fullmatch(line.rstrip()):
            current = _only_path(_decoded(line)) or current
        yield current


def _leaf(table: Path, line: str) -> Path | None:
    inner = _only_path(_decoded(line))
    return None if inner is None or _HEADER.fullmatch(line.rstrip()) else table + inner


def _only_path(decoded: Any) -> Path | None:
    """The way down through tables of one key each."""
    found: list[str] = []
    while isinstance(decoded, dict) and len(decoded) == 1:
        ((key, decoded),) = decoded.items()
        found.append(key)
    return tuple(found) or None


def _replaced(line: str, new: str | bool | None) -> list[str]:  # noqa: FBT001  as above
    """The line with another value; its key as it was written, and the comment behind."""
    if new is None:
        return []
    before = _decoded(line)
    ends = [match.start() for match in re.finditer("#", line)]
    comment = next((line[end:].rstrip() for end in ends if _decoded(line[:end]) == before), "")
    equals = next(m.end() for m in re.finditer("=", line) if _decoded(line[: m.end()] + " 0") is not None)
    return [f"{line[:equals]} {_dumped(new)}{'  ' if comment else ''}{comment}\n"]


def _wanted(stored: dict[str, Any], path: Path, new: str | bool | None) -> dict[str, Any]:  # noqa: FBT001  as above
    changed = copy.deepcopy(stored)
    table = changed
    for name in path[:-1]:
        table = table.setdefault(name, {})
    if new is None:
        table.pop(path[-1], None)
    else:
        table[path[-1]] = new
    return changed


def _without_empty(decoded: Any) -> Any:
    """Without tables that hold nothing: a table whose last key went may go or stay."""
    if not isinstance(decoded, dict):
        return decoded
    rows = {key: _without_empty(inner) for key, inner in decoded.items()}
    return {key: inner for key, inner in rows.items() if inner != {}}


def _decoded(text: str) -> dict[str, Any] | None:
    try:
        return toml.decode(text)
    except ValueError:
        return None


def _key(path: Path) -> str:
    return ".".join(name if _BARE.fullmatch(name) else quoted(name) for name in path)


def _dumped(new: str | bool) -> str:  # noqa: FBT001  as above
    return str(new).lower() if isinstance(new, bool) else quoted(new)
