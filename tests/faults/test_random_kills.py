"""Whatever is killed whenever: a seeded storm of kills, and every task is done in the end."""

from __future__ import annotations

import contextlib
import random
import select
import signal

import pytest

from tests.faults.conftest import NewTown
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.task import Task
from tinytown.errors import Unavailable
from tinytown.processes import Identity
from tinytown.services import backlog
from tinytown.services.caller import Caller

pytestmark = [pytest.mark.fault, pytest.mark.slow]

NAMES = ("ann", "bob", "cid")
ROLE = "worker"
KILLS = 20
BUSY = 9
KINDS, WEIGHTS = ("actor", "model", "supervisor", "redis", "stop"), (10, 6, 2, 2, 1)
LONGEST_S = 0.04  # from one kill to the next: about a whole round
SETTINGS = {
    "agent": {"max_attempts": 1000, "retry_delay_s": 0.001},
    "supervisor": {"restart_intensity": 10_000, "backoff_s": 0.001, "backoff_max_s": 0.005, "grace_s": 10},
}


def victims(town: RunningTown, kind: str) -> list[Identity]:
    """What lives of this kind now."""
    journals = [town.journal(name) for name in NAMES]
    if kind == "redis":
        found: list[Identity | None] = [town.redis.identity()]
    elif kind == "actor":
        found = [entry.process for journal in journals if (entry := journal.actor()) is not None]
    else:
        found = [held.model for journal in journals if (held := journal.round()) is not None]
    return [process for process in found if process is not None and processes.is_alive(process)]


def strike(town: RunningTown, kind: str, choice: random.Random) -> None:
    """Kill one of this kind; a supervisor gets a successor at once."""
    if kind == "supervisor":
        town.kill_supervisor()
        town.start()
    elif kind == "stop":
        town.signal_supervisor(signal.SIGTERM)
        assert town.await_supervisor_end() == 0
        town.start()
    elif found := victims(town, kind):
        processes.send(choice.choice(found), signal.SIGKILL)


def keep_busy(town: RunningTown, given: list[Task], waiting: list[Task], choice: random.Random) -> None:
    """Hand out work while Redis is there. A task whose acceptance was not confirmed is not counted."""
    with contextlib.suppress(Unavailable):
        waiting[:] = [task for task in waiting if not town.task(task).state.is_terminal]
        while len(waiting) < BUSY:
            extra = ["child kid"] if choice.random() < 0.3 else []
            given.append(town.assign(choice.choice(NAMES), *extra, f"work {choice.randrange(20)}"))
            given.append(backlog.add(town.town, f"stub: work {choice.randrange(20)}", [ROLE], Caller()))
            waiting += given[-2:]
        name, kind = choice.choice(NAMES), choice.choice(["query", "info", "ack"])
        town.send(name, "a message", kind=kind, urgent=choice.random() < 0.5)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(2))
def test_storm(new_town: NewTown, seed: int) -> None:
    """Kills at random moments: invariants hold all the time, each accepted task is completed exactly once."""
    choice = random.Random(seed)  # noqa: S311  no secret
    town = new_town(**SETTINGS)
    town.spawn(*NAMES, rounds=10_000, role=ROLE)
    given: list[Task] = []
    waiting: list[Task] = []
    for number in range(KILLS):
        keep_busy(town, given, waiting, choice)
        select.select([], [], [], choice.uniform(0, LONGEST_S))  # a random moment, not a wait for something
        strike(town, choice.choices(KINDS, WEIGHTS)[0], choice)
        if number % 5 == 0:
            town.check_when_up()
    town.wait_done(*given, timeout=30)
    assert len(given) > KILLS / 2
