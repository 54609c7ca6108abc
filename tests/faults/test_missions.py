"""Missions among faults: the scheduler killed, frozen and told to leave, Redis restarted, the supervisor killed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.conftest import NewTown
from tests.support import leftovers
from tests.support.builders import make_item, make_mission
from tests.support.cli import Tt
from tests.support.github.server import GitHub
from tests.support.missions import file_now, put_mission
from tests.support.running_town import RunningTown
from tinytown import clock, processes
from tinytown.domain.mission import Mission, MissionState, Policy
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.processes import Identity
from tinytown.services import supervision
from tinytown.services.missions.lease import NAME

pytestmark = pytest.mark.fault

QUICK = Policy(reviewer_required=False, max_parallel_items=4, watch_interval_secs=1)


def start(
    town: RunningTown, *bodies: str, policy: Policy = QUICK, chain: bool = False
) -> tuple[Mission, list[WorkItem]]:
    """A mission of these items; in a `chain` each waits for the one before it."""
    run = make_mission(policy=policy, created_at=clock.stamp())
    items: list[WorkItem] = []
    for number, body in enumerate(bodies, 1):
        before = [items[-1].id] if chain and items else []
        items.append(make_item(run, number, body=body, depends_on=before))
    put_mission(town.town, run, *items)
    town.town.ring_supervisor()
    return run, items


def scheduler(town: RunningTown) -> Identity:
    """The living mission actor, which holds the lease."""

    def find() -> Identity | None:
        token = town.town.store.agents.lease(NAME) or "::"
        _host, pid, started = token.rsplit(":", 2)
        found = Identity.from_dict({"pid": pid, "started": started})
        return found if processes.is_alive(found) else None

    found: Identity = town.wait(find, "a mission actor")
    return found


def await_state(town: RunningTown, run: Mission, state: MissionState = MissionState.COMPLETED) -> None:
    """Until the mission has come to this state."""
    town.wait(lambda: file_now(town.town, run).run.state is state, f"the mission to be {state}")


def await_item(town: RunningTown, run: Mission, item: WorkItem, status: WorkStatus) -> WorkItem:
    """Until the item has come to this status."""

    def find() -> WorkItem | None:
        now = file_now(town.town, run).items[item.id]
        return now if now.status is status else None

    found: WorkItem = town.wait(find, f"{item.source_ref} to be {status}")
    return found


def once_each(town: RunningTown, items: list[WorkItem]) -> None:
    """Each item was given one task, which was done once."""
    given = [event["work_item_id"] for event in town.events("work_item_assigned") if "agent_id" in event]
    assert sorted(given) == sorted(item.id for item in items)
    assert len(town.events("task_assigned")) == len(town.events("task_completed")) == len(items)


def test_a_mission_from_start_to_end(town: RunningTown) -> None:
    """A chain of three on two agents; the scheduler comes with it and goes after it."""
    town.spawn("ann", "bob")
    run, items = start(town, "one", "two", "three", chain=True)
    await_state(town, run)
    once_each(town, items)
    town.wait(lambda: town.town.store.agents.lease(NAME) is None, "the lease to be let go of")
    town.wait(lambda: "missions" not in kinds(town), "the child to be forgotten")


def kinds(town: RunningTown) -> dict[str, Any]:
    """The supervisor's children by kind (of agents one)."""
    return {child["kind"]: child for child in (supervision.status(town.town) or {})["children"]}


def kill_scheduler(town: RunningTown) -> None:
    town.kill(scheduler(town))


def replace_supervisor(town: RunningTown) -> None:
    town.kill_supervisor()
    town.start()


def kill_redis_and_scheduler(town: RunningTown) -> None:
    kill_scheduler(town)
    town.kill_redis()


def kill_agent(town: RunningTown) -> None:
    town.kill(town.actor("ann"))


KILLS: dict[str, Callable[[RunningTown], None]] = {
    "the scheduler": kill_scheduler,
    "the supervisor": replace_supervisor,
    "Redis": RunningTown.kill_redis,
    "Redis and the scheduler": kill_redis_and_scheduler,
    "the agent": kill_agent,
}


@pytest.mark.parametrize("what", KILLS)
@pytest.mark.parametrize("when", ["waiting", "running"])
def test_a_death_while_a_mission_runs(town: RunningTown, what: str, when: str) -> None:
    """Nothing is done twice, nothing is lost, the mission goes on."""
    if when == "running":
        town.spawn("ann")
    run, items = start(town, "stub: await go", "two", chain=True)
    wanted = WorkStatus.RUNNING if when == "running" else WorkStatus.READY
    await_item(town, run, items[0], wanted)
    scheduler(town)
    if when == "waiting":
        town.spawn("bob", "ann") if what == "the agent" else None
    KILLS[what](town)
    if when == "waiting" and what != "the agent":
        town.spawn("ann")
    town.go()
    await_state(town, run)
    once_each(town, items)


def test_the_scheduler_is_killed_again_and_again(new_town: NewTown) -> None:
    """In whatever it does just then: each item is done once, in its order."""
    town = new_town()
    town.spawn("ann", "bob")
    run, items = start(town, *["work"] * 8, chain=True)
    for _ in range(6):
        town.kill(scheduler(town))
    await_state(town, run)
    once_each(town, items)
    done = [event["work_item_id"] for event in town.events("work_item_done")]
    assert done == [item.id for item in items]


@pytest.mark.parametrize("how", ["TERM", "settings"])
def test_told_to_leave_it_comes_again(town: RunningTown, how: str) -> None:
    """It lets go of the lease and leaves in order; the mission is still active, so another one comes.

    Also when the supervisor reads its settings again: the next one works by them.
    """
    town.spawn("ann")
    run, items = start(town, "stub: await go", "two", chain=True)
    await_item(town, run, items[0], WorkStatus.RUNNING)
    before = scheduler(town)
    if how == "TERM":
        town.kill(before, signal.SIGTERM)
    else:
        town.signal_supervisor(signal.SIGHUP)
    town.wait(lambda: scheduler(town) != before, "another scheduler")
    town.go()
    await_state(town, run)
    once_each(town, items)


def test_a_frozen_scheduler_is_replaced(new_town: NewTown) -> None:
    """No beat: it is ended like a hung agent, and its successor goes on."""
    town = new_town(supervisor={"hung_s": 5.0})
    town.spawn("ann")
    run, items = start(town, "stub: await go", "two", chain=True)
    await_item(town, run, items[0], WorkStatus.RUNNING)
    before = scheduler(town)
    town.kill(before, signal.SIGSTOP)
    town.wait(lambda: scheduler(town) != before, "another scheduler")
    town.go()
    await_state(town, run)
    once_each(town, items)


def test_nothing_works_on_missions_without_one(town: RunningTown) -> None:
    """A town without missions has no scheduler; one whose mission waits for an agent has exactly one."""
    town.spawn("ann")
    assert "missions" not in kinds(town)
    run, items = start(town, "work", policy=Policy(reviewer_required=True))
    await_item(town, run, items[0], WorkStatus.BLOCKED)
    child = kinds(town)["missions"]
    assert (child["phase"], child["pid"]) == ("running", scheduler(town).pid)
    titles = [
        title for process in town.processes if (title := leftovers.command_of(process)).startswith("tt: missions")
    ]
    assert titles == [f"tt: missions [1 active] [{town.town.name}]"]


def test_its_own_death_takes_it_along(town: RunningTown) -> None:
    """A supervisor that is killed leaves no scheduler behind, and the next one has its own at once."""
    run, items = start(town, "work")
    await_item(town, run, items[0], WorkStatus.READY)
    before = scheduler(town)
    town.kill_supervisor()
    town.wait(lambda: not processes.is_alive(before), "the end of the scheduler")
    town.start()
    town.spawn("ann")
    await_state(town, run)


def test_a_crash_loop_is_given_up(new_town: NewTown) -> None:
    """After too many ends it stands still, with an event and a word to people; HUP gives it another try."""
    town = new_town(supervisor={"restart_intensity": 2, "backoff_s": 0.01})
    run, items = start(town, "work")
    await_item(town, run, items[0], WorkStatus.READY)

    def killed() -> bool:
        child = kinds(town).get("missions", {})
        if child.get("pid"):
            processes.kill_all([p] if (p := processes.identity(child["pid"])) else [])
        return bool(child.get("phase") == "given up")

    town.wait(killed, "the give-up")
    assert "restarts in" in kinds(town)["missions"]["reason"]
    assert town.events("missions_gave_up")
    tt = Tt(town.root)
    (line,) = (line for line in tt.ok("supervise", "--status").out.splitlines() if "missions" in line)
    assert "given up" in line
    assert "restarts in" in line
    assert "given up: missions (" in tt("doctor").out
    assert tt.ok("status", "--json").json["missions"] == {"active": 1}
    assert "Missions: 1 active" in tt.ok("status").out
    town.signal_supervisor(signal.SIGHUP)
    scheduler(town)
    town.spawn("ann")
    await_state(town, run)


# Pull requests


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A GitHub of one's own, and a token for it."""
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    with GitHub() as server:
        yield server


def askers(town: RunningTown) -> list[Identity]:
    """The living processes that ask GitHub."""
    return processes.marked(f"missions:{town.town.name}:")


def test_a_pull_request_is_watched_until_it_is_merged(new_town: NewTown, github: GitHub) -> None:
    """Its URL is in the result; a person merges it, and the item is done. The scheduler is killed meanwhile."""
    town = new_town(github={"api_url": github.api_url})
    town.spawn("ann")
    pull = github.pull("acme/web", 7)
    run, items = start(town, f"stub: say see {github.web_url}/acme/web/pull/7")
    await_item(town, run, items[0], WorkStatus.BLOCKED)
    town.wait(lambda: github.count(path="/pulls/7"), "a look at it")
    town.kill(scheduler(town))
    pull.state, pull.merged_by = "closed", "zoe"
    await_state(town, run)
    once_each(town, items)
    town.wait(lambda: not askers(town), "the end of who asked")


def test_github_that_does_not_answer(new_town: NewTown, github: GitHub) -> None:
    """The scheduler does not wait with it: other items go on, and a merge that is seen later counts."""
    town = new_town(github={"api_url": github.api_url})
    town.spawn("ann")
    pull = github.pull("acme/web", 7)
    github.hang("/pulls/7")
    run, items = start(town, f"stub: say see {github.web_url}/acme/web/pull/7", "two")
    await_item(town, run, items[1], WorkStatus.DONE)
    town.wait(lambda: askers(town), "who asks")
    for process in askers(town):
        processes.send(process, signal.SIGKILL)
    github.mend()
    pull.state, pull.merged_by = "closed", "zoe"
    town.wait(lambda: town.events("watch_changed"), "the failure to be noted")
    now = file_now(town.town, run).watches.values()
    assert {watch.consecutive_failures for watch in now} == {1}


# Verification


def test_what_the_town_runs_itself(new_town: NewTown) -> None:
    """The commands of an item run after its work, by its author's actor; one that fails goes back as a fix."""
    town = new_town()
    town.spawn("ann", "bob")
    run = make_mission(policy=QUICK, created_at=clock.stamp())
    item = make_item(run, 1, body="stub: touch made", verify=["true", f"test -e {town.control}/fixed || exit 3"])
    put_mission(town.town, run, item)
    town.town.ring_supervisor()
    town.wait(lambda: town.events("work_item_handed_in"), "the work")
    rejected = town.wait(lambda: file_now(town.town, run).items[item.id].rejections, "a failed verification")
    assert "exit code 3" in rejected[0]
    town.go("fixed")
    await_state(town, run)
    assert file_now(town.town, run).items[item.id].is_verified
