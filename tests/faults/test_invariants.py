"""The checker itself: whatever is not as it must be is named."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import invariants
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.task import Task
from tinytown.services import backlog
from tinytown.services.caller import Caller
from tinytown.store.keys import Keys

pytestmark = pytest.mark.fault
Spoil = Callable[[Any, Keys, str, Task, Task], object]

# What is spoilt (client, keys, agent id, a completed task, a waiting one) -> what the checker must say.
CASES: dict[str, tuple[Spoil, str]] = {
    "a key of nobody": (lambda r, k, a, t, w: r.set(f"tt:{k.town}:wat:1", "1"), "no key of the table"),
    "a key of the wrong type": (lambda r, k, a, t, w: r.set(k.activity(a), "x"), "not a list"),
    "a lease for good": (lambda r, k, a, t, w: r.persist(k.lease(a)), "time to live -1"),
    "mail of nobody": (lambda r, k, a, t, w: r.rename(k.inbox(a), k.inbox("gone")), "belongs to no agent"),
    "a lost message": (lambda r, k, a, t, w: r.delete(k.inbox(a)), "lost"),
    "a message twice": (lambda r, k, a, t, w: r.rpush(k.urgent(a), r.lindex(k.inbox(a), 0)), " and urgent:"),
    "an index that lies": (lambda r, k, a, t, w: r.zadd(k.tasks("failed"), {t.id: 1}), "in the index as failed"),
    "no index": (lambda r, k, a, t, w: r.zrem(k.tasks("completed"), t.id), "not in the index"),
    "backlog twice": (lambda r, k, a, t, w: r.rpush(k.backlog, w.id), "2 times in the backlog"),
    "a record gone": (lambda r, k, a, t, w: r.delete(k.task(w.id)), "without a record"),
    "state changed by hand": (
        lambda r, k, a, t, w: r.set(k.task(t.id), r.get(k.task(t.id)).replace('"completed"', '"assigned"')),
        "what leads to it is []",
    ),
    "a claim of an idle agent": (lambda r, k, a, t, w: r.rename(k.inbox(a), k.claimed(a)), "holds 1 message"),
    "attempts of no message": (lambda r, k, a, t, w: r.hset(k.attempts(a), "gone", 1), "which waits nowhere"),
    "another epoch": (lambda r, k, a, t, w: r.hset(k.wanted, a, r.hget(k.wanted, a).replace('h":2', 'h":9')), "epochs"),
    "no lease": (lambda r, k, a, t, w: r.delete(k.lease(a)), "lease None"),
    "no wish": (lambda r, k, a, t, w: r.hdel(k.wanted, a), "not wanted"),
}


@pytest.fixture(scope="module")
def frozen(stubborn: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningTown, Task, Task]]:
    """A town at rest whose processes stand still: a task done, one in the backlog, mail that starts no run."""
    with RunningTown(tmp_path_factory.mktemp("frozen") / "town", stubborn) as town:
        town.spawn("ann")
        done = town.task_done("ann")
        waiting = backlog.add(town.town, "later", [], Caller())
        town.send("ann", "for your information", kind="info")
        town.settle()
        still = [town.supervisor, town.actor("ann")]
        processes.kill_all(still, signal.SIGSTOP)
        yield town, done, waiting
        processes.kill_all(still[::-1], signal.SIGCONT)


@pytest.mark.parametrize("case", CASES)
def test_what_is_spoilt_is_named(frozen: tuple[RunningTown, Task, Task], case: str) -> None:
    """The checker finds nothing in a town at rest, and names what was spoilt by hand."""
    town, done, waiting = frozen
    spoil, complaint = CASES[case]
    redis, keys = town.town.store.redis, town.town.store.keys
    names = list(redis.scan_iter(f"tt:{town.town.name}:*"))
    with town.town.store.connector.client(decode_responses=False) as raw:
        kept = {name: (raw.dump(name), max(raw.pttl(name), 0)) for name in names}
        assert invariants.violations(town.town, settled=True, accepted=town.accepted) == []
        try:
            spoil(redis, keys, town.agent("ann").id, done, waiting)
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
    for number in (1, 2):
        stray = ["sleep", "60"]
        environment = os.environ | {"TINYTOWN_RUN": f"{agent_id}:1:{number}"}
        subprocess.Popen(stray, env=environment)
    strays = town.wait(lambda: len(found := town.models("ann")) == 2 and found, "the strays")
    found = "\n".join(invariants.violations(town.town, settled=True))
    assert f"agent {agent_id}: runs" in found
    assert "model processes" in found
    processes.kill_all(strays)
