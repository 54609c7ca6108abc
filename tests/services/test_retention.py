"""`[retention]`: what has been kept long enough goes, nothing else does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.builders import make_item, make_mission, make_task, make_watch
from tests.support.missions import put_mission
from tests.support.town import all_tasks, events, register, snapshot, texts, with_settings, writing
from tinytown import clock, ids, logs
from tinytown.domain.mission import MissionState
from tinytown.domain.states import TaskState
from tinytown.domain.watch import WatchStatus
from tinytown.services import retention
from tinytown.services.missions import steps
from tinytown.store.inboxes import bury
from tinytown.town import Town, change


def days_ago(days: float) -> str:
    return clock.stamp(clock.now() - timedelta(days=days))


def test_finished_tasks_go_after_their_days(town: Town) -> None:
    """Ended longer ago than `tasks_days`: record and index go, with an event; open ones stay, however old."""
    kept = with_settings(town, retention={"tasks_days": 2.0})
    old, young = [
        make_task(s, created_at=days_ago(9), updated_at=days_ago(9)) for s in (TaskState.FAILED, TaskState.PENDING)
    ]
    done = [make_task(TaskState.COMPLETED, created_at=days_ago(9), completed_at=days_ago(n)) for n in (1.9, 2.1)]
    for task in (old, young, *done):
        with writing(town) as tx:
            tx.save_task(None, task)

    gone = retention.apply(kept)

    assert gone == {"tasks": 2, "dead_letters": 0, "round_logs": 0, "missions": 0}
    assert all_tasks(town).keys() == {young.id, done[0].id} == set(town.store.tasks.ids(TaskState))
    assert {e["task_id"] for e in events(town, "task_expired")} == {old.id, done[1].id}
    assert [e["message"] for e in events(town, "retention_applied")] == ["2 tasks"]
    kept.store.close()


def test_ended_missions_go_after_their_days(town: Town) -> None:
    """With everything of them, and an event each; what has not ended stays, however old. 0 keeps them for good."""
    kept = with_settings(town, retention={"missions_days": 2.0})
    ended = {"state": MissionState.COMPLETED, "created_at": days_ago(9)}
    old, young = (make_mission(**ended, ended_at=days_ago(days)) for days in (2.1, 1.9))
    stopped = make_mission(state=MissionState.BLOCKED, stopped_at=days_ago(9), created_at=days_ago(9))
    for run in (old, young, stopped):
        item = make_item(run)
        put_mission(town, run, item, watches=[make_watch(item, status=WatchStatus.DONE)])
        with writing(town) as tx:
            steps.note(tx, run.id, "user", "kept?")
            steps.log(tx, "mission_noted", "kept?", run)

    forever = with_settings(town, retention={"missions_days": 0.0})
    assert retention.apply(forever)["missions"] == 0
    assert retention.apply(kept)["missions"] == 1

    assert sorted(town.store.missions.all_ids()) == sorted([young.id, stopped.id])
    assert not any(town.store.redis.exists(key) for key in town.store.keys.of_mission(old.id))
    assert town.store.missions.notes(young.id, 1)
    assert [event["mission_id"] for event in events(town, "mission_expired")] == [old.id]
    for other in (kept, forever):
        other.store.close()


@pytest.mark.parametrize("broken", [False, True])
def test_what_a_push_would_run_again_stays(town: Town, *, broken: bool) -> None:
    """A task that tasks.toml still calls open, and all of them while that file cannot be read."""
    at, name = days_ago(99), ids.derived_id(town.name, "a")
    planned = make_task(TaskState.COMPLETED, id=name, created_at=at, completed_at=at, tags=["plan:a"])
    pulled, noted, other = (make_task(TaskState.FAILED, created_at=at, completed_at=at) for _ in range(3))
    for task in (planned, pulled, noted, other):
        with writing(town) as tx:
            tx.save_task(None, task)
    entry = '[[tasks]]\nid = "{}"\ndescription = "x"\nstatus = "{}"\n'
    rows = (("a", "pending"), (pulled.id[:8], "running"), (noted.id[:8], "failed"))
    text = "".join(entry.format(*row) for row in rows)
    (town.root / "tasks.toml").write_text(text + "[" * broken)

    assert retention.apply(town)["tasks"] == (0 if broken else 2)

    assert broken or all_tasks(town).keys() == {planned.id, pulled.id}
    (town.root / "tasks.toml").unlink()
    assert retention.apply(town)["tasks"] == (4 if broken else 2)


def test_the_oldest_dead_letters_go(town: Town) -> None:
    """The newest `dead_letters` of each agent stay; an event names each that goes."""
    kept = with_settings(town, retention={"dead_letters": 2})
    one, two = register(town, "one"), register(town, "two", wanted=False)
    for n in range(5):
        with writing(town) as tx:
            bury(tx, one.id, f"text {n}", "why", "t", 1)
    change(town.store, lambda tx: bury(tx, two.id, "x", "why", "t", 1))

    assert retention.apply(kept)["dead_letters"] == 3

    assert [letter.text for letter in town.store.inboxes.dead(one.id)] == ["text 3", "text 4"]
    assert len(texts(town, "dead", two.id)) == 1
    assert len(events(town, "message_expired")) == 3
    kept.store.close()


def test_the_oldest_round_logs_go(town: Town) -> None:
    """The newest `round_logs` of each agent stay, by number; other files are left alone."""
    kept = with_settings(town, retention={"round_logs": 2})
    register(town, "one")
    for n in (1, 2, 9, 10, 11):
        logs.round_log(town.logs_dir, "one", n).touch()
    for other in ("one.log", "one_round_x.log", "stranger_round_1.log", "notes.txt"):
        (town.logs_dir / other).touch()

    assert retention.apply(kept)["round_logs"] == 3

    assert logs.round_numbers(town.logs_dir, "one") == [10, 11]
    assert len(list(town.logs_dir.iterdir())) == 6
    kept.store.close()


def test_zero_keeps_for_good(town: Town) -> None:
    """0 switches a bound off; when nothing goes nothing is written."""
    kept = with_settings(town, retention={"tasks_days": 0.0, "dead_letters": 0, "round_logs": 0})
    agent = register(town)
    task = make_task(TaskState.FAILED, updated_at=days_ago(9999))
    change(town.store, lambda tx: tx.save_task(None, task))
    change(town.store, lambda tx: bury(tx, agent.id, "x", "why", "t", 1))
    logs.round_log(town.logs_dir, agent.name, 1).touch()
    before = snapshot(town)

    assert not any(retention.apply(kept).values())
    assert snapshot(town) == before
    kept.store.close()


def test_an_unreadable_time_is_no_reason_to_go(town: Town) -> None:
    """A task whose times cannot be read is kept."""
    task = make_task(TaskState.FAILED, updated_at="yesterday", completed_at="soon")
    change(town.store, lambda tx: tx.save_task(None, task))

    assert retention.apply(town)["tasks"] == 0
