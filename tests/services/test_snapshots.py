"""Save and restore: one point in time, proved, and put in place in one step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import invariants
from tests.support.builders import make_agent, make_item, make_mission, make_watch
from tests.support.missions import file_now, put_mission
from tests.support.redis_server import TestRedis
from tests.support.town import (
    agent_now,
    claim_all,
    events,
    fresh_town,
    give_mail,
    give_task,
    in_processes,
    register,
    same_town,
    snapshot,
    task_now,
    texts,
    writing,
)
from tinytown import ids
from tinytown.config import Config, RedisConfig
from tinytown.domain.mission import MissionState
from tinytown.domain.outcome import Outcome, OutcomeKind
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.work import WorkStatus
from tinytown.errors import Conflict, TinytownError, Unavailable
from tinytown.files import FileLock
from tinytown.journal import RoundEntry
from tinytown.services import backlog, snapshots, tasks
from tinytown.services.caller import Caller
from tinytown.services.missions import steps
from tinytown.services.snapshots import NothingSaved
from tinytown.store import saved_file
from tinytown.store import snapshot as stored
from tinytown.store.saved_file import Damaged
from tinytown.town import Town

pytestmark = pytest.mark.slow

PASSING = {"lease", "wake", "sent", "hold", "snapshot", "wanted", "stop", "pause", "answer", "answers"}


@pytest.fixture
def other(redis_server: TestRedis, tmp_path: Path) -> Iterator[Town]:
    """Another town on the same server: the second machine."""
    fresh = fresh_town(redis_server, tmp_path / "other")
    yield fresh
    fresh.store.close()


def state(town: Town) -> dict[str, Any]:
    """Every key that is saved, without the town's name."""
    found = {key.split(":", 2)[2]: value for key, value in snapshot(town).items()}
    return {key: value for key, value in found.items() if key.split(":")[0] not in PASSING}


def carry(town: Town, other: Town) -> None:
    """What git does between the machines."""
    shutil.copy(snapshots.file_of(town), snapshots.file_of(other))


def full(town: Town) -> None:
    """A town at rest with something of every type."""
    agent = register(town, wanted=False)
    give_task(town, agent)
    give_mail(town, agent, "informational", summary="ümlaut 🏘️ \udcff\r\n")
    give_mail(town, agent, urgent=True)
    backlog.add(town, "later", ["x"], Caller())
    with writing(town) as tx:
        tx.do("HSET", tx.keys.stats(agent.id), "rounds", 3)
        tx.do("SADD", tx.keys.prefix + "mission:active", "a", "b")
        tx.do("HSET", tx.keys.prefix + "mission:a:work", "one", "1", "two", "")
        for number in range(2500):
            tx.do("RPUSH", tx.keys.activity(agent.id), number)
            tx.do("ZADD", tx.keys.prefix + "future", number / 3, f"m{number}")


def test_everything_comes_back(town: Town, other: Town) -> None:
    """All types, every value; the history gets one event more. Copies are gone on both sides."""
    full(town)
    before = state(town)
    saved = snapshots.save(town)
    assert (saved.contents.agents, saved.contents.tasks, saved.contents.messages) == (1, 2, 3)
    assert str(saved.contents) == "1 agent, 2 tasks and 3 messages"
    assert saved.size == saved.file.stat().st_size
    assert state(town) == before
    carry(town, other)
    restored = snapshots.restore(other)
    assert (restored.contents, restored.former_name) == (saved.contents, town.name)
    after = state(other)
    assert after["events"][:-1] == before["events"]
    assert {**after, "events": None} == {**before, "events": None}
    assert events(other)[-1]["event_type"] == "town_restored"
    for each in (town, other):
        assert not stored.names_under(each.store, each.store.keys.prefix + "snapshot:")
        assert not (each.state_dir / "scratch").exists()


def test_missions_come_back_stopped(town: Town, other: Town) -> None:
    """With items, watches, lines and notes as they were: the town that was saved may still work on them."""
    run, old = make_mission(), make_mission(state=MissionState.COMPLETED)
    item = make_item(run, status=WorkStatus.BLOCKED, author="a", body="ümlaut\n" * 99)
    put_mission(town, run, item, watches=[make_watch(item)])
    put_mission(town, old)
    with writing(town) as tx:
        steps.note(tx, run.id, "user", "careful")
        steps.log(tx, "mission_noted", "careful", run)
    snapshots.save(town)
    assert town.store.missions.active_ids() == [run.id]
    carry(town, other)
    snapshots.restore(other)

    before, after = file_now(town, run), file_now(other, run)

    assert (after.items, after.watches) == (before.items, before.watches)
    assert (after.run.state, after.run.is_active) == (MissionState.BLOCKED, False)
    assert (after.run.blocked_reason, after.run.remedy) == (
        "Stopped: restored", f"tt mission resume {run.id[:8]}",
    )  # fmt: skip
    assert other.store.missions.active_ids() == []
    assert file_now(other, old).run == old
    assert other.store.missions.notes(run.id, 9) == town.store.missions.notes(run.id, 9)
    invariants.check(other, settled=False)


def test_the_same_state_is_the_same_file(town: Town) -> None:
    """Two saves of a town that did not change are the same bytes, and leave nothing beside the file."""
    full(town)
    first = snapshots.save(town).file.read_bytes()
    assert snapshots.save(town).file.read_bytes() == first
    assert not list(town.state_dir.glob("*.saving"))


def test_a_plain_redis_loads_the_file(town: Town, tmp_path: Path) -> None:
    """It is an append-only file like any other."""
    full(town)
    file = snapshots.save(town).file
    plain = TestRedis(tmp_path / "plain")
    folder = plain.state_dir / "appendonlydir"
    folder.mkdir()
    shutil.copy(file, folder / "saved.aof")
    (folder / "redis.aof.manifest").write_text("file saved.aof seq 1 type b\n")
    with plain:
        loaded = Town(plain.root, Config(name=town.name, redis=plain.config))
        assert state(loaded) == state(town)
        loaded.store.close()


def test_only_this_town(town: Town, other: Town) -> None:
    """Neighbours on the same server are neither saved nor touched; nor is what happens now, on this machine."""
    full(other)
    register(town)
    with writing(town) as tx:
        tx.do("SET", tx.keys.lease("supervisor:here"), "x", "EX", 30)
        tx.do("SET", tx.keys.hold("true"), "{}", "EX", 30)
        tx.do("SET", tx.keys.answer("x"), "{}", "EX", 30)
        tx.do("SET", tx.keys.stop("x"), "1")
    neighbour = snapshot(other)
    text = snapshots.save(town).file.read_text()
    assert other.name not in text
    for kind in PASSING:
        assert f"tt:{town.name}:{kind}" not in text
    with writing(town) as tx:
        tx.do("DEL", tx.keys.wanted)
    snapshots.restore(town, force=True)
    assert snapshot(other) == neighbour
    left = {key.split(":")[2] for key in snapshot(town)}
    assert {"lease", "hold", "answer"} <= left
    assert "stop" not in left


def test_one_point_in_time(town: Town, other: Town, tmp_path: Path) -> None:
    """What is saved while others write holds together: tasks with what leads to them, indexes with their records."""
    agent = register(town, wanted=False)

    def work(number: int) -> int:
        mine = same_town(town)
        if number == 0:
            for turn in range(6):
                shutil.copy(snapshots.save(mine).file, tmp_path / f"{turn}.aof")
            return 0
        for turn in range(150):
            task = tasks.assign(mine, agent.name, f"{number} {turn}", Caller())
            if turn % 3 == 0:
                tasks.complete(mine, task.id, "done", Caller())
        return 0

    town.store.close()
    in_processes(3, work, within_s=40)
    counts = []
    for turn in range(6):
        shutil.copy(tmp_path / f"{turn}.aof", snapshots.file_of(other))
        counts.append(snapshots.restore(other, force=True).contents.tasks)
        invariants.check(other, settled=False)
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_a_round_in_progress(town: Town, other: Town) -> None:
    """On another machine nothing of it runs: the work is back at the head, uncharged, the agent stopped, not wished."""
    agent = register(town)
    first, lead = give_task(town, agent)
    urgent = give_mail(town, agent, urgent=True)
    claim_all(town, agent)
    assert task_now(town, first).state is TaskState.RUNNING
    _second, later = give_task(town, agent)
    snapshots.save(town)
    assert texts(town, "claimed", agent.id)
    carry(town, other)
    snapshots.restore(other)
    invariants.check(other, settled=True)
    assert (texts(other, "urgent", agent.id), texts(other, "inbox", agent.id)) == ([urgent.raw], [lead.raw, later.raw])
    assert task_now(other, first.id).state is TaskState.ASSIGNED
    record = agent_now(other, agent)
    assert (record.state, record.reason, record.current_task) == (AgentState.STOPPED, "restored", None)
    assert other.store.agents.wishes() == {}
    assert other.store.call(lambda r: r.exists(other.store.keys.attempts(agent.id))) == 0


def test_agents_that_had_ended_stay_as_they_were(town: Town, other: Town) -> None:
    """Why an agent ended is not overwritten."""
    agent = register(town, wanted=False, state=AgentState.ERROR, reason="gave up")
    snapshots.save(town)
    carry(town, other)
    snapshots.restore(other)
    assert agent_now(other, agent) == agent_now(town, agent)


def test_a_town_that_is_not_empty(town: Town) -> None:
    """It is refused with what would be lost, and nothing changes; with force all of it is replaced."""
    full(town)
    snapshots.save(town)
    extra, _ = give_task(town, register(town, "extra", wanted=False))
    before = snapshot(town)
    with pytest.raises(Conflict, match=r"not empty: 2 agents, 3 tasks and 4 messages would be lost") as refused:
        snapshots.restore(town)
    assert refused.value.remedy == "Replace them with: tt restore --force"
    assert snapshot(town) == before
    snapshots.restore(town, force=True)
    assert town.store.agents.names().keys() == {"backend"}
    assert town.store.tasks.get(extra.id) is None


def test_history_alone_is_an_empty_town(town: Town, other: Town) -> None:
    """After a reset nothing has to be forced."""
    full(town)
    snapshots.save(town)
    carry(town, other)
    with writing(other) as tx:
        tx.do("XADD", tx.keys.events, "*", "event_type", "town_reset", "data", "{}")
    snapshots.restore(other)
    assert other.store.agents.names().keys() == {"backend"}


def test_an_agent_that_is_wanted_meanwhile(town: Town) -> None:
    """Between the end of all agents and the last step somebody spawned one: nothing is done."""
    register(town)
    before = state(town)
    with pytest.raises(Conflict, match="started meanwhile"):
        stored.swap(town.store, "none", 0, "{}", force=True)
    assert state(town) == before


def test_work_that_comes_meanwhile(town: Town) -> None:
    """Without force the last step itself looks whether the town is still empty."""
    full(town)
    before = state(town)
    with pytest.raises(Conflict, match="not empty"):
        stored.swap(town.store, "none", 0, "{}", force=False)
    assert state(town) == before


def test_copies_that_redis_did_not_keep(town: Town) -> None:
    """Expired or evicted: the town stays as it is."""
    full(town)
    before = state(town)
    count = stored.copy(town.store, "token")
    copies = stored.names_under(town.store, stored.copies(town.store, "token"))
    assert len(copies) == count
    assert all(0 < left <= 600 for left in town.store.read(*(("TTL", key) for key in copies)))
    town.store.call(lambda r: r.delete(copies[0]))
    with pytest.raises(Unavailable, match="nothing was changed"):
        stored.swap(town.store, "token", count, "{}", force=True)
    assert state(town) == before
    stored.drop(town.store, "token")


def test_a_round_in_a_journal_is_forgotten(town: Town) -> None:
    """An outcome of the state that goes must not count for the same message of the state that comes."""
    agent = register(town, wanted=False)
    _task, message = give_task(town, agent)
    snapshots.save(town)
    done = Outcome(OutcomeKind.OK)
    entry = RoundEntry(agent.id, 1, 1, "run", (message.raw,), outcome=done, is_settled=True)
    journal = town.journal(agent.name)
    journal.folder.mkdir(parents=True)
    journal.write_round(entry, sync=False)
    snapshots.restore(town, force=True)
    assert journal.last_round() is None


def test_one_at_a_time(town: Town) -> None:
    """A second save or restore is refused, not mixed in."""
    full(town)
    snapshots.save(town)
    lock = FileLock(town.state_dir / "snapshot.lock")
    assert lock.acquire()
    for again in (snapshots.save, lambda t: snapshots.restore(t, force=True)):
        with pytest.raises(Conflict, match="being saved or restored already"):
            again(town)
    lock.release()


def test_the_old_file_survives_a_failure(town: Town) -> None:
    """A save that cannot be verified changes nothing, and its beginning is not left."""
    full(town)
    file = snapshots.save(town).file
    before = file.read_bytes()
    give_mail(town, register(town, "more", wanted=False))
    broken = Town(town.root, replace(town.config, redis=replace(town.config.redis, server="/bin/false")))
    with pytest.raises(TinytownError):
        snapshots.save(broken)
    broken.store.close()
    assert file.read_bytes() == before
    assert not list(town.state_dir.glob("*.saving"))
    assert not stored.names_under(town.store, town.store.keys.prefix + "snapshot:")


def test_a_type_that_cannot_be_saved(town: Town) -> None:
    """It is named."""
    town.store.call(lambda r: r.geoadd(town.store.keys.prefix + "places", [1, 1, "x"]))  # a sorted set: can be saved
    snapshots.save(town)
    before = snapshots.file_of(town).read_bytes()
    town.store.call(lambda r: r.set(town.store.keys.tasks("x"), "not a sorted set"))
    with pytest.raises(Conflict, match=r"could not be restored: tt:.*:tasks:x is a string") as refused:
        snapshots.save(town)
    assert refused.value.remedy == "If an older version wrote it: tt migrate"
    assert snapshots.file_of(town).read_bytes() == before
    write_by_hand(town, ("SET", town.store.keys.tasks("x"), "not a sorted set"))
    with pytest.raises(Damaged, match=r"tasks:x is a string"):
        snapshots.restore(town, force=True)


def test_a_state_that_a_restore_would_refuse_is_not_saved(town: Town) -> None:
    """Records that are hashes, as an older version leaves them: verified means that a restore takes it."""
    agent = register(town, wanted=False)
    town.store.redis.delete(town.store.keys.agent(agent.id))
    town.store.redis.hset(town.store.keys.agent(agent.id), mapping={"id": agent.id})
    with pytest.raises(Conflict, match=r"is a hash"):
        snapshots.save(town)
    assert not snapshots.file_of(town).exists()


def test_a_history_that_cannot_go_on(town: Town) -> None:
    """A stream without a free id would stop every change: the last step fails before it has changed anything."""
    full(town)
    before = state(town)
    last = "18446744073709551615-18446744073709551615"
    write_by_hand(
        town,
        ("XADD", town.store.keys.events, last, "event_type", "x", "data", "{}"),
        ("SADD", f"tt:{town.name}:releases", "x"),
    )
    with pytest.raises(TinytownError):
        snapshots.restore(town, force=True)
    assert state(town) == before


def test_an_index_that_was_changed_by_hand(town: Town) -> None:
    """An agent without a record is not counted; an id that is none, or another's, is refused."""
    index = ("HSET", town.store.keys.agents, "backend")
    write_by_hand(town, (*index, ids.new_id()))
    assert snapshots.restore(town).contents.agents == 0
    write_by_hand(town, (*index, "../../x"))
    with pytest.raises(Damaged, match=r"'../../x' is the id of no agent"):
        snapshots.restore(town, force=True)
    agent, stranger = make_agent("backend"), ids.new_id()
    write_by_hand(town, (*index, stranger), ("SET", town.store.keys.agent(stranger), agent.to_json()))
    with pytest.raises(Damaged, match=r"is the id of no agent"):
        snapshots.restore(town, force=True)


def write_by_hand(town: Town, *commands: tuple[str, ...]) -> None:
    snapshots.file_of(town).write_bytes(b"".join(map(saved_file.encode, (("SELECT", "0"), *commands))))


def test_files_of_several_towns(town: Town) -> None:
    """A file that Redis wrote for a shared server: this town's part is taken, or none when it is not there."""
    mine, hers, his = (("SADD", f"tt:{name}:releases", "x") for name in (town.name, "hers", "his"))
    write_by_hand(town, hers, ("SET", "session:1", "a web shop's"), his)
    with pytest.raises(Damaged, match=f"holds the towns hers, his, and none is called '{town.name}'"):
        snapshots.restore(town)
    write_by_hand(town, hers, mine)
    assert snapshots.restore(town).former_name == town.name
    assert state(town).keys() == {"releases", "events"}
    write_by_hand(town, hers)
    assert snapshots.restore(town, force=True).former_name == "hers"


@pytest.mark.parametrize("name", ["../../etc", "a/b", ""])
def test_names_that_would_leave_the_town(town: Town, name: str) -> None:
    """An agent's name is a folder's name: one that no door accepts is refused."""
    write_by_hand(town, ("HSET", f"tt:{town.name}:agents", name, "x"))
    with pytest.raises(Damaged, match="no name of an agent"):
        snapshots.restore(town)
    assert snapshot(town) == {}


def test_a_town_name_that_is_none(town: Town) -> None:
    """A key between colons is no town."""
    write_by_hand(town, ("SADD", "tt:a b:releases", "x"))
    with pytest.raises(Damaged, match="keys of no town"):
        snapshots.restore(town)


def test_nothing_to_restore(town: Town) -> None:
    """No file, or one without a town: said, and a full town is not emptied by it."""
    with pytest.raises(NothingSaved, match="No AOF file found at"):
        snapshots.restore(town)
    snapshots.save(town)
    full(town)
    before = snapshot(town)
    with pytest.raises(NothingSaved, match="no agents, tasks or messages"):
        snapshots.restore(town, force=True)
    assert snapshot(town) == before


def test_progress(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long says how far it is; what is quick says nothing."""
    full(town)
    said: list[str] = []
    snapshots.save(town, said.append)
    assert said == []
    monkeypatch.setattr(snapshots, "SAY_EVERY_S", 0.0)
    snapshots.save(town, said.append)
    snapshots.restore(town, force=True, say=said.append)
    assert {line.split()[0] for line in said} >= {"Saving:", "Verifying:", "Loading:", "Restoring:"}


def test_where_a_town_on_a_shared_server_is_saved(tmp_path: Path) -> None:
    """In its own folder, not beside the shared server's data."""
    town = Town(tmp_path, Config(name="x", redis=RedisConfig(use_central=True, aof_path="state/x.aof")))
    assert snapshots.file_of(town) == tmp_path / "state" / "x.aof"
