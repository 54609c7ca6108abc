"""Towns in which something was changed by hand, or in which there is no room: one agent's trouble is its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import NewTown
from tests.faults.test_actors import kill_until_given_up
from tests.support import invariants
from tests.support.builders import make_item, make_mission
from tests.support.missions import put_mission
from tests.support.running_town import RunningTown
from tests.support.waiting import wait_until
from tinytown import clock
from tinytown.domain.states import AgentState, TaskState
from tinytown.files import FileLock
from tinytown.processes import Identity, cpu_and_memory
from tinytown.services import agents, waiting
from tinytown.services.missions import status
from tinytown.store.agents import read_wish
from tinytown.town import change

pytestmark = pytest.mark.fault

WINDOW_S = 1.0
BUSY_S = 0.35  # of WINDOW_S: more is no waiting
BAD_WISHES = [
    '{"name":"foo","epoch":"1","rounds":5}',
    '{"name":"../x","epoch":1,"rounds":5}',
    '{"name":"foo","epoch":1,"rounds":5,"since":null}',
    "[]",
    "no json",
]


def pass_window() -> None:
    """A time long enough to tell waiting from spinning."""
    until = clock.monotonic() + WINDOW_S
    wait_until(lambda: clock.monotonic() > until)


def busy(*those: Identity) -> list[float]:
    """The CPU seconds that each of them uses in a window."""
    before = [cpu_and_memory(process.pid)[0] for process in those]
    pass_window()
    return [cpu_and_memory(process.pid)[0] - start for process, start in zip(those, before, strict=True)]


def lines(path: Path) -> int:
    """How many there are."""
    return len(path.read_text().splitlines())


def ring(town: RunningTown, name: str) -> None:
    """Have the agent look."""
    agent_id = town.agent(name).id
    change(town.town.store, lambda tx: tx.ring(agent_id))


# By hand


def test_bad_wishes(town: RunningTown) -> None:
    """What is no wish ends no supervisor, starts nothing, writes nowhere, and does not delay the others."""
    redis, key = town.town.store.redis, town.town.store.keys.wanted
    supervisor = town.supervisor
    for number, bad in enumerate(BAD_WISHES):
        redis.hset(key, f"foo{number}", bad)
    town.spawn("ann")
    town.kill(town.actor("ann"))
    town.task_done("ann")
    assert town.supervisor == supervisor
    assert {path.name for path in (town.town.state_dir / "agents").iterdir()} == {"ann"}
    assert not (town.town.state_dir / "x").exists()
    redis.hdel(key, *[f"foo{number}" for number in range(len(BAD_WISHES))])


@pytest.mark.parametrize("stops", [False, True])
def test_a_claim_of_the_wrong_type(town: RunningTown, *, stops: bool) -> None:
    """An agent that cannot be brought back, or to its end, is tried now and then; the others are cared for."""
    town.spawn("ann", "bob")
    town.wait_idle("ann", "bob")
    ann, bob, key = town.actor("ann"), town.actor("bob"), town.town.store.keys.claimed(town.agent("ann").id)
    town.town.store.redis.set(key, "by hand")
    if stops:
        town.kill(ann, signal.SIGSTOP)
        agents.kill(town.town, "ann")
    town.kill(ann)
    town.kill(bob)
    town.wait(lambda: town.actor("bob") != bob and town.agent("bob").state == "idle", "bob's successor", 4)
    town.task_done("bob")
    before = lines(town.log)
    pass_window()
    assert lines(town.log) - before <= 4
    town.town.store.redis.delete(key)
    if stops:
        assert waiting.for_agent(town.town, "ann", 5) is AgentState.STOPPED
    else:
        town.task_done("ann")


def test_a_pause_by_hand_outlives_the_actor(town: RunningTown) -> None:
    """A flag that was set with redis-cli holds for the successor, too, until it is deleted."""
    town.spawn("ann")
    actor, key = town.actor("ann"), town.town.store.keys.pause(town.agent("ann").id)
    town.town.store.redis.set(key, "1")
    ring(town, "ann")
    town.wait(lambda: town.agent("ann").state is AgentState.PAUSED, "the pause")
    task = town.assign("ann")
    town.kill(actor)
    town.wait(lambda: town.actor("ann") != actor and town.agent("ann").state is AgentState.PAUSED, "it after a death")
    assert town.town.store.redis.exists(key)
    assert not town.runs(task)
    town.town.store.redis.delete(key)
    ring(town, "ann")
    town.wait_done(task)


def test_a_record_deleted_by_hand(new_town: NewTown) -> None:
    """An agent without a record is given up: its wish goes, and nothing starts it again."""
    town = new_town(supervisor={"restart_intensity": 1, "backoff_s": 0.02})
    agent = town.spawn("ann")
    actor = town.actor("ann")
    town.town.store.redis.delete(town.town.store.keys.agent(agent.id))
    town.kill(actor)
    town.wait(lambda: not town.town.store.agents.wishes(), "the end of the wish", 5)
    town.wait(lambda: town.events("agent_gave_up"), "the event")
    town.spawn("bob")
    town.task_done("bob")
    town.town.store.redis.hdel(town.town.store.keys.agents, "ann")  # by hand as well, with all that is left of it
    for kind in ("stats", "activity", "wake", "attempts", "lease"):
        town.town.store.redis.delete(getattr(town.town.store.keys, kind)(agent.id))


def test_a_wish_of_the_future(new_town: NewTown) -> None:
    """A clock that was set back does not make a crash loop endless."""
    town = new_town(supervisor={"restart_intensity": 2, "backoff_s": 0.02})
    agent = town.spawn("ann")
    redis, keys = town.town.store.redis, town.town.store.keys
    wish = read_wish(town.town.store.agents.wishes()[agent.id])
    assert wish is not None
    redis.hset(keys.wanted, agent.id, wish.having(since=clock.wall() + 3600).to_json())
    assert kill_until_given_up(town, "ann") <= 4


def test_nobody_works_on_missions(new_town: NewTown) -> None:
    """A scheduler that was given up is told of where people look at missions, with what would help; and it does."""
    town = new_town(supervisor={"restart_intensity": 1, "backoff_s": 0.02})
    run = make_mission()
    put_mission(town.town, run, make_item(run, 1))
    assert town.town.ring_supervisor()
    killed: set[Identity] = set()

    def kill_it() -> bool:
        process = holder(town)
        if process is not None and process not in killed:
            killed.add(process)
            town.kill(process)
        return bool(town.events("missions_gave_up"))

    town.wait(kill_it, "the end of the scheduler")
    still = status.all_of_them(town.town).stands_still
    assert still is not None
    assert "given up" in still[0]
    assert still[1] == f"To try again: kill -HUP {town.supervisor.pid}"
    assert "missions: some are active, and schedulers are []" in invariants.violations(town.town, settled=True)
    assert not invariants.violations(town.town, settled=True, may_give_up=True)
    town.signal_supervisor(signal.SIGHUP)
    town.wait(lambda: status.one(town.town, run.id).stands_still is None, "another one")


def holder(town: RunningTown) -> Identity | None:
    """The process that works on missions."""
    token = town.town.store.agents.lease("missions")
    if token is None:
        return None
    _host, pid, started = token.rsplit(":", 2)
    return Identity.from_dict({"pid": pid, "started": started})


# No room


@contextmanager
def no_room(town: RunningTown, actor: Identity) -> Iterator[None]:
    """This actor cannot write its round's journal."""
    stone = town.journal("ann").folder / f"round.json.{actor.pid}.tmp"
    stone.mkdir()
    yield
    stone.rmdir()


def test_no_room_for_the_outcome(town: RunningTown) -> None:
    """An outcome that cannot be journalled is settled all the same: once, by the actor that knows it."""
    town.spawn("ann")
    task = town.assign("ann", "await go", "say forty-two")
    town.wait_run(task)
    town.wait(lambda: (entry := town.journal("ann").round()) and entry.model, "the journal to name the model")
    actor = town.actor("ann")
    with no_room(town, actor):
        town.go()
        town.wait_done(task)
        town.wait_idle("ann")
    assert town.task(task).result == "forty-two"
    assert town.actor("ann") == actor
    assert len(town.runs(task)) == 1


@pytest.mark.slow
def test_no_room_for_the_claim(town: RunningTown) -> None:
    """Nothing runs without a journal: the message goes back, uncharged, and is tried again a little later."""
    town.spawn("ann")
    actor = town.actor("ann")
    with no_room(town, actor):
        task = town.assign("ann")
        town.wait(lambda: town.events("message_requeued"), "the message to go back")
        town.wait_idle("ann")
        town.check()
        assert (town.task(task).state, town.runs(task)) == (TaskState.ASSIGNED, [])
        assert set(town.town.store.redis.hvals(town.town.store.keys.attempts(town.agent("ann").id))) <= {"0"}
        (used,) = busy(actor)
        assert used < BUSY_S
        assert len(town.events("message_requeued")) == 1
    town.wait_done(task)
    assert town.actor("ann") == actor


# Redis refuses, or is away


@pytest.mark.parametrize("setting", ["maxmemory", "min-replicas-to-write"])
def test_nobody_spins_when_redis_refuses_writes(town: RunningTown, setting: str) -> None:
    """An actor with a state to save and a supervisor with a successor to start wait, and do not say so in each try."""
    town.spawn("ann", "bob")
    town.wait_idle("ann", "bob")
    ann, bob, redis = town.actor("ann"), town.actor("bob"), town.town.store.redis
    key = town.town.store.keys.pause(town.agent("ann").id)
    town.kill(ann, signal.SIGSTOP)
    redis.set(key, "1")
    ring(town, "ann")
    redis.config_set(setting, "1")
    town.kill(ann, signal.SIGCONT)
    town.kill(bob)
    actors_log = town.town.logs_dir / "ann.log"
    town.wait(lambda: "Redis is away" in actors_log.read_text(), "the actor to notice", 3)
    before = [lines(actors_log), lines(town.log)]
    used = busy(ann, town.supervisor)
    assert max(used) < BUSY_S, used
    now = [lines(actors_log), lines(town.log)]
    assert now[0] <= before[0] + 1, actors_log.read_text()
    assert now[1] <= before[1] + 3, town.log.read_text()
    redis.config_set(setting, "0")
    redis.delete(key)
    town.task_done("bob")
    town.wait(lambda: "Redis is back" in actors_log.read_text(), "the actor to go on")
    ring(town, "ann")
    town.task_done("ann")
    assert town.actor("ann") == ann


def test_an_actor_does_not_spin_for_mail_that_is_due(new_town: NewTown) -> None:
    """A message held back until a moment at which Redis is away is looked at when Redis is back, and not before."""
    town = new_town(agent={"retry_delay_s": 0.4})
    town.spawn("ann")
    task = town.assign("ann", "first exit 1")
    town.wait(lambda: town.events("task_requeued"), "the failure")
    actor, lock = town.actor("ann"), FileLock(town.town.state_dir / "redis.lock")
    assert lock.acquire()
    town.kill_redis()
    log = town.town.logs_dir / "ann.log"
    pass_window()
    before = lines(log)
    used = busy(actor, town.supervisor)
    assert max(used) < BUSY_S, used
    assert lines(log) == before
    lock.release()
    town.wait_done(task)
    assert town.actor("ann") == actor
