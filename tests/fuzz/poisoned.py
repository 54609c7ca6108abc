"""A town with something of everything in it, and what a slip with redis-cli may make of it."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.fuzz.material import NASTY, WORDS, mutated
from tests.support import town as towns
from tests.support.builders import AT, make_item, make_message, make_mission, make_task, make_watch
from tests.support.missions import put_mission
from tinytown import ids
from tinytown.domain.agent import Agent
from tinytown.domain.mission import MissionState
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.domain.work import Job, WorkStatus
from tinytown.services.missions import steps
from tinytown.store.inboxes import bury
from tinytown.town import Town

TYPES = ("string", "list", "hash", "set", "zset", "stream")
EVENT = {
    "event_type": "task_started", "agent_id": ids.SUPERVISOR_ID, "task_id": "x", "message": "m", "timestamp": AT,
    "old_state": "a", "new_state": "b", "message_id": "m",
}  # fmt: skip


def populate(town: Town, *, wanted: bool) -> dict[str, str]:
    """Two agents, tasks in every state, mail of every kind. Returns the ids by the names that command lines use."""
    ann = towns.register(town, "ann", role_id="dev", nickname="boss", wanted=wanted)
    bob = towns.register(town, "bob", wanted=False)
    one, two = towns.give_task(town, ann)[0], towns.give_task(town, bob)[0]
    for kind in ("query", "informational", "confirmation", "custom"):
        towns.give_mail(town, ann, kind)
    towns.give_mail(town, bob, urgent=True)
    towns.give_mail(town, ann, "ping", urgent=True)
    dead = make_message("query", to=ann.id)
    more = _more_tasks(ann, bob, one)
    with towns.writing(town) as tx:
        for task in more.values():
            tx.save_task(None, task)
        tx.do("RPUSH", tx.keys.backlog, more["parked"].id)
        tx.do("SADD", tx.keys.dependents(one.id), more["waiting"].id)
        tx.do("SADD", tx.keys.releases, more["done"].id)
        bury(tx, ann.id, dead.raw, "why", AT, 2)
        tx.activity(ann.id, "did it")
        tx.do("HSET", tx.keys.stats(ann.id), "rounds", 3)
        tx.do("HSET", tx.keys.attempts(ann.id), dead.id, 2)
        hold = {"kind": "rate_limited", "detail": "d", "until": 2e9, "by": "ann"}
        tx.do("SET", tx.keys.hold("true"), json.dumps(hold), "PX", 10**8)
    names = {name: task.id for name, task in (more | {"one": one, "two": two}).items()}
    return names | {"ann": ann.id, "bob": bob.id, "dead": dead.id, "run": _missions(town, ann, one)}


def _missions(town: Town, ann: Agent, task: Task) -> str:
    """One that is stopped and has something of everything, and one that has ended; the id of the first."""
    run = make_mission(state=MissionState.BLOCKED, stopped_at=AT, asked={"why": {"at": AT, "count": 1}})
    work: dict[str, Any] = {"status": WorkStatus.ASSIGNED, "job": Job.WORK, "task_id": task.id, "assigned_to": ann.id}
    first = make_item(run, 1, **work, verify=["true"], outside=["acme/api#1"])
    submitted = {"status": WorkStatus.BLOCKED, "author": ann.id, "authors": ["ann"], "rejections": ["no"], "rounds": 1}
    second = make_item(run, 2, depends_on=[first.id], needs_person=True, **submitted)
    put_mission(town, run, first, second, watches=[make_watch(second, key="checks:1", report="log")])
    put_mission(town, make_mission(state=MissionState.COMPLETED))
    with towns.writing(town) as tx:
        steps.note(tx, run.id, "user", "note")
        steps.log(tx, "mission_noted", "note", run, second)
    return run.id


def _more_tasks(ann: Agent, bob: Agent, one: Task) -> dict[str, Task]:
    ended: dict[str, Any] = {"completed_at": AT, "result": "r"}
    return {
        "parked": make_task(TaskState.PENDING, tags=["dev"]),
        "waiting": make_task(TaskState.PENDING, depends_on=[one.id], planned_agent="ann"),
        "done": make_task(TaskState.COMPLETED, assigned_to=ann.id, **ended),
        "failed": make_task(TaskState.FAILED, assigned_to=bob.id, assigned_by=ann.id, **ended),
    }


def lasting(town: Town) -> dict[str, Any]:
    """Every key but the tokens of what was committed, which go by themselves."""
    for key in town.store.redis.scan_iter(match=f"{town.store.keys.sent('')}*", count=1000):
        town.store.redis.delete(key)
    return towns.snapshot(town)


def poison(rng: random.Random, town: Town) -> tuple[str, str]:
    """Spoil one value of the town, whatever it is; returns the key and what was put there."""
    redis = town.store.redis
    keys = redis.scan_iter(match=f"{town.store.keys.prefix}*", count=1000)
    key = rng.choice(sorted(key for key in keys if ":sent:" not in key))
    if rng.random() < 0.05:
        return key, _other_type(rng, town, key)
    match redis.type(key):
        case "string":
            bad = _bad(rng, str(redis.get(key)))
            redis.set(key, bad, keepttl=True)
        case "list":
            at = rng.randrange(int(redis.llen(key)))
            bad = _bad(rng, str(redis.lindex(key, at)))
            redis.lset(key, at, bad)
        case "hash":
            name = rng.choice(sorted(map(str, redis.hkeys(key))))
            bad = _bad(rng, str(redis.hget(key, name)))
            redis.hset(key, rng.choice(WORDS) if rng.random() < 0.2 else name, bad)
        case "stream":
            bad = mutated(rng, EVENT)
            redis.xadd(key, {rng.choice(["data", "data", "other"]): bad})
        case "set":
            bad = rng.choice(WORDS)
            redis.sadd(key, bad)
        case _:
            bad = rng.choice(WORDS)
            redis.zadd(key, {bad: rng.choice([0.0, -1.0, float("inf"), 1e300])})
    return key, bad[:300]


def _bad(rng: random.Random, text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # spoilt before
        value = None
    if not isinstance(value, dict):
        return rng.choice((*WORDS, *NASTY))
    if "id" in value and rng.random() < 0.1:
        return json.dumps(value | {"id": ids.new_id()})
    return mutated(rng, value)


def _other_type(rng: random.Random, town: Town, key: str) -> str:
    redis, kind = town.store.redis, rng.choice(TYPES)
    redis.delete(key)
    match kind:
        case "string":
            redis.set(key, "x")
        case "list":
            redis.rpush(key, "x")
        case "hash":
            redis.hset(key, "x", "y")
        case "set":
            redis.sadd(key, "x")
        case "zset":
            redis.zadd(key, {"x": 1.0})
        case _:
            redis.xadd(key, {"x": "y"})
    return f"a {kind}"
