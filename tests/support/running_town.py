"""A whole town for fault tests: its folder, its Redis, a real supervisor, real actors, a CLI that obeys the test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tomli_w

from tests.support import invariants, leftovers, warm
from tests.support.waiting import T, wait_until
from tinytown import processes
from tinytown.domain.agent import Agent
from tinytown.domain.message import Message
from tinytown.domain.states import TaskState
from tinytown.domain.task import Task
from tinytown.errors import Unavailable
from tinytown.journal import Journal
from tinytown.processes import Identity
from tinytown.services import agents, messages, supervision, tasks
from tinytown.services.caller import Caller
from tinytown.store.server import ManagedServer
from tinytown.town import Town, open_town

SOURCE = Path(__file__).parent / "stubborn_cli" / "stubborn.c"
DEFAULTS: dict[str, dict[str, Any]] = {
    "agent": {"retry_delay_s": 0.05, "max_attempts": 5},
    "supervisor": {"backoff_s": 0.05, "backoff_max_s": 0.2, "restart_intensity": 50, "grace_s": 10.0},
}


def compile_stubborn(folder: Path) -> Path:
    """The scripted CLI (see its source), built in `folder`."""
    binary = folder / "stubborn"
    subprocess.run(["gcc", "-O1", "-o", str(binary), *map(str, SOURCE.parent.glob("*.c"))], check=True)
    return binary


@dataclass(frozen=True)
class Mark:
    """What the scripted CLI noted: `start`, `end`, or `overlap` (a second run at one time)."""

    what: str
    run: str
    task_id: str
    pid: int
    at_ms: int


class RunningTown:
    """A town at `root` with these settings (tables of tinytown.toml). A context manager, or `start` and `stop`."""

    def __init__(self, root: Path, stubborn: Path, **settings: Any) -> None:
        self.root = root
        self.control = root / "control"
        self.control.mkdir(parents=True)
        (root / ".tt" / "logs").mkdir(mode=0o700, parents=True)
        cli = {"stub": {"command": str(stubborn), "env": {"STUBBORN_DIR": str(self.control)}}}
        tables = {name: table | settings.pop(name, {}) for name, table in DEFAULTS.items()}
        clis = cli | settings.pop("agent_clis", {})
        name = f"t{uuid.uuid4().hex[:10]}"
        stored = {"name": name, "default_cli": "stub", "max_agents": 50, **settings, **tables, "agent_clis": clis}
        (root / "tinytown.toml").write_text(tomli_w.dumps(stored))
        self.town: Town = open_town(str(root))
        self.redis = ManagedServer(self.town.config.redis, self.town.state_dir)
        self.log = root / "supervisor-output.log"
        self.accepted: list[str] = []  # ids of messages that `send` accepted
        self._before = leftovers.descendants()
        self._supervisor: subprocess.Popen[bytes] | warm.Process | None = None

    # The supervisor

    def start(self, *prefix: str) -> Self:
        """Start a supervisor (by `prefix`, a command that execs it) and return when it answers."""
        with self.log.open("ab") as log:
            self._supervisor = self._started(prefix, log.fileno())
        self.wait(lambda: supervision.status(self.town), "the supervisor's answer")
        return self

    restart_supervisor = start

    def _started(self, prefix: tuple[str, ...], log: int) -> subprocess.Popen[bytes] | warm.Process:
        if not prefix:
            with contextlib.suppress(warm.NotWarm):
                return warm.TT.start(self.supervise[3:], self.root, os.environ, log, log)
        argv = [*prefix, *self.supervise]
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root)

    @property
    def supervise(self) -> list[str]:
        """The command that runs a supervisor of this town."""
        return [sys.executable, "-m", "tinytown", "--town", str(self.root), "supervise"]

    @property
    def supervisor_pid(self) -> int:
        """Of the process that was started last, which may have ended."""
        assert self._supervisor is not None
        return self._supervisor.pid

    @property
    def supervisor(self) -> Identity:
        """The supervisor's process; it must live."""
        assert self._supervisor is not None
        found = processes.identity(self._supervisor.pid)
        assert found is not None, "no supervisor runs"
        return found

    def kill_supervisor(self) -> None:
        """SIGKILL, and wait for its end."""
        assert self._supervisor is not None
        self._supervisor.kill()
        self._supervisor.wait(10)

    def signal_supervisor(self, *signals: int) -> None:
        """Send these signals, one after the other."""
        for signum in signals:
            processes.send(self.supervisor, signum)

    def await_supervisor_end(self, timeout: float = 20.0) -> int:
        """Its exit code."""
        assert self._supervisor is not None
        return self._supervisor.wait(timeout)

    @property
    def processes(self) -> set[Identity]:
        """Everything that this town started and that lives: supervisor, actors, models, Redis."""
        return leftovers.descendants() - self._before

    def stop(self) -> None:
        """TERM, exit 0, then the town's Redis: and nothing of the town is left, no process, no socket."""
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._supervisor.terminate()
        code = self._supervisor.wait(20) if self._supervisor is not None else 0
        assert code == 0, f"the supervisor ended with {code}"
        server = self.redis.identity()
        others = [p for p in self.processes if p != server]
        assert not others, f"processes outlive the supervisor: {list(map(leftovers.command_of, others))}"
        self.town.store.close()
        self.redis.stop()
        self.wait(lambda: not self.processes, "the end of every process")
        sockets = [path.name for path in self.town.state_dir.rglob("*") if path.is_socket()]
        assert not sockets, f"sockets are left: {sockets}"
        assert not self.town.supervisor_lock.is_taken()

    def close(self) -> None:
        """End whatever is left, by force; print what was logged (pytest shows it for a test that failed)."""
        own = [self.town.state_dir / name for name in ("supervisor.log", "missions.log")]
        for log in (self.log, *own, *sorted(self.town.logs_dir.glob("*.log"))):
            if log.is_file():
                print(f"--- {log.name}", log.read_text(errors="replace")[-6000:], sep="\n")  # noqa: T201
        print("--- marks", *self.marks(), sep="\n")  # noqa: T201
        self.town.store.close()
        if self._supervisor is not None:
            self._supervisor.kill()
            self._supervisor.wait(10)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not processes.kill_all(list(self.processes)), 5.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.stop()
        finally:
            self.close()

    # Redis

    def kill_redis(self) -> None:
        """SIGKILL (also a frozen one), and wait for its end."""
        found = self.redis.identity()
        assert found is not None
        self.kill(found)

    def signal_redis(self, signum: int) -> None:
        """SIGSTOP makes it accept and not answer; SIGCONT."""
        found = self.redis.identity()
        assert found is not None
        processes.send(found, signum)

    # Agents and work

    def spawn(self, *names: str, **request: Any) -> Agent:
        """Spawn these agents; returns the last."""
        for name in names:
            agents.spawn(self.town, agents.SpawnRequest(name, **request))
        return self.agent(names[-1])

    def assign(self, agent: str, *directives: str) -> Task:
        """A task whose text tells the scripted CLI what to do."""
        text = "\n".join(["do it", *(f"stub: {directive}" for directive in directives)])
        return tasks.assign(self.town, agent, text, Caller())

    def send(self, to: str, text: str, **options: Any) -> Message:
        """A message; its id must never be lost."""
        message = messages.send(self.town, to, text, Caller(), **options)
        self.accepted.append(message.id)
        return message

    def go(self, name: str = "go") -> None:
        """What `stub: await NAME` waits for."""
        (self.control / name).touch()

    def agent(self, name: str) -> Agent:
        """The record as it is now."""
        return agents.resolve(self.town, name).agent

    def task(self, task: Task) -> Task:
        """The record as it is now."""
        found = self.town.store.tasks.get(task.id)
        assert found is not None, f"task {task.id} is gone"
        return found[1]

    def journal(self, name: str) -> Journal:
        """The agent's two files."""
        return self.town.journal(name)

    def actor(self, name: str) -> Identity:
        """The living actor's process."""

        def find() -> Identity | None:
            entry = self.journal(name).actor()
            return entry.process if entry is not None and processes.is_alive(entry.process) else None

        found: Identity = self.wait(find, f"an actor of {name}")
        return found

    def models(self, name: str) -> list[Identity]:
        """The living processes of the agent's runs."""
        return processes.marked(f"{self.agent(name).id}:")

    def kill(self, process: Identity, signum: int = signal.SIGKILL) -> None:
        """Signal exactly this process; after SIGKILL wait for its end."""
        assert processes.send(process, signum), f"{process} had ended already"
        if signum == signal.SIGKILL:
            self.wait(lambda: not processes.is_alive(process), f"the end of {process}")

    # Looking

    def wait(self, condition: Any, what: str, timeout: float = 15.0) -> Any:
        """`wait_until`, with Redis away meaning: not yet."""

        def ask() -> T | None:
            with contextlib.suppress(Unavailable):
                return condition()  # type: ignore[no-any-return]
            return None

        return wait_until(ask, timeout, what)

    def wait_idle(self, *names: str) -> None:
        """Until these agents have settled everything and their actors wait."""
        for name in names:
            self.wait(lambda name=name: self.agent(name).state == "idle" and self.actor(name), f"{name} to be idle")

    def wait_done(self, *given: Task, state: TaskState = TaskState.COMPLETED, timeout: float = 15.0) -> None:
        """Until these tasks have ended, in this state."""
        for task in given:
            ended = self.wait(
                lambda task=task: (now := self.task(task)).state.is_terminal and now, f"the end of {task.id}", timeout
            )
            assert ended.state is state, f"{ended}"

    def task_done(self, agent: str, *directives: str) -> Task:
        """A task that has been done."""
        task = self.assign(agent, *directives)
        self.wait_done(task)
        return task

    def wait_run(self, task: Task, nth: int = 1) -> Mark:
        """Until the task's n-th run has begun."""
        return self.wait(lambda: len(runs := self.runs(task)) >= nth and runs[nth - 1], f"run {nth} of {task.id}")  # type: ignore[no-any-return]

    def marks(self) -> list[Mark]:
        """All that the scripted CLI noted."""
        path = self.control / "marks"
        lines = path.read_text().splitlines() if path.exists() else []
        rows = map(str.split, lines)
        return [Mark(what, run, task_id, int(pid), int(at_ms)) for what, run, task_id, pid, at_ms in rows]

    def runs(self, task: Task) -> list[Mark]:
        """The task's runs that began."""
        return [mark for mark in self.marks() if mark.what == "start" and mark.task_id == task.id]

    def ends(self, task: Task) -> list[Mark]:
        """The task's runs that came to their end."""
        return [mark for mark in self.marks() if mark.what == "end" and mark.task_id == task.id]

    def events(self, *types: str) -> list[dict[str, Any]]:
        """The town's history, of these types."""
        return [event for _id, event in self.town.store.events.newest(10_000) if event.get("event_type") in types]

    def check(self) -> None:
        """What holds at any moment: the invariants, and no two runs at one time."""
        overlaps = [mark for mark in self.marks() if mark.what == "overlap"]
        assert not overlaps, f"two runs at one time: {overlaps}"
        late = self._late_runs()
        assert not late, f"runs of tasks that had ended: {late}"
        invariants.check(self.town, settled=False, accepted=self.accepted)

    def _late_runs(self) -> list[Mark]:
        """Runs that began when their task had ended (and nobody had asked for another life of it)."""
        open_from: dict[str, int] = {}
        ended_at: dict[str, int] = {}
        for entry_id, event in self.town.store.events.newest(10_000):
            at_ms = int(entry_id.split("-")[0])
            if event.get("event_type") == "task_retried":
                open_from[event["task_id"]] = at_ms
            elif event.get("event_type") in invariants.ENDED:
                ended_at[event["task_id"]] = at_ms
        late = (m for m in self.marks() if m.what == "start" and m.at_ms > ended_at.get(m.task_id, m.at_ms) + 1)
        return [mark for mark in late if mark.task_id not in open_from]

    def check_when_up(self) -> None:
        """`check`, as soon as Redis can be asked."""
        self.wait(lambda: self.town.store.call(lambda r: r.ping()), "Redis")
        with contextlib.suppress(Unavailable):
            self.check()

    def finish(self) -> None:
        """The end of a test: the invariants, also those of a town at rest, which it must reach; then `stop`."""
        self.check()
        self.settle()
        self.stop()

    def settle(self) -> None:
        """Wait for the town to be at rest, with everything as it must be."""
        last: list[str] = []

        def at_rest() -> bool:
            last[:] = invariants.violations(self.town, settled=True, accepted=self.accepted)
            return not last

        with contextlib.suppress(AssertionError):
            self.wait(at_rest, "a town at rest", 5.0)
        assert not last, "no town at rest:\n" + "\n".join(last)
