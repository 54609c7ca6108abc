"""What `tt top` shows, as lines: pure, of one reading of the town. The screen and `--once` draw the same lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from tinytown import clock
from tinytown.cli import top_tables
from tinytown.cli.top_cells import Line, age, bar, cut, fitted, length, padded, plain, spread
from tinytown.cli.top_tables import Order, Row

NEEDS_MOST = 5
RATE_OVER_S = 0.8  # a rate of two readings that are closer is noise
WORST_FIRST = Order()
Key = tuple[str, str]  # what a line is about: its kind, its id


class Frame(NamedTuple):
    """What is drawn for. Without a height everything is shown; `icons`: for a terminal, not for a pipe."""

    width: int
    height: int | None = None
    icons: bool = True

    @property
    def more(self) -> str:
        """What stands at the end of what was cut."""
        return "…" if self.icons else "..."


class Page(NamedTuple):
    """Lines, and what each is about, if it can be selected."""

    lines: list[Line]
    keys: list[Key | None]
    scroll: int  # the first row of the table that is shown


@dataclass(frozen=True)
class View:
    """The town and how it is looked at. `cpu`: percent of one core by agent id; `table`: agents or tasks."""

    town: dict[str, Any]
    cpu: dict[str, float] = field(default_factory=dict)
    order: Order = WORST_FIRST
    pattern: str = ""
    table: str = "agents"
    selected: Key | None = None
    scroll: int = 0

    @cached_property
    def rows(self) -> list[Row]:
        """Agents or tasks as they are listed."""
        if self.table == "tasks":
            found = top_tables.matching(self.town["tasks"], self.pattern)
            return top_tables.arranged(found, top_tables.tasks(icons=True), self.order, _newest)
        is_down = not self.town["supervisor"]["running"]
        known = [
            {**row, "cpu": self.cpu.get(row["id"]), "is_alone": is_down and _waits_for_process(row)}
            for row in self.town["agents"]
        ]
        found = top_tables.matching(known, self.pattern)
        return top_tables.arranged(found, top_tables.agents(icons=True), self.order, top_tables.severity)

    @cached_property
    def needs(self) -> list[dict[str, Any]]:
        """What needs a person, as far as it is shown."""
        return top_tables.matching(self.town["needs"], self.pattern)[:NEEDS_MOST]

    @cached_property
    def keys(self) -> list[Key]:
        """Everything that can be selected, from top to bottom."""
        kind = "task" if self.table == "tasks" else "agent"
        return [
            *(("need", need["id"]) for need in self.needs),
            *((kind, row["id"]) for row in self.rows),
            *(("mission", one["id"]) for one in missions_shown(self.town)),
        ]

    def moved(self, by: int) -> View:
        """Another line selected, as many further down; the first or last one at the edges."""
        keys = self.keys
        if not keys:
            return replace(self, selected=None)
        outside = len(keys) if by < 0 else -min(by, 1)
        here = keys.index(self.selected) if self.selected in keys else outside
        return self.looking(selected=keys[max(0, min(len(keys) - 1, here + by))])

    def looking(self, *, selected: Key | None = None, scroll: int | None = None) -> View:
        """The same rows with another one selected, or from another one on: they are not sorted again."""
        fresh = replace(
            self,
            selected=self.selected if selected is None else selected,
            scroll=self.scroll if scroll is None else scroll,
        )
        for name in ("rows", "needs", "keys"):  # what is cached
            if name in self.__dict__:
                fresh.__dict__[name] = self.__dict__[name]
        return fresh

    def shows(self, town: dict[str, Any], cpu: dict[str, float]) -> View:
        """A later reading; the selection stays on what it is about, or at its place when that is gone."""
        before, fresh = self.keys, replace(self, town=town, cpu=cpu)
        keys = fresh.keys
        if self.selected in keys or not keys:
            return fresh if keys else replace(fresh, selected=None)
        place = before.index(self.selected) if self.selected in before else 0
        return replace(fresh, selected=keys[min(place, len(keys) - 1)])

    @property
    def chosen(self) -> tuple[str, Row] | None:
        """What is selected: its kind, and the need, agent, task or mission itself."""
        kind, identifier = self.selected or ("", "")
        rows = self.rows if kind in {"agent", "task"} else self.town.get(f"{kind}s", ())
        row = next((row for row in rows if row["id"] == identifier), None)
        return (kind, row) if row is not None else None


class Meter:
    """Turns the processor time of two readings into percent of a core."""

    def __init__(self, over_s: float = RATE_OVER_S) -> None:
        self._over_s = over_s
        self._base: tuple[str, dict[str, float]] | None = None
        self._percent: dict[str, float] = {}

    def take(self, town: dict[str, Any]) -> dict[str, float]:
        """Percent by agent id, since the reading before; none of those whose process is another one."""
        used = {row["id"]: row["cpu_s"] for row in town["agents"] if row["cpu_s"] is not None}
        if self._base is None:
            self._base = (town["at"], used)
            return {}
        seconds = (clock.parse(town["at"]) - clock.parse(self._base[0])).total_seconds()
        if seconds >= self._over_s:
            before = self._base[1]
            self._percent = {
                one: max(0.0, (now - before[one]) * 100 / seconds) for one, now in used.items() if one in before
            }
            self._base = (town["at"], used)
        return self._percent


def page(view: View, frame: Frame) -> Page:
    """Everything but the last lines of the screen (status and keys)."""
    is_low = frame.height is not None and frame.height < 6
    found: list[tuple[Line, Key | None]] = [(line, None) for line in head(view, frame)[: 1 if is_low else 2]]
    needs, missions = needs_block(view, frame), missions_block(view.town, frame)
    events = events_block(view.town, frame)
    rows = view.rows
    scroll = 0
    if frame.height is not None:
        room = frame.height - len(found)
        needs, missions, events, table_room = shared(room, needs, missions, events, len(rows))
        scroll = scrolled(view, rows, table_room)
        rows = rows[scroll : scroll + table_room]
    found += [*needs, *table_block(view, rows, frame), *missions, *events]
    lines = [fitted(line, frame.width, more=frame.more) for line, _key in found]
    return Page(lines[: frame.height], [key for _line, key in found][: frame.height], scroll)


Block = list[tuple[Line, Key | None]]


def shared(room: int, needs: Block, missions: Block, events: Block, rows: int) -> tuple[Block, Block, Block, int]:
    """The lines of a small screen: the table has at least four, then what needs a person, missions, events."""
    left = room - 1 - min(rows, 4)  # its titles, some of its rows
    needs = needs[: max(0, left)] if left >= 2 else []
    left -= len(needs)
    missions = missions[: max(2, min(left - 3, room // 5))] if left >= 2 else []
    left -= len(missions)
    wanted = min(left, max(2, room // 5))
    wanted = max(wanted, left - max(0, rows - 4))  # what the table does not need
    events = [events[0], *events[max(1, len(events) - wanted + 1) :]] if wanted >= 2 and len(events) > 1 else []
    return needs, missions, events, max(0, room - 1 - len(needs) - len(missions) - len(events))


def scrolled(view: View, rows: Sequence[Row], room: int) -> int:
    """The first row that is shown, so that the selected one is."""
    last = max(0, len(rows) - room)
    place = next((n for n, row in enumerate(rows) if view.selected and row["id"] == view.selected[1]), None)
    first = view.scroll
    if place is not None and room > 0:
        first = min(max(first, place - room + 1), place)
    return max(0, min(first, last))


def head(view: View, frame: Frame) -> list[Line]:
    """The town, its supervisor, and how much there is of everything."""
    town = view.town
    running = town["supervisor"]["running"]
    said = (
        f"supervisor running (pid {town['supervisor']['pid']})" if running else "no supervisor: tt supervise --detach"
    )
    left: Line = [(plain(town["town"]), "bold"), ("  ", ""), (said, "green" if running else "red")]
    right: Line = [(f"only '{plain(view.pattern)}'  " if view.pattern else "", "yellow"), (local(town["at"]), "dim")]
    agents: dict[str, int] = {}
    for row in town["agents"]:
        agents[row["state"]] = agents.get(row["state"], 0) + 1
    told = ", ".join(f"{count} {state}" for state, count in sorted(agents.items()))
    counts = town["counts"]
    tasks = ", ".join(f"{counts[name]} {name}" for name in ("running", "assigned", "pending") if counts[name])
    over = ", ".join(f"{counts[name]} {name}" for name in ("failed", "completed", "cancelled") if counts[name])
    line = f"agents {len(town['agents'])}" + (f" ({told})" if told else "")
    line += f" · tasks: {', '.join(part for part in (tasks, over) if part) or 'none'}"
    line += f" · backlog {counts['backlog']}" if counts["backlog"] else ""
    line += f" · conductor's mail {town['conductor']['pending']}" if town["conductor"]["pending"] else ""
    return [spread(left, right, frame.width), [(line if frame.icons else line.replace("·", "|"), "")]]


def needs_block(view: View, frame: Frame) -> Block:
    """What waits for a person, most work behind it first; nothing when nothing does."""
    count, shown = len(view.town["needs"]), view.needs
    if not count:
        return []
    more = f", {len(shown) or 'none'} of them shown" if len(shown) < count else ""
    found: Block = [([(f"NEEDS YOU ({count}{more})", "yellow")], None)]
    if not shown:
        return found
    behind = [f"{need['behind']} behind" if need["behind"] else "" for need in shown]
    remedies = [plain(need["remedy"] or "") for need in shown]
    most = min(max(map(len, remedies)), max(12, frame.width * 2 // 5))
    for need, wait, remedy in zip(shown, behind, remedies, strict=True):
        ago = age(clock.seconds_since(need["since"])) if need["since"] else "-"
        first: Line = [(f"  {padded(ago, 4, right=True)}  ", "dim"), (padded(wait, max(map(len, behind))), "yellow")]
        room = frame.width - length(first) - most - 4
        if room < 12:
            room, most = frame.width - length(first) - 2, 0
        text = f"{plain(need['title'])}: {plain(need['reason'])}"
        line = [*first, ("  ", ""), (padded(text, max(1, room), more=frame.more), "")]
        tail: Line = [("  ", ""), (cut(remedy, most, more=frame.more), "bold")] if most else []
        found.append(([*line, *tail], ("need", need["id"])))
    return found


def table_block(view: View, rows: Sequence[Row], frame: Frame) -> Block:
    """AGENTS or TASKS."""
    is_tasks = view.table == "tasks"
    make = top_tables.tasks if is_tasks else top_tables.agents
    inner = frame.width - 2
    titles, lines = top_tables.lines(rows, make(icons=frame.icons), view.order, inner, more=frame.more)
    kind = "task" if is_tasks else "agent"
    found: Block = [([("  ", ""), *titles], None)]
    found += [([("  ", ""), *line], (kind, row["id"])) for line, row in zip(lines, rows, strict=True)]
    if not rows:
        hint = "tt assign AGENT 'What is to be done'" if is_tasks else "tt spawn NAME"
        empty = f"no {kind}s match '{plain(view.pattern)}'" if view.pattern else f"no {kind}s yet: {hint}"
        found.append(([(f"  {empty}", "dim")], None))
    return found


def missions_shown(town: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that go on, then those that have ended."""
    return sorted(town["missions"], key=lambda one: one["state"] in {"completed", "failed"})


def missions_block(town: dict[str, Any], frame: Frame) -> Block:
    """One line each: how far it is, in a bar and in words."""
    missions = missions_shown(town)
    if not missions:
        return []
    cells = max(8, min(30, frame.width // 6))
    found: Block = [([("MISSIONS", "bold")], None)]
    for one in missions:
        state = "stopped" if one["stopped"] and one["state"] not in {"completed", "failed"} else one["state"]
        line: Line = [(f"  {one['id'][:8]}  ", "dim"), (padded(state, 9), _MISSION_STYLES.get(state, "")), (" ", "")]
        parts = progress(one)
        signs = _SIGNS if frame.icons else _PLAIN_SIGNS
        drawn = bar([(parts[name], signs[name], _PART_STYLES[name]) for name in parts], cells)
        told = ", ".join(f"{count} {name}" for name, count in parts.items() if count or name in {"done", "running"})
        line += [("[", ""), *drawn, ("] ", ""), (f"{told} of {len(one['items'])}", ""), ("  ", "")]
        about = "{source_ref}: {title}".format_map(one["items"][0]) if one["items"] else ""
        found.append(([*line, (plain(one["reason"] or about), "dim")], ("mission", one["id"])))
    return found


def progress(mission: dict[str, Any]) -> dict[str, int]:
    """Items by what people ask about. Failed: a task of it failed, and a person must look."""
    parts = dict.fromkeys(("done", "running", "blocked", "failed", "waiting", "cancelled"), 0)
    for item in mission["items"]:
        status = item["status"]
        if status == "blocked" and item["needs_person"] and item["job"]:
            status = "failed"
        parts[_PART_OF.get(status, "waiting") if status not in parts else status] += 1
    return parts


def events_block(town: dict[str, Any], frame: Frame) -> Block:
    """What happened last, the newest at the end."""
    names = {row["id"]: row["name"] for row in town["agents"]}
    shown = town["events"] if frame.height is not None else town["events"][-10:]
    if not shown:
        return []
    found: Block = [([("EVENTS", "bold")], None)]
    for event in shown:
        who = names.get(event.get("agent_id") or "") or "town"
        kind = plain(event.get("event_type")).replace("_", " ")
        said = _OWN_NAME.sub("", plain(event.get("message")))  # who it is stands before it
        kind = "" if kind == "agent state changed" else f"{kind}: "
        line = [(f"  {local(event.get('timestamp'))}  ", "dim"), (plain(who), "bold"), ("  ", "")]
        found.append(([*line, (kind, ""), (said, "dim")], None))
    return found


def text_of(lines: Iterable[Line]) -> list[str]:
    """The lines without their styles."""
    return ["".join(text for text, _style in line).rstrip() for line in lines]


def _waits_for_process(row: Row) -> bool:
    return bool(row["wanted"]) and not row["foreground"] and row["pid"] is None


def _newest(row: Row) -> tuple[Any, ...]:
    return _COLUMNS.get(row["column"], 9), tuple(-ord(character) for character in row["updated_at"])


def local(at: str | None) -> str:
    """The time of day here."""
    try:
        return clock.parse(at or "").astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "--:--:--"


_OWN_NAME = re.compile(r"^Agent '[^']*':? ")
_COLUMNS = {"needs_you": 0, "running": 1, "checking": 2, "waiting": 3, "done": 4}
_PART_OF = {"assigned": "running", "pending": "waiting", "ready": "waiting"}
_SIGNS = {"done": "█", "running": "▓", "blocked": "!", "failed": "✗", "waiting": "·", "cancelled": "-"}
_PLAIN_SIGNS = {"done": "#", "running": ">", "blocked": "!", "failed": "x", "waiting": ".", "cancelled": "-"}
_PART_STYLES = {
    "done": "green",
    "running": "blue",
    "blocked": "yellow",
    "failed": "red",
    "waiting": "dim",
    "cancelled": "dim",
}
_MISSION_STYLES = {"running": "green", "blocked": "yellow", "stopped": "yellow", "failed": "red", "completed": "dim"}
