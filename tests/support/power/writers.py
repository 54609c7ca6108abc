"""Processes that give a town work, each with a journal of what was confirmed to it: that, and no more, was accepted."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import invariants
from tests.support.running_town import RunningTown
from tests.support.waiting import wait_until
from tinytown import processes
from tinytown.errors import TinytownError
from tinytown.services import backlog, messages, tasks
from tinytown.services.caller import Caller
from tinytown.town import Town, open_town

_Job = Callable[[Town, tuple[str, ...], random.Random, int], None]
PAUSE_S = 0.03  # the longest between two things that a writer asks for
TASKS = 12  # of each writer
KINDS = ["query", "info", "info", "ack", "task"]
ROLE = "worker"


@dataclass(frozen=True)
class Accepted:
    """`id`: of a `task`, a `message`, an `ended` task, or the text that a task was `given` with. `at`: monotonic, s."""

    what: str
    id: str
    at: float


class Writers:
    """Forked writers through the services, and one that types `tt`. They end with the town, or with the block."""

    def __init__(self, town: RunningTown, names: tuple[str, ...], seed: int, count: int = 3) -> None:
        self._town, self._names, self._seed = town, names, seed
        self._folder = town.root / f"written-{seed}"
        self._folder.mkdir()
        self._count = count
        self._pids: list[int] = []

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """They write until they are killed, at the latest at the end of the block."""
        jobs: list[_Job] = [*[_write] * self._count, _type]
        for number, job in enumerate(jobs):
            pid = os.fork()
            if pid == 0:
                self._be(number, job)
            self._pids.append(pid)
        try:
            yield
        finally:
            for pid in self._pids:
                found = processes.identity(pid)
                if found is not None:
                    processes.send(found, signal.SIGKILL)
                os.waitpid(pid, 0)
            self._pids.clear()

    def accepted(self) -> list[Accepted]:
        """All that was confirmed so far."""
        lines = [line for path in self._folder.iterdir() for line in path.read_text().splitlines(keepends=True)]
        return [Accepted(*json.loads(line)) for line in lines if line.endswith("\n")]

    def wait_for(self, count: int) -> None:
        """Until that much was accepted."""
        wait_until(lambda: len(self.accepted()) >= count, 20, "work to be accepted")

    def _be(self, number: int, job: _Job) -> None:
        try:
            processes.die_with_parent(os.getppid())
            fd = os.open(self._folder / str(number), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            choice = random.Random(self._seed * 100 + number)  # noqa: S311  no secret
            job(open_town(str(self._town.root)), self._names, choice, fd)
        except BaseException:  # noqa: BLE001  a forked test process must never return into pytest
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(1)


def lost(town: Town, accepted: list[Accepted]) -> list[Accepted]:
    """What the town knows nothing of any more."""
    seen = invariants.look(town)
    ended = {task_id for task_id, task in seen.tasks.items() if task.state.is_terminal}
    known = {message.id for _kind, _agent, message in seen.messages(invariants.PLACES)}
    known |= {e["message_id"] for e in seen.events if e["event_type"] in invariants.ACCOUNTED and "message_id" in e}
    given = {task.description for task in seen.tasks.values()}
    there = {"task": set(seen.tasks), "ended": ended, "message": known, "given": given}
    return [each for each in accepted if each.id not in there[each.what]]


def _note(fd: int, what: str, identifier: str) -> None:
    os.write(fd, (json.dumps([what, identifier, time.monotonic()]) + "\n").encode())


def _write(town: Town, names: tuple[str, ...], choice: random.Random, fd: int) -> None:
    given: list[str] = []
    while True:
        with contextlib.suppress(TinytownError):
            _write_one(town, choice.choice(names), choice, fd, given)
        select.select([], [], [], choice.uniform(0, PAUSE_S))  # a pace, not a wait for something


def _write_one(town: Town, name: str, choice: random.Random, fd: int, given: list[str]) -> None:
    work = f"do it\nstub: work {choice.randrange(30)}"
    kind = choice.choice(KINDS)
    drawn = choice.random()
    if drawn < 0.15 and len(given) < TASKS:
        given.append(tasks.assign(town, name, work, Caller()).id)
        _note(fd, "task", given[-1])
    elif drawn < 0.25 and len(given) < TASKS:
        given.append(backlog.add(town, work, [ROLE], Caller()).id)
        _note(fd, "task", given[-1])
    elif drawn < 0.35:  # of a task that nobody takes: the run of one would have ended as well
        parked = backlog.add(town, work, ["nobody"], Caller()).id
        _note(fd, "task", parked)
        _note(fd, "ended", tasks.cancel(town, parked, None, Caller()).id)
    else:
        if kind in {"task", "query"} and drawn > 0.5:  # what starts a run: fewer
            kind = "info"
        to = "supervisor" if drawn > 0.95 else name
        _note(fd, "message", messages.send(town, to, work, Caller(), kind=kind, urgent=choice.random() < 0.3).id)


def _type(town: Town, names: tuple[str, ...], choice: random.Random, fd: int) -> None:
    for number in range(TASKS):
        text = f"typed {fd} {number} {choice.random()}\nstub: work {choice.randrange(30)}"
        command = [
            str(Path(sys.executable).parent / "tt"),
            "--town",
            str(town.root),
            "assign",
            choice.choice(names),
            text,
        ]
        if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0:
            _note(fd, "given", text)
    select.select([], [], [])
