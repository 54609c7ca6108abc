"""Missions as stored: records, work items, watches, the last lines of what happened, and notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tinytown.domain.mission import Mission
from tinytown.domain.record import Record, load
from tinytown.domain.watch import Watch
from tinytown.domain.work import WorkItem

if TYPE_CHECKING:
    from tinytown.store import Store

R = TypeVar("R", bound=Record)
_AT_ONCE = 50  # missions in one round trip
_PARTS = 4  # commands of one mission
NOTES_READ = 10


@dataclass(frozen=True, slots=True)
class MissionFile:
    """A mission with its items (in the order of their numbers) and watches, by id, and the texts they are stored as.

    `raws` holds items and watches by their ids, for expectations. `unreadable`: ids of items and watches whose texts
    are no records of this mission. `notes`: the last ones, `by: text`, oldest first.
    """

    raw: str
    run: Mission
    items: dict[str, WorkItem] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    raws: dict[str, str] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Missions:
    """Read missions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys

    def active_ids(self) -> list[str]:
        """Ids of the missions that the scheduler works on, sorted."""
        return sorted(self._store.call(lambda r: r.smembers(self._keys.missions_active)))

    def active_count(self) -> int:
        """How many missions the scheduler works on."""
        return int(self._store.call(lambda r: r.scard(self._keys.missions_active)))

    def all_ids(self) -> list[str]:
        """Ids of all missions, oldest first."""
        found: list[str] = self._store.call(lambda r: r.zrange(self._keys.missions_all, 0, -1))
        return found

    def get(self, mission_id: str) -> tuple[str, Mission] | None:
        """Raw text and record; None when there is none (or none that can be read)."""
        found = self.many([mission_id])
        return found[0] if found else None

    def many(self, mission_ids: Iterable[str]) -> list[tuple[str, Mission]]:
        """Raw texts and records of those that are there and can be read, in order; in one round trip."""
        wanted = list(mission_ids)
        raws = self._store.read(*(("GET", self._keys.mission(i)) for i in wanted)) if wanted else []
        return [(raw, run) for i, raw in zip(wanted, raws, strict=True) if (run := read_mission(raw, i)) is not None]

    def file(self, mission_id: str) -> MissionFile | None:
        """All of one mission; None when there is no record."""
        found = self.files([mission_id])
        return found[0] if found else None

    def files(self, mission_ids: Iterable[str]) -> list[MissionFile]:
        """All of these missions, in order; those that are gone or cannot be read are left out.

        A mission may change between its record and its items: a step expects the texts of all that it rests on.
        """
        wanted = list(mission_ids)
        found = []
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            answers = self._store.read(*(command for i in some for command in self._commands(i)))
            for n, mission_id in enumerate(some):
                raw, work, watch, notes = answers[_PARTS * n : _PARTS * (n + 1)]
                run = read_mission(raw, mission_id)
                if run is not None:
                    found.append(_file(raw, run, work, watch, notes))
        return found

    def item(self, mission_id: str, item_id: str) -> tuple[str, WorkItem] | None:
        """Raw text and record of one work item; None when there is none (or none that can be read)."""
        raw = self._store.call(lambda r: r.hget(self._keys.mission_work(mission_id), item_id))
        item = _read(WorkItem, raw, item_id, mission_id)
        return None if item is None else (raw, item)

    def events(self, mission_id: str, count: int) -> list[dict[str, Any]]:
        """The last `count` lines of what happened, `{"at", "text", "item"}`, newest first."""
        return self._lines(self._keys.mission_events(mission_id), count)

    def notes(self, mission_id: str, count: int) -> list[dict[str, Any]]:
        """The last `count` notes, `{"at", "by", "text"}`, newest first."""
        return self._lines(self._keys.mission_notes(mission_id), count)

    def _lines(self, key: str, count: int) -> list[dict[str, Any]]:
        texts = self._store.call(lambda r: r.lrange(key, 0, count - 1)) if count > 0 else []
        return [line for text in texts if (line := _line(text)) is not None]

    def _commands(self, mission_id: str) -> tuple[tuple[str | int, ...], ...]:
        keys = self._keys
        return (
            ("GET", keys.mission(mission_id)),
            ("HGETALL", keys.mission_work(mission_id)),
            ("HGETALL", keys.mission_watch(mission_id)),
            ("LRANGE", keys.mission_notes(mission_id), 0, NOTES_READ - 1),
        )


def read_mission(raw: str | None, mission_id: str) -> Mission | None:
    """The record in this text; None when there is none, it cannot be read or is another mission's."""
    if raw is None:
        return None
    try:
        run = Mission.from_json(raw)
    except ValueError:
        return None
    return run if run.id == mission_id else None


def _file(
    raw: str, run: Mission, work: Mapping[str, str], watch: Mapping[str, str], notes: Sequence[str]
) -> MissionFile:
    items, lost = _records(WorkItem, work, run.id)
    watches, also_lost = _records(Watch, watch, run.id)
    in_order = {item.id: item for item in sorted(items.values(), key=lambda item: (item.number, item.id))}
    lines = [line for text in reversed(notes) if (line := _line(text)) is not None]
    said = tuple(f"{line.get('by')}: {line.get('text')}" for line in lines)
    return MissionFile(raw, run, in_order, watches, {**work, **watch}, (*lost, *also_lost), said)


def _records(kind: type[R], texts: Mapping[str, str], mission_id: str) -> tuple[dict[str, R], Sequence[str]]:
    found = {i: _read(kind, raw, i, mission_id) for i, raw in texts.items()}
    good = {i: record for i, record in found.items() if record is not None}
    return good, sorted(texts.keys() - good.keys())


def _read(kind: type[R], raw: str | None, identifier: str, mission_id: str) -> R | None:
    if raw is None:
        return None
    try:
        record: Any = kind.from_json(raw)
    except ValueError:
        return None
    return record if (record.id, record.mission_id) == (identifier, mission_id) else None


def _line(text: str) -> dict[str, Any] | None:
    try:
        line = load(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
