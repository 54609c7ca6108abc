"""Missions as stored: what is written comes back, what cannot be read is left out, indexes follow the records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.builders import make_item, make_mission, make_watch
from tests.support.missions import file_now, put_mission
from tests.support.town import events, writing
from tinytown.domain.mission import MissionState
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.services.missions import steps
from tinytown.store.transaction import Stale
from tinytown.town import Town


def test_what_is_written_comes_back(town: Town) -> None:
    """Record, items in the order of their numbers, watches; with the texts they are stored as."""
    run = make_mission(asked={"help": {"at": "now", "count": 2}})
    second, first = make_item(run, 2, body="Text\n" * 9), make_item(run, 1)
    watch = make_watch(second, text="1 of 2 failed")
    put_mission(town, run, second, first, watches=[watch])

    file = file_now(town, run)

    assert (file.run, list(file.items.values()), list(file.watches.values())) == (run, [first, second], [watch])
    assert file.raw == run.to_json()
    assert file.raws == {one.id: one.to_json() for one in (first, second, watch)}
    assert town.store.missions.get(run.id) == (file.raw, run)
    assert town.store.missions.item(run.id, first.id) == (first.to_json(), first)


def test_what_is_not_there(town: Town) -> None:
    """Is None, or left out."""
    missions = town.store.missions
    assert [missions.get("x"), missions.file("x"), missions.item("x", "y")] == [None, None, None]
    assert not any([missions.many([]), missions.files([]), missions.files(["x"]), missions.all_ids()])
    assert not any([missions.events("x", 5), missions.notes("x", 5), missions.active_ids()])
    assert missions.active_count() == 0


def test_indexes_follow_the_record(town: Town) -> None:
    """All missions by their age; active are those that have neither ended nor been stopped."""
    young, old = make_mission(created_at="2026-01-03T00:00:00Z"), make_mission(created_at="2026-01-02T00:00:00Z")
    put_mission(town, young)
    put_mission(town, old)
    missions = town.store.missions
    assert missions.all_ids() == [old.id, young.id]
    assert missions.active_ids() == sorted([old.id, young.id])

    with writing(town) as tx:
        stopped = replace(old, state=MissionState.BLOCKED, stopped_at="now")
        raw = steps.save_mission(tx, old.to_json(), stopped)
        steps.save_mission(tx, young.to_json(), replace(young, state=MissionState.COMPLETED))
    assert missions.active_count() == 0
    assert missions.all_ids() == [old.id, young.id]

    with writing(town) as tx:
        steps.save_mission(tx, raw, replace(stopped, stopped_at=None))
    assert missions.active_ids() == [old.id]


def test_who_comes_second_is_refused(town: Town) -> None:
    """Each record that is replaced, or only rested on, must be as it was read."""
    run = make_mission()
    item = make_item(run)
    watch = make_watch(item)
    put_mission(town, run, item, watches=[watch])
    for add in (
        lambda tx: steps.save_mission(tx, None, run),
        lambda tx: steps.save_item(tx, "other", item),
        lambda tx: steps.save_watch(tx, None, watch),
        lambda tx: steps.expect_mission(tx, "other", run),
        lambda tx: steps.expect_item(tx, "other", item),
        lambda tx: steps.expect_watch(tx, "other", watch),
    ):
        tx = town.store.transaction()
        add(tx)
        tx.do("SET", tx.keys.sent("proof"), "1", "EX", 9)
        with pytest.raises(Stale):
            town.store.commit(tx)
    assert file_now(town, run).run == run


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"id":"x"}', "\x00", '{"number":"one"}', "[" * 999])
def test_a_spoilt_text_is_no_record(town: Town, text: str) -> None:
    """One that cannot be read, or is another's, is left out and named; the rest stays readable."""
    run = make_mission()
    good, bad, strange = make_item(run), make_item(run, 2), make_item(make_mission(), 3)
    watch = make_watch(good)
    put_mission(town, run, good, bad, watches=[watch])
    redis, keys = town.store.redis, town.store.keys
    redis.hset(keys.mission_work(run.id), bad.id, text)
    redis.hset(keys.mission_work(run.id), strange.id, strange.to_json())
    redis.hset(keys.mission_watch(run.id), watch.id, text)
    redis.lpush(keys.mission_events(run.id), text)
    file = town.store.missions.file(run.id)
    assert file is not None
    assert list(file.items) == [good.id]
    assert set(file.unreadable) == {bad.id, strange.id, watch.id}
    assert all(isinstance(line, dict) for line in town.store.missions.events(run.id, 9))

    redis.set(keys.mission(run.id), text)
    assert [town.store.missions.get(run.id), town.store.missions.file(run.id)] == [None, None]


def test_the_log_keeps_its_last_hundred_lines(town: Town) -> None:
    """Newest first, one line each; the town's history has every event, with what it is about."""
    run = make_mission()
    item = make_item(run, status=WorkStatus.READY)
    put_mission(town, run, item)
    for number in range(steps.LINES_KEPT + 5):
        with writing(town) as tx:
            steps.log(tx, "work_item_ready", f"line\n{number}", run, item, old=WorkStatus.PENDING)
    with writing(town) as tx:
        steps.log(tx, "mission_noted", "x" * 999, run)
        steps.note(tx, run.id, "user", "first")
        steps.note(tx, run.id, "ann", "second\nline")

    lines = town.store.missions.events(run.id, 1000)
    assert len(lines) == steps.LINES_KEPT
    assert lines[1] == {"at": lines[1]["at"], "text": f"line {steps.LINES_KEPT + 4}", "item": item.id}
    assert len(lines[0]["text"]) == steps.TEXT_LENGTH
    assert [(note["by"], note["text"]) for note in town.store.missions.notes(run.id, 9)] == [
        ("ann", "second\nline"), ("user", "first"),
    ]  # fmt: skip
    told = events(town, "work_item_ready")
    assert len(told) == steps.LINES_KEPT + 5
    named = {name: told[0][name] for name in ("mission_id", "work_item_id", "source_ref", "old_state", "new_state")}
    assert named == {
        "mission_id": run.id, "work_item_id": item.id, "source_ref": "acme/web#1", "old_state": "pending",
        "new_state": "ready",
    }  # fmt: skip
    assert "new_state" not in events(town, "mission_noted")[0]


def test_hundreds_of_missions_are_read_by_the_page(town: Town) -> None:
    """In the order asked for."""
    runs = [make_mission() for _ in range(120)]
    for run in runs:
        put_mission(town, run, make_item(run))
    found = town.store.missions.files([run.id for run in runs])
    assert [file.run for file in found] == runs
    assert all(isinstance(item, WorkItem) for file in found for item in file.items.values())
