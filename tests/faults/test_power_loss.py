"""The power fails: what a command confirmed is there when it is back, and what is there fits together.

`POWER_SEEDS=50` (how many moments, default 2) looks at more of them; `POWER_FIRST=7` begins elsewhere.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.conftest import NewTown
from tests.support import leftovers
from tests.support.builders import by_hand
from tests.support.cli import Tt
from tests.support.power.disk import Failure, compile_shim
from tests.support.power.failure import Power, innocent, kill_at_once
from tests.support.power.writers import ROLE, Accepted, Writers, lost
from tests.support.running_town import RunningTown
from tinytown.processes import Identity
from tinytown.services import tasks

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(90)]

FIRST = int(os.environ.get("POWER_FIRST", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("POWER_SEEDS", "2")))
NAMES = ("ann", "bob")
WINDOW_S = 2.0  # what `everysec` may lose
SETTINGS = {"agent": {"max_attempts": 1000, "retry_delay_s": 0.001}}


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_shim(tmp_path_factory.mktemp("power"))


@pytest.fixture
def power(tmp_path: Path, shim: Path, monkeypatch: pytest.MonkeyPatch) -> Power:
    made = Power(tmp_path / "disk", shim, monkeypatch)
    made.watch(tmp_path / "town0" / ".tt")
    return made


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Tt]:
    """A folder without a town."""
    command = Tt(tmp_path / "young")
    command.cwd.mkdir()
    yield command
    command("stop", "--all")


def how(seed: int) -> Failure:
    """Each kind of disk in turn."""
    return Failure(seed, forgets_names=seed % 2 == 0, torn=seed % 4 >= 1)


def busy_town(new_town: NewTown, **redis: str) -> RunningTown:
    town = new_town(redis=redis, **SETTINGS)
    town.spawn(*NAMES, rounds=10_000, role=ROLE)
    return town


def at_some_moment(choice: random.Random, longest_s: float) -> None:
    select.select([], [], [], choice.uniform(0, longest_s))


def goes_on(town: RunningTown, accepted: list[Accepted]) -> list[Accepted]:
    """The town is started again and does all that it knows of; returns what it does not know of any more."""
    town.start()
    town.wait(lambda: town.town.store.call(lambda r: r.ping()), "Redis")
    missing = lost(town.town, accepted)
    town.accepted += [each.id for each in accepted if each.what == "message" and each not in missing]
    town.check()
    town.settle()
    town.task_done(NAMES[0])
    return missing


@pytest.mark.parametrize("seed", SEEDS)
def test_always_loses_nothing(power: Power, new_town: NewTown, seed: int) -> None:
    """At any moment of a busy town, whatever the disk does with what was not synced."""
    town = busy_town(new_town)
    writers = Writers(town, NAMES, seed)
    failure = how(seed)
    with writers.at_work():
        writers.wait_for(20)
        at_some_moment(failure.choice, 0.5)
        power.fail(town, failure)
    assert goes_on(town, writers.accepted()) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_everysec_loses_two_seconds_at_most(
    power: Power, new_town: NewTown, seed: int, record_property: Callable[[str, object], None]
) -> None:
    """What it loses was accepted just before; the rest fits together and is done."""
    town = busy_town(new_town, appendfsync="everysec")
    writers = Writers(town, NAMES, seed)
    failure = how(seed)
    with writers.at_work():
        writers.wait_for(20)
        at_some_moment(failure.choice, 1.5)
        at = power.fail(town, failure)
    accepted = writers.accepted()
    missing = goes_on(town, accepted)
    longest = max((at - each.at for each in missing), default=0.0)
    record_property("longest_loss_ms", round(longest * 1000))
    print(f"everysec, seed {seed}: {len(missing)} of {len(accepted)} lost, {longest * 1000:.0f} ms")  # noqa: T201
    assert longest <= WINDOW_S


@pytest.mark.parametrize("forgets_names", [True, False])
def test_an_outcome_that_was_not_settled_yet(power: Power, new_town: NewTown, *, forgets_names: bool) -> None:
    """Recorded in the agent's first round, while Redis does not answer: it counts, and nothing runs again."""
    town = new_town()
    town.spawn("ann")
    task = town.assign("ann", "await go", "say forty-two")
    town.wait_run(task)
    town.signal_redis(signal.SIGSTOP)
    town.go()
    town.wait(lambda: (entry := town.journal("ann").round()) and entry.outcome, "the outcome in the journal")
    power.fail(town, Failure(0, forgets_names))
    town.start()
    town.wait_done(task)
    assert town.task(task).result == "forty-two"
    assert len(town.runs(task)) == 1


def test_everysec_loses_a_claim(power: Power, new_town: NewTown) -> None:
    """A task that was done, and that Redis knows as waiting again, is done by its journal: it is not run again."""
    town = new_town(redis={"appendfsync": "everysec"})
    town.spawn("ann")
    actor = town.actor("ann")
    town.kill(actor, signal.SIGSTOP)
    task = town.assign("ann", "say forty-two")
    town.wait(lambda: town.town.store.read(("WAITAOF", 1, 0, 1000))[0][0], "the disk")
    power.stall()
    town.kill(actor, signal.SIGCONT)
    town.wait_done(task)
    power.fail(town, Failure(0))
    town.start()
    town.wait_done(task)
    assert town.task(task).result == "forty-two"
    assert len(town.runs(task)) == 1


def test_the_same_words_again(new_town: NewTown) -> None:
    """A text without an id that was done, and that is pushed once more while its agent is away, is a new message."""
    town = new_town()
    agent = town.spawn("ann")
    push = partial(town.town.store.call, lambda r: r.rpush(town.town.store.keys.inbox(agent.id), by_hand("query")))
    for count in (1, 2):
        push()
        town.signal_supervisor(signal.SIGTERM)
        assert town.await_supervisor_end() == 0
        town.start()
        town.wait(lambda count=count: sum(mark.what == "end" for mark in town.marks()) == count, f"run {count}")
        town.wait_idle("ann")


def test_after_a_restore(power: Power, new_town: NewTown) -> None:
    """What was done after the save is to be done again: no journal of before comes back and says that it was done."""
    town = new_town()
    tt = Tt(town.root, town=town.root)
    town.spawn("ann")
    task = town.assign("ann", "first await go")
    town.wait_run(task)
    tt.ok("save")
    town.go()
    town.wait_done(task)
    tt.ok("restore", "--force")
    power.fail(town, Failure(0))
    town.start()
    tt.ok("restart", "ann")
    town.wait_done(task)
    assert len(town.runs(task)) == 2


# An append-only file that is being rewritten


def rewrites(town: RunningTown) -> bool:
    """A rewrite is under way."""
    return bool(town.town.store.call(lambda r: r.info("persistence"))["aof_rewrite_in_progress"])


def begin_rewrite(town: RunningTown, key_us: int) -> None:
    """Have the append-only file rewritten, with this long for each key."""
    town.town.store.call(lambda r: r.config_set("rdb-key-save-delay", key_us))
    town.wait(lambda: rewrites(town) or town.town.store.call(lambda r: r.bgrewriteaof()), "a rewrite")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("moment", ["under way", "put in place"])
def test_in_a_rewrite(power: Power, new_town: NewTown, moment: str, seed: int) -> None:
    """While the new base is written, and just after it has taken its place."""
    appendfsync = ("always", "everysec")[seed % 2]
    town = busy_town(new_town, appendfsync=appendfsync)
    writers = Writers(town, NAMES, seed)
    failure = how(seed // 2 + (moment == "under way"))
    manifest = town.town.state_dir / "appendonlydir" / "redis.aof.manifest"
    with writers.at_work():
        writers.wait_for(20)
        begin_rewrite(town, 3000 if moment == "under way" else 0)
        if moment == "under way":
            town.wait(lambda: ".2.incr.aof" in manifest.read_text() and rewrites(town), "the rewrite")
            at_some_moment(failure.choice, 0.1)
        else:
            town.wait(lambda: ".2.base." in manifest.read_text(), "the new base")
        at = power.fail(town, failure)
    missing = goes_on(town, writers.accepted())
    assert all(at - each.at <= (0 if appendfsync == "always" else WINDOW_S) for each in missing)
    assert not list(town.town.state_dir.glob("temp-*")), "half a rewrite is left"


def test_a_rewrite_that_begins_on_a_stalled_disk(power: Power, new_town: NewTown) -> None:
    """`everysec`: the last record before the rewrite is torn, and a new file has been begun behind it."""
    town = busy_town(new_town, appendfsync="everysec")
    town.task_done("ann")
    town.wait(lambda: town.town.store.read(("WAITAOF", 1, 0, 1000))[0][0], "the disk")
    power.stall()
    sent = [town.send("supervisor", f"{number} {'x' * 3000}", kind="info").id for number in range(5)]
    begin_rewrite(town, 3000)
    folder = town.town.state_dir / "appendonlydir"
    town.wait(lambda: ".2.incr.aof" in (folder / "redis.aof.manifest").read_text(), "the new file")
    power.fail(town, Failure(3, torn=True))
    town.accepted = [each for each in town.accepted if each not in sent]
    goes_on(town, [])


# The power fails again, and while the town starts


@pytest.mark.parametrize("seed", SEEDS[::2])
def test_in_the_recovery(power: Power, new_town: NewTown, seed: int) -> None:
    """Three times in a row: the second and third time while supervisor, Redis and agents are coming up."""
    town = busy_town(new_town)
    writers = Writers(town, NAMES, seed)
    failure = how(seed)
    with writers.at_work():
        writers.wait_for(20)
        power.fail(town, failure)
    for _ in range(2):
        with (
            town.log.open("ab") as log,
            subprocess.Popen(town.supervise, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as starting,
        ):
            at_some_moment(failure.choice, 1.0)
            power.fail(town, failure)
            assert starting.wait(10) == -signal.SIGKILL
    assert goes_on(town, writers.accepted()) == []


def test_a_record_that_was_begun(power: Power, new_town: NewTown) -> None:
    """`always`: what Redis was writing when the power failed was confirmed to nobody, and is cut off."""
    town = busy_town(new_town)
    writers = Writers(town, NAMES, FIRST)
    with writers.at_work():
        writers.wait_for(10)
        power.fail(town, how(0))
    last = max((town.town.state_dir / "appendonlydir").glob("*.incr.aof"))
    with last.open("ab") as stream:
        stream.write(b"*3\r\n$3\r\nSET\r\n$5\r\nhello\r\n$100\r\nwor")
    assert goes_on(town, writers.accepted()) == []


# Saved states


def test_in_a_save(power: Power, new_town: NewTown) -> None:
    """The file is the last whole one, and can be restored."""
    town = busy_town(new_town)
    tt = Tt(town.root, town=town.root)
    file = town.town.state_dir / "redis.aof"
    town.task_done("ann")
    tt.ok("save")
    for number in range(3):
        town.send("supervisor", f"after the save {number}", kind="info")
    failure = how(FIRST)
    with tt.running("save"):
        town.wait(lambda: list(town.town.state_dir.glob("**/redis.aof*.tmp")) or file.exists(), "a file", 5)
        at_some_moment(failure.choice, 0.4)
        power.fail(town, failure)
    goes_on(town, [])
    tt.ok("restore", "--force")
    town.accepted.clear()
    tt.ok("restart", "ann")
    town.task_done("ann")


@pytest.mark.parametrize("seed", SEEDS[::2])
def test_in_a_restore(power: Power, new_town: NewTown, seed: int) -> None:
    """The town is as it was, or as it was saved: nothing between."""
    town = busy_town(new_town)
    tt = Tt(town.root, town=town.root)
    saved = {town.task_done("ann").id}
    tt.ok("save")
    now = saved | {town.task_done("bob").id for _ in range(3)}
    failure = how(seed)
    with tt.running("restore", "--force"):
        at_some_moment(failure.choice, 1.5)
        power.fail(town, failure)
    town.start()
    town.wait(lambda: town.town.store.call(lambda r: r.ping()), "Redis")
    assert {task.id for task in tasks.listing(town.town)} in (saved, now)
    town.check()
    for name in NAMES:  # what the disk forgot of the last rounds is theirs to tidy up
        if town.agent(name).state.is_terminal:
            tt.ok("restart", name)
        town.task_done(name)


# A new town


@pytest.mark.parametrize("forgets_names", [True, False])
def test_just_after_init(power: Power, bare: Tt, *, forgets_names: bool) -> None:
    """The town and its first task are there, on a disk on which nothing was before."""
    power.watch(bare.cwd)
    before = leftovers.descendants()
    bare.ok("init", "--name", "young")
    bare.ok("backlog", "add", "the first")
    kill_at_once(lambda: leftovers.descendants() - before)
    power.disk.lose(Failure(0, forgets_names))
    bare.ok("backlog", "add", "the second")
    assert [task["description"] for task in bare.ok("backlog", "list", "--json").json] == ["the first", "the second"]


# Another boot


def test_pids_of_an_earlier_boot(power: Power, new_town: NewTown) -> None:
    """After the restart of the machine the pids that the town noted may be anybody's: nobody else is touched."""
    town = new_town()
    town.spawn("ann")
    task = town.assign("ann", "first hang")
    town.wait_run(task)
    power.fail(town, Failure(0))
    with innocent() as stranger:
        for path in [*town.town.state_dir.glob("agents/*/*.json"), *town.town.state_dir.glob("*.json")]:
            path.write_text(with_pids_of(json.loads(path.read_text()), stranger))
        (town.town.state_dir / "redis.pid").write_text(str(stranger.pid))
        power.restart_machine()
        town.start()
        town.wait_done(task)
        assert len(town.runs(task)) == 2


def with_pids_of(stored: dict[str, object], process: Identity) -> str:
    """The text of a file in which every process is this one, of the boot that was noted."""
    if "pid" in stored:
        stored |= {"pid": process.pid, "started": process.started}
    if isinstance(stored.get("model"), dict):
        stored["model"] = json.loads(with_pids_of(stored["model"], process))  # type: ignore[arg-type]
    return json.dumps(stored)
