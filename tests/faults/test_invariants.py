"""The checker itself: whatever is not as it must be is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support import invariants
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.services import backlog
from tinytown.services.caller import Caller
from tinytown.store.keys import Keys

pytestmark = pytest.mark.fault
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Scene:
    """A town at rest whose processes stand still: a task done, one in the backlog, mail that starts no run."""

    town: RunningTown
    agent_id: str
    done: str
    waiting: str

    @property
    def redis(self) -> Any:
        """A client to spoil things with."""
        return self.town.town.store.redis

    @property
    def keys(self) -> Keys:
        """The town's keys."""
        return self.town.town.store.keys

    def edit(self, key: str, old: str, new: str) -> None:
        """Change a record by hand."""
        self.redis.set(key, self.redis.get(key).replace(old, new))

    def edit_wish(self, old: str, new: str) -> None:
        """Change the wish by hand."""
        wish = self.redis.hget(self.keys.wanted, self.agent_id)
        assert old in wish
        self.redis.hset(self.keys.wanted, self.agent_id, wish.replace(old, new))


# What is spoilt -> how, and what the checker must say.
CASES: dict[str, tuple[Callable[[Scene], object], str]] = {
    "a key of nobody": (lambda s: s.redis.set(f"tt:{s.keys.town}:wat:1", "1"), "no key of the table"),
    "a key of the wrong type": (lambda s: s.redis.set(s.keys.activity(s.agent_id), "x"), "not a list"),
    "a lease for good": (lambda s: s.redis.persist(s.keys.lease(s.agent_id)), "time to live -1"),
    "mail of nobody": (
        lambda s: s.redis.rename(s.keys.inbox(s.agent_id), s.keys.inbox("gone")),
        "belongs to no agent",
    ),
    "a lost message": (lambda s: s.redis.delete(s.keys.inbox(s.agent_id)), "lost"),
    "a message twice": (
        lambda s: s.redis.rpush(s.keys.urgent(s.agent_id), s.redis.lindex(s.keys.inbox(s.agent_id), 0)),
        " and urgent:",
    ),
    "an index that lies": (lambda s: s.redis.zadd(s.keys.tasks("failed"), {s.done: 1}), "in the index as failed"),
    "no index": (lambda s: s.redis.zrem(s.keys.tasks("completed"), s.done), "not in the index"),
    "backlog twice": (lambda s: s.redis.rpush(s.keys.backlog, s.waiting), "2 times in the backlog"),
    "parked and waiting": (lambda s: s.redis.sadd(s.keys.dependents(s.done), s.waiting), "and waits for others"),
    "waiting for what is done": (lambda s: s.redis.sadd(s.keys.dependents(s.done), s.waiting), "1 wait for it"),
    "waiting unsaid": (lambda s: s.redis.sadd(s.keys.dependents(s.done), s.waiting), "does not say so"),
    "a record gone": (lambda s: s.redis.delete(s.keys.task(s.waiting)), "without a record"),
    "a task changed by hand": (
        lambda s: s.edit(s.keys.task(s.done), '"completed"', '"assigned"'),
        "what leads to it is []",
    ),
    "a claim of an idle agent": (
        lambda s: s.redis.rename(s.keys.inbox(s.agent_id), s.keys.claimed(s.agent_id)),
        "holds 1 message",
    ),
    "attempts of no message": (
        lambda s: s.redis.hset(s.keys.attempts(s.agent_id), "gone", 1),
        "which waits nowhere",
    ),
    "another epoch": (lambda s: s.edit_wish('"epoch":2', '"epoch":9'), "epochs"),
    "no lease": (lambda s: s.redis.delete(s.keys.lease(s.agent_id)), "lease None"),
    "no wish": (lambda s: s.redis.hdel(s.keys.wanted, s.agent_id), "not wanted"),
}


@pytest.fixture(scope="module")
def frozen(stubborn: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with RunningTown(tmp_path_factory.mktemp("frozen") / "town", stubborn) as town:
        town.spawn("ann")
        done = town.task_done("ann")
        waiting = backlog.add(town.town, "later", [], Caller())
        town.send("ann", "for your information", kind="info")
        town.settle()
        still = [town.supervisor, town.actor("ann")]
        processes.kill_all(still, signal.SIGSTOP)
        yield Scene(town, town.agent("ann").id, done.id, waiting.id)
        processes.kill_all(still[::-1], signal.SIGCONT)


@pytest.mark.parametrize("case", CASES)
def test_what_is_spoilt_is_named(frozen: Scene, case: str) -> None:
    """The checker finds nothing in a town at rest, and names what was spoilt by hand."""
    town, (spoil, complaint) = frozen.town, CASES[case]
    names = list(frozen.redis.scan_iter(f"tt:{town.town.name}:*"))
    with redis.Redis(unix_socket_path=str(town.town.state_dir / "redis.sock")) as raw:
        kept = {name: (raw.dump(name), max(raw.pttl(name), 0)) for name in names}
        assert invariants.violations(town.town, settled=True, accepted=town.accepted) == []
        try:
            spoil(frozen)
            found = invariants.violations(town.town, settled=True, accepted=town.accepted)
        finally:
            raw.flushall()
            for name, (value, ttl) in kept.items():
                raw.restore(name, ttl, value)
    assert any(complaint in line for line in found), found


def test_processes_are_counted(town: RunningTown) -> None:
    """Two runs of one agent, and a process that outlives its run, are seen in the process table."""
    town.spawn("ann")
    agent_id = town.agent("ann").id
    strays = [
        subprocess.Popen(["sleep", "60"], env=os.environ | {"TINYTOWN_RUN": f"{agent_id}:1:{number}"})
        for number in (1, 2)
    ]
    town.wait(lambda: len(town.models("ann")) == 2, "the strays")
    found = "\n".join(invariants.violations(town.town, settled=True))
    assert f"agent {agent_id}: runs" in found
    assert "model processes" in found
    for stray in strays:
        stray.kill()
        stray.wait()


def test_processes_of_others_are_not_counted(town: RunningTown) -> None:
    """A town of that name elsewhere on the machine has its own processes: only those below whoever looks are meant."""
    town.spawn("ann")
    town.settle()
    assert list(invariants.living(town.town).actors) == ["ann"]
    look = (
        "import sys; from tests.support import invariants; from tinytown.town import open_town; "
        "print(dict(invariants.living(open_town(sys.argv[1])).actors))"
    )
    told = subprocess.run(
        [sys.executable, "-c", look, str(town.root)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == "{}\n"
