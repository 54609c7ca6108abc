"""What is done to the town, and in which state it was then."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chaos.commands import Callers
from chaos.world import World
from tinytown import processes
from tinytown.processes import Identity

# What may be done -> how often.
STRIKES = {
    "kill actor": 50, "kill model": 50, "kill redis": 4, "kill supervisor": 5, "kill command": 6, "kill scheduler": 8,
    "term actor": 5, "term model": 5, "term redis": 1, "term supervisor": 1, "term scheduler": 1,
    "stop actor": 6, "stop model": 6, "stop redis": 1, "stop supervisor": 1, "stop scheduler": 2,
    "drop connections": 4, "slow connections": 3, "full disk": 2,
}  # fmt: skip
# Every state in which each target is to be killed at least once; a rare one is hunted for.
STATES = {
    "actor": ("starting", "idle", "claimed", "running", "settling"),
    "model": ("starting", "working", "with a child"),
    "supervisor": ("starting", "running", "stopping", "without Redis"),
    "scheduler": ("starting", "waiting", "deciding"),
    "redis": ("starting", "serving", "rewriting", "frozen"),
    "command": ("running",),
}
FRESH_S = 0.03  # how long a model counts as starting
HUNT_S = 0.5
HUNT_SCHEDULER_S = 5.0  # there is one of it, and the supervisor takes it along whenever it is killed
HUNTED = 0.5  # of the strikes at actors look for the state that was hit least
MISSED = 0.1  # of the strikes are at a target that was not hit in each of its states yet
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Trouble:
    """One strike after the other. `kills` counts SIGKILLs by (target, state), `done` everything else."""

    world: World
    callers: Callers
    choice: random.Random
    proxy: subprocess.Popen[bytes]
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    spares_supervisor: bool = False
    _is_over: bool = False
    _frozen: set[Identity] = field(default_factory=set)
    _due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def strike(self) -> None:
        """Do one thing at random, or what chance made impossible another time."""
        (name,) = self.choice.choices(list(STRIKES), list(STRIKES.values()))
        missed = sorted({target for target, _state in self.missed()})
        if missed and self.choice.random() < MISSED:
            name = f"kill {self.choice.choice(missed)}"
        how, _, target = name.partition(" ")
        if self.spares_supervisor and target == "supervisor" and how != "stop":
            return
        if how == "kill":
            getattr(self, f"_kill_{target}")()
        elif how in {"term", "stop"}:
            self._signal(how, target)
        else:
            getattr(self, f"_{how}_{target}")()

    def missed(self) -> list[tuple[str, str]]:
        """Targets and those of their states in which none was killed."""
        every = [(target, state) for target, states in STATES.items() for state in states]
        return [pair for pair in every if not self.kills[pair]]

    def hunt(self, name: str) -> None:
        """Kill this agent's actor whenever it lives: it is to be given up."""
        for actor, process in self.world.holders():
            if actor == name and process not in self._frozen:
                self._kill("actor", self._frozen_state(name, process) or "idle", process)

    def kill(self) -> None:
        """One more actor or model."""
        self.choice.choice([self._kill_actor, self._kill_model])()

    def tend(self) -> None:
        """What was put off is done when it is due; a supervisor that is gone gets a successor, as a user would do."""
        now = time.monotonic()
        for row in [row for row in self._due if row[0] <= now]:
            self._due.remove(row)
            row[1]()
        starting = any(typed.words[0] == "supervise" for typed in self.callers.running)
        if self.world.supervisor() is None and not starting:
            self.callers.start("supervise", "--detach")

    def calm(self) -> None:
        """No more trouble: what was put off is done now."""
        self._is_over = True
        for _at, act in self._due:
            act()
        self._due.clear()
        self._tell("calm")

    # Kills

    def _kill(self, target: str, state: str, process: Identity) -> None:
        if processes.send(process, signal.SIGKILL):
            self.kills[target, state] += 1

    def _kill_actor(self) -> None:
        """Freeze them one by one to see what each is at; the frozen one is killed in the state that was seen."""
        actors = self.world.holders()
        self.choice.shuffle(actors)
        wanted = self._least("actor") if self.choice.random() < HUNTED else None
        if wanted == "starting" and actors:
            name, process = actors[0]
            self._kill("actor", self._frozen_state(name, process) or "idle", process)
            self._kill_successor(name, process, time.monotonic() + 2.0)
        elif wanted is None or not self._kill_one_of(actors, wanted):
            self._kill_one_of(actors, None)

    def _kill_successor(self, name: str, process: Identity, until: float) -> None:
        """As soon as it has taken the agent; it may have begun a round by then."""
        entry = self.world.journal(name).actor()
        if entry is not None and entry.process != process:
            state = self._frozen_state(name, entry.process)
            if state is not None:
                self._kill("actor", "starting" if state == "idle" else state, entry.process)
            else:
                processes.send(entry.process, signal.SIGCONT)
        elif time.monotonic() < until:
            self._later(0.0, lambda: self._kill_successor(name, process, until))

    def _kill_one_of(self, actors: list[tuple[str, Identity]], wanted: str | None) -> bool:
        for name, process in actors:
            if process in self._frozen:
                continue
            state = self._frozen_state(name, process)
            if state is not None and (wanted is None or state == wanted):
                self._kill("actor", state, process)
                return True
            processes.send(process, signal.SIGCONT)
        return False

    def _frozen_state(self, name: str, process: Identity) -> str | None:
        if not processes.send(process, signal.SIGSTOP) or not _is_stopped(process):
            return None
        journal = self.world.journal(name)
        entry, held = journal.actor(), journal.last_round()
        if entry is None or entry.process != process:
            return "starting"
        if held is None or held.is_settled:
            return "idle"
        if held.epoch != entry.epoch:
            return "starting"  # it settles what its predecessor left
        if held.outcome is not None:
            return "settling"
        return "running" if held.model is not None else "claimed"

    def _kill_model(self) -> None:
        wanted = self._least("model") if self.choice.random() < HUNTED else None
        self._kill_model_that_is(wanted, time.monotonic() + HUNT_S)

    def _kill_model_that_is(self, wanted: str | None, until: float) -> None:
        """When there is none in this state, again a moment later; in the end any, or an actor."""
        states = [(_model_state(model), model) for model in self.world.models()]
        self.choice.shuffle(states)
        if wanted is not None and wanted not in dict(states) and time.monotonic() < until:
            self._later(0.0, lambda: self._kill_model_that_is(wanted, until))
        elif states:
            self._kill("model", *next((row for row in states if row[0] == wanted), states[0]))
        else:
            self._kill_actor()

    def _kill_command(self) -> None:
        living = [typed.identity for typed in self.callers.running if typed.process.poll() is None and typed.identity]
        if living:
            self._kill("command", "running", self.choice.choice(living))

    def _kill_supervisor(self) -> None:
        state = self._least("supervisor")
        found = self.world.supervisor()
        if found is None:
            return
        if state == "stopping":
            processes.send(found, signal.SIGTERM)
            self._later(self.choice.uniform(0, 0.05), lambda: self._kill("supervisor", state, found))
        elif state == "without Redis":
            if (server := self.world.server()) is not None:
                self._kill("redis", "serving", server)
                self._later(self.choice.uniform(0, 0.03), lambda: self._kill("supervisor", state, found))
        else:
            self._kill("supervisor", "running", found)
            if state == "starting":
                self._await_supervisor(time.monotonic() + 5.0)

    def _await_supervisor(self, until: float) -> None:
        """Until the successor's process is there, then for a part of the time that it takes to say that it is one."""
        for process in processes.descendants(os.getpid()):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
                if words[-2:] == [b"supervise", b""]:
                    delay = self.choice.uniform(0, 0.3)
                    self._later(delay, partial(self._kill, "supervisor", "starting", process))
                    return
        if time.monotonic() < until:
            self._later(0.02, lambda: self._await_supervisor(until))

    def _kill_scheduler(self) -> None:
        """Deciding: it had the processor since the last look at it, a hundredth of a second ago."""
        wanted = self._least("scheduler")
        if wanted != "starting":
            was_hit = self.kills["scheduler", wanted] > 0
            self._kill_scheduler_that_is(wanted, None, 0, time.monotonic() + HUNT_SCHEDULER_S if was_hit else math.inf)
        elif (found := self.world.scheduler()) is not None:
            self._kill("scheduler", "waiting", found)
            self._kill_starting_scheduler(found, time.monotonic() + 2.0)

    def _kill_scheduler_that_is(self, wanted: str, found: Identity | None, before: int, until: float) -> None:
        """Of one that was killed by something else meanwhile, the successor."""
        is_late = self._is_over or time.monotonic() >= until
        if found is None or not processes.is_alive(found):
            if (found := self.world.scheduler()) is not None:
                before = _processor_ns(found)
        else:
            spent = _processor_ns(found)
            state, before = "deciding" if spent > before else "waiting", spent
            if state == wanted or is_late:
                self._kill("scheduler", state, found)
                return
        if not is_late:
            self._later(0.0, lambda: self._kill_scheduler_that_is(wanted, found, before, until))

    def _kill_starting_scheduler(self, old: Identity, until: float) -> None:
        found = self.world.scheduler()
        if found is not None and found != old:
            self._kill("scheduler", "starting", found)
        elif time.monotonic() < until:
            self._later(0.02, lambda: self._kill_starting_scheduler(old, until))

    def _kill_redis(self) -> None:
        state = self._least("redis")
        found = self.world.server()
        if found is None:
            return
        if state == "frozen":
            processes.send(found, signal.SIGSTOP)
            self._later(self.choice.uniform(0.05, 0.3), lambda: self._kill("redis", state, found))
        elif state == "rewriting":
            self._ask_rewrite()
            self._later(self.choice.uniform(0, 0.05), lambda: self._kill("redis", state, found))
        else:
            self._kill("redis", "serving", found)
            if state == "starting":
                self._later(0.01, lambda: self._kill_starting_redis(time.monotonic() + 2.0))

    def _kill_starting_redis(self, until: float) -> None:
        found = self.world.server()
        if found is not None and _age(found) < 0.3:
            self._kill("redis", "starting", found)
        elif time.monotonic() < until:
            self._later(0.005, lambda: self._kill_starting_redis(until))

    def _ask_rewrite(self) -> None:
        """By another process: this one never waits for Redis."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = "import sys, redis; redis.Redis(unix_socket_path=sys.argv[1]).bgrewriteaof()"
            path = str(self.world.town.state_dir / "redis.sock")
            subprocess.run([sys.executable, "-c", code, path], timeout=1.5, check=False, capture_output=True)

    # Everything else

    def _signal(self, how: str, target: str) -> None:
        found = self._one(target)
        if found is None:
            return
        self.done[f"{how} {target}"] += 1
        if how == "term":
            processes.send(found, signal.SIGTERM)
            return
        processes.send(found, signal.SIGSTOP)
        # Now and then an actor stays frozen: the town itself must find that.
        seconds = 60.0 if target == "actor" and self.choice.random() < 0.2 else self.choice.uniform(0.05, 1.0)
        self._frozen.add(found)
        self._later(seconds, lambda: self._thaw(found))

    def _thaw(self, process: Identity) -> None:
        self._frozen.discard(process)
        processes.send(process, signal.SIGCONT)

    def _one(self, target: str) -> Identity | None:
        if target == "redis":
            return self.world.server()
        if target == "supervisor":
            return self.world.supervisor()
        if target == "scheduler":
            return self.world.scheduler()
        holders = [process for _name, process in self.world.holders()]
        living = holders if target == "actor" else self.world.models()
        return self.choice.choice(living) if living else None

    def _drop_connections(self) -> None:
        self.done["connections dropped"] += 1
        self._tell(f"drop {self.choice.randrange(1, 8)}")

    def _slow_connections(self) -> None:
        self.done["slow answers"] += 1
        self._tell(f"slow {self.choice.randrange(5, 300)} {self.choice.uniform(0.1, 1.0):.3f}")

    def _full_disk(self) -> None:
        self.done["full disk"] += 1
        self.world.full_disk.touch()
        self._later(self.choice.uniform(0.1, 1.0), lambda: self.world.full_disk.unlink(missing_ok=True))

    def _tell(self, line: str) -> None:
        assert self.proxy.stdin is not None
        self.proxy.stdin.write(line.encode() + b"\n")
        self.proxy.stdin.flush()

    def _later(self, seconds: float, act: Callable[[], Any]) -> None:
        self._due.append((time.monotonic() + seconds, act))

    def _least(self, target: str) -> str:
        """The state in which this target was killed the fewest times."""
        return min(STATES[target], key=lambda state: self.kills[target, state])


def _is_stopped(process: Identity) -> bool:
    """The signal has arrived: soon, or it is in a system call that cannot be stopped (or gone)."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "T":
                return True
            if state in "ZX":
                return False
        os.sched_yield()
    return False


def _processor_ns(process: Identity) -> int:
    """How long it had a processor so far."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0])
    return 0


def _model_state(model: Identity) -> str:
    if processes.descendants(model.pid):
        return "with a child"
    return "starting" if _age(model) < FRESH_S else "working"


def _age(process: Identity) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started / _TICKS
