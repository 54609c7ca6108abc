"""Commands of several people and SIGKILL at once: no work is lost, none is done twice, and the town comes to rest."""

from __future__ import annotations

import contextlib
import random
import select
import signal
import subprocess
from dataclasses import dataclass, field

import pytest

from tests.faults.conftest import NewTown
from tests.support.cli import TT
from tests.support.running_town import RunningTown
from tinytown import processes
from tinytown.domain.task import Task
from tinytown.errors import TinytownError
from tinytown.processes import Identity
from tinytown.services import agents, backlog, orphans, steering, supervision
from tinytown.services.caller import Caller

pytestmark = [pytest.mark.fault, pytest.mark.slow]

NAMES = ("ann", "bob", "cid")
ROLE = "worker"
PASSES = 40
AT_ONCE = 4  # commands
BUSY = 6
LONGEST_S = 0.15
COMMANDS = {  # -> how often, `*` is an agent
    "interrupt *": 3, "interrupt * --now": 4, "resume *": 8, "close *": 4, "kill *": 3, "kill * --now": 3,
    "restart * --rounds 1000": 8, f"spawn * --role {ROLE} --max-rounds 1000": 8, "recover": 2,
    "reclaim --to-backlog": 4, "reclaim --to *": 4, "reclaim --orphan-tasks --to-backlog": 3, "prune": 2,
    "prune --force": 2, "prune --all --force": 1, "reset --agents-only --force": 1, "backlog assign-all *": 3,
}  # fmt: skip
VICTIMS = {"actor": 8, "model": 6, "command": 6, "supervisor": 2, "redis": 2}
ENDS = {0, 1, 124, -signal.SIGKILL}  # 124: what it waited for did not come, since something was killed
SETTINGS = {
    "agent": {"max_attempts": 10_000, "retry_delay_s": 0.001},
    "supervisor": {"restart_intensity": 10_000, "backoff_s": 0.001, "backoff_max_s": 0.005, "grace_s": 2},
    "retention": {"events": 0},
}


@dataclass
class Storm:
    """What is under way in a town."""

    town: RunningTown
    choice: random.Random
    given: list[Task] = field(default_factory=list)
    commands: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def give_work(self) -> None:
        """As much as fits; what was not accepted does not count."""
        town, choice = self.town, self.choice
        with contextlib.suppress(TinytownError):
            for _ in range(BUSY - sum(not town.task(task).state.is_terminal for task in self.given)):
                self.given.append(town.assign(choice.choice(NAMES), "child kid", f"work {choice.randrange(40)}"))
                self.given.append(backlog.add(town.town, "stub: work 10", [ROLE], Caller()))
            town.send(choice.choice(NAMES), "a message", kind=choice.choice(["query", "info", "task"]))

    def command(self) -> None:
        """Somebody types; what has ended, ended as commands do."""
        ended = [command for command in self.commands if command.poll() is not None]
        assert {command.returncode for command in ended} <= ENDS
        self.commands = [command for command in self.commands if command not in ended]
        while len(self.commands) < AT_ONCE:
            (line,) = self.choice.choices(list(COMMANDS), list(COMMANDS.values()))
            words = [self.choice.choice(NAMES) if word == "*" else word for word in line.split()]
            self.start(*words)

    def start(self, *words: str) -> None:
        with self.town.log.open("ab") as log:
            self.commands.append(
                subprocess.Popen(
                    [TT, "--town", str(self.town.root), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            )

    def strike(self) -> None:
        """SIGKILL to one of some kind."""
        (kind,) = self.choice.choices(list(VICTIMS), list(VICTIMS.values()))
        found = [p for p in self.victims(kind) if p is not None and processes.is_alive(p)]
        if found:
            processes.send(self.choice.choice(found), signal.SIGKILL)
        if kind == "supervisor":
            self.start("supervise", "--detach")

    def victims(self, kind: str) -> list[Identity | None]:
        journals = [self.town.journal(name) for name in NAMES]
        if kind == "supervisor":
            return [supervision.process(self.town.town)]
        if kind == "redis":
            return [self.town.redis.identity()]
        if kind == "command":
            return [processes.identity(command.pid) for command in self.commands]
        if kind == "actor":
            return [entry.process for journal in journals if (entry := journal.actor())]
        return [held.model for journal in journals if (held := journal.round())]

    def calm_down(self) -> None:
        """Every command ends; a supervisor of the test's own runs; every agent works again and has all the work."""
        for command in self.commands:
            assert command.wait(40) in ENDS
        self.town.wait(lambda: self.town.town.store.agents.names() is not None, "Redis")
        self.town.wait(self.supervises, "a supervisor of the test's own", 60)
        for name in NAMES:
            self.town.wait(lambda name=name: self.works(name), f"{name} to work")
        orphans.requeue_tasks(self.town.town)
        backlog.assign_all(self.town.town, NAMES[0], Caller())

    def supervises(self) -> bool:
        """Whether a supervisor started now is the town's: one that a killed command left may come before it."""
        if (running := supervision.process(self.town.town)) is not None:
            processes.send(running, signal.SIGTERM)
            self.town.wait(lambda: not processes.is_alive(running), "the supervisor's end")
        self.town.kill_supervisor()
        started = self.town.start().supervisor_pid
        return (found := supervision.process(self.town.town)) is not None and found.pid == started

    def works(self, name: str) -> bool:
        """It does, now; else what helps is done, and it is to be asked again."""
        with contextlib.suppress(TinytownError):
            return self.revive(name)
        return False

    def revive(self, name: str) -> bool:
        town = self.town.town
        row = town.store.agents.row(town.store.agents.names().get(name, ""))
        if row is None:
            agents.spawn(town, agents.SpawnRequest(name, role=ROLE, rounds=10_000))
        elif row.wish is None:
            agents.restart(town, name, 10_000)
        elif row.wish.stop or row.wish.closed_at:
            return False  # soon
        elif row.wish.pause:
            steering.resume(town, name)
        return True


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(2))
def test_storm(new_town: NewTown, seed: int) -> None:
    """Invariants hold all the time; in the end each task is completed exactly once, each message accounted for."""
    town = new_town(**SETTINGS)
    town.spawn(*NAMES, rounds=1000, role=ROLE)
    storm = Storm(town, random.Random(seed))  # noqa: S311  no secret
    try:
        for number in range(PASSES):
            storm.give_work()
            storm.command()
            select.select([], [], [], storm.choice.uniform(0, LONGEST_S))  # a random moment, not a wait for something
            if number % 2:
                storm.strike()
            if number % 5 == 0:
                town.check_when_up()
        storm.calm_down()
    finally:
        for command in storm.commands:
            command.kill()
            command.wait()
    town.wait_done(*storm.given, timeout=60)
    assert len(storm.given) > BUSY
