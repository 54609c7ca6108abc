"""What is shown of missions: why each item is not running, and shapes that programs can rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.builders import AT, make_item, make_mission, make_watch
from tests.support.missions import file_now, put_mission
from tests.support.town import register, writing
from tinytown.domain.mission import MissionState
from tinytown.domain.watch import WatchKind, WatchStatus
from tinytown.domain.work import Job, WorkStatus
from tinytown.errors import NotFound
from tinytown.services.missions import status, steps
from tinytown.town import Town


def test_why_an_item_is_not_running(town: Town) -> None:
    """What it waits for inside and outside the mission, whose turn it is, what the scheduler says, who stopped it."""
    run = make_mission()
    busy = [make_item(run, n, status=WorkStatus.RUNNING, job=Job.WORK, task_id=str(n)) for n in (1, 2)]
    gone = make_item(run, 3, status=WorkStatus.CANCELLED, reason="cancelled by user")
    after = make_item(run, 4, depends_on=[busy[0].id], outside=["acme/api#7", "acme/api#8"])
    stuck = make_item(run, 5, depends_on=[gone.id])
    ready = make_item(run, 6, status=WorkStatus.READY)
    told = make_item(run, 7, status=WorkStatus.READY, reason="no agent runs", remedy="tt spawn worker")
    gated = make_item(run, 8, status=WorkStatus.BLOCKED, author="a")
    closed = make_watch(
        after, kind=WatchKind.ISSUE_CLOSED, target_ref="acme/api#8", state="closed", status=WatchStatus.DONE
    )
    put_mission(town, run, *busy, gone, after, stuck, ready, told, gated, watches=[closed])
    file = file_now(town, run)

    assert status.why(file, busy[0]) == (None, None)
    assert status.why(file, gone) == ("cancelled by user", None)
    assert status.why(file, after) == ("waits for acme/web#1, acme/api#7 (outside this mission)", None)
    reason, remedy = status.why(file, stuck)
    assert reason == "depends on acme/web#3, which was cancelled"
    assert remedy == f"tt mission retry {gone.id[:8]}, or tt mission cancel {stuck.id[:8]}"
    assert status.why(file, ready) == ("its turn comes: 2 of 2 are at work", None)
    assert status.why(file, told) == ("no agent runs", "tt spawn worker")
    assert status.why(file, gated) == ("waits for its next gate", None)

    stopped = replace(run, stopped_at=AT, state=MissionState.BLOCKED, blocked_reason="Stopped by user", remedy="resume")
    file = replace(file, run=stopped)
    assert status.why(file, told) == ("Stopped by user", "resume")
    at_work = ("runs to its end; what comes of it is taken up when the mission goes on", "resume")
    assert status.why(file, busy[0]) == at_work
    idle = replace(file, run=run, items={ready.id: ready})
    assert status.why(idle, ready) == ("waits for a free agent", None)


def test_why_an_item_waits_for_an_issue_that_cannot_be_read(town: Town) -> None:
    """It says so, and what can be done."""
    run = make_mission()
    item = make_item(run, 1, outside=["acme/api#7"])
    fields = {"kind": WatchKind.ISSUE_CLOSED, "target_ref": "acme/api#7", "state": "unreadable", "text": "not found"}
    put_mission(town, run, item, watches=[make_watch(item, **fields)])
    reason, remedy = status.why(file_now(town, run), item)
    assert reason == "depends on acme/api#7, which cannot be read: not found"
    assert remedy == f"give access to it, or tt mission cancel {item.id[:8]}"


def test_the_shape_of_a_mission(town: Town) -> None:
    """As documented: references in the first version's form, counts by state, items and watches where asked for."""
    agent = register(town, "backend")
    run = make_mission(objectives=["acme/web#1", "docs/plan.md"])
    item = make_item(run, status=WorkStatus.RUNNING, job=Job.WORK, task_id="t", assigned_to=agent.id, body="long")
    watch = make_watch(item, report="long", text="1 of 2 checks failed", state="failing")
    put_mission(town, run, item, watches=[watch])
    with writing(town) as tx:
        steps.log(tx, "mission_noted", "a line", run)

    seen = status.one(town, run.id[:5])
    shape = status.mission_shape(seen.reports[0], work=True, watch=True)

    assert not seen.is_supervised
    assert shape["objective_refs"] == [
        {"type": "issue", "owner": "acme", "repo": "web", "number": 1}, {"type": "doc", "path": "docs/plan.md"},
    ]  # fmt: skip
    assert (shape["id"], shape["state"], shape["policy"]["max_parallel_items"]) == (run.id, "running", 2)
    assert shape["work"] == {
        "total": 1, "pending": 0, "ready": 0, "assigned": 0, "running": 1, "blocked": 0, "done": 0, "cancelled": 0,
    }  # fmt: skip
    assert shape["watch"] == {"total": 1, "active": 1, "snoozed": 0, "done": 0}
    assert shape["events"][0]["text"] == "a line"
    (work,) = shape["work_items"]
    assert (work["agent"], work["source_ref"], work["job"], work["reason"]) == ("backend", "acme/web#1", "work", None)
    assert "body" not in work
    (look,) = shape["watch_items"]
    assert (look["kind"], look["text"]) == ("pr_checks", "1 of 2 checks failed")
    assert "report" not in look
    assert "work_items" not in status.mission_shape(seen.reports[0])


@pytest.mark.parametrize("ended", [False, True])
def test_which_missions_are_listed(town: Town, *, ended: bool) -> None:
    """Those that have not ended, stopped ones too; with `ended` all, oldest first."""
    runs = [
        make_mission(state=state, created_at=f"2026-01-0{n}T00:00:00Z", stopped_at=AT if n == 2 else None)
        for n, state in enumerate((MissionState.COMPLETED, MissionState.BLOCKED, MissionState.RUNNING), 1)
    ]
    for run in runs:
        put_mission(town, run)
    listed = [report.run for report in status.all_of_them(town, ended=ended).reports]
    assert listed == runs[0 if ended else 1 :]
    with pytest.raises(NotFound, match="Mission ffff not found"):
        status.one(town, "ffff")
