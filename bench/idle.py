"""What a town costs that has nothing to do."""

from __future__ import annotations

import time

from bench.floor import Keep
from bench.measure import cpu_s, pss_mb, uss_mb
from bench.rig import Bench, BenchTown, running, stamps_of
from bench.table import Row, at_most, median, spread
from tinytown.services import messages
from tinytown.services.caller import Caller

AGENTS = 100
SETTLE_S = 5.0
OWN_MB, CPU_PERCENT = 6.0, 3.0


def measure(bench: Bench) -> list[Row]:
    """The group."""
    with running(bench, "idle", AGENTS) as (town, _ids):
        time.sleep(SETTLE_S)
        pids = list(town.children.values())
        memory = uss_mb(pids)
        together = pss_mb([town.supervisor.pid, *pids])
        keeper = uss_mb([town.supervisor.pid])[0]
        with Keep(town.socket) as bare:
            _up_s, bare_pids = bare.up(AGENTS)
            bare_memory = uss_mb(bare_pids)
            bare.down()
        cpu = _cpu_percent(bench, town)
        worked = _after_a_round(bench, town)
    own = median(memory)
    return [
        at_most(
            f"memory of its own (USS) of an idle actor, {AGENTS} actors (median {own / 1.048576:.2f} MiB)",
            spread(memory, "MB", 2), own, OWN_MB, "MB",
            reference=f"child of a bare multiprocessing supervisor: {spread(bare_memory, 'MB', 2)}",
            ratio=own / median(bare_memory),
        ),
        Row("the same, when each has run one round", spread(worked, "MB", 2)),
        Row(f"supervisor alone (USS); it and {AGENTS} actors together (PSS)", f"{keeper:.1f} MB; {together:.0f} MB"),
        at_most(
            f"CPU of an idle town of {AGENTS} agents (actors, supervisor, redis-server), % of one core",
            f"{cpu['all']:.2f} % (actors {cpu['actors']:.2f}, supervisor {cpu['supervisor']:.2f}, "
            f"redis-server {cpu['redis']:.2f}; {cpu['seconds']:.0f} s)",
            cpu["all"], CPU_PERCENT, "%",
        ),
    ]  # fmt: skip


def _cpu_percent(bench: Bench, town: BenchTown) -> dict[str, float]:
    """By part, as the scheduler counted it."""
    parts = {"actors": list(town.children.values()), "supervisor": [town.supervisor.pid], "redis": [town.redis]}
    seconds = bench.some(30, 20)
    bench.say(f"idle: {seconds} s of nothing")
    time.sleep(1)
    before = {name: cpu_s(pids) for name, pids in parts.items()}
    began = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    percent = {name: (cpu_s(pids) - before[name]) / passed * 100 for name, pids in parts.items()}
    return percent | {"all": sum(percent.values()), "seconds": passed}


def _after_a_round(bench: Bench, town: BenchTown) -> list[float]:
    bench.say("idle: a round for each")
    with stamps_of(town) as stamps:
        for n in range(AGENTS):
            messages.send(town.town, f"a{n}", "Say hello", Caller())
            stamps.next(f"a{n}")
    time.sleep(1)
    return uss_mb(town.children.values())
