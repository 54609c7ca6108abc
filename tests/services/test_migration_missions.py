"""Missions of the first version: taken over stopped, with what was done kept; nothing that cannot be read is lost."""

from __future__ import annotations

import json
from typing import Any

from tests.support import invariants
from tests.support.builders import make_item, make_mission
from tests.support.missions import file_now, put_mission
from tests.support.town import events, snapshot
from tinytown import ids
from tinytown.domain.mission import MissionState
from tinytown.domain.work import WorkKind, WorkStatus
from tinytown.services.migration import takeover
from tinytown.town import Town

AT = "2026-04-18T12:00:00.123456789Z"
PULL = "https://github.com/acme/web/pull/7"


def old_mission(town: Town, state: str = "running", **fields: Any) -> str:
    """As the first version stored it: in the active set, with three items, a watch, a note and two lines."""
    run_id, redis = ids.new_id(), town.store.redis
    policy = {"max_parallel_items": 4, "reviewer_required": False, "auto_merge": False, "watch_interval_secs": 60}
    refs: list[Any] = [{"type": "issue", "owner": "acme", "repo": "web", "number": n} for n in (1, 2)]
    run = {
        "id": run_id, "objective_refs": [*refs, {"type": "doc", "path": "docs/x.md"}], "state": state,
        "policy": policy, "created_at": AT, "updated_at": AT, "next_wake_at": None, "blocked_reason": None,
        "dispatcher_help_request_attempts": 0,
    } | fields  # fmt: skip
    base = f"tt:{town.name}:mission:{run_id}"
    redis.set(base, json.dumps(run))
    first, second, third = (ids.new_id() for _ in range(3))
    rows: dict[str, dict[str, Any]] = {
        second: {"title": "Build", "status": "running", "source_ref": "acme/web#2/#2", "depends_on": [first, "gone"]},
        first: {"title": "Design", "status": "done", "source_ref": "acme/web#1/#1", "reviewer_approved": True,
                "artifact_refs": ["task:1", PULL], "kind": "design"},
        third: {"title": "docs/x.md", "status": "pending", "source_ref": "docs/x.md", "owner_role": "tester"},
    }  # fmt: skip
    for item_id, row in rows.items():
        common = {"id": item_id, "mission_id": run_id, "created_at": AT, "updated_at": AT, "kind": "implement"}
        redis.hset(f"{base}:work", item_id, json.dumps(common | row))
    redis.hset(f"{base}:work", "spoilt", "no json")
    redis.hset(f"{base}:watch", ids.new_id(), json.dumps({"kind": "pr_checks"}))
    redis.hset(f"{base}:control", ids.new_id(), json.dumps({"body": "resume"}))
    redis.lpush(f"{base}:events", "[2026-04-18 12:00:00] Mission started", "no time")
    redis.sadd(f"tt:{town.name}:mission:active", run_id)
    return run_id


def test_a_mission_is_taken_over(town: Town) -> None:
    """Stopped, in the order of its graph; what was done stays done, the rest can be begun again."""
    run_id = old_mission(town)
    before = snapshot(town)
    plan = takeover.plan(town)
    assert (f"tt:{town.name}:mission:{run_id}", f"tt:{town.name}:mission:{run_id} (stopped)") in plan.moves
    assert snapshot(town) == before

    assert takeover.migrate(town).missions == 1

    file = file_now(town, make_mission(id=run_id))
    run, items = file.run, list(file.items.values())
    assert (run.state, run.is_active, run.objectives) == (
        MissionState.BLOCKED, False, ["acme/web#1", "acme/web#2", "docs/x.md"],
    )  # fmt: skip
    assert (run.policy.max_parallel_items, run.policy.reviewer_required, run.repositories) == (4, False, ["acme/web"])
    assert run.remedy == f"tt mission resume {run_id[:8]}"
    named = {item.source_ref: item for item in items}
    assert named.keys() == {"acme/web#1", "acme/web#2", "docs/x.md"}
    done, open_one, doc = (named[ref] for ref in ("acme/web#1", "acme/web#2", "docs/x.md"))
    assert (done.status, done.artifact_refs, done.kind) == (WorkStatus.DONE, [PULL], WorkKind.DESIGN)
    assert (open_one.status, open_one.depends_on, open_one.assigned_to) == (WorkStatus.PENDING, [done.id], None)
    assert open_one.source_url == "https://github.com/acme/web/issues/2"
    assert done.number < open_one.number
    assert doc.owner_role == "tester"
    lines = town.store.missions.events(run_id, 9)
    assert [line["text"] for line in lines[1:]] == ["no time", "Mission started"]
    assert lines[2]["at"] == "2026-04-18T12:00:00Z"
    assert events(town, "mission_migrated")[0]["mission_id"] == run_id
    invariants.check(town, settled=False)
    assert takeover.plan(town).is_empty
    assert takeover.migrate(town).missions == 0


def test_ended_ones_and_circles(town: Town) -> None:
    """What has ended stays so; a circle, which the first version stored, is taken apart."""
    ended, round_about = old_mission(town, "completed"), old_mission(town, "planning")
    key = f"tt:{town.name}:mission:{round_about}:work"
    rows = {i: json.loads(text) for i, text in town.store.redis.hgetall(key).items() if i != "spoilt"}
    one, two = list(rows)[:2]
    for item_id, other in ((one, two), (two, one)):
        town.store.redis.hset(key, item_id, json.dumps(rows[item_id] | {"depends_on": [other]}))
    town.store.redis.sadd(f"tt:{town.name}:mission:active", ids.new_id())

    assert takeover.migrate(town).missions == 2

    done = file_now(town, make_mission(id=ended)).run
    assert (done.state, done.ended_at) == (MissionState.COMPLETED, AT)
    file = file_now(town, make_mission(id=round_about))
    assert not any(item.depends_on for item in file.items.values())
    assert town.store.missions.active_ids() == []


def test_what_cannot_be_read_stays(town: Town) -> None:
    """It is named, and nothing is active for its sake. One of ours that lost its place in the index is found again."""
    bad = old_mission(town, objective_refs=[{"type": "issue"}])
    ours = make_mission()
    put_mission(town, ours, make_item(ours))
    town.store.redis.zrem(town.store.keys.missions_all, ours.id)
    raw = town.store.redis.get(town.store.keys.mission(bad))

    done = takeover.migrate(town)

    assert done.missions == 1
    assert done.left == [f"tt:{town.name}:mission:{bad}: no record that can be read"]
    assert town.store.redis.get(town.store.keys.mission(bad)) == raw
    assert town.store.missions.active_ids() == town.store.missions.all_ids() == [ours.id]
