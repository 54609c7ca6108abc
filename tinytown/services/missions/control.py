"""What people do with missions that run: stop, resume, note, retry and cancel items. Verdicts are in verdicts.py.

Each is one step, decided on what was read in it: of two people at once, one reads again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tinytown import clock, ids
from tinytown.domain.mission import Mission, MissionState
from tinytown.domain.states import TaskState
from tinytown.domain.watch import Watch, WatchKind, WatchStatus
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.errors import Conflict, Invalid
from tinytown.missions import verdicts, watching
from tinytown.services import supervision
from tinytown.services.caller import Caller
from tinytown.services.missions import finding, steps
from tinytown.services.missions.finding import Found
from tinytown.store.missions import MissionFile
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a stop did: tasks that were taken back (or ended), and those whose runs go on to their end."""

    mission: Mission
    taken_back: int
    running: int


def stop(town: Town, reference: str, caller: Caller, *, force: bool = False) -> Stopped:
    """Let nothing of the mission be begun any more; `force`: for good, and running rounds end, uncharged.

    Tasks that no round has begun are cancelled, their items can start again. Raises NotFound, Conflict (it has ended,
    or is stopped already).
    """
    town.ensure_redis()
    who = name_of(town, caller)

    def build(tx: Transaction) -> Stopped:
        file = finding.mission(town, reference)
        run, short = file.run, ids.short(file.run.id)
        finding.check_open(run)
        if run.stopped_at is not None and not force:
            raise Conflict(f"Mission {short} was stopped already.", f"Let it go on with: tt mission resume {short}")
        at = clock.stamp()
        said = f"Stopped by {who}" + (" (forced)" if force else "")
        ends = {"state": MissionState.FAILED, "ended_at": at, "remedy": None} if force else {
            "state": MissionState.BLOCKED, "remedy": f"tt mission resume {short}",
        }  # fmt: skip
        new = run.having(at, stopped_at=run.stopped_at or at, blocked_reason=said, next_wake_at=None, **ends)
        steps.save_mission(tx, file.raw, new)
        taken = running = 0
        for item in file.items.values():
            if item.status.has_task and item.task_id is not None:
                is_taken = steps.cancel_task(town, tx, item.task_id, said, unless_begun=not force)
                if is_taken or force:
                    _without_task(tx, file, item, new, said)
                taken += is_taken
                running += not is_taken and _runs(town, item.task_id)
        steps.log(tx, "mission_failed" if force else "mission_stopped", said, new, old=run.state)
        return Stopped(new, taken, running)

    done = change(town.store, build)
    town.ring_supervisor()
    return done


def resume(town: Town, reference: str, caller: Caller) -> Mission:
    """Let a stopped mission go on where it was: items, gates and watches are as they were.

    Raises NotFound, Conflict (it has ended, or is not stopped).
    """
    town.ensure_redis()
    who = name_of(town, caller)

    def build(tx: Transaction) -> Mission:
        file = finding.mission(town, reference)
        run, short = file.run, ids.short(file.run.id)
        if run.state is MissionState.FAILED:
            raise Conflict(f"Mission {short} has failed and cannot be resumed.", "Begin anew with: tt mission start")
        finding.check_open(run)
        if run.stopped_at is None:
            waits = f" It waits: {run.blocked_reason}" if run.blocked_reason else ""
            remedy = run.remedy or f"See what it does with: tt mission status --run {short} --work"
            raise Conflict(f"Mission {short} is not stopped.{waits}", remedy)
        changes = {"stopped_at": None, "blocked_reason": None, "remedy": None}
        new = run.having(clock.stamp(), state=MissionState.RUNNING, **changes)
        steps.save_mission(tx, file.raw, new)
        steps.log(tx, "mission_resumed", f"Resumed by {who}", new, old=run.state)
        return new

    resumed = change(town.store, build)
    wake_scheduler(town)
    return resumed


def stop_all(town: Town, why: str) -> None:
    """Stop every mission that is worked on, one step each; their items stay as they are until somebody resumes them."""
    for mission_id in town.store.missions.active_ids():

        def build(tx: Transaction, mission_id: str = mission_id) -> None:
            found = town.store.missions.get(mission_id)
            if found is None or not found[1].is_active:
                return
            raw, run = found
            changes = {"blocked_reason": f"Stopped: {why}", "remedy": f"tt mission resume {ids.short(run.id)}"}
            at = clock.stamp()
            new = run.having(at, state=MissionState.BLOCKED, stopped_at=at, next_wake_at=None, **changes)
            steps.save_mission(tx, raw, new)
            steps.log(tx, "mission_stopped", f"Stopped: {why}", new, old=run.state)

        change(town.store, build)


def note(town: Town, reference: str | None, text: str, caller: Caller) -> Mission:
    """Leave a note for those who look at the mission (None: the only one that has not ended), and who work on it next.

    Raises NotFound, Invalid, Conflict (it has ended; there are several).
    """
    said = steps.storable(text)
    if not said:
        raise Invalid("The note is empty.", "tt mission note ID 'what is to be known'")
    town.ensure_redis()
    who = name_of(town, caller)

    def build(tx: Transaction) -> Mission:
        file = finding.mission(town, reference or finding.the_only_one(town))
        finding.check_open(file.run)
        steps.expect_mission(tx, file.raw, file.run)
        steps.note(tx, file.run.id, who, said)
        steps.log(tx, "mission_noted", f"Note by {who}: {said}", file.run)
        return file.run

    return change(town.store, build)


def retry(town: Town, reference: str, caller: Caller, *, run: str | None = None) -> WorkItem:
    """Let an item go on that needs a person, or start one again that was cancelled.

    What was handed in stays, and goes on at the gate where it was; a fix that did not help is tried again. If its
    pull requests were closed, or it was cancelled, the work begins anew. Raises NotFound, Conflict.
    """
    town.ensure_redis()
    who = name_of(town, caller)

    def build(tx: Transaction) -> WorkItem:
        found = finding.item(town, reference, run)
        file, item = found.file, found.item
        finding.check_open(file.run)
        if item.status is not WorkStatus.CANCELLED and not item.needs_person:
            raise Conflict(f"{item.source_ref} {standing(item)}; there is nothing to retry.", found.hint)
        new = verdicts.retried(item, clock.stamp(), is_closed=_is_closed(item, file.watches.values()))
        for watch in _issues_to_watch(file, new):
            steps.save_watch(tx, file.raws[watch.id], watching.due_soon(watch, clock.now()))
        store_item(tx, found, new, "work_item_retried", f"retried by {who}")
        return new

    return change(town.store, build)


def cancel(town: Town, reference: str, caller: Caller, *, run: str | None = None, reason: str = "") -> WorkItem:
    """Take an item out of its mission: its task and its watches end. Raises NotFound, Conflict (it has ended)."""
    town.ensure_redis()
    said = f"cancelled by {name_of(town, caller)}" + (f": {steps.storable(reason)}" if reason.strip() else "")

    def build(tx: Transaction) -> WorkItem:
        found = finding.item(town, reference, run)
        file, item = found.file, found.item
        finding.check_open(file.run)
        if item.status.is_terminal:
            raise Conflict(f"{item.source_ref} {standing(item)} already.", found.hint)
        if item.task_id is not None:
            steps.cancel_task(town, tx, item.task_id, said)
        for watch in _own_watches(file, item):
            steps.save_watch(tx, file.raws[watch.id], watch.having(status=WatchStatus.DONE))
        new = replace(verdicts.cancelled(item, clock.stamp()), reason=said)
        store_item(tx, found, new, "work_item_cancelled", said)
        return new

    return change(town.store, build)


def wake_scheduler(town: Town) -> None:
    """Have a supervisor that runs the missions. Raises Unavailable, TimedOut when none comes up."""
    supervision.ensure_running(town)
    town.ring_supervisor()


def name_of(town: Town, caller: Caller) -> str:
    """Who this is, for people: an agent's name, else `user`."""
    if not caller.is_model:
        return "user"
    row = town.store.agents.row(caller.id)
    return row.agent.name if row is not None else ids.short(caller.id)


def standing(item: WorkItem) -> str:
    """Where it stands, after its name in a sentence: `is running`, `was cancelled`."""
    if item.status.has_task:
        return f"is {item.status} ({item.job})"
    if item.status.is_terminal:
        return "is done" if item.status is WorkStatus.DONE else "was cancelled"
    return f"is {item.status}" + (f" ({item.reason})" if item.reason else "")


def store_item(tx: Transaction, found: Found, new: WorkItem, kind: str, text: str) -> None:
    """The step of one item: its record in the place of the one that was found, and the event."""
    steps.expect_mission(tx, found.file.raw, found.file.run)
    steps.save_item(tx, found.raw, new)
    steps.log(tx, kind, f"{new.source_ref}: {text}", found.file.run, new, old=found.item.status)


def _runs(town: Town, task_id: str) -> bool:
    """A round works on it; what has ended only waits to be taken up."""
    task = read_task(town.store.tasks.raws([task_id])[0], task_id)
    return task is not None and task.state is TaskState.RUNNING


def _without_task(tx: Transaction, file: MissionFile, item: WorkItem, run: Mission, why: str) -> None:
    """Its task was taken back: it can start again, or go on at its gate (with the fix that was not begun)."""
    status = WorkStatus.BLOCKED if item.is_submitted else WorkStatus.READY
    new = item.having(
        clock.stamp(), status=status, job=None, task_id=None, assigned_to=None, reason=None, remedy=None, fix_keys=[]
    )
    steps.save_item(tx, file.raws[item.id], new)
    steps.log(tx, "work_item_taken_back", f"{item.source_ref}: {why}", run, new, old=item.status)


def _is_closed(item: WorkItem, watches: Iterable[Watch]) -> bool:
    """None of its pull requests is one to go on with: closed without a merge, or not to be read."""
    ends = {w.target_ref: w.state for w in watches if w.work_item_id == item.id and w.status is WatchStatus.DONE}
    states = [ends.get(url) for url in item.artifact_refs]
    return watching.UNREADABLE in states or (bool(states) and set(states) == {watching.CLOSED})


def _issues_to_watch(file: MissionFile, item: WorkItem) -> list[Watch]:
    """Watches that ended (with an item that was cancelled) although the issue is not known to be closed."""
    mine = [w for w in file.watches.values() if w.kind is WatchKind.ISSUE_CLOSED and w.target_ref in item.outside]
    return [w for w in mine if w.status is WatchStatus.DONE and w.state != watching.CLOSED]


def _own_watches(file: MissionFile, item: WorkItem) -> list[Watch]:
    """Those that nobody needs without this item: an issue may be waited for by others, too."""
    others = {ref for i in file.items.values() if i.id != item.id and not i.status.is_terminal for ref in i.outside}
    live = [w for w in file.watches.values() if w.status is not WatchStatus.DONE]
    return [w for w in live if _concerns(w, item) and not (w.kind is WatchKind.ISSUE_CLOSED and w.target_ref in others)]


def _concerns(watch: Watch, item: WorkItem) -> bool:
    return watch.work_item_id == item.id or (watch.kind is WatchKind.ISSUE_CLOSED and watch.target_ref in item.outside)
