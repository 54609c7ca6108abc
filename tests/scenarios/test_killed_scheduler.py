"""The mission actor is killed after each kind of its decisions: its successor decides the rest, and nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stage import Stage
from tinytown.domain.mission import MissionState

pytestmark = [pytest.mark.slow, pytest.mark.fault]

OVER = "over"
# What happens in the mission below, by the scheduler or while it works.
EXPECTED = {
    "work_item_assigned work", "work_item_assigned verify", "work_item_assigned review", "work_item_assigned fix",
    "work_item_handed_in work", "work_item_handed_in verify", "work_item_handed_in fix", "work_item_running work",
    "work_item_rejected", "work_item_approved", "work_item_merging", "work_item_done", "work_item_waits",
    "watch_opened", "watch_changed", "mission_blocked", "mission_running",
}  # fmt: skip


def kind_of(event: dict[str, Any]) -> str:
    """The sort of decision, with the job that it is about."""
    kind, words = event["event_type"], event["message"].partition(": ")[2].split()
    has_job = kind in {"work_item_assigned", "work_item_running", "work_item_handed_in"}
    if has_job and words:
        return f"{kind} {words[0] if words[0] in {'work', 'verify', 'fix', 'review'} else 'verify'}"
    return str(kind)


def arrange(stage: Stage) -> None:
    """Two items: the first fails its verification and a review, the second a build. Both wait for an issue outside."""
    stage.issues("Implement login", "Implement logout")
    stage.github.issue("acme/web", 9, title="Choose a vendor")
    stage.github.issues["acme/web", 1].body = "All about login. Blocked by #9."
    stage.opens(2, stage.pull(12, "failure"))
    control = stage.town.control
    stage.plays("work", "await running", "say done", of=1)
    stage.plays("fix", "touch fixed", "say put right", of=1)
    stage.plays("fix", "touch fixing", "await pushed", "say pushed", of=2)
    stage.plays("review", 'tt mission reject {item} --reason "Not yet"', of=1, turn=1)
    stage.spawn("backend", "reviewer")
    manifest = stage.manifest(f"[[overrides]]\nissue = 1\nverify = ['test -e {control}/fixed']\n")
    stage.start("--auto-merge", "--manifest", manifest, issues=(1, 2))


def answer(stage: Stage, seen: set[str]) -> None:
    """What others do, each when what comes before it was seen: close the issue, work, push, and build."""
    control = stage.town.control
    pull = stage.github.pulls["acme/web", 12]
    if "mission_blocked" in seen:
        stage.github.issues["acme/web", 9].state = "closed"
    if seen >= {"mission_running", "work_item_running work"}:
        stage.town.go("running")
    if (control / "fixing").exists() and not (control / "pushed").exists():
        pull.push()
        pull.check("build", None)
        stage.town.go("pushed")
    if "work_item_waits" in seen:
        for check in pull.checks[pull.head]:
            check.status, check.conclusion = "completed", check.conclusion or "success"


def test_killed_after_each_kind_of_decision(stage: Stage) -> None:
    """As soon as its event is there. What was given is what is given without any kill."""
    arrange(stage)
    events = stage.town.town.store.events
    seen: set[str] = set()
    position = ["0-0"]

    def follow() -> bool:
        """Kill it if something new has happened; True when all is over."""
        heard = events.after(position[0], 0.05)
        position[0] = heard[-1][0] if heard else position[0]
        new = {kind_of(event) for _id, event in heard if event.get("mission_id") == stage.mission_id} - seen
        seen.update(new)
        if new and (scheduler := stage.town.wait(lambda: is_over() or stage.living_scheduler(), "a scheduler")) != OVER:
            stage.town.kill(scheduler)
        answer(stage, seen)
        return is_over() == OVER

    def is_over() -> str | None:
        return OVER if stage.file.run.state is MissionState.COMPLETED else None

    stage.town.wait(follow, "the end of the mission", timeout=40.0)
    assert seen >= EXPECTED
    of_first = ["work 1", "verify 1", "fix 1", "verify 1", "review 1", "fix 1", "verify 1", "review 1"]
    assert stage.given() == [*of_first, "work 2", "fix 2", "review 2"]
    assert stage.github.count(method="PUT", path="/pulls/12/merge", status=200) == 1
