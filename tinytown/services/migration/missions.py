"""Take over missions of the first version: stopped, with what was done kept, and the rest to be begun again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tinytown import clock, ids
from tinytown.domain.mission import Mission, MissionState, Policy
from tinytown.domain.record import dump, load
from tinytown.domain.work import WorkItem, WorkKind, WorkStatus
from tinytown.errors import Invalid
from tinytown.missions import graph, references, texts
from tinytown.services.missions import steps
from tinytown.store.missions import read_mission
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change

_LINE = re.compile(r"\[(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)\] (.*)", re.DOTALL)
_GONE = ("watch", "control", "dispatch_lock")  # made anew, or nobody's any more
_TAKEN_OVER = "Taken over from an older version"


def find(town: Town) -> list[str]:
    """Ids of the missions that are in no index. Looks through all keys of the town (SCAN)."""
    prefix, known = town.store.keys.mission(""), set(town.store.missions.all_ids())
    names = (key.removeprefix(prefix) for key in town.store.scan() if key.startswith(prefix))
    return [name for name in names if ids.is_id(name) and name not in known]


def can_be_read(town: Town, mission_id: str) -> bool:
    """There is a record of this version or of the first one (or none any more)."""
    raw = _raw(town, mission_id)
    return raw is None or read_mission(raw, mission_id) is not None or _old(raw, mission_id) is not None


def migrate(town: Town, mission_id: str) -> bool:
    """One mission in one step; False when it is gone meanwhile, or cannot be read."""

    def build(tx: Transaction) -> bool:
        raw = _raw(town, mission_id)
        run = read_mission(raw, mission_id)
        if run is not None:  # ours, and only its place in the index was lost
            steps.save_mission(tx, raw, run)
            tx.do("ZADD", tx.keys.missions_all, steps.creation_score(run), run.id)
            return True
        run = _old(raw, mission_id)
        if raw is None or run is None:
            return False
        tx.do("ZADD", tx.keys.missions_all, steps.creation_score(run), run.id)
        steps.save_mission(tx, raw, run)
        _take_work(town, tx, run)
        _take_lines(town, tx, run)
        for part in _GONE:
            tx.do("DEL", f"{tx.keys.mission(mission_id)}:{part}")
        steps.log(tx, "mission_migrated", _TAKEN_OVER, run)
        return True

    return change(town.store, build)


def forget_strays(town: Town) -> None:
    """No mission is active that is not there: nothing could be done for it."""
    missions, key = town.store.missions, town.store.keys.missions_active
    strays = set(missions.active_ids()) - set(missions.all_ids())
    if strays:
        town.store.call(lambda r: r.srem(key, *strays))


def _raw(town: Town, mission_id: str) -> str | None:
    kind, key = town.store.call(lambda r: r.type(town.store.keys.mission(mission_id))), town.store.keys
    raw: str | None = town.store.call(lambda r: r.get(key.mission(mission_id))) if kind == "string" else None
    return raw


def _old(raw: str | None, mission_id: str) -> Mission | None:
    """The first version's record as one of ours, stopped unless it has ended."""
    try:
        stored = load(raw or "")
        refs = [_reference(ref) for ref in stored["objective_refs"]]
        given = {f.name: stored["policy"][f.name] for f in fields(Policy) if f.name in stored.get("policy", {})}
        state = MissionState(stored["state"])
        homes = sorted({references.split(ref)[0].lower() for ref in refs if references.is_reference(ref)})
        at = str(stored["created_at"])
        run = Mission(
            id=mission_id, objectives=refs, created_at=at, updated_at=str(stored.get("updated_at", at)),
            policy=Policy.from_dict(given), repositories=homes, state=state,
            blocked_reason=stored.get("blocked_reason"),
        )  # fmt: skip
        run = run.having(run.updated_at, ended_at=run.updated_at) if state.is_terminal else _stopped(run)
        return Mission.from_json(run.to_json())
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _stopped(run: Mission) -> Mission:
    if run.state is MissionState.PLANNING:
        run = run.having(run.updated_at, state=MissionState.RUNNING)
    return run.having(
        clock.stamp(), state=MissionState.BLOCKED, stopped_at=clock.stamp(), blocked_reason=_TAKEN_OVER,
        remedy=f"tt mission resume {ids.short(run.id)}",
    )  # fmt: skip


def _reference(ref: Mapping[str, Any]) -> str:
    return str(ref["path"]) if ref["type"] == "doc" else f"{ref['owner']}/{ref['repo']}#{ref['number']}"


def _take_work(town: Town, tx: Transaction, run: Mission) -> None:
    key = tx.keys.mission_work(run.id)
    texts_of = dict(town.store.call(lambda r: r.hgetall(key)))
    stored = {item_id: _loaded(text) for item_id, text in texts_of.items()}
    known = {item_id: raw for item_id, raw in stored.items() if ids.is_id(item_id) and raw}
    before = {i: [str(other) for other in raw.get("depends_on") or () if other in known] for i, raw in known.items()}
    try:
        order = graph.in_order(sorted(known, key=lambda i: str(known[i].get("created_at"))), before)
    except Invalid:  # a circle, which the first version stored before it looked: nobody waits then
        order, before = sorted(known), {}
    for item_id, text in texts_of.items():
        tx.expect_field(key, item_id, text, "work item")
    tx.do("DEL", key)
    for number, item_id in enumerate(order, 1):
        item = _item(run, item_id, number, known[item_id], before.get(item_id, []))
        tx.do("HSET", key, item_id, item.to_json())


def _loaded(text: str) -> dict[str, Any]:
    try:
        raw = load(text)
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}


def _item(run: Mission, item_id: str, number: int, raw: dict[str, Any], before: list[str]) -> WorkItem:
    ref = str(raw.get("source_ref") or f"item {number}")
    issue = ref.partition("/#")[0]  # `owner/repo#23/#23`
    ref = issue if references.is_reference(issue) else ref
    is_done = raw.get("status") == WorkStatus.DONE
    kind = raw.get("kind")
    role = raw.get("owner_role")
    pulls = texts.pulls_in(" ".join(map(str, raw.get("artifact_refs") or ())), [])
    at = str(raw.get("updated_at") or run.updated_at)
    return WorkItem(
        id=item_id, mission_id=run.id, number=number, title=str(raw.get("title") or ref), source_ref=ref,
        created_at=str(raw.get("created_at") or run.created_at), updated_at=at, depends_on=before,
        kind=WorkKind(kind) if kind in set(WorkKind) else WorkKind.IMPLEMENT,
        owner_role=role if isinstance(role, str) else None,
        source_url=f"{references.WEB}/{ref.replace('#', '/issues/')}" if references.is_reference(ref) else None,
        body=f"Read it first: {ref}" if not is_done else "",
        status=WorkStatus.DONE if is_done else WorkStatus.PENDING, artifact_refs=pulls,
        reviewer_approved=is_done and raw.get("reviewer_approved") is True, ended_at=at if is_done else None,
    )  # fmt: skip


def _take_lines(town: Town, tx: Transaction, run: Mission) -> None:
    """`[2024-01-15 10:30:00] text` becomes a line as this version writes it."""
    key = tx.keys.mission_events(run.id)
    old = town.store.call(lambda r: r.lrange(key, 0, -1))
    tx.expect_list(key, old, "lines")
    tx.do("DEL", key)
    for line in old[: steps.LINES_KEPT]:
        found = _LINE.fullmatch(line)
        at, text = (f"{found[1]}T{found[2]}Z", found[3]) if found else (run.created_at, line)
        tx.do("RPUSH", key, dump({"at": at, "text": text, "item": None}))
