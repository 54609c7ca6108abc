"""The mission actor as a process: its lease, what wakes it, how it leaves."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.builders import make_item, make_mission
from tests.support.leftovers import command_of
from tests.support.missions import put_mission
from tests.support.town import register, same_town, writing
from tests.support.waiting import wait_until
from tinytown import clock, processes
from tinytown.actors.mission import EXIT_LEASE_LOST, MissionActor
from tinytown.domain.mission import MissionState, Policy
from tinytown.domain.work import WorkItem, WorkStatus
from tinytown.missions.decide import decide
from tinytown.missions.decisions import Decision, Plan
from tinytown.missions.snapshot import Snapshot
from tinytown.services import tasks
from tinytown.services.caller import Caller
from tinytown.services.missions import steps
from tinytown.services.missions.lease import NAME
from tinytown.signals import SignalQueue
from tinytown.store.keys import LEASE_TTL_S
from tinytown.supervisor.fork import Forked, exit_code, fork
from tinytown.supervisor.program import ACTOR_SIGNALS
from tinytown.town import Town

Decide = Callable[[Snapshot, datetime], Plan]
Start = Callable[..., Forked]


@pytest.fixture
def start(town: Town, tmp_path: Path) -> Iterator[Start]:
    """Start an actor with this `decide`; a line in `decided` for each time that it decides."""
    made: list[Forked] = []

    def run(chosen: Decide = decide) -> Forked:
        def noted(snapshot: Snapshot, now: datetime) -> Plan:
            with (tmp_path / "decided").open("a") as lines:
                lines.write(f"{len(snapshot.missions)}\n")
            return chosen(snapshot, now)

        def main() -> int:
            return MissionActor(same_town(town), SignalQueue(ACTOR_SIGNALS), lambda: None, noted).run()

        made.append(fork(main, lambda: None))
        return made[-1]

    yield run
    for forked in made:
        processes.send(forked.identity, signal.SIGKILL)
        _await_end(forked)


def _await_end(forked: Forked) -> None:
    wait_until(lambda: not processes.is_alive(forked.identity), 10.0, "its end")


def ended(forked: Forked) -> int:
    """Its exit code, when it has ended."""
    _await_end(forked)
    code = exit_code(forked.process)
    assert code is not None
    return code


def nothing(_snapshot: Snapshot, _now: datetime) -> Plan:
    """Nothing is to be done, ever."""
    return Plan()


def held_by(town: Town, forked: Forked) -> bool:
    """It holds the lease."""
    return (town.store.agents.lease(NAME) or "").endswith(f":{forked.identity.pid}:{forked.identity.started}")


def decided(tmp_path: Path) -> int:
    """How often it has decided."""
    path = tmp_path / "decided"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_it_leaves_when_no_mission_is_active(town: Town, start: Start) -> None:
    """Exit 0, and the lease is free at once."""
    assert ended(start()) == 0
    assert town.store.agents.lease(NAME) is None
    run = make_mission()
    put_mission(town, run)
    assert ended(start()) == 0  # it has nothing to do: completed
    found = town.store.missions.get(run.id)
    assert found is not None
    assert found[1].state is MissionState.COMPLETED


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_told_to_leave(town: Town, start: Start, signum: int) -> None:
    """Exit 0, and the lease is free at once, though missions are active."""
    put_mission(town, make_mission())
    actor = start(nothing)
    wait_until(lambda: held_by(town, actor))
    processes.send(actor.identity, signum)
    assert ended(actor) == 0
    assert town.store.agents.lease(NAME) is None


def test_it_waits_for_its_turn(town: Town, start: Start, tmp_path: Path) -> None:
    """Somebody on another host works on missions: nothing is decided until the lease has lapsed."""
    put_mission(town, make_mission())
    town.store.redis.set(town.store.keys.lease(NAME), "elsewhere:1:1", px=1500)
    actor = start(nothing)
    wait_until(lambda: "waits for elsewhere" in command_of(actor.identity))
    assert decided(tmp_path) == 0
    wait_until(lambda: held_by(town, actor))
    wait_until(lambda: decided(tmp_path))
    wait_until(lambda: command_of(actor.identity) == f"tt: missions [1 active] [{town.name}]")


def test_it_goes_when_its_lease_is_lost(town: Town, start: Start) -> None:
    """The next step is refused: exit 3, and nothing was done."""
    run, agent = make_mission(), register(town)
    other = make_mission()
    put_mission(town, other, make_item(other, owner_role="nobody", is_role_strict=True))
    actor = start()
    wait_until(lambda: held_by(town, actor))
    town.store.redis.set(town.store.keys.lease(NAME), "elsewhere:1:1", ex=LEASE_TTL_S)
    item = make_item(run)
    put_mission(town, run, item)
    with writing(town) as tx:
        steps.log(tx, "mission_started", "started", run)
    assert ended(actor) == EXIT_LEASE_LOST
    assert town.store.inboxes.lengths([agent.id])[0].inbox == 0
    assert town.store.agents.lease(NAME) == "elsewhere:1:1"


def test_a_completed_task_starts_its_dependents_at_once(town: Town, start: Start) -> None:
    """An event wakes it. 100 ms are the aim; a busy machine gets more here."""
    run, agent = make_mission(policy=Policy(reviewer_required=False)), register(town)
    first = make_item(run)
    second = make_item(run, 2, depends_on=[first.id])
    put_mission(town, run, first, second)
    start()

    def now(item: WorkItem) -> WorkItem:
        found = town.store.missions.item(run.id, item.id)
        assert found is not None
        return found[1]

    wait_until(lambda: now(first).status is WorkStatus.ASSIGNED)
    town.store.redis.delete(town.store.keys.inbox(agent.id))  # nobody runs this agent: its message is done
    seen_until = town.store.events.last_id()
    tasks.complete(town, now(first).task_id or "", "done", Caller())
    wait_until(lambda: now(second).status is WorkStatus.ASSIGNED)
    at = {event["event_type"]: int(entry_id.split("-")[0]) for entry_id, event in town.store.events.after(seen_until)}
    assert at["task_assigned"] - at["task_completed"] < 1000


def test_it_comes_back_when_something_is_due(town: Town, start: Start, tmp_path: Path) -> None:
    """`wake_at`: it decides again by then, although nothing happened. Without one it sleeps."""

    def soon(_snapshot: Snapshot, now: datetime) -> Plan:
        return Plan(wake_at=now + timedelta(milliseconds=200)) if decided(tmp_path) < 3 else Plan()

    put_mission(town, make_mission())
    begun = clock.monotonic()
    start(soon)
    wait_until(lambda: decided(tmp_path) >= 3)
    assert clock.monotonic() - begun > 0.3


def test_redis_that_is_away_is_waited_for(town: Town, start: Start, tmp_path: Path) -> None:
    """Its connections are cut: it says so, connects again, reads everything anew."""
    put_mission(town, make_mission())
    actor = start(nothing)
    wait_until(lambda: decided(tmp_path))
    before = decided(tmp_path)
    me = town.store.redis.client_id()
    for client in town.store.redis.client_list():
        if int(client["id"]) != me and client["db"] == "1":
            town.store.redis.client_kill_filter(_id=client["id"])
    wait_until(lambda: decided(tmp_path) > before)
    assert held_by(town, actor)


def test_another_town_is_none_of_its_business(town: Town, start: Start, tmp_path: Path) -> None:
    """Its lease and its missions are the town's own."""
    other = fresh_town_beside(town, tmp_path)
    put_mission(other, make_mission())
    assert ended(start()) == 0
    assert other.store.missions.active_count() == 1
    other.store.close()


def fresh_town_beside(town: Town, tmp_path: Path) -> Town:
    """Another town on the same server."""
    root = tmp_path / "other"
    (root / ".tt").mkdir(parents=True)
    return Town(root, replace(town.config, name=f"{town.name}x"))


@pytest.mark.slow
def test_a_long_tick_holds_its_lease(town: Town, start: Start) -> None:
    """Its lease is renewed between two steps, and does not lapse however many there are."""
    run = make_mission()
    put_mission(town, run, make_item(run))
    key = town.store.keys.lease(NAME)

    def endless(snapshot: Snapshot, _now: datetime) -> Plan:
        noted = [Decision(view.run.id, "mission_noted", "again") for view in snapshot.missions]
        return Plan(noted * 1000)

    actor = start(endless)
    wait_until(lambda: held_by(town, actor))
    town.store.redis.pexpire(key, 12_000)
    wait_until(lambda: town.store.redis.pttl(key) > 20_000, 15.0, "the renewal")
    processes.send(actor.identity, signal.SIGTERM)
    assert ended(actor) == 0
