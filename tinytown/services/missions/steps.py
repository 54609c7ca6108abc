"""What every change of a mission is made of. Each function adds to a transaction; nothing is done before its commit.

A step of a mission: the records that change (each expected to be as it was read), one event in the town's history, one
line in the mission's own. A step that rests on a record without changing it expects that, too.
"""

from __future__ import annotations

from tinytown import clock, ids
from tinytown.domain.event import Event
from tinytown.domain.mission import Mission, MissionState
from tinytown.domain.record import dump
from tinytown.domain.states import TaskState
from tinytown.domain.watch import Watch
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.services.settlement import finish_task
from tinytown.store.tasks import read_task
from tinytown.store.transaction import Transaction
from tinytown.town import Town

LINES_KEPT = 100  # of what happened, and of notes
TEXT_LENGTH = 300  # characters of a line


def expect_mission(tx: Transaction, raw: str, mission: Mission) -> None:
    """The mission's record is still the text `raw`."""
    tx.expect(tx.keys.mission(mission.id), raw, f"mission {mission.id}")


def expect_item(tx: Transaction, raw: str, item: WorkItem) -> None:
    """The item's record is still the text `raw`."""
    tx.expect_field(tx.keys.mission_work(item.mission_id), item.id, raw, f"work item {item.id}")


def expect_watch(tx: Transaction, raw: str, watch: Watch) -> None:
    """The watch's record is still the text `raw`."""
    tx.expect_field(tx.keys.mission_watch(watch.mission_id), watch.id, raw, f"watch {watch.id}")


def save_mission(tx: Transaction, raw: str | None, mission: Mission) -> str:
    """Replace the record (`raw`: as it was read, None: it is new) and keep both indexes true; the new raw text."""
    keys, text = tx.keys, mission.to_json()
    tx.expect(keys.mission(mission.id), raw, f"mission {mission.id}")
    tx.do("SET", keys.mission(mission.id), text)
    if raw is None:
        tx.do("ZADD", keys.missions_all, creation_score(mission), mission.id)
    tx.do("SADD" if mission.is_active else "SREM", keys.missions_active, mission.id)
    return text


def save_item(tx: Transaction, raw: str | None, item: WorkItem) -> str:
    """Replace the record (`raw`: as it was read, None: it is new); the new raw text."""
    text, key = item.to_json(), tx.keys.mission_work(item.mission_id)
    tx.expect_field(key, item.id, raw, f"work item {item.id}")
    tx.do("HSET", key, item.id, text)
    return text


def save_watch(tx: Transaction, raw: str | None, watch: Watch) -> str:
    """Replace the record (`raw`: as it was read, None: it is new); the new raw text."""
    text, key = watch.to_json(), tx.keys.mission_watch(watch.mission_id)
    tx.expect_field(key, watch.id, raw, f"watch {watch.id}")
    tx.do("HSET", key, watch.id, text)
    return text


def log(
    tx: Transaction,
    kind: str,
    text: str,
    mission: Mission,
    item: WorkItem | None = None,
    *,
    old: MissionState | WorkStatus | None = None,
    agent_id: str | None = None,
) -> None:
    """The step's event in the town's history, and its line in the mission's, of which the last hundred are kept.

    `mission` and `item` are as the step leaves them. `old` is the state that the item (without one: the mission) had
    before it; None says that the state is what it was. The event's `work_item_id` names the item. It names no task:
    each task has events of its own.
    """
    at, line = clock.stamp(), _line(text)
    new = item.status if item else mission.state
    states = (old.value, new.value) if old not in (None, new) else (None, None)
    detail = {"work_item_id": item.id, "source_ref": item.source_ref} if item else {}
    tx.event(
        Event(
            kind, line, at, agent_id=agent_id, mission_id=mission.id,
            old_state=states[0], new_state=states[1], detail=detail,
        )
    )  # fmt: skip
    _push(tx, tx.keys.mission_events(mission.id), {"at": at, "text": line, "item": item.id if item else None})


def note(tx: Transaction, mission_id: str, by: str, text: str) -> None:
    """One more note, in full; the last hundred are kept."""
    _push(tx, tx.keys.mission_notes(mission_id), {"at": clock.stamp(), "by": by, "text": text})


def item_event(item: WorkItem) -> str:
    """The type of the event of an item that has come to its present status: `work_item_ready`."""
    return f"work_item_{item.status}"


def cancel_task(town: Town, tx: Transaction, task_id: str, why: str, *, unless_begun: bool = False) -> bool:
    """End a task of a mission, and with it a run of it, uncharged; nothing if it is gone or has ended.

    `unless_begun`: leave one that a round works on. False when nothing was to be done. The task is expected to be as
    it was read in every case, so that the caller may rest on the answer.
    """
    raw = town.store.tasks.raws([task_id])[0]
    task = read_task(raw, task_id)
    if task is None or raw is None or task.state.is_terminal or (unless_begun and task.state is TaskState.RUNNING):
        tx.expect(tx.keys.task(task_id), raw, f"task {task_id}")
        return False
    finish_task(town, tx, raw, task, TaskState.CANCELLED, why, ids.SUPERVISOR_ID)
    return True


def creation_score(mission: Mission) -> float:
    """The index score: creation time in seconds, so that lists are in order of creation."""
    try:
        return clock.parse(mission.created_at).timestamp()
    except ValueError:
        return 0.0


def storable(text: str) -> str:
    """What a person gave, as it can be stored: valid Unicode, no space around it."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").strip()


def _line(text: str) -> str:
    line = " ".join(storable(text).split())
    return line if len(line) <= TEXT_LENGTH else f"{line[: TEXT_LENGTH - 1]}…"


def _push(tx: Transaction, key: str, line: dict[str, str | None]) -> None:
    tx.do("LPUSH", key, dump(line))
    tx.do("LTRIM", key, 0, LINES_KEPT - 1)
