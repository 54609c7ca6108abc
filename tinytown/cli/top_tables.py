"""The tables of `tt top`: the columns of agents and tasks, how they are sorted, what is shown where it is narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from tinytown import clock
from tinytown.cli.top_cells import Line, Span, age, cut, memory, padded, plain, span_of_time, width_of

Row = dict[str, Any]
GAP = 2
FREE_LEAST = 18  # cells of the column that takes what is left, before others give way to it
SILENT_S = 300.0  # a run that has printed nothing for so long is worth a look

STATES: Mapping[str, tuple[str, str]] = {
    "cold": ("○", "dim"),
    "starting": ("…", "blue"),
    "idle": ("○", ""),
    "working": ("►", "green"),
    "paused": ("‖", "yellow"),
    "draining": ("▼", "yellow"),
    "stopped": ("■", "dim"),
    "error": ("✗", "red"),
    "pending": ("○", ""),
    "assigned": ("…", "blue"),
    "running": ("►", "green"),
    "completed": ("✓", "dim"),
    "failed": ("✗", "red"),
    "cancelled": ("■", "dim"),
}


class Column(NamedTuple):
    """One column. The capital letter in its title is the key that sorts by it; the first key of `rank` comes first.

    Where it is narrow, columns with a low `keep` go first. `most`: cells; None for the one that takes what is left.
    """

    title: str
    cell: Callable[[Row], Span]
    rank: Callable[[Row], Any]
    keep: int
    most: int | None = 12
    right: bool = False

    @property
    def letter(self) -> str:
        """The key that sorts by it."""
        return next((character for character in self.title if character.isupper()), "")


class Order(NamedTuple):
    """By the column with this letter; without one, what is worst (of tasks: newest) comes first."""

    letter: str = ""
    is_reversed: bool = False

    def pressed(self, letter: str) -> Order:
        """The same letter again turns it round."""
        return Order(letter, not self.is_reversed) if letter == self.letter else Order(letter)


def state_of(row: Row, *, icons: bool) -> Span:
    """Icon and word of an agent's or a task's state; what is asked of it comes before what it is."""
    state = str(row["state"])
    icon, style = STATES.get(state, ("?", ""))
    word = state
    if row.get("stopping"):
        word, style = "stopping", "yellow"
    elif row.get("pausing") and state != "paused":
        word, style = "pausing", "yellow"
    elif row.get("closed_at") and state not in {"draining", "stopped"}:
        word, style = "closing", "yellow"
    if row.get("is_alone"):
        icon, style = "!", "red"
    return (f"{icon} {word}" if icons or icon == "!" else word), style


def severity(row: Row) -> tuple[Any, ...]:
    """What is worst comes first: given up, nobody runs it, ended with mail, paused, silent for long."""
    state, mail = row["state"], row["pending"]["total"]
    if state == "error":
        place = 0
    elif row.get("is_alone"):
        place = 1
    elif not row["wanted"] and mail:
        place = 2
    elif state == "paused" or row["pausing"]:
        place = 3
    elif state == "working":
        place = 4
    elif state in {"starting", "draining"} or row["stopping"]:
        place = 5
    else:
        place = 6 if row["wanted"] else 7
    return place, -(row["output_age_s"] or 0.0) if place == 4 else 0.0, -mail, row["name"]


def agents(*, icons: bool) -> list[Column]:
    """The columns of AGENTS."""
    return [
        Column("Agent", lambda r: (plain(r["name"]), "bold"), lambda r: r["name"], 99, 20),
        Column("State", lambda r: state_of(r, icons=icons), lambda r: (str(r["state"]), r["name"]), 98),
        Column("tasK", _task, lambda r: ((r["task"] or {}).get("title") or "\uffff"), 97, None),
        Column("rUn", lambda r: (span_of_time(r["run_s"]), ""), lambda r: _down(r["run_s"]), 6, right=True),
        Column("Output", _output, lambda r: _down(r["output_age_s"]), 7, right=True),
        Column("rounDs", _rounds, lambda r: _down(r["rounds"]), 3, right=True),
        Column("rEstarts", _restarts, lambda r: _down(r["restarts"]), 2, right=True),
        Column("Cpu", lambda r: (_percent(r.get("cpu")), ""), lambda r: _down(r.get("cpu")), 5, right=True),
        Column("Memory", lambda r: (memory(r["memory_bytes"]), ""), lambda r: _down(r["memory_bytes"]), 4, right=True),
        Column("inBox", _inbox, lambda r: _down(r["pending"]["total"]), 8, right=True),
        Column("last output", lambda r: (plain(r["last_output"]), "dim"), _unsorted, 1, None),
    ]  # fmt: skip


def tasks(*, icons: bool) -> list[Column]:
    """The columns of TASKS."""
    return [
        Column("State", lambda r: state_of(r, icons=icons), lambda r: str(r["state"]), 98),
        Column("id", lambda r: (r["id"][:8], "dim"), _unsorted, 3),
        Column("tasK", lambda r: (plain(r["title"]), ""), lambda r: r["title"], 99, None),
        Column("Agent", lambda r: (plain(r["agent"] or "-"), "bold"), lambda r: r["agent"] or "\uffff", 6, 20),
        Column("attEmpts", lambda r: (str(r["attempts"] or 0), ""), lambda r: _down(r["attempts"]), 2, right=True),
        Column("chanGed", _changed, lambda r: _down_text(r["updated_at"]), 5, right=True),
        Column("reason", lambda r: (plain(r["reason"]), "dim"), _unsorted, 1, None),
    ]  # fmt: skip


def arranged(rows: Iterable[Row], columns: Sequence[Column], order: Order, worst: Callable[[Row], Any]) -> list[Row]:
    """The rows in this order; those that are equal in it, the worst first."""
    found = sorted(rows, key=worst)
    column = next((one for one in columns if one.letter and one.letter == order.letter), None)
    if column is not None:
        found.sort(key=column.rank)
    return found[::-1] if order.is_reversed else found


def matching(rows: Iterable[Row], pattern: str) -> list[Row]:
    """Those that contain all of these words, in whatever a person sees of them."""
    words = pattern.lower().split()
    return [row for row in rows if all(word in _haystack(row) for word in words)]


def lines(
    rows: Sequence[Row], columns: Sequence[Column], order: Order, width: int, *, more: str
) -> tuple[Line, list[Line]]:
    """The titles and a line for each row, in the columns for which there is room."""
    cells = [[column.cell(row) for column in columns] for row in rows]
    titled = [column.title + _mark_of(column, order) for column in columns]
    shown, widths = _fit(columns, titled, cells, width)
    titles: Line = []
    for n in shown:
        title = cut(titled[n], widths[n], more="")
        titles += [(padded(title, widths[n], right=columns[n].right), "bold"), (" " * GAP, "")]
    found = []
    for row in cells:
        line: Line = []
        for n in shown:
            line += [(padded(row[n][0], widths[n], right=columns[n].right, more=more), row[n][1]), (" " * GAP, "")]
        found.append(line[:-1])
    return titles[:-1], found


def _mark_of(column: Column, order: Order) -> str:
    if not column.letter or column.letter != order.letter:
        return ""
    return "▲" if order.is_reversed else "▼"


def _fit(
    columns: Sequence[Column], titled: Sequence[str], cells: Sequence[Sequence[Span]], width: int
) -> tuple[list[int], dict[int, int]]:
    """The columns that are shown, and how wide each is. Free ones share what the others leave."""
    natural = {n: max([len(title), *(width_of(row[n][0]) for row in cells)]) for n, title in enumerate(titled)}
    widths = {n: min(natural[n], columns[n].most or natural[n]) for n in natural}
    shown = list(natural)
    while len(shown) > 1:
        free = [n for n in shown if columns[n].most is None]
        fixed = sum(widths[n] for n in shown if n not in free) + GAP * (len(shown) - 1)
        if fixed + sum(min(widths[n], FREE_LEAST) for n in free) <= width:
            break
        shown.remove(min(shown, key=lambda n: columns[n].keep))
    free = [n for n in shown if columns[n].most is None]
    left = width - sum(widths[n] for n in shown if n not in free) - GAP * (len(shown) - 1)
    for n, behind in zip_longest(free, free[1:]):
        most = left if behind is None else min(natural[n], max(left // 2, left - natural[behind]))
        widths[n] = max(1, most)
        left -= widths[n]
    if len(shown) == 1:
        widths[shown[0]] = max(1, width)
    return shown, widths


def _unsorted(_row: Row) -> int:
    return 0


def _task(row: Row) -> Span:
    if row["task"]:
        return f"{row['task']['id'][:8]} {plain(row['task']['title'])}", ""
    return (plain(row["reason"]), "dim") if row["reason"] else ("-", "dim")


def _output(row: Row) -> Span:
    is_silent = row["state"] == "working" and (row["output_age_s"] or 0.0) > SILENT_S
    return age(row["output_age_s"]), "yellow" if is_silent else ""


def _rounds(row: Row) -> Span:
    return f"{row['rounds']}/{row['rounds_max']}" if row["rounds_max"] else str(row["rounds"]), ""


def _restarts(row: Row) -> Span:
    return str(row["restarts"]), "yellow" if row["restarts"] else ""


def _inbox(row: Row) -> Span:
    mail = row["pending"]
    text = str(mail["total"])
    text += f", {mail['urgent']} urgent" if mail["urgent"] else ""
    return text + (f", {mail['dead']} dead" if mail["dead"] else ""), "yellow" if mail["urgent"] or mail["dead"] else ""


def _changed(row: Row) -> Span:
    return age(clock.seconds_since(row["updated_at"])), ""


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}%"


def _down(value: float | None) -> float:
    """Much comes first, and what is not known last."""
    return -value if value is not None else 1.0


def _down_text(value: str) -> tuple[int, ...]:
    return tuple(-ord(character) for character in value)


def _haystack(row: Row) -> str:
    task = row.get("task") or {}
    given = (row.get("name"), row.get("nickname"), row.get("role"), row.get("cli"), row.get("title"), row.get("agent"))
    rest = (row.get("state"), row.get("reason"), task.get("title"), task.get("id"), row["id"], row.get("column"))
    return " ".join(str(part) for part in (*given, *rest, *(row.get("tags") or ())) if part).lower()
