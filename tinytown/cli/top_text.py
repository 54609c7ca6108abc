"""The single lines of `tt top`: what is selected, in full; the keys for it; that Redis is away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinytown.cli import top_tables
from tinytown.cli.top_actions import offers
from tinytown.cli.top_cells import Line, fitted, length, plain, spread
from tinytown.cli.top_view import View, local

Row = dict[str, Any]
Chosen = tuple[str, Row]


def foot(hints: Sequence[tuple[str, str]], always: Sequence[tuple[str, str]], width: int) -> Line:
    """Keys and words; those that work `always` to the right, without their words where it is narrow."""
    first = _keys(hints)
    rest = _keys(always)
    if length([*first, *rest]) > width:
        rest = _keys([(key, "") for key, _word in always])
    return spread(fitted(first, max(0, width - length(rest) - 1)), rest, width)


def _keys(hints: Sequence[tuple[str, str]]) -> Line:
    return [span for key, word in hints for span in ((key, "bold"), (f" {word}  " if word else " ", ""))]


def hints(chosen: Chosen | None) -> list[tuple[str, str]]:
    """The keys that do something to what is selected."""
    if chosen is None:
        return []
    kind, row = chosen
    found = [(offer.key, offer.word) for offer in offers(kind, row)]
    if kind == "mission":
        found.insert(0, ("⏎", "items"))
    elif kind != "need" or row["task_id"] or row["agent"]:
        found.insert(0, ("⏎", "log"))
    return [*found, ("w", "why")] if subject(kind, row) else found


def always(view: View) -> list[tuple[str, str]]:
    """The keys that always do something."""
    clear = [("Esc", "show all")] if view.pattern else []
    other = "tasks" if view.table == "agents" else "agents"
    return [*clear, ("/", "filter"), ("Tab", other), ("?", "help"), ("q", "quit")]


def pager_hints(several: bool) -> list[tuple[str, str]]:  # noqa: FBT001  of one sort or of two
    """The keys over a text."""
    return [("↑↓ PgUp PgDn Home End", "scroll"), *([("Tab", "other log")] if several else []), ("Esc", "back")]


def subject(kind: str, row: Row) -> str | None:
    """The id or name that `why` is asked about."""
    if kind in {"agent", "task"}:
        return str(row["id"])
    return row.get("task_id") or row.get("agent") if kind == "need" else None


def letters(table: str) -> set[str]:
    """The keys that sort this table."""
    columns = top_tables.tasks(icons=True) if table == "tasks" else top_tables.agents(icons=True)
    return {column.letter for column in columns if column.letter}


def status(said: tuple[str, str], width: int) -> Line:
    """The line above the keys."""
    text, style = said
    return fitted([(plain(text), style)], width)


def away(why: str, view: View | None, width: int) -> Line:
    """That what is shown is old, and why."""
    old = f"; this is how it was at {local(view.town['at'])}" if view is not None else ""
    return fitted([(f"Redis is away{old}.  {plain(why)}", "red")], width)


def detail(kind: str, row: Row) -> str:
    """What is selected, with what its line has no room for."""
    if kind == "agent":
        parts = [row["name"], row["cli"], row["role"] and f"role {row['role']}", row["pid"] and f"pid {row['pid']}"]
        said = row["reason"] or row["last_output"]
        return "  ".join(str(part) for part in (*parts, said and f"- {said}") if part)
    remedy = f"  Remedy: {row['remedy']}" if row["remedy"] else ""
    if kind == "mission":
        merges = "merges by itself" if row["auto_merge"] else "merges nothing"
        return f"Mission {row['id'][:8]} ({row['state']}, {merges})  {row['reason'] or ''}{remedy}"
    title = row["title"] if kind == "need" else f"{row['id'][:8]} {row['title']}"
    return f"{title}: {row['reason'] or row.get('state') or ''}{remedy}"


def items(mission: Row) -> str:
    """A mission's work items, one under the other."""
    lines = [f"{mission['state']}" + (f": {mission['reason']}" if mission["reason"] else ""), ""]
    for item in mission["items"]:
        who = f", {item['job']} by {item['agent']}" if item["agent"] and item["job"] else ""
        lines.append(f"{item['number']:>3}  {item['source_ref']}  {item['title']}")
        reason = f": {item['reason']}" if item["reason"] else ""
        lines.append(f"     {item['status']}{who}{reason}")
        if item["remedy"]:
            lines.append(f"     Remedy: {item['remedy']}")
    return "\n".join(lines)
