"""What the tables of tasks.toml mean. A plan that contradicts itself is refused as a whole, with the line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from tinytown.domain.states import TaskState
from tinytown.domain.task import PLAN_TAG
from tinytown.errors import Invalid, brief
from tinytown.services.plan.toml_file import NAME, Document, Table

LONGEST_ID = 200
META = ("description", "default_agent")
TASKS = "tasks"


@dataclass(frozen=True, slots=True)
class Entry:
    """One task of the plan. `agent`: None is nobody said, "" is nobody at all."""

    id: str
    description: str
    agent: str | None = None
    status: TaskState = TaskState.PENDING
    tags: tuple[str, ...] = ()
    parent: str | None = None
    depends_on: tuple[str, ...] = ()


KEYS = tuple(field.name for field in dataclasses.fields(Entry))
_TEXTS = ("id", "description", "agent", "status", "parent")
_LISTS = ("tags", "depends_on")


@dataclass(frozen=True, slots=True)
class Plan:
    """The file's tasks in their order; `description` and `default_agent` are those of [meta]."""

    entries: list[Entry]
    description: str | None = None
    default_agent: str | None = None

    def agent_of(self, entry: Entry) -> str | None:
        """Who is to have the task."""
        return (self.default_agent if entry.agent is None else entry.agent) or None

    def in_order(self) -> list[Entry]:
        """Each task after those that it depends on, else as in the file. Raises Invalid for a circle."""
        return _sorted(self.entries, lambda entry: entry.depends_on, "wait for each other")


def read(document: Document) -> Plan:
    """The plan. Raises Invalid for the first thing that is wrong."""
    meta = document.rest.get("meta", {})
    if not isinstance(meta, dict):
        raise Invalid(f"{NAME}: 'meta' must be a table: [meta].")
    _check_meta(meta)
    _check_tables(document.rest)
    lines: dict[str, int | None] = {}
    entries = []
    for number, table in enumerate(document.tasks):
        line = document.line_of(number)
        entry = _entry(table, _where(line, number))
        if entry.id in lines:
            first = f" (first in line {lines[entry.id]})" if lines[entry.id] else ""
            text = f"{_where(line, number)}: task '{entry.id}' is there twice{first}."
            raise Invalid(text, "Give each an id of its own.")
        lines[entry.id] = line
        entries.append(entry)
    _check_references(entries, lines, document)
    _sorted(entries, lambda entry: (entry.parent,) if entry.parent else (), "are parents of each other")
    plan = Plan(entries, meta.get("description"), meta.get("default_agent"))
    plan.in_order()
    return plan


def _check_meta(meta: Table) -> None:
    for key, value in meta.items():
        near = None if key in META else _nearest(key, META)
        if key in META and not isinstance(value, str):
            raise Invalid(f"{NAME}: '{key}' in [meta] must be a text.")
        if near:
            raise Invalid(f"{NAME}: unknown key '{brief(key)}' in [meta].", f"Did you mean '{near}'?")


def _check_tables(rest: Table) -> None:
    """Other tables are somebody else's, unless they look like tasks that would be passed over in silence."""
    for key in rest.keys() - {"meta"}:
        if near := _nearest(key.lower(), [TASKS]):
            raise Invalid(f"{NAME}: unknown key '{brief(key)}'.", f"Did you mean '{near}'?")


def _where(line: int | None, number: int) -> str:
    return f"{NAME}:{line}" if line else f"{NAME}: task number {number + 1}"


def _entry(table: Table, where: str) -> Entry:
    named = table.get("id")
    who = f"{where}: task '{brief(named)}'" if isinstance(named, str) else where
    for key, value in table.items():
        if key in _TEXTS:
            fits = isinstance(value, str)
        elif key in _LISTS:
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        else:
            _refuse_key(key, who)
        if not fits:
            raise Invalid(f"{who}: '{key}' must be a {'text' if key in _TEXTS else 'list of texts'}.")
    for key in ("id", "description"):
        if not table.get(key, "").strip():
            raise Invalid(f"{who}: a task needs {'an id' if key == 'id' else 'a description'}.")
    values: dict[str, Any] = {**table, "depends_on": _unique(table.get("depends_on", []))}
    values["tags"] = _unique(tag for text in table.get("tags", []) if (tag := text.strip()))
    values["status"] = _status(table.get("status", "pending"), who)
    _check_texts(values, who)
    return Entry(**values)


def _check_texts(values: Mapping[str, Any], who: str) -> None:
    if len(values["id"]) > LONGEST_ID or not values["id"].isprintable():
        raise Invalid(f"{who}: an id is one line of at most {LONGEST_ID} printable characters.")
    if any(tag.startswith(PLAN_TAG) for tag in values["tags"]):
        raise Invalid(f"{who}: tags that begin with '{PLAN_TAG}' are made by the town.", "Leave the tag out.")


def _refuse_key(key: str, who: str) -> NoReturn:
    near = _nearest(key, KEYS)
    remedy = f"Did you mean '{near}'?" if near else f"Known: {', '.join(KEYS)}."
    raise Invalid(f"{who}: unknown key '{brief(key)}'.", remedy)


def _nearest(text: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches  # noqa: PLC0415  only an error needs it

    return next(iter(get_close_matches(text, known, n=1, cutoff=0.7)), None)


def _status(text: str, who: str) -> TaskState:
    try:
        return TaskState(text)
    except ValueError as error:
        raise Invalid(f"{who}: unknown status '{brief(text)}'.", f"Valid: {', '.join(TaskState)}") from error


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _check_references(entries: Sequence[Entry], known: Mapping[str, object], document: Document) -> None:
    for number, entry in enumerate(entries):
        for what, others in (("depends on", entry.depends_on), ("has the parent", (entry.parent,))):
            for other in others:
                if other is not None and other not in known:
                    near = _nearest(other, known)
                    where = _where(document.line_of(number), number)
                    raise Invalid(
                        f"{where}: task '{entry.id}' {what} '{brief(other)}', which is not in the plan.",
                        f"Did you mean '{near}'?" if near else None,
                    )


def _sorted(entries: Sequence[Entry], before: Callable[[Entry], Iterable[str]], what: str) -> list[Entry]:
    """Depth first, without recursion: a chain may have ten thousand links."""
    by_id = {entry.id: entry for entry in entries}
    done: dict[str, Entry] = {}
    for entry in entries:
        path: dict[str, Iterator[str]] = {} if entry.id in done else {entry.id: iter(before(entry))}
        while path:
            top = next(reversed(path))
            below = next((other for other in path[top] if other not in done), None)
            if below is None:
                done[top] = by_id[top]
                del path[top]
            elif below in path:
                circle = [*list(path)[list(path).index(below) :], below]
                raise Invalid(f"{NAME}: tasks {what}: {_arrows(circle)}", "Take one of these links out.")
            else:
                path[below] = iter(before(by_id[below]))
    return list(done.values())


def _arrows(circle: list[str]) -> str:
    if len(circle) > 12:
        circle = [*circle[:6], "...", *circle[-5:]]
    return " -> ".join(circle)
