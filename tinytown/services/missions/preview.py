"""Who would get what, were the mission started now. Changes nothing."""

from __future__ import annotations

from typing import Any

from tinytown import clock
from tinytown.domain.work import Job, WorkItem
from tinytown.errors import RedisAway
from tinytown.missions import matching, texts
from tinytown.missions.decide import decide
from tinytown.missions.snapshot import MissionView, Snapshot, Worker
from tinytown.services import servers
from tinytown.services.missions import workers
from tinytown.services.missions.starting import Prepared
from tinytown.town import Town

_SHOWN = ("id", "number", "title", "kind", "source_ref", "depends_on", "outside", "owner_role", "priority", "verify")


def assignment(town: Town, prepared: Prepared) -> dict[str, str] | None:
    """Item id -> who would work on it and when, or why nobody; None when Redis does not run, so that nobody knows."""
    if town.store.connector.is_managed and not servers.is_listening(town):
        return None
    try:
        team = [known.worker for known in workers.read(town).values()]
    except RedisAway:
        return None
    view = MissionView(prepared.run, {item.id: item for item in prepared.items})
    found: dict[str, str] = {}
    for step in decide(Snapshot([view], agents=team), clock.now()).decisions:
        if step.item is not None and step.task is not None:
            name = next(worker.name for worker in team if worker.id == step.task.agent_id)
            found[step.item.id] = f"{name}, at once"
        elif step.item is not None and step.item.reason:
            found[step.item.id] = f"nobody: {step.item.reason}"
    return {item.id: found.get(item.id) or _later(item, team) for item in prepared.items}


def shape(prepared: Prepared, who: dict[str, str] | None) -> dict[str, Any]:
    """As JSON: `tt mission start --dry-run --json`; `assignment` of an item is null when nobody knows."""
    items = [
        {name: value for name, value in item.to_dict().items() if name in _SHOWN}
        | {"assignment": None if who is None else who[item.id]}
        for item in prepared.items
    ]
    return {
        "dry_run": True,
        "policy": prepared.run.policy.to_dict(),
        "warnings": prepared.warnings,
        "work_items": items,
    }


def _later(item: WorkItem, team: list[Worker]) -> str:
    """Whom it would go to when its turn comes, as things stand."""
    scores = [(matching.fit(worker, item, Job.WORK), worker) for worker in team if not worker.is_ended]
    best = max((score for score, _worker in scores), default=matching.UNFIT)
    if best == matching.UNFIT:
        role = matching.wanted(item)
        return f"nobody fits: tt spawn {role} --role {role}" if role else "nobody fits: tt spawn worker"
    return f"{texts.some(worker.name for score, worker in scores if score == best)}, when its turn comes"
