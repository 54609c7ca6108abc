"""Everything that the page and `tt top` show, read at once: what needs a person, tasks, agents, missions, events."""

from __future__ import annotations

from typing import Any

from tinytown import clock
from tinytown.domain.states import TaskState
from tinytown.services import shapes, status
from tinytown.services.missions import status as missions
from tinytown.services.missions.status import Report
from tinytown.services.overview import cards, crew, needs
from tinytown.services.overview.scene import Scene
from tinytown.town import Town

OPEN_MOST = 5000
DONE_MOST = 200
ENDED_MISSIONS = 5
EVENTS = 50
_OPEN = (TaskState.RUNNING, TaskState.ASSIGNED, TaskState.PENDING)
_ENDED = (TaskState.FAILED, TaskState.COMPLETED, TaskState.CANCELLED)


def read(town: Town) -> dict[str, Any]:
    """The town as JSON, in a number of round trips that does not grow with it. Raises RedisAway.

    `needs` (most work behind it first), `agents`, `tasks` (newest change first), `missions`, `events` (oldest first);
    see docs/townhall.md for the fields.
    """
    last = town.store.events.last_id()  # before all else: what happens meanwhile is told again
    scene = look(town)
    shape = shapes.town(scene.status)
    counts = shape["tasks"]
    shown = {
        "town": town.name,
        "root": str(town.root),
        "at": scene.at,
        "last_event": last,
        "redis": shape["redis"],
        "supervisor": shape["supervisor"],
        "conductor": shape["conductor"],
        "counts": counts,
        "needs": needs.of(town, scene),
        "agents": [crew.member(town, scene, one) for one in scene.status.agents],
        "tasks": [cards.card(scene, task) for task in scene.tasks],
        "missions": [cards.mission(report) for report in scene.missions],
        "events": [{**event, "id": place} for place, event in town.store.events.newest(EVENTS)],
    }
    ended = sum(task.state.is_terminal for task in scene.tasks)
    return shown | {"done_hidden": sum(counts[state.value] for state in _ENDED) - ended}


def look(town: Town) -> Scene:
    """Read what all parts rest on."""
    seen = status.read(town)
    open_ids = town.store.tasks.newest(_OPEN, OPEN_MOST)
    ended_ids = town.store.tasks.newest(_ENDED, DONE_MOST)
    tasks = sorted(town.store.tasks.many([*open_ids, *ended_ids]), key=lambda task: task.updated_at, reverse=True)
    clis = sorted({one.agent.cli for one in seen.agents})
    holds = town.store.read(*(("GET", town.store.keys.hold(cli)) for cli in clis)) if clis else []
    return Scene(
        at=clock.stamp(),
        status=seen,
        tasks=tasks,
        missions=_missions(town),
        holds={cli: raw for cli, raw in zip(clis, holds, strict=True) if raw},
        auto_claim=town.config.agent.auto_claim,
    )


def _missions(town: Town) -> list[Report]:
    """Those that have not ended, and the last that have."""
    stored = [run for _raw, run in town.store.missions.many(town.store.missions.all_ids())]
    ended = sorted((run for run in stored if run.state.is_terminal), key=lambda run: run.ended_at or "")
    wanted = [run.id for run in stored if not run.state.is_terminal] + [run.id for run in ended[-ENDED_MISSIONS:]]
    return missions.reports(town, wanted)
