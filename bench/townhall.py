"""The town hall: what its requests cost, and what many visitors cost the town."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Broken, Stamps, pss_mb
from bench.rig import Bench, BenchTown, environment, running, stamps_of
from bench.table import Row, at_most, median, quantile, ratio, spread, tails
from tinytown.services import messages
from tinytown.services.caller import Caller

PROGRAM = Path(sys.executable).with_name("townhall")
AGENTS, LISTENERS, RATE = 20, 200, 200
PAUSE_S = (0.03, 0.09)
TIMES = 3.0  # dispatch with visitors to dispatch without
STATUS = "/v1/status"


@dataclass
class Hall:
    """A running town hall."""

    process: subprocess.Popen[bytes]
    port: int
    took_s: float


@dataclass
class Samples:
    """In milliseconds; `load` is what the visitors report."""

    idle: list[float] = field(default_factory=list)
    loaded: list[float] = field(default_factory=list)
    load: dict[str, Any] = field(default_factory=dict)


def measure(bench: Bench) -> list[Row]:
    """The group."""
    program = bench.folder / "load"
    source = Path(__file__).with_name("load.c")
    subprocess.run(["gcc", "-O2", "-o", str(program), str(source)], check=True)
    with running(bench, "townhall", AGENTS) as (town, _ids), stamps_of(town) as stamps:
        starts = []
        for _ in range(bench.some(7, 3)):
            with _opened(town) as hall:
                starts.append(hall.took_s)
        samples, count = Samples(), bench.some(200, 40)
        _dispatch(bench, town, stamps, [], AGENTS)  # each agent's first round loads what later ones have
        with _opened(town) as hall:
            reads = [_ask_ms(hall.port, "GET", STATUS) for _ in range(bench.some(1000, 200))]
            writes = [_assign_ms(hall.port, n) for n in range(bench.some(300, 60))]
            time.sleep(2)  # what was assigned is done
            before = pss_mb([hall.process.pid])
            _dispatch(bench, town, stamps, samples.idle, count // 2)
            with _visited(program, hall.port, 0.15 * count + 2) as told:
                _dispatch(bench, town, stamps, samples.loaded, count)
                memory = pss_mb([hall.process.pid])
            samples.load = told
            _dispatch(bench, town, stamps, samples.idle, count // 2)
    return _rows(samples, starts, reads, writes, (before, memory))


@contextlib.contextmanager
def _opened(town: BenchTown) -> Iterator[Hall]:
    began = time.monotonic()
    process = subprocess.Popen(
        [str(PROGRAM), "--town", str(town.root), "rest", "--port", "0"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stderr is not None
    found = re.search(rb"http://127\.0\.0\.1:(\d+)", process.stderr.readline())
    try:
        if found is None:
            raise Broken("the town hall did not say where it listens")
        port = int(found[1])
        _ask_ms(port, "GET", "/readyz")
        yield Hall(process, port, time.monotonic() - began)
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


@contextlib.contextmanager
def _visited(program: Path, port: int, seconds: float) -> Iterator[dict[str, Any]]:
    """LISTENERS and RATE requests a second at work within the block; what they report afterwards."""
    told: dict[str, Any] = {}
    argv = [str(program), str(port), str(LISTENERS), str(RATE), str(int(seconds)), STATUS]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        if load.stdout.readline() != "ready\n":
            raise Broken("the visitors did not come in")
        yield told
        told |= json.loads(load.stdout.readline() or "{}")


def _dispatch(bench: Bench, town: BenchTown, stamps: Stamps, into: list[float], count: int) -> None:
    for n in range(count):
        if n % 50 == 0:
            bench.say(f"townhall: message {n} of {count}")
        time.sleep(random.uniform(*PAUSE_S))  # noqa: S311  no secret
        agent = f"a{n % AGENTS}"
        messages.send(town.town, agent, "Say hello", Caller())
        accepted = time.monotonic_ns()
        began, _logged = stamps.next(agent)
        into.append((began - accepted) / 1e6)


_connections: dict[int, http.client.HTTPConnection] = {}


def _ask_ms(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> float:
    """Over a connection that stays open."""
    connection = _connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=30))
    data = json.dumps(body) if body is not None else None
    began = time.monotonic_ns()
    connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
    answer = connection.getresponse()
    answer.read()
    if answer.status >= 300:
        raise Broken(f"{method} {path}: {answer.status}")
    return (time.monotonic_ns() - began) / 1e6


def _assign_ms(port: int, n: int) -> float:
    return _ask_ms(port, "POST", "/v1/tasks/assign", {"agent": f"a{n % AGENTS}", "task": "Say hello"})


def _rows(
    s: Samples, starts: list[float], reads: list[float], writes: list[float], memory: tuple[float, float]
) -> list[Row]:  # fmt: skip
    idle, loaded, load = median(s.idle), median(s.loaded), s.load
    lost = LISTENERS - load["listeners"]
    visitors = f"{LISTENERS} event streams and {RATE} GET {STATUS} a second"
    answered = (
        f"{load['answered']:,} answered, {load['refused']} not, {load['late']} not asked (all connections were waiting)"
        f"; p50 {load['p50_us'] / 1000:.2f} ms"
    )
    return [
        Row(f"GET {STATUS} with {AGENTS} agents, one visitor: p50", tails(reads, "ms")),
        Row("the same: p99", f"{quantile(reads, 0.99):.2f} ms"),
        Row("POST /v1/tasks/assign, one visitor: p50", tails(writes, "ms")),
        Row("the same: p99", f"{quantile(writes, 0.99):.2f} ms"),
        Row("`townhall`, from its start to the first answer of /readyz", spread([1000 * t for t in starts], "ms", 0)),
        Row(f"memory (PSS) with {LISTENERS} event streams", f"{memory[1]:.1f} MB", f"without: {memory[0]:.1f} MB"),
        ratio(
            f"message accepted -> exec of the model, {visitors}: p50", tails(s.loaded, "ms"), loaded / idle,
            f"nobody there: {tails(s.idle, 'ms')}", TIMES,
        ),
        Row("the visitors meanwhile", f"{answered}, p99 {load['p99_us'] / 1000:.2f} ms"),
        at_most("event streams that were lost", str(lost), lost, 0, ""),
    ]  # fmt: skip
