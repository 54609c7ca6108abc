"""An overview that is kept: after the first look only what the events name is read again.

Every change of an agent, a task or a mission is an event, so nothing is missed; what has no event (output, CPU) is
asked for by `vitals`. Once in a while, and after a gap in the history, all of it is read anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tinytown import clock
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.services import shapes, status
from tinytown.services.missions import status as missions
from tinytown.services.missions.status import Report
from tinytown.services.overview import cards, crew, needs
from tinytown.services.overview.scene import Scene
from tinytown.services.status import AgentStatus
from tinytown.store.events import NEVER
from tinytown.town import Town

OPEN_MOST = 5000
DONE_MOST = 200
ENDED_MISSIONS = 5
EVENTS = 50
ANEW_S = 60.0
PAGE = 1000  # events of one look; as many of them are taken for a gap
_OPEN = (TaskState.RUNNING, TaskState.ASSIGNED, TaskState.PENDING)
_ENDED = (TaskState.FAILED, TaskState.COMPLETED, TaskState.CANCELLED)
Rows = dict[str, dict[str, Any]]


class Live:
    """See the module; all of it is read anew every `anew_s` seconds. For one reader.

    Every method raises RedisAway, and goes on where it was afterwards.
    """

    def __init__(self, town: Town, anew_s: float = ANEW_S) -> None:
        self._town = town
        self._anew_s = anew_s
        self._last = NEVER
        self._anew_at = 0.0
        self._tasks: dict[str, Task] = {}
        self._agents: dict[str, AgentStatus] = {}
        self._reports: dict[str, Report] = {}
        self._rows: dict[str, Rows] = {"tasks": {}, "agents": {}, "missions": {}}
        self._cards: Rows = {}
        self._surroundings: tuple[Any, ...] = ()
        self._head: dict[str, Any] = {}
        self._needs: list[needs.Need] = []

    def read(self) -> dict[str, Any]:
        """The whole, as it is now."""
        self.changes()
        shown = {name: list(rows.values()) for name, rows in self._rows.items()}
        vitals = {row["id"]: row for row in self.vitals()}
        shown["agents"] = [row | vitals[row["id"]] for row in shown["agents"]]
        shown["tasks"].sort(key=lambda row: row["updated_at"], reverse=True)
        shown["agents"].sort(key=lambda row: row["name"])
        last = [{**event, "id": place} for place, event in self._town.store.events.newest(EVENTS)]
        return self._head | shown | {"needs": self._needs, "events": last, "last_event": self._last}

    def changes(self) -> dict[str, Any]:
        """What is different since the last call: rows, ids that are gone, needs (if they are), counts, events."""
        history, is_due = self._town.store.events, clock.monotonic() >= self._anew_at
        last = history.last_id() if is_due else self._last  # before all else: what happens meanwhile is told again
        news = history.after(self._last) if self._head else []
        scene = self._anew() if is_due or len(news) >= PAGE or _is_of_all(news) else self._again(news)
        found = self._differences(scene)
        self._last = news[-1][0] if news else last
        return found | {"events": [{**event, "id": place} for place, event in news], "last_event": self._last}

    def vitals(self) -> list[dict[str, Any]]:
        """Of each agent what changes without an event."""
        return [crew.vitals(self._town, one) for one in self._agents.values()]

    # Reading

    def _anew(self) -> Scene:
        town = self._town
        self._anew_at = 0.0  # should Redis go away in the middle, it is all to be read again
        seen = status.read(town)
        self._agents = {one.agent.id: one for one in seen.agents}
        ids = town.store.tasks.newest(_OPEN, OPEN_MOST) + town.store.tasks.newest(_ENDED, DONE_MOST)
        self._tasks = {task.id: task for task in town.store.tasks.many(ids)}
        stored = [run for _raw, run in town.store.missions.many(town.store.missions.all_ids())]
        ended = sorted((run for run in stored if run.state.is_terminal), key=lambda run: run.ended_at or "")
        wanted = [run.id for run in stored if not run.state.is_terminal] + [run.id for run in ended[-ENDED_MISSIONS:]]
        self._reports = {report.run.id: report for report in missions.reports(town, wanted)}
        self._cards = {}
        self._anew_at = clock.monotonic() + self._anew_s
        return self._scene(seen)

    def _again(self, news: Iterable[tuple[str, Mapping[str, Any]]]) -> Scene:
        """What these events name."""
        town = self._town
        named: dict[str, set[str]] = {"agent": set(), "task": set(), "mission": set()}
        for _place, event in news:
            for noun, ids in named.items():
                if identifier := event.get(f"{noun}_id"):
                    ids.add(str(identifier))
        seen = status.read(town, only=named["agent"])
        _replace(self._agents, named["agent"], {one.agent.id: one for one in seen.agents})
        fresh = {task.id: task for task in town.store.tasks.many(sorted(named["task"]))} if named["task"] else {}
        _replace(self._tasks, named["task"], fresh)
        self._doubt(named["task"], named["agent"])
        if named["mission"]:
            reports = missions.reports(town, sorted(named["mission"]))
            _replace(self._reports, named["mission"], {report.run.id: report for report in reports})
        self._drop_old()
        return self._scene(seen)

    def _doubt(self, task_ids: set[str], agent_ids: set[str]) -> None:
        """Cards that rest on these tasks and agents are made anew."""
        for task in self._tasks.values():
            before = task.depends_on or ()
            if task.id in task_ids or task.assigned_to in agent_ids or not task_ids.isdisjoint(before):
                self._cards.pop(task.id, None)

    def _drop_old(self) -> None:
        ended = [task for task in self._tasks.values() if task.state.is_terminal]
        if len(ended) > 2 * DONE_MOST * len(_ENDED):
            ended.sort(key=lambda task: task.created_at)
            for task in ended[: -DONE_MOST * len(_ENDED)]:
                del self._tasks[task.id]

    def _scene(self, seen: status.TownStatus) -> Scene:
        town = self._town
        agents = sorted(self._agents.values(), key=lambda one: one.agent.name)
        clis = sorted({one.agent.cli for one in agents})
        holds = town.store.read(*(("GET", town.store.keys.hold(cli)) for cli in clis)) if clis else []
        return Scene(
            at=clock.stamp(),
            status=seen._replace(agents=agents),
            tasks=self._tasks,
            missions=list(self._reports.values()),
            holds={cli: raw for cli, raw in zip(clis, holds, strict=True) if raw},
            auto_claim=town.config.agent.auto_claim,
        )

    # Showing

    def _differences(self, scene: Scene) -> dict[str, Any]:
        rows: dict[str, Rows] = {
            "tasks": self._dealt(scene),
            "agents": {one.agent.id: crew.member(scene, one) for one in scene.status.agents},
            "missions": {report.run.id: cards.mission(report) for report in scene.missions},
        }
        found: dict[str, Any] = {}
        for name, fresh in rows.items():
            before = self._rows[name]
            found[name] = [row for identifier, row in fresh.items() if before.get(identifier) != row]
            found[f"{name}_gone"] = [identifier for identifier in before if identifier not in fresh]
        stuck = [scene.tasks[i] for i, row in rows["tasks"].items() if row["column"] == cards.NEEDS_YOU]
        asked = needs.of(self._town, scene, stuck)
        if asked != self._needs:
            found["needs"] = asked
        self._rows, self._needs, self._head = rows, asked, self._heading(scene)
        return found | self._head

    def _dealt(self, scene: Scene) -> Rows:
        """A card for each task; those that nothing happened to are as they were."""
        surroundings = (scene.status.supervisor, scene.holds, scene.roles)
        if surroundings != self._surroundings:
            self._surroundings, self._cards = surroundings, {}
        known = self._cards
        self._cards = {task.id: known.get(task.id) or cards.card(scene, task) for task in scene.tasks.values()}
        return self._cards

    def _heading(self, scene: Scene) -> dict[str, Any]:
        shape = shapes.town(scene.status._replace(agents=[]))
        counts = shape["tasks"]
        ended = sum(task.state.is_terminal for task in scene.tasks.values())
        hidden = sum(counts[state.value] for state in _ENDED) - ended
        parts = {name: shape[name] for name in ("town", "root", "redis", "supervisor", "conductor")}
        return parts | {"at": scene.at, "counts": counts, "done_hidden": max(0, hidden)}


def _replace(known: dict[str, Any], ids: set[str], fresh: Mapping[str, Any]) -> None:
    """Of these ids what is there now."""
    for identifier in ids:
        if identifier in fresh:
            known[identifier] = fresh[identifier]
        else:
            known.pop(identifier, None)


def _is_of_all(news: Iterable[tuple[str, Mapping[str, Any]]]) -> bool:
    """Something happened to the town as a whole: reset, restored, a CLI held."""
    nouns = ("agent_id", "task_id", "mission_id", "message_id")
    return any(not any(event.get(noun) for noun in nouns) for _place, event in news)
