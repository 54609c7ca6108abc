"""Real towns to measure: made by `tt init`, supervised by `tt supervise --detach`, ended by `tt stop --all`."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from bench.floor import client
from bench.measure import Broken, Stamps
from bench.table import Row
from tinytown import clock, ids, processes
from tinytown.config import RedisConfig
from tinytown.domain.agent import Wish
from tinytown.domain.states import AgentState, TaskState
from tinytown.domain.task import Task
from tinytown.files import read_json
from tinytown.processes import Identity
from tinytown.services import agents, supervision
from tinytown.store import binary
from tinytown.store.agents import save_agent, save_wish
from tinytown.store.transaction import Transaction
from tinytown.town import Town, change, open_town

ROUNDS = 1_000_000
TT = Path(sys.executable).with_name("tt")
FOREIGN = ("TINYTOWN_", "REDIS_URL", "NOTIFY_SOCKET", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "_TT_COMPLETE")


@dataclass(frozen=True)
class Bench:
    """What every group gets: a folder of its own, the stamp program, how much to do."""

    folder: Path
    stamp: Path
    quick: bool
    peers: bool
    say: Callable[[str], None]

    def some(self, full: int, quick: int) -> int:
        """How many, full or --quick."""
        return quick if self.quick else full


Group = Callable[[Bench], list[Row]]


def environment() -> dict[str, str]:
    """For everything that is measured: bytecode may be written, nothing of the caller's town."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(FOREIGN)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"TERM": "xterm-256color"}


class BenchTown:
    """A town with its supervisor. Use as a context manager; nothing of it lives after the block."""

    def __init__(self, bench: Bench, name: str, **supervisor: Any) -> None:
        self.root = bench.folder / name
        self.fifo = bench.folder / f"{name}.fifo"
        self._known: set[Identity] = set()
        self.tt("init", "--name", name)
        path = self.root / "tinytown.toml"
        settings = tomllib.loads(path.read_text("utf-8"))
        settings |= {"default_cli": "stamp", "max_agents": 1000, "supervisor": supervisor}
        settings["agent_clis"] = {"stamp": {"command": f"{bench.stamp} {self.fifo}"}}
        path.write_text(tomli_w.dumps(settings), "utf-8")
        self.town: Town = open_town(str(self.root))

    def tt(self, *words: str) -> str:
        """A command of the real binary. Raises Broken."""
        done = subprocess.run(
            [str(TT), "--town", str(self.root), *words],
            env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Broken(f"tt {' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def supervise(self) -> None:
        """Returns when the supervisor answers."""
        self.tt("supervise", "--detach")
        self._known.add(self.supervisor)

    @property
    def supervisor(self) -> Identity:
        """Its process."""
        found = supervision.process(self.town)
        if found is None:
            raise Broken("no supervisor runs")
        return found

    @property
    def redis(self) -> int:
        """Pid of the town's own server."""
        return int((self.town.state_dir / "redis.pid").read_text())

    @property
    def socket(self) -> Path:
        """Of its server."""
        path = self.town.store.connector.socket_path
        assert path is not None
        return path

    @property
    def children(self) -> dict[str, int]:
        """Agent id -> pid of its living actor."""
        status = supervision.status(self.town) or {"children": []}
        found = {child["id"]: child["pid"] for child in status["children"] if child["pid"]}
        self._known |= {p for p in map(processes.identity, found.values()) if p is not None}
        return found

    def spawn(self, count: int) -> list[str]:
        """Agents as `tt spawn` makes them; their ids. Returns when all are on their inboxes."""
        seen = self.town.store.events.last_id()
        made = [agents.spawn(self.town, agents.SpawnRequest(f"a{n}", rounds=ROUNDS)).id for n in range(count)]
        self.wait_started(made, seen)
        return made

    def wish_all(self, agent_ids: Iterable[str]) -> None:
        """Want all of these to run, in one step, and ring."""
        rows = [row for row in self.town.store.agents.rows(agent_ids) if row.wish is None]

        def build(tx: Transaction) -> None:
            for row in rows:
                agent = row.agent
                wish = Wish(
                    name=agent.name, epoch=agent.epoch + 1, rounds=ROUNDS, host=self.town.host, since=clock.wall()
                )
                save_wish(tx, agent.id, None, wish)
                save_agent(tx, row.raw, agent.having(state=AgentState.STARTING, reason=None))

        change(self.town.store, build)
        self.town.ring_supervisor()

    def wait_started(self, agent_ids: Iterable[str], since: str, timeout_s: float = 60.0) -> float:
        """Block on the town's events until each has taken its post (idle, its inbox watched); when that was, in ns."""
        left = set(agent_ids)
        deadline = time.monotonic() + timeout_s
        while left:
            if time.monotonic() > deadline:
                raise Broken(f"{len(left)} agent(s) did not come up within {timeout_s:g} s")
            for entry_id, event in self.town.store.events.after(since, 1.0):
                since = entry_id
                if event.get("event_type", event.get("type")) == "agent_started":
                    left.discard(event.get("agent_id", ""))
        return time.monotonic_ns()

    def add_tasks(self, count: int) -> None:
        """Tasks in the backlog, in steps of 500."""
        for start in range(0, count, 500):
            change(self.town.store, functools.partial(_add_tasks, min(500, count - start)))

    def close(self) -> None:
        """End it by its own stop. Raises Broken when something of it lives on (which is ended then)."""
        if (pid_file := self.town.state_dir / "redis.pid").exists():
            self._note(int(pid_file.read_text()))
        with contextlib.suppress(Exception):
            _ = self.children
        self._note((read_json(self.town.state_dir / "supervisor.json") or {}).get("pid"))
        self.town.store.close()
        try:
            self.tt("stop", "--all")
        finally:
            left = [process for process in self._known if processes.is_alive(process)]
            processes.kill_all(left)
        if left:
            raise Broken(f"{len(left)} process(es) outlived tt stop --all")

    def _note(self, pid: int | None) -> None:
        found = processes.identity(pid) if pid else None
        if found is not None:
            self._known.add(found)


def _add_tasks(count: int, tx: Transaction) -> None:
    at = clock.stamp()
    for _ in range(count):
        task = Task(id=ids.new_id(), description="Write the page on errors", created_at=at, updated_at=at)
        assert task.state is TaskState.PENDING
        tx.save_task(None, task)
        tx.do("RPUSH", tx.keys.backlog, task.id)


@contextlib.contextmanager
def running(bench: Bench, name: str, agent_count: int, **supervisor: Any) -> Iterator[tuple[BenchTown, list[str]]]:
    """A supervised town with idle agents, and their ids."""
    bench.say(f"a town with {agent_count} agents")
    made = BenchTown(bench, name, **supervisor)
    try:
        made.supervise()
        yield made, made.spawn(agent_count)
    finally:
        made.close()


@contextlib.contextmanager
def stamps_of(town: BenchTown) -> Iterator[Stamps]:
    """The town's stamp FIFO and round logs."""
    stamps = Stamps(town.fifo, town.town.logs_dir)
    try:
        yield stamps
    finally:
        stamps.close()


@contextlib.contextmanager
def bare_server(folder: Path) -> Iterator[Path]:
    """A redis-server that keeps nothing on disk; its socket."""
    socket = folder / "bare.sock"
    command = [str(binary.find(RedisConfig()).path), "--port", "0", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(
        [*command, "--unixsocket", str(socket)], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=folder
    )
    try:
        _await_server(socket)
        yield socket
    finally:
        server.terminate()
        server.wait(10)


def _await_server(socket: Path) -> None:
    import redis  # noqa: PLC0415  known to be there: floor uses it

    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.exceptions.ConnectionError):
            client(socket).ping()
            return
        time.sleep(0.02)
    raise Broken("the bare redis-server did not come up")


def server_name() -> str:
    """Name and version of the server that towns start here."""
    found = binary.find(RedisConfig())
    return f"{found.name} {found.version_text}"


def idle_cpu_pids(town: BenchTown) -> list[int]:
    """Everything that runs in an idle town."""
    return [town.supervisor.pid, town.redis, *town.children.values()]
