"""Missions for tests: stored as a start would, read back; and what must hold of each of them at any moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tinytown.domain.mission import Mission, MissionState
from tinytown.domain.states import TaskState
from tinytown.domain.watch import Watch, WatchStatus
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.services.missions import steps
from tinytown.store.missions import MissionFile
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

if TYPE_CHECKING:
    from tests.support.invariants import Snapshot

PARTS = ("work", "watch", "events", "notes")


def put_mission(town: Town, run: Mission, *items: WorkItem, watches: Iterable[Watch] = ()) -> None:
    """Store it, as it is."""

    def build(tx: Transaction) -> None:
        steps.save_mission(tx, None, run)
        for item in items:
            steps.save_item(tx, None, item)
        for watch in watches:
            steps.save_watch(tx, None, watch)

    change(town.store, build)


def file_now(town: Town, run: Mission) -> MissionFile:
    """The mission as it is stored; it must be there, and everything of it readable."""
    found = town.store.missions.file(run.id)
    assert found is not None, f"mission {run.id} is gone"
    assert not found.unreadable
    return found


def item_now(town: Town, item: WorkItem) -> WorkItem:
    """The work item as it is stored."""
    found = town.store.missions.item(item.mission_id, item.id)
    assert found is not None, f"work item {item.id} is gone"
    return found[1]


def violations(seen: Snapshot) -> list[str]:
    """One line for each thing that is not as it must be."""
    keys = seen.of("mission")
    runs = {i: Mission.from_json(text) for i, text in keys.items() if ":" not in i and i not in {"active", "all"}}
    return [*_indexes(keys, runs), *_missions(seen, keys, runs), *_histories(seen, keys, runs)]


def _indexes(keys: dict[str, Any], runs: dict[str, Mission]) -> Iterator[str]:
    """Every mission is in the index, the active ones in the set, and every part belongs to a mission."""
    if set(keys.get("all", [])) != set(runs):
        yield f"missions: the index holds {sorted(keys.get('all', []))}, the records are {sorted(runs)}"
    active = {i for i, run in runs.items() if run.is_active}
    if set(keys.get("active", [])) != active:
        yield f"missions: the set says that {sorted(keys.get('active', []))} are active, the records {sorted(active)}"
    for name in keys:
        mission_id, _, part = name.partition(":")
        if part and (part not in PARTS or mission_id not in runs):
            yield f"mission key {name}: belongs to no mission"


def _missions(seen: Snapshot, keys: dict[str, Any], runs: dict[str, Mission]) -> Iterator[str]:
    """An item depends on items of its mission; a task that waits to be begun for it is the one that it names."""
    tasks = defaultdict(list)
    for task in seen.tasks.values():
        for tag in task.tags or []:
            if tag.startswith("work-item:") and task.state is TaskState.ASSIGNED:  # a run may outlive its need
                tasks[tag.removeprefix("work-item:")].append(task.id)
    for mission_id, run in runs.items():
        items = {i: WorkItem.from_json(text) for i, text in keys.get(f"{mission_id}:work", {}).items()}
        for item_id, item in items.items():
            yield from _item(item_id, item, run, items, tasks.get(item_id, []))
        for watch_id, text in keys.get(f"{mission_id}:watch", {}).items():
            watch = Watch.from_json(text)
            if (watch.id, watch.mission_id) != (watch_id, mission_id) or watch.work_item_id not in items:
                yield f"watch {watch_id}: belongs to no work item"
            if run.state is MissionState.COMPLETED and watch.status is not WatchStatus.DONE:
                yield f"watch {watch_id}: {watch.status}, and its mission is completed"


def _item(
    item_id: str, item: WorkItem, run: Mission, items: dict[str, WorkItem], open_tasks: list[str]
) -> Iterator[str]:
    if (item.id, item.mission_id) != (item_id, run.id):
        yield f"work item {item_id}: says that it is {item.id} of {item.mission_id}"
    if not set(item.depends_on) <= items.keys():
        yield f"work item {item_id}: depends on what is not in its mission"
    if item.status.has_task != (item.task_id is not None) or (item.status.has_task and item.job is None):
        yield f"work item {item_id}: {item.status}, job {item.job}, task {item.task_id}"
    if not set(open_tasks) <= {item.task_id}:
        yield f"work item {item_id}: its task is {item.task_id}, and open are {open_tasks}"
    if run.state is MissionState.COMPLETED and not item.status.is_terminal:
        yield f"work item {item_id}: {item.status}, and its mission is completed"
    if item.status is WorkStatus.DONE:
        if any(items[i].status is not WorkStatus.DONE for i in item.depends_on if i in items):
            yield f"work item {item_id}: done before what it depends on"
        is_gated = run.policy.reviewer_required and not item.artifact_refs  # a merge by a person needs no approval
        if is_gated and not item.reviewer_approved:
            yield f"work item {item_id}: done without the approval that its mission asks for"
        if item.verify and not item.is_verified and not item.artifact_refs:
            yield f"work item {item_id}: done without the verification that it asks for"


def _histories(seen: Snapshot, keys: dict[str, Any], runs: dict[str, Mission]) -> Iterator[str]:
    """Each change of state follows from the one before it, and the last one is what the record says."""
    last: dict[tuple[str, str], str] = {}
    for event in seen.events:
        mission_id, item_id = event.get("mission_id"), event.get("work_item_id")
        if event["event_type"] == "mission_expired":
            last = {key: state for key, state in last.items() if key[0] != mission_id}
        elif mission_id is not None and event.get("new_state") is not None and event.get("task_id") is None:
            key = (str(mission_id), str(item_id or ""))
            if last.get(key) not in (None, event.get("old_state")):
                yield f"mission {key}: {event['event_type']} from {event.get('old_state')}, before it was {last[key]}"
            last[key] = event["new_state"]
    for (mission_id, item_id), state in last.items():
        if mission_id in runs:
            text = keys.get(f"{mission_id}:work", {}).get(item_id)
            now = WorkItem.from_json(text).status if item_id and text else runs[mission_id].state
            if now != state:
                yield f"mission {mission_id} {item_id}: {now}, and its history says {state}"
