"""The mission as a whole, and whom it asks."""

from __future__ import annotations

from dataclasses import replace

from tests.missions.builders import URL, a_run, a_view, after, an_item, at, handed_in, watched
from tinytown.domain.mission import MissionState
from tinytown.domain.pull_request import Failure
from tinytown.domain.watch import WatchStatus
from tinytown.domain.work import WorkStatus
from tinytown.missions import watching
from tinytown.missions.concluding import ASK_AGAIN_S, conclude
from tinytown.missions.decisions import Decision
from tinytown.missions.snapshot import MissionView

STUCK = handed_in(1, needs_person=True, reason="its work task failed", remedy="tt mission retry item0000")


def concluded(view: MissionView, busy: int = 0, seconds: float = 0) -> Decision | None:
    """What is decided, and stored in the view."""
    found = conclude(view, busy, after(seconds))
    if found and found[0].mission is not None:
        view.run = found[0].mission
    return found[0] if found else None


def test_it_is_completed_when_every_item_is_done_or_cancelled() -> None:
    """It is completed when every item is done or cancelled."""
    done, off = handed_in(1, URL, status=WorkStatus.DONE), an_item(2, status=WorkStatus.CANCELLED)
    step = concluded(a_view(a_run(), done, off, watches=watched(done)))
    assert step is not None
    assert step.mission is not None
    assert (step.mission.state, step.mission.ended_at) == (MissionState.COMPLETED, at())
    assert {w.status for w in step.watches} == {WatchStatus.DONE}
    assert step.text == "1 items done, 1 cancelled"


def test_while_an_agent_works_it_runs() -> None:
    """While an agent works it runs."""
    view = a_view(a_run(state=MissionState.BLOCKED), an_item(1))
    assert concluded(view, busy=1) is not None
    assert (view.run.state, view.run.blocked_reason) == (MissionState.RUNNING, None)


def test_else_it_says_what_it_waits_for() -> None:
    """Else it says what it waits for."""
    view = a_view(a_run(), handed_in(1, URL, reason="checks are running"))
    assert concluded(view) is not None
    assert (view.run.state, view.run.blocked_reason) == (MissionState.BLOCKED, "o/r#1: checks are running")


def test_what_a_person_can_change_comes_first_with_the_remedy() -> None:
    """What a person can change comes first with the remedy."""
    view = a_view(a_run(), an_item(2, reason="waits"), STUCK)
    concluded(view)
    assert (view.run.blocked_reason, view.run.remedy) == ("o/r#1: its work task failed", STUCK.remedy)


def test_nothing_changed_means_nothing_is_written() -> None:
    """Nothing changed means nothing is written."""
    view = a_view(a_run(), STUCK)
    assert concluded(view) is not None
    assert concluded(view, seconds=60) is None
    assert concluded(view, seconds=ASK_AGAIN_S - 1) is None


def test_help_is_asked_for_once_for_each_reason_then_ever_more_seldom() -> None:
    """Help is asked for once for each reason then ever more seldom."""
    view, asked = a_view(a_run(), STUCK), []
    for minute in range(60 * 12):
        step = concluded(view, seconds=minute * 60)
        asked += [minute] if step is not None and step.asks else []
    assert asked == [0, 30, 90, 210, 450]


def test_one_message_for_all_items_that_lack_the_same() -> None:
    """One message for all items that lack the same, whatever their number; what needs a person is asked one by one."""
    lacks = {"status": WorkStatus.READY, "reason": "no agent runs", "remedy": "tt spawn worker"}
    items = [an_item(n, **lacks) for n in range(1, 9)]
    view = a_view(a_run(), *items)
    step = concluded(view)
    assert step is not None
    assert [line.split(", ", 1)[1] for line in step.asks] == [
        "o/r#1, o/r#2, o/r#3 and 5 more: no agent runs. Next: tt spawn worker"
    ]
    late = an_item(9, **lacks)
    view.items[late.id] = late
    step = concluded(view, seconds=60)
    assert step is not None
    assert step.asks == []
    failed = [handed_in(n, needs_person=True, reason="failed", remedy=f"tt mission retry {n}") for n in (3, 4)]
    step = concluded(a_view(a_run(), *failed))
    assert step is not None
    assert len(step.asks) == 2


def test_a_remedy_that_names_the_item_is_told_once_for_all() -> None:
    """A remedy that names the item is told once for all of them."""
    names = ["11111111-aaaa", "22222222-bbbb"]
    remedies = [f"tt mission approve {name[:8]}" for name in names]
    step = concluded(
        a_view(
            a_run(),
            *(
                handed_in(n, id=i, reason="nobody", remedy=r)
                for n, (i, r) in enumerate(zip(names, remedies, strict=True), 1)
            ),
        )
    )
    assert step is not None
    assert [line.split(", ", 1)[1] for line in step.asks] == ["o/r#1, o/r#2: nobody. Next: tt mission approve ITEM"]


def test_help_is_asked_for_while_others_are_at_work_too() -> None:
    """Help is asked for while others are at work too."""
    step = concluded(a_view(a_run(), STUCK), busy=1)
    assert step is not None
    assert "its work task failed" in step.asks[0]
    assert "tt mission retry" in step.asks[0]


def test_a_reason_that_comes_and_goes_is_not_asked_about_each_time() -> None:
    """A reason that comes and goes is not asked about each time."""
    view, asks = a_view(a_run(), STUCK), 0
    for n in range(20):
        view.items[STUCK.id] = STUCK if n % 2 == 0 else replace(STUCK, needs_person=False, reason=None, remedy=None)
        step = concluded(view, seconds=n * 60)
        asks += len(step.asks) if step is not None else 0
    assert asks == 1


def test_what_was_asked_is_forgotten_in_the_end() -> None:
    """What was asked is forgotten in the end."""
    view = a_view(a_run(), STUCK)
    concluded(view)
    view.items[STUCK.id] = replace(STUCK, needs_person=False, reason=None, remedy=None)
    concluded(view, seconds=ASK_AGAIN_S + 1)
    assert view.run.asked == {}


def test_an_item_behind_a_cancelled_one_is_told_with_both_ways_out() -> None:
    """An item behind a cancelled one is told with both ways out."""
    off = an_item(1, status=WorkStatus.CANCELLED)
    view = a_view(a_run(), off, an_item(2, depends_on=[off.id]))
    concluded(view)
    assert "depends on o/r#1, which was cancelled" in (view.run.blocked_reason or "")
    assert "tt mission retry item0000" in (view.run.remedy or "")
    assert "tt mission cancel item0000" in (view.run.remedy or "")


def test_an_item_behind_an_issue_that_cannot_be_read_is_told() -> None:
    """An item behind an issue that cannot be read is told."""
    item = an_item(1, outside=["o/x#9"])
    watch = watching.open_issue_watch(item, "o/x#9", a_run().policy, after(0))
    failed = watching.learn(Failure("o/x#9", "no access", is_final=True), [watch], item, a_run().policy, after(0))
    view = a_view(a_run(), item, watches=failed)
    concluded(view)
    assert "cannot be read: no access" in (view.run.blocked_reason or "")


def test_the_next_due_time_is_shown() -> None:
    """The next due time is shown."""
    item = handed_in(1, URL, reason="waits")
    view = a_view(a_run(), item, watches=watched(item))
    concluded(view, seconds=310)
    assert view.run.next_wake_at == at(480)
