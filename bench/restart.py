"""Actors that die, come up, and stop."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

from bench.floor import Keep
from bench.measure import Broken, Stamps, pidfds, wait_all_gone
from bench.rig import Bench, BenchTown, running, stamps_of
from bench.table import Row, at_most, median, spread, tails
from tinytown import processes
from tinytown.services import messages
from tinytown.services.caller import Caller

AGENTS = 100
REPLACED_MS, UP_S, STOP_S = 20.0, 2.0, 1.0
PAUSE_S = 0.15
END_WITHIN_S = 60.0
BARE_CHILDREN = 5


class Samples:
    """Milliseconds for one, seconds for all."""

    def __init__(self) -> None:
        self.replaced: list[float] = []
        self.bare_replaced: list[float] = []
        self.killed_to_exec: list[float] = []
        self.up: list[float] = []
        self.bare_up: list[float] = []
        self.from_start: list[float] = []
        self.term: list[float] = []
        self.tt_stop: list[float] = []
        self.bare_stop: list[float] = []


def measure(bench: Bench) -> list[Row]:
    """The group."""
    samples = Samples()
    with ExitStack() as stack:
        town, agent_ids = stack.enter_context(running(bench, "restart", AGENTS))
        stamps = stack.enter_context(stamps_of(town))
        bare = stack.enter_context(Keep(town.socket))
        _kill_one_by_one(bench, town, stamps, bare, samples)
        for n in range(bench.some(5, 1)):
            bench.say(f"restart: all {AGENTS} down and up, round {n + 1}")
            _all(town, agent_ids, bare, samples)
    return _rows(samples)


def _kill_one_by_one(bench: Bench, town: BenchTown, stamps: Stamps, bare: Keep, samples: Samples) -> None:
    """Each agent at most once, so that no back-off sets in."""
    _up_s, bare_pids = bare.up(BARE_CHILDREN)
    names = {row.agent.id: row.agent.name for row in town.town.store.agents.all()}
    victims = list(town.children.items())[: bench.some(80, 20)]
    for n, (agent_id, pid) in enumerate(victims):
        if n % 20 == 0:
            bench.say(f"restart: kill {n} of {len(victims)}")
        time.sleep(PAUSE_S)
        if n % 2:
            samples.killed_to_exec.append(_kill_with_mail(town, stamps, names[agent_id], pid))
            continue
        seen = town.town.store.events.last_id()
        killed = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        samples.replaced.append((town.wait_started([agent_id], seen) - killed) / 1e6)
        time.sleep(PAUSE_S)
        took, successor = bare.replace(bare_pids.pop(0))
        bare_pids.append(successor)
        samples.bare_replaced.append(took)
    bare.down()


def _kill_with_mail(town: BenchTown, stamps: Stamps, name: str, pid: int) -> float:
    """A message sent right after the kill: milliseconds from the kill to the exec of its model."""
    killed = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    messages.send(town.town, name, "Say hello", Caller())
    stamp, _logged = stamps.next(name)
    return (stamp - killed) / 1e6


def _all(town: BenchTown, agent_ids: list[str], bare: Keep, samples: Samples) -> None:
    """Down by `tt stop`, up by wishes; down by TERM to the supervisor, up by `tt supervise`."""
    samples.tt_stop.append(_seconds_to_end(town, lambda: town.tt("stop")))
    time.sleep(1)
    seen = town.town.store.events.last_id()
    began = time.monotonic_ns()
    town.wish_all(agent_ids)
    samples.up.append((town.wait_started(agent_ids, seen) - began) / 1e9)
    time.sleep(1)
    samples.term.append(_seconds_to_end(town, lambda: processes.send(town.supervisor, signal.SIGTERM), supervisor=True))
    time.sleep(0.5)
    samples.bare_up.append(bare.up(AGENTS)[0])
    time.sleep(0.5)
    samples.bare_stop.append(bare.down())
    seen = town.town.store.events.last_id()
    began = time.monotonic_ns()
    town.supervise()
    samples.from_start.append((town.wait_started(agent_ids, seen) - began) / 1e9)
    time.sleep(1)


def _seconds_to_end(town: BenchTown, ask: object, *, supervisor: bool = False) -> float:
    """Until the last actor (and the supervisor) has ended."""
    assert callable(ask)
    pids = list(town.children.values())
    if len(pids) != AGENTS:
        raise Broken(f"{len(pids)} of {AGENTS} actors live")
    watched = pidfds([*pids, town.supervisor.pid] if supervisor else pids)
    began = time.monotonic_ns()
    ask()
    wait_all_gone(watched, END_WITHIN_S)
    return (time.monotonic_ns() - began) / 1e9


def _rows(s: Samples) -> list[Row]:
    replaced, up, start, term, stop = (median(v) for v in (s.replaced, s.up, s.from_start, s.term, s.tt_stop))
    bare_stop = f"a bare multiprocessing supervisor: {spread(s.bare_stop, 's', 2)}"
    return [
        at_most(
            f"SIGKILL of an idle actor of {AGENTS} -> successor on its inbox: p50",
            tails(s.replaced, "ms"), replaced, REPLACED_MS, "ms",
            reference=f"a bare multiprocessing supervisor: {tails(s.bare_replaced, 'ms')}",
            ratio=replaced / median(s.bare_replaced),
        ),
        Row("SIGKILL, a message sent at once -> exec of the model for it", tails(s.killed_to_exec, "ms")),
        at_most(
            f"{AGENTS} agents wanted (one write, then the doorbell) -> {AGENTS} idle",
            spread(s.up, "s", 2), up, UP_S, "s",
            reference=f"a bare multiprocessing supervisor: {spread(s.bare_up, 's', 2)}", ratio=up / median(s.bare_up),
        ),
        at_most(
            f"{AGENTS} agents wanted, no supervisor: exec of `tt supervise --detach` -> {AGENTS} idle",
            spread(s.from_start, "s", 2), start, UP_S, "s",
        ),
        at_most(
            f"TERM to the supervisor of {AGENTS} idle agents -> all of them and it have ended",
            spread(s.term, "s", 2), term, STOP_S, "s", reference=bare_stop, ratio=term / median(s.bare_stop),
        ),
        at_most(
            f"exec of `tt stop` -> the last of {AGENTS} idle actors has ended",
            spread(s.tt_stop, "s", 2), stop, STOP_S, "s", reference=bare_stop, ratio=stop / median(s.bare_stop),
        ),
    ]  # fmt: skip
