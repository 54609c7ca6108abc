"""One run from its first process to its last."""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from chaos import quests, rest, script, verdict
from chaos.commands import Callers
from chaos.trouble import Trouble
from chaos.verdict import Accepted, Reading
from chaos.witness import Witness
from chaos.world import ROLE, ROUNDS, World
from tests.support import invariants
from tinytown import processes
from tinytown.domain.states import AgentState
from tinytown.errors import TinytownError, Unavailable
from tinytown.services import agents
from tinytown.town import open_town

CHECKOUT = Path(__file__).parents[1]
TICK_S = 0.01
STRIKE_S = 0.075  # on average
CATCH_UP = 5  # more kills in one pass than were due in it
SAMPLE_S = 0.25
SETTLE_LOOK_S = 0.5
CHECK_S = 10.0
TELL_S = 1.0
TELL_ELSEWHERE_S = 60.0  # than on a terminal
WORN_OUT_S = 30.0
ENOUGH_S = 45.0  # of trouble, in which every state must be hit
KILLS_A_MINUTE = 300


class StartFailed(Exception):
    """No town could be started on this machine; the message is for people."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is asked for. Times in seconds."""

    seed: int
    agents: int
    tasks: int
    seconds: float
    settle_s: float
    writers: int
    limited: bool
    keep: bool


@dataclass
class Run:
    """`all` does it; what it leaves in its attributes is for the report."""

    folder: Path
    options: Options
    violations: list[str] = field(default_factory=list)
    checks: int = 0
    trouble_s: float = 0.0
    settled_s: float = 0.0
    retried: int = 0
    world: World = field(init=False)
    proxy: subprocess.Popen[bytes] = field(init=False)
    callers: Callers = field(init=False)
    trouble: Trouble = field(init=False)
    witness: Witness = field(init=False)
    accepted: Accepted = field(init=False)
    reading: Reading = field(init=False)
    _writers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _told_at: float = field(default_factory=time.monotonic)

    def all(self) -> list[str]:
        """Everything after the start, in order; the violations."""
        options = self.options
        self._make_trouble()
        self.violations += self._settle() or self._probe()
        self.reading = verdict.read(self.world, self.accepted, limited=options.limited)
        self.violations += self.reading.violations
        if options.limited:
            self._go_on()
        self._stop()
        self.violations += self._afterthoughts()
        return self.violations

    def start(self) -> None:
        """A town with agents and writers at work. Raises StartFailed."""
        options = self.options
        say(f"Seed {options.seed}: {options.agents} agents, {options.tasks} tasks, {options.seconds:g} s of trouble.")
        try:
            self._start()
        except subprocess.CalledProcessError as error:
            said = (error.stderr or "").strip().removeprefix("Error: ")
            raise StartFailed(f"{shlex.join(error.cmd)}: {said or f'exit code {error.returncode}'}") from error
        except (OSError, subprocess.TimeoutExpired, TinytownError) as error:
            raise StartFailed(f"{error}") from error

    def _start(self) -> None:
        options = self.options
        self.world = world = World(self.folder, [f"a{n:02}" for n in range(options.agents)], limited=options.limited)
        world.tt("supervise", "--detach")
        for name in world.names:
            agents.spawn(world.town, agents.SpawnRequest(name, cli=world.cli_of(name), rounds=ROUNDS, role=ROLE))
        between = [str(world.town.state_dir / "redis.sock"), str(world.folder / "proxy"), str(options.seed)]
        self.proxy = subprocess.Popen(
            [sys.executable, "-m", "chaos.proxy", *between], stdin=subprocess.PIPE, cwd=CHECKOUT
        )
        self.callers = Callers(world, random.Random(f"commands {options.seed}"))  # noqa: S311  no secret
        self.trouble = Trouble(world, self.callers, random.Random(options.seed), self.proxy)  # noqa: S311
        self.witness = Witness(world)
        journals = [world.folder / f"writer-{number}" for number in range(options.writers)]
        for path in journals:
            path.touch()
        self.accepted = Accepted(journals)
        self._writers = [self._writer(number, path) for number, path in enumerate(journals)]

    def _writer(self, number: int, journal: Path) -> subprocess.Popen[bytes]:
        options = self.options
        share = options.tasks // options.writers + (number < options.tasks % options.writers)
        asked = [str(self.world.root), str(journal), f"{options.seed}-{number}", str(share), str(options.seconds * 0.9)]
        asked.append("limited" if options.limited else "unlimited")
        return subprocess.Popen(
            [sys.executable, "-m", "chaos.writer", *asked, *self.world.names],
            cwd=CHECKOUT, env=self.world.environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def _make_trouble(self) -> None:
        """In the second half the supervisor is left alive, so that its growth can be seen."""
        started = time.monotonic()
        end = started + self.options.seconds
        checker = threading.Thread(target=self._check_until, args=(end,), daemon=True)  # or Ctrl-C waits for it
        checker.start()
        strike_at, sample_at, tell_at = started, started, started
        while (now := time.monotonic()) < end:
            self.trouble.spares_supervisor = now - started > self.options.seconds / 2
            while strike_at <= now:  # what was late is made up for
                self.trouble.strike()
                strike_at += self.trouble.choice.uniform(0, 2 * STRIKE_S)
            late = int((now - started) * KILLS_A_MINUTE / 60 * 1.1) - self.trouble.kills.total()
            for _ in range(min(late, CATCH_UP)):  # on a slow machine, too
                self.trouble.kill()
            self.trouble.tend()
            if now >= sample_at:
                self.accepted.read_on()
                self.witness.look()
                sample_at = time.monotonic() + SAMPLE_S
            self.callers.look(*self._nameable())
            if now >= tell_at:
                self._tell(f"trouble {now - started:3.0f}/{self.options.seconds:.0f} s")
                tell_at = now + TELL_S
            self._reap()
            time.sleep(TICK_S)
        self.trouble_s = time.monotonic() - started
        self.trouble.calm()
        checker.join()
        if self.options.limited:
            self._wear_out(self.world.names[0])

    def _wear_out(self, name: str) -> None:
        """Kill this agent's actor until it is given up, as it must be: at the latest then that is shown."""
        deadline = time.monotonic() + WORN_OUT_S
        while time.monotonic() < deadline:
            self._pass_time()
            with contextlib.suppress(TinytownError):
                if not any(name in line for line in rest.revive(self.world, given_up_too=False)):
                    self.trouble.hunt(name)
                row = self.world.town.store.agents.row(self.world.town.store.agents.names().get(name, ""))
                if row is not None and row.agent.state is AgentState.ERROR:
                    return
            time.sleep(TICK_S)
        self.violations.append(f"agent {name} was not given up, although it was killed for {WORN_OUT_S:g} s")

    def _nameable(self) -> tuple[list[str], list[str]]:
        """Tasks that a command may complete, and those that it may end in any way; the newest are open."""
        newest = list(self.accepted.tasks.items())[-200:]
        ends = {behaviour.name: behaviour.end for behaviour in (*script.BEHAVIOURS, *script.HOPELESS)}
        return (
            [task_id for task_id, name in newest if ends[name] == script.SUCCEEDS],
            [task_id for task_id, name in newest if ends[name] is script.ANY],
        )

    def _check_until(self, end: float) -> None:
        """The invariants that hold at any moment, now and then, by somebody who may wait for Redis."""
        town = open_town(str(self.world.root))
        while time.monotonic() + CHECK_S < end:
            time.sleep(CHECK_S)
            with contextlib.suppress(Unavailable):
                self.violations += invariants.violations(town, settled=False)
                self.checks += 1
        town.store.close()

    def _settle(self) -> list[str]:
        """No trouble any more: every agent of the beginning works again, and all work is done; what is not so."""
        started = time.monotonic()
        last = ["nothing was looked at yet"]
        while last and time.monotonic() < started + self.options.settle_s:
            self._pass_time()
            last = self._unsettled()
            self._tell(f"settling {time.monotonic() - started:3.0f}/{self.options.settle_s:.0f} s")
            time.sleep(SETTLE_LOOK_S)
        self.settled_s = time.monotonic() - started
        return [f"not settled after {self.settled_s:.0f} s: {line}" for line in last]

    def _probe(self) -> list[str]:
        """Whether the town at rest is awake: what is given to it is done at once, also when it has just looked."""
        settled_s, late = self.settled_s, []
        for _ in range(2):
            try:
                late += rest.late(self.world)
            except TinytownError as error:
                late.append(f"the town at rest refused a task: {type(error).__name__}: {error}")
            late += self._settle()
        self.settled_s = settled_s
        return late

    def _pass_time(self) -> None:
        self.callers.judge()
        self.trouble.tend()
        self.witness.look()
        self.accepted.read_on()
        self._reap()

    def _unsettled(self, *, given_up_too: bool = False) -> list[str]:
        """What the town still has to do; cheap questions first."""
        if self.callers.running:
            return ["commands are under way"]
        limited = self.options.limited and not given_up_too
        try:
            waiting = rest.revive(self.world, given_up_too=not limited)
            if any(writer.poll() is None for writer in self._writers):  # they may wait for an agent that was pruned
                return [*waiting, "writers are at work"]
            waiting += rest.open_work(self.world, limited=limited)
            waiting += quests.unfinished(self.world, limited=limited)
            return waiting or invariants.violations(
                self.world.town, settled=True, accepted=self.accepted.messages, may_give_up=limited
            )
        except TinytownError as error:
            return [f"{type(error).__name__}: {error}"]

    def _go_on(self) -> None:
        """What was given up has a way forward: started again and retried, all of it is done."""
        self.retried = rest.retry_failed(self.world)
        quests.retry(self.world)
        quests.wake(self.world)
        deadline = time.monotonic() + self.options.settle_s
        last = ["nothing was looked at yet"]
        while last and time.monotonic() < deadline:
            self._pass_time()
            last = self._unsettled(given_up_too=True)
            self._tell("what was given up is tried again")
            time.sleep(SETTLE_LOOK_S)
        self.violations += [f"given up, and no way forward: {line}" for line in last]
        after = verdict.read(self.world, self.accepted, limited=False)
        self.violations += after.violations
        self.reading.dead |= after.dead  # also what lay with agents that were given up

    def _stop(self) -> None:
        """By the town's own command, after which nothing of it may live."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.world.tt("stop", "--all")
        self.world.town.store.close()
        self._end_helpers()
        deadline = time.monotonic() + 5
        while (left := self._living()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.violations += [f"outlived tt stop --all: {line}" for line in left]
        folder = self.world.town.state_dir
        self.violations += [f"a socket is left: {path.name}" for path in folder.rglob("*") if path.is_socket()]

    def _afterthoughts(self) -> list[str]:
        """What the run itself must have been for its silence to mean something."""
        found = [f"writer: exit {w.returncode}" for w in self._writers if w.returncode]
        found += [f"a writer met: {text} ({count} times)" for text, count in self.accepted.errors.items()]
        found += self.witness.violations + self.callers.complaints + self.witness.grown()
        if not self.options.limited and (count := self.reading.events["agent_gave_up"]):
            found.append(f"{count} agents were given up, although restarts are not limited")
        if self.trouble_s >= ENOUGH_S:
            missed = self.trouble.missed()
            found += [f"no {target} was killed while {state}: the run proves too little" for target, state in missed]
            if not self.checks:
                found.append("the keys were never looked at during the trouble: the run proves too little")
            rate = self.trouble.kills.total() / self.trouble_s * 60
            if rate < KILLS_A_MINUTE:
                found.append(f"only {rate:.0f} kills a minute; at least {KILLS_A_MINUTE} are wanted")
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """End by force whatever is left."""
        self._end_helpers()
        for _ in range(20):
            left = processes.descendants(os.getpid())
            if not left:
                break
            processes.kill_all(left, signal.SIGKILL)
            self._reap()
            time.sleep(0.05)

    def _end_helpers(self) -> None:
        for process in self._own():
            process.kill()
            process.wait()

    def _own(self) -> list[subprocess.Popen[bytes]]:
        """The run's own processes, that it waits for where it started them; a start that failed made only a few."""
        proxy = [self.proxy] if hasattr(self, "proxy") else []
        typed = [command.process for command in self.callers.running] if hasattr(self, "callers") else []
        return [*self._writers, *proxy, *typed]

    def _living(self) -> list[str]:
        self._reap()
        lines = []
        for process in processes.descendants(os.getpid()):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ")
                lines.append(f"pid {process.pid}: {command.decode(errors='replace').strip()}")
        return lines

    def _reap(self) -> None:
        """Collect the orphans that ended."""
        own = {process.pid for process in self._own()}
        for text in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            if int(text) not in own and processes.identity(int(text)) is None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(int(text), os.WNOHANG)

    def _tell(self, what: str) -> None:
        """Progress: one line that is written over, on a terminal; elsewhere a line a minute."""
        counts = f"{self.trouble.kills.total()} kills, {len(self.accepted.tasks)} tasks accepted"
        line = f"{what}: {counts}, {len(self.violations)} violations"
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)  # noqa: T201
        elif time.monotonic() >= self._told_at + TELL_ELSEWHERE_S:
            self._told_at = time.monotonic()
            print(line, file=sys.stderr, flush=True)  # noqa: T201


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)  # noqa: T201
