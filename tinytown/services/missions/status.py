"""Missions as people and programs look at them. Fields of the JSON shapes are added, never renamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinytown import ids
from tinytown.domain.mission import Mission
from tinytown.domain.watch import Watch, WatchKind, WatchStatus
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.errors import Unavailable
from tinytown.missions import references, watching
from tinytown.services import supervision
from tinytown.services.missions import finding
from tinytown.store.missions import MissionFile
from tinytown.town import Town

EVENTS_SHOWN = 5
NOTES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Report:
    """A mission with its last lines and notes (newest first), and the names of the agents, by id."""

    file: MissionFile
    names: Mapping[str, str]
    events: Sequence[dict[str, Any]] = ()
    notes: Sequence[dict[str, Any]] = ()

    @property
    def run(self) -> Mission:
        """The mission's record."""
        return self.file.run

    @property
    def counts(self) -> Counter[WorkStatus]:
        """How many items are where."""
        return Counter(item.status for item in self.file.items.values())

    @property
    def next_wake(self) -> str | None:
        """When something outside is looked at next."""
        dues = (watch.next_due_at for watch in self.file.watches.values() if watch.status is not WatchStatus.DONE)
        return min(dues, default=None) if self.run.is_active else None


@dataclass(frozen=True, slots=True)
class Overview:
    """What was asked for. `ended`: how many more there are.

    `is_supervised`: a supervisor runs. `stands_still`: nobody works on missions nevertheless; why, and what would help.
    """

    reports: list[Report] = field(default_factory=list)
    ended: int = 0
    is_supervised: bool = True
    stands_still: tuple[str, str] | None = None


def one(town: Town, reference: str) -> Overview:
    """The mission of this id or beginning of one. Raises NotFound, Conflict (ambiguous)."""
    return _overview(town, [finding.mission(town, reference)])


def all_of_them(town: Town, *, ended: bool = False) -> Overview:
    """The missions that have not ended (with `ended`: all), oldest first."""
    runs = [run for _raw, run in town.store.missions.many(town.store.missions.all_ids())]
    wanted = [run.id for run in runs if ended or not run.state.is_terminal]
    return _overview(town, town.store.missions.files(wanted), len(runs) - len(wanted))


def busy(file: MissionFile) -> int:
    """How many items have a task."""
    return sum(item.status.has_task for item in file.items.values())


def why(file: MissionFile, item: WorkItem, at_work: int | None = None) -> tuple[str | None, str | None]:
    """Why nobody works on the item now, and what would help; None where there is nothing to say.

    `at_work` is what `busy` counts, for who asks about many items.
    """
    run, is_idle = file.run, not item.status.has_task and not item.status.is_terminal
    if item.status.has_task and run.stopped_at is not None and not run.state.is_terminal:
        return "runs to its end; what comes of it is taken up when the mission goes on", run.remedy
    if is_idle and (run.state.is_terminal or run.stopped_at is not None):
        return run.blocked_reason or "its mission has ended", run.remedy
    return (item.reason, item.remedy) if item.reason or not is_idle else _its_turn(file, item, at_work)


def mission_shape(report: Report, *, work: bool = False, watch: bool = False) -> dict[str, Any]:
    """One mission; `work_items` with `work`, `watch_items` with `watch`."""
    run, file, counts = report.run, report.file, report.counts
    policy = run.policy.to_dict()
    looks = Counter(one.status for one in file.watches.values())
    shape: dict[str, Any] = {
        "id": run.id,
        "state": run.state.value,
        "objective_refs": [objective_shape(ref) for ref in run.objectives],
        "repositories": run.repositories,
        "policy": policy,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "ended_at": run.ended_at,
        "stopped_at": run.stopped_at,
        "blocked_reason": run.blocked_reason,
        "remedy": run.remedy,
        "next_wake_at": report.next_wake,
        "work": {"total": len(file.items), **{status.value: counts[status] for status in WorkStatus}},
        "watch": {"total": len(file.watches), **{status.value: looks[status] for status in WatchStatus}},
        "unreadable": list(file.unreadable),
        "events": list(report.events),
        "notes": list(report.notes),
    }
    if work:
        at_work = busy(file)
        shape["work_items"] = [item_shape(report, item, at_work) for item in file.items.values()]
    if watch:
        shape["watch_items"] = [watch_shape(one) for one in file.watches.values()]
    return shape


def objective_shape(ref: str) -> dict[str, Any]:
    """`{"type": "issue", "owner", "repo", "number"}` or `{"type": "doc", "path"}`."""
    if not references.is_reference(ref):
        return {"type": "doc", "path": ref}
    repository, number = references.split(ref)
    owner, _, repo = repository.partition("/")
    return {"type": "issue", "owner": owner, "repo": repo, "number": number}


def item_shape(report: Report, item: WorkItem, at_work: int | None = None) -> dict[str, Any]:
    """One work item as it is stored, but for its long text, with its agent's name and why nobody works on it."""
    reason, remedy = why(report.file, item, at_work)
    stored = {name: value for name, value in item.to_dict().items() if name != "body"}
    return stored | {"agent": report.names.get(item.assigned_to or ""), "reason": reason, "remedy": remedy}


def watch_shape(watch: Watch) -> dict[str, Any]:
    """One watch as it is stored, but for the long report of what it found."""
    return {name: value for name, value in watch.to_dict().items() if name != "report"}


def reports(town: Town, mission_ids: list[str]) -> list[Report]:
    """These missions, without their lines and notes."""
    names = {agent_id: name for name, agent_id in town.store.agents.names().items()}
    return [Report(file, names) for file in town.store.missions.files(mission_ids)]


def _overview(town: Town, files: Iterable[MissionFile], ended: int = 0) -> Overview:
    names = {agent_id: name for name, agent_id in town.store.agents.names().items()}
    missions = town.store.missions
    found = [
        Report(file, names, missions.events(file.run.id, EVENTS_SHOWN), missions.notes(file.run.id, NOTES_SHOWN))
        for file in files
    ]
    still = stands_still(town) if any(report.run.is_active for report in found) else None
    return Overview(found, ended, supervision.is_running(town), still)


def stands_still(town: Town) -> tuple[str, str] | None:
    """That the supervisor has given the scheduler up, and what would help; None when it has not."""
    try:
        told = supervision.status(town)
    except Unavailable:
        return None
    if told is None:
        return None
    reasons = [child["reason"] for child in told["children"] if child.get("kind") == "missions" and child.get("reason")]
    if not reasons:
        return None
    return f"Nothing works on missions, it was given up: {reasons[0]}", f"To try again: kill -HUP {told['pid']}"


def _its_turn(file: MissionFile, item: WorkItem, at_work: int | None) -> tuple[str, str | None]:
    if item.status is WorkStatus.BLOCKED:
        return "waits for its next gate", None
    if item.status is WorkStatus.PENDING and (waits := _waits_for(file, item)):
        return waits
    most = file.run.policy.max_parallel_items
    count = busy(file) if at_work is None else at_work
    return (f"its turn comes: {count} of {most} are at work" if count >= most else "waits for a free agent"), None


def _waits_for(file: MissionFile, item: WorkItem) -> tuple[str, str | None] | None:
    open_ones = [other for i in item.depends_on if (other := file.items.get(i)) and other.status is not WorkStatus.DONE]
    cancelled = next((other for other in open_ones if other.status is WorkStatus.CANCELLED), None)
    if cancelled is not None:
        remedy = f"tt mission retry {ids.short(cancelled.id)}, or tt mission cancel {ids.short(item.id)}"
        return f"depends on {cancelled.source_ref}, which was cancelled", remedy
    unread = {watch.target_ref: watch.text for watch in file.watches.values() if watch.state == watching.UNREADABLE}
    for ref in item.outside:
        if ref in unread:
            remedy = f"give access to it, or tt mission cancel {ids.short(item.id)}"
            return f"depends on {ref}, which cannot be read: {unread[ref]}", remedy
    outside = [ref for ref in item.outside if not _is_closed(file, ref)]
    waits = [other.source_ref for other in open_ones] + [f"{ref} (outside this mission)" for ref in outside]
    return (f"waits for {', '.join(waits)}", None) if waits else None


def _is_closed(file: MissionFile, ref: str) -> bool:
    watches = [w for w in file.watches.values() if w.kind is WatchKind.ISSUE_CLOSED and w.target_ref == ref]
    return any(w.status is WatchStatus.DONE and w.state == "closed" for w in watches)
