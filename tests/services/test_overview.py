"""The overview: what needs a person and why, tasks by what must happen next, agents and missions."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.builders import make_item, make_mission
from tests.support.missions import put_mission
from tests.support.town import register
from tinytown import clock, processes
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.domain.work import WorkStatus
from tinytown.errors import TinytownError
from tinytown.journal import ActorEntry
from tinytown.services import agents, backlog, messages, overview, steering, tasks
from tinytown.services.caller import Caller
from tinytown.services.overview import live
from tinytown.services.overview.live import Live
from tinytown.services.plan.pushing import push
from tinytown.town import Town

PERSON = Caller()


@pytest.fixture
def supervised(town: Town) -> Iterator[Town]:
    """A town whose supervisor's lock is held, as if one ran."""
    lock = town.supervisor_lock
    assert lock.acquire()
    (town.state_dir / "supervisor.json").write_text(json.dumps(processes.own().to_dict()))
    yield town
    lock.release()


def alive(town: Town, name: str, **fields: Any) -> None:
    agent = register(town, name, **fields)
    town.journal(name).write_actor(ActorEntry(processes.own(), agent.id, 1))


def card(town: Town, task: Task) -> dict[str, Any]:
    (found,) = (one for one in overview.read(town)["tasks"] if one["id"] == task.id)
    return dict(found)


def place(town: Town, task: Task) -> tuple[str, str | None, str | None]:
    seen = card(town, task)
    return seen["column"], seen["reason"], seen["remedy"]


def needs(town: Town) -> list[tuple[str, str, str | None, int]]:
    return [(need["kind"], need["reason"], need["remedy"], need["behind"]) for need in overview.read(town)["needs"]]


def test_an_empty_town(supervised: Town) -> None:
    """Nothing to do and nothing to see; every field is there."""
    seen = overview.read(supervised)
    assert [seen[part] for part in ("needs", "agents", "tasks", "missions", "events")] == [[]] * 5
    assert (seen["counts"]["total"], seen["done_hidden"], seen["last_event"]) == (0, 0, "0-0")
    assert json.loads(json.dumps(seen)) == seen


@pytest.mark.slow
def test_where_tasks_stand(supervised: Town) -> None:
    """Each column, with the reason and the command that helps."""
    town = supervised
    alive(town, "ann")
    given = tasks.assign(town, "ann", "\n  The login\nin full", PERSON)
    assert card(town, given)["title"] == "The login"
    assert place(town, given) == ("waiting", "agent 'ann' is about to start on it", None)
    steering.interrupt(town, "ann", PERSON)
    assert place(town, given) == ("waiting", "agent 'ann' is paused", "tt resume ann")
    parked = backlog.add(town, "later", [], PERSON)
    remedy = f"tt backlog claim {parked.id[:8]} AGENT"
    assert place(town, parked) == ("waiting", "in the backlog: no agent takes it by itself", remedy)
    done = tasks.complete(town, backlog.add(town, "x", [], PERSON).id, "it works", PERSON)
    assert place(town, done) == ("done", "it works", None)
    failed = tasks.fail(town, backlog.add(town, "y", [], PERSON).id, "no way", PERSON)
    assert place(town, failed) == ("needs_you", "failed: no way", f"tt task retry {failed.id[:8]}")
    assert needs(town) == [("task", "failed: no way", f"tt task retry {failed.id[:8]}", 0)]


def test_what_waits_for_others(supervised: Town) -> None:
    """A task tells what it needs first; when that fails, a person is asked once, and told how much waits behind it."""
    town = supervised
    (town.root / "tasks.toml").write_text(
        '[[tasks]]\nid = "a"\ndescription = "first"\n'
        '[[tasks]]\nid = "b"\ndescription = "second"\ndepends_on = ["a"]\n'
        '[[tasks]]\nid = "c"\ndescription = "third"\ndepends_on = ["b"]\n'
    )
    push(town, PERSON)
    found = {task.plan_id: task for task in tasks.listing(town)}
    assert place(town, found["b"]) == ("waiting", "needs 'first' first", f"tt why {found['b'].id[:8]}")
    tasks.fail(town, found["a"].id, "no", PERSON)
    remedy = f"tt task retry {found['a'].id[:8]}"
    assert place(town, found["b"]) == ("needs_you", "needs 'first', which is failed", remedy)
    assert needs(town)[0] == ("task", "failed: no", remedy, 2)


def test_work_of_agents_that_have_ended(town: Town) -> None:
    """The agent is told of, not each of its tasks; one that is wanted waits for a supervisor."""
    alive(town, "ann")
    for number in range(3):
        tasks.assign(town, "ann", f"work {number}", PERSON)
    (town.state_dir / "agents/ann/actor.json").unlink()
    assert needs(town) == [
        ("supervisor", "no supervisor is running for 1 agent", "tt supervise --detach", 3),
    ]
    gone = register(town, "bob", wanted=False, reason="used its 10 rounds")
    tasks.assign(town, gone.id, "more", PERSON)
    assert needs(town)[1:] == [("agent", "it has ended (used its 10 rounds) with 1 task left", "tt restart bob", 1)]


def test_what_was_given_up(supervised: Town) -> None:
    """An agent in error, also without work; a question to people; a CLI that nobody has logged in to."""
    town = supervised
    register(town, "ann", wanted=False, state=AgentState.ERROR, reason="5 restarts in 60 s")
    alive(town, "bob", cli="claude")
    messages.send(town, "conductor", "May I?", PERSON, kind="query")
    town.store.redis.set(town.store.keys.hold("claude"), '{"kind": "auth_failed", "detail": "401"}')
    assert sorted(needs(town)) == [
        ("agent", "given up: 5 restarts in 60 s", "tt restart ann", 0),
        ("cli", "auth failed: 401", "log in to 'claude'", 0),
        ("mail", "May I?", "tt inbox conductor", 0),
    ]


def test_missions(supervised: Town) -> None:
    """Items with what they wait for; one that needs a person, with what comes after it and the verbs that help."""
    town = supervised
    run = make_mission()
    first = make_item(
        run, 1, status=WorkStatus.BLOCKED, needs_person=True, reason="no verdict", submitted_at=clock.stamp()
    )
    second = make_item(run, 2, depends_on=[first.id])
    put_mission(town, run, first, second)
    seen = overview.read(town)
    (need,) = seen["needs"]
    assert (need["kind"], need["reason"], need["behind"], need["item_id"]) == ("item", "no verdict", 1, first.id)
    assert need["actions"] == ["mission.approve", "mission.reject", "mission.retry", "mission.cancel"]
    (mission,) = seen["missions"]
    assert mission["counts"] == {"blocked": 1, "pending": 1}
    assert [(item["number"], item["depends_on"]) for item in mission["items"]] == [(1, []), (2, [first.id])]


def test_agents(supervised: Town) -> None:
    """What an agent said last, how long ago, and what its processes use."""
    town = supervised
    alive(town, "ann")
    (town.logs_dir / "ann.log").write_text("10:00:00 first\n10:00:01 the last\n\n")
    (ann,) = overview.read(town)["agents"]
    assert (ann["last_output"], ann["task"], ann["run_s"]) == ("the last", None, None)
    assert 0 <= ann["output_age_s"] < 60
    assert ann["cpu_s"] > 0
    assert ann["memory_bytes"] > 1_000_000


@pytest.mark.slow
def test_the_newest_of_what_is_done(supervised: Town) -> None:
    """Done tasks are cut off, and counted."""
    for number in range(live.DONE_MOST + 3):
        task = backlog.add(supervised, f"task {number}", [], PERSON)
        tasks.complete(supervised, task.id, None, PERSON)
    seen = overview.read(supervised)
    assert (len(seen["tasks"]), seen["done_hidden"]) == (live.DONE_MOST, 3)
    assert {one["state"] for one in seen["tasks"]} == {TaskState.COMPLETED}
    assert "task 0" not in {one["title"] for one in seen["tasks"]}


@pytest.mark.slow
def test_only_what_changed(supervised: Town) -> None:
    """After the first look: the rows that events name, those that rest on them, and what is gone; else nothing."""
    town = supervised
    alive(town, "ann")
    alive(town, "bob")
    given = tasks.assign(town, "ann", "work", PERSON)
    other = backlog.add(town, "other", [], PERSON)
    seen = Live(town)
    assert len(seen.read()["tasks"]) == 2
    quiet = seen.changes()
    assert [quiet[part] for part in ("tasks", "agents", "missions", "events", "tasks_gone")] == [[]] * 5
    assert "needs" not in quiet
    steering.interrupt(town, "ann", PERSON)
    changed = seen.changes()
    assert [(row["id"], row["reason"]) for row in changed["tasks"]] == [(given.id, "agent 'ann' is paused")]
    assert [row["name"] for row in changed["agents"]] == ["ann"]
    tasks.fail(town, other.id, "no", PERSON)
    changed = seen.changes()
    assert [row["column"] for row in changed["tasks"]] == ["needs_you"]
    assert [need["task_id"] for need in changed["needs"]] == [other.id]
    assert changed["last_event"] == changed["events"][-1]["id"]


def test_a_whole_look_tells_the_events_too(supervised: Town) -> None:
    """That all is read anew once in a while costs nobody an event; the first look tells none."""
    town = supervised
    backlog.add(town, "old", [], PERSON)
    seen = Live(town, anew_s=0.0)
    assert seen.changes()["events"] == []
    new = backlog.add(town, "new", [], PERSON)
    (told,) = seen.changes()["events"]
    assert told["task_id"] == new.id
    assert seen.changes()["events"] == []


def test_what_happened_to_the_whole_town(supervised: Town) -> None:
    """An event that names nothing (restored, a CLI held): every card is made anew, whatever was known."""
    town = supervised
    task = backlog.add(town, "work", [], PERSON)
    seen = Live(town)
    seen.read()
    key = town.store.keys.task(task.id)
    town.store.redis.set(key, str(town.store.redis.get(key)).replace('"work"', '"other work"'))
    town.store.redis.xadd(town.store.keys.events, {"data": json.dumps({"event_type": "town_restored"})})
    assert [row["title"] for row in seen.changes()["tasks"]] == ["other work"]


@pytest.mark.slow
def test_a_kept_overview_is_a_fresh_one(supervised: Town) -> None:
    """Whatever happens, what is kept and brought up to date is what one would read anew."""
    town, dice = supervised, random.Random(3)  # noqa: S311
    for name in ("ann", "bob"):
        alive(town, name, role_id="dev")
    kept = Live(town)
    kept.read()
    ids = [backlog.add(town, f"task {n}", ["dev"] if n % 2 else [], PERSON).id for n in range(6)]
    for _ in range(60):
        task_id, name = dice.choice(ids), dice.choice(["ann", "bob"])
        moves: list[Callable[[], object]] = [
            partial(backlog.claim, town, task_id, name, PERSON),
            partial(tasks.complete, town, task_id, "done", PERSON),
            partial(tasks.fail, town, task_id, "no", PERSON),
            partial(tasks.retry, town, task_id, PERSON),
            partial(backlog.remove, town, task_id),
            partial(messages.send, town, name, "hello", PERSON),
            partial(agents.kill, town, name),
            partial(messages.send, town, "conductor", f"{name} asks", PERSON, kind="query"),
        ]
        with contextlib.suppress(TinytownError):
            dice.choice(moves)()
        mine, fresh = kept.read(), overview.read(town)
        for row in (*mine["agents"], *fresh["agents"]):
            del row["cpu_s"], row["memory_bytes"]
        assert mine | {"at": ""} == fresh | {"at": ""}
