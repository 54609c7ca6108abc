"""From an accepted message to the exec of the model."""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack
from pathlib import Path

from bench.floor import Echo
from bench.measure import Stamps
from bench.rig import Bench, BenchTown, bare_server, running, stamps_of
from bench.table import Row, at_most, median, quantile, ratio, spread, tails
from tinytown.model_cli import catalog
from tinytown.model_cli.launch import environment, prepare, spawn
from tinytown.services import messages
from tinytown.services.caller import Caller

AGENTS = 20
PAUSE_S = (0.03, 0.09)
P50_MS, P99_MS, BLPOPS = 10.0, 50.0, 6.0


class Samples:
    """In milliseconds."""

    def __init__(self) -> None:
        self.accepted_to_exec: list[float] = []
        self.called_to_exec: list[float] = []
        self.accepted_to_log: list[float] = []
        self.spawn: list[float] = []
        self.blpop: list[float] = []
        self.bare_blpop: list[float] = []


def measure(bench: Bench) -> list[Row]:
    """The group."""
    with ExitStack() as stack:
        town, _ids = stack.enter_context(running(bench, "dispatch", AGENTS))
        stamps = stack.enter_context(stamps_of(town))
        bare = stack.enter_context(bare_server(bench.folder))
        echo = stack.enter_context(Echo(town.socket))
        bare_echo = stack.enter_context(Echo(bare))
        samples = _collect(bench, town, stamps, echo, bare_echo)
    return _rows(samples)


def _collect(bench: Bench, town: BenchTown, stamps: Stamps, echo: Echo, bare_echo: Echo) -> Samples:
    samples, count = Samples(), bench.some(320, 60)
    warm = AGENTS  # each agent's first round loads what later ones have
    for n in range(count + warm):
        if n % 50 == 0:
            bench.say(f"dispatch: message {n} of {count + warm}")
        for program, into in ((echo, samples.blpop), (bare_echo, samples.bare_blpop)):
            time.sleep(random.uniform(*PAUSE_S) / 2)  # noqa: S311  no secret
            into.append(program.round_trip_ms())
        time.sleep(random.uniform(*PAUSE_S))  # noqa: S311  as above
        _message(town, stamps, f"a{n % AGENTS}", samples)
        time.sleep(PAUSE_S[0])
        samples.spawn.append(_spawn_ms(town, stamps))
        if n == warm - 1:
            samples = Samples()
    return samples


def _message(town: BenchTown, stamps: Stamps, agent: str, samples: Samples) -> None:
    called = time.monotonic_ns()
    messages.send(town.town, agent, "Say hello", Caller())
    accepted = time.monotonic_ns()
    began, logged = stamps.next(agent)
    samples.called_to_exec.append((began - called) / 1e6)
    samples.accepted_to_exec.append((began - accepted) / 1e6)
    if logged is not None:
        samples.accepted_to_log.append((logged - accepted) / 1e6)


def _spawn_ms(town: BenchTown, stamps: Stamps) -> float:
    """The same program by the actors' own function, from a warm process."""
    cli = catalog.lookup("stamp", town.town.config)
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    env = environment(cli, {"TINYTOWN_AGENT_NAME": "direct", "PATH": os.environ["PATH"]})
    launch = prepare(cli, "Say hello", Path(town.root))
    began = time.monotonic_ns()
    child = spawn(launch, null, town.root, env)
    stamp, _logged = stamps.next("direct")
    child.wait(10)
    os.close(null)
    launch.discard()
    return (stamp - began) / 1e6


def _rows(s: Samples) -> list[Row]:
    p50, p99 = median(s.accepted_to_exec), quantile(s.accepted_to_exec, 0.99)
    blpop, bare = median(s.blpop), median(s.bare_blpop)
    before_fork = median(s.accepted_to_log)
    subtracted = p50 - median(s.spawn)
    reference = f"BLPOP round trip, town's server: {tails(s.blpop, 'ms')}"
    return [
        at_most(
            f"message accepted -> exec of the model, {AGENTS} idle agents: p50",
            tails(s.accepted_to_exec, "ms"), p50, P50_MS, "ms",
            reference=f"the spawn alone: {tails(s.spawn, 'ms')}", ratio=p50 / median(s.spawn),
        ),
        at_most("the same: p99", f"{p99:.2f} ms", p99, P99_MS, "ms"),
        Row("the same, from the call of send", tails(s.called_to_exec, "ms")),
        ratio(
            "accepted -> before the fork (inotify: the round's log appears, the last step before it)",
            spread(s.accepted_to_log, "ms", 2), before_fork / blpop, reference, BLPOPS,
        ),
        ratio(
            "accepted -> before the fork (p50 of accepted -> exec less the p50 of the spawn alone)",
            f"{subtracted:.2f} ms", subtracted / blpop, f"the same: p50 {blpop:.2f} ms", BLPOPS,
        ),
        ratio(
            "accepted -> before the fork (inotify), against a server that keeps nothing on disk",
            f"{before_fork:.2f} ms", before_fork / bare, f"BLPOP round trip: {tails(s.bare_blpop, 'ms')}", BLPOPS,
        ),
    ]  # fmt: skip
