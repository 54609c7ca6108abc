"""Other supervisors that pip can install, at the same work: an actor as a process of its own, kept alive."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.floor import client
from bench.measure import Broken, pidfds, pss_mb, uss_mb, wait_all_gone
from bench.rig import Bench, BenchTown, bare_server, environment, running
from bench.table import Row, median, tails

KEPT = 3  # children of each peer while single ones are killed
CHILD = Path(__file__).with_name("peer_child.py")
UP_WITHIN_S = 180.0
LIBRARIES = ("redis>=8.1,<9", "pydantic>=2")


@dataclass
class Peer:
    """A supervisor by name, how it is set up and started; `fast` says how it was tuned."""

    name: str
    package: str
    note: str
    command: Callable[[Setting], list[str]]
    restarts: bool = True
    burns: bool = False  # polls: paused while others are measured


@dataclass
class Setting:
    """One run of one peer."""

    folder: Path
    python: Path
    socket: Path
    name: str
    count: int

    @property
    def child(self) -> list[str]:
        """The child's command."""
        return [str(self.python), str(CHILD), str(self.socket), self.name]

    def tool(self, name: str) -> str:
        """An installed program."""
        return str(self.python.with_name(name))

    def write(self, name: str, text: str) -> str:
        """A configuration file; its path."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        return str(path)


def _supervisord(s: Setting) -> list[str]:
    programs = "".join(
        f"[program:c{n}]\ncommand={' '.join(s.child)}\nautorestart=true\nstartsecs=0\nstartretries=1000000\n"
        "stdout_logfile=NONE\nstderr_logfile=NONE\n"
        for n in range(s.count)
    )
    head = f"[supervisord]\nnodaemon=true\nlogfile=NONE\npidfile={s.folder}/pid\nminfds=1024\n"
    return [s.tool("supervisord"), "-c", s.write("supervisord.conf", head + programs)]


def _circus(s: Setting, check_delay: float) -> list[str]:
    ends = "".join(f"{kind} = ipc://{s.folder}/{kind}\n" for kind in ("endpoint", "pubsub_endpoint"))
    program, *words = s.child
    text = f"[circus]\ncheck_delay = {check_delay}\nwarmup_delay = 0\n{ends}" + "".join(
        f"[watcher:c{n}]\ncmd = {program}\nargs = {' '.join(words)}\nmax_retry = -1\nwarmup_delay = 0\n"
        for n in range(s.count)
    )
    return [s.tool("circusd"), s.write("circus.ini", text)]


def _honcho(s: Setting) -> list[str]:
    text = "".join(f"c{n}: exec {' '.join(s.child)}\n" for n in range(s.count))
    return [s.tool("honcho"), "-f", s.write("Procfile", text), "start"]


PEERS = (
    Peer("supervisord", "supervisor", "startsecs=0, no logs", _supervisord),
    Peer("circus", "circus", "check_delay=0.1", lambda s: _circus(s, 0.1), burns=True),
    Peer("circus, tuned", "circus", "check_delay=0.01", lambda s: _circus(s, 0.01), burns=True),
    Peer("honcho", "honcho", "does not restart", _honcho, restarts=False),
)


@dataclass
class Samples:
    """Of one peer."""

    replaced_ms: list[float] = field(default_factory=list)
    up_s: float = 0.0
    child_mb: float = 0.0
    all_mb: float = 0.0


class Running:
    """A peer at work. `key` is the list on which its children say that they are ready."""

    def __init__(self, peer: Peer, setting: Setting) -> None:
        self.peer = peer
        self.redis: Any = client(setting.socket)
        self.key = f"bench:ready:{setting.name}"
        self.redis.delete(self.key)
        setting.folder.mkdir()
        command = peer.command(setting)
        self._log = (setting.folder / "output.log").open("wb")
        self.began = time.monotonic_ns()
        self.process = subprocess.Popen(
            command, env=environment() | {"PYTHONDONTWRITEBYTECODE": ""}, cwd=setting.folder,
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        self.children: list[int] = []

    def ready(self) -> int:
        """Block until the next child is ready; its pid."""
        deadline = time.monotonic() + UP_WITHIN_S
        while time.monotonic() < deadline:
            answer = self.redis.blpop([self.key], 2)
            if answer is not None:
                return int(answer[1])
            if self.process.poll() is not None:
                raise Broken(f"{self.peer.name} ended: {Path(self._log.name).read_text(errors='replace')[-300:]}")
        raise Broken(f"{self.peer.name}: no child became ready within {UP_WITHIN_S:g} s")

    def up(self, count: int) -> float:
        """Seconds from its exec until so many children are ready."""
        self.children = [self.ready() for _ in range(count)]
        return (time.monotonic_ns() - self.began) / 1e9

    def replace(self) -> float:
        """Milliseconds from the kill of a child until the next one is ready."""
        with self._awake():
            killed = time.monotonic_ns()
            os.kill(self.children.pop(0), signal.SIGKILL)
            self.children.append(self.ready())
            return (time.monotonic_ns() - killed) / 1e6

    @contextlib.contextmanager
    def _awake(self) -> Iterator[None]:
        if not self.peer.burns:
            yield
            return
        self.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        try:
            yield
        finally:
            self.pause()

    def pause(self) -> None:
        """It takes CPU all the time: let the others have it."""
        if self.peer.burns:
            self.process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """TERM; what does not go is killed: its children are ours."""
        watched = pidfds(self.children)
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        try:
            wait_all_gone([os.dup(fd) for fd in watched], 5)
        except Broken:
            for fd in watched:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
        for fd in watched:
            os.close(fd)
        self.redis.close()
        self._log.close()


def measure(bench: Bench) -> list[Row]:
    """The group."""
    count = bench.some(100, 20)
    installed = _install(bench)
    present = [peer for peer in PEERS if installed.get(peer.package)]
    samples = {peer.name: Samples() for peer in present}
    python = bench.folder / "peers" / "bin" / "python"
    own = Samples()
    with bare_server(bench.folder) as socket, ExitStack() as stack:
        settings = [
            Setting(bench.folder / f"peer-{n}", python, socket, f"p{n}", KEPT) for n in range(len(present))
        ]  # fmt: skip
        _kills(bench, present, settings, samples, own)
        with running(bench, "peers-up", count) as (town, ids):
            own.up_s, own.child_mb, own.all_mb = _own_up(town, ids)
        for n, peer in enumerate(present):
            bench.say(f"peers: {count} children under {peer.name}")
            setting = Setting(bench.folder / f"peer-up-{n}", python, socket, f"up{n}", count)
            run = Running(peer, setting)
            stack.callback(run.close)
            sample = samples[peer.name]
            sample.up_s = run.up(count)
            sample.child_mb = median(uss_mb(run.children))
            sample.all_mb = pss_mb([run.process.pid, *run.children])
            stack.pop_all().close()
    return _rows(bench, samples, own, count, installed)


def _install(bench: Bench) -> dict[str, str]:
    """Package -> version, of those that pip could install into an environment for this run."""
    bench.say("peers: installing them")
    home = bench.folder / "peers"
    _quietly([sys.executable, "-m", "venv", str(home)])
    python = home / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    _quietly([*pip, *LIBRARIES])
    found = {}
    for package in dict.fromkeys(peer.package for peer in PEERS):
        try:
            _quietly([*pip, package])
        except Broken as error:
            bench.say(str(error))
            continue
        script = f"from importlib.metadata import version; print(version({package!r}))"
        found[package] = _quietly([str(python), "-c", script]).strip()
    return found


def _quietly(command: list[str]) -> str:
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"{' '.join(command[-2:])}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _kills(
    bench: Bench, present: list[Peer], settings: list[Setting], samples: dict[str, Samples], own: Samples
) -> None:
    """Each in turn, all of them up at the same time."""
    with ExitStack() as stack:
        town, _ids = stack.enter_context(running(bench, "peers", KEPT, restart_intensity=1000, backoff_s=0.0))
        runs = []
        for peer, setting in zip(present, settings, strict=True):
            if not peer.restarts:
                continue
            run = Running(peer, setting)
            stack.callback(run.close)
            run.up(KEPT)
            run.pause()
            runs.append(run)
        time.sleep(1.5)
        for n in range(bench.some(20, 4)):
            bench.say(f"peers: kill {n + 1} of each")
            own.replaced_ms.append(_own_replace(town))
            for run in runs:
                samples[run.peer.name].replaced_ms.append(run.replace())
                time.sleep(0.2)


def _own_replace(town: BenchTown) -> float:
    agent_id, pid = next(iter(town.children.items()))
    seen = town.town.store.events.last_id()
    time.sleep(0.2)
    killed = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    return (town.wait_started([agent_id], seen) - killed) / 1e6


def _own_up(town: BenchTown, ids: list[str]) -> tuple[float, float, float]:
    """From the exec of `tt supervise --detach` until all are idle; memory."""
    watched = pidfds([*town.children.values(), town.supervisor.pid])
    os.kill(town.supervisor.pid, signal.SIGTERM)
    wait_all_gone(watched, 30)
    seen = town.town.store.events.last_id()
    began = time.monotonic_ns()
    town.supervise()
    took = (town.wait_started(ids, seen) - began) / 1e9
    pids = list(town.children.values())
    return took, median(uss_mb(pids)), pss_mb([town.supervisor.pid, *pids])


def _rows(bench: Bench, samples: dict[str, Samples], own: Samples, count: int, installed: dict[str, str]) -> list[Row]:
    rows = [_row("Tinytown (an actor with its epoch, lease and journal)", own, None, count)]
    for peer in PEERS:
        if peer.name in samples:
            what = f"{peer.name} ({peer.package} {installed[peer.package]}; {peer.note})"
            rows.append(_row(what, samples[peer.name], own, count))
        else:
            rows.append(Row(peer.name, "not measured: pip could not install it"))
    shutil.rmtree(bench.folder / "peers", ignore_errors=True)
    return rows


def _row(what: str, sample: Samples, own: Samples | None, count: int) -> Row:
    killed = f"SIGKILL -> ready {tails(sample.replaced_ms, 'ms', 0)}; " if sample.replaced_ms else ""
    figure = (
        f"{killed}{count} up {sample.up_s:.1f} s; {sample.child_mb:.1f} MB each (USS), {sample.all_mb:.0f} MB in all"
    )
    if own is None:
        return Row(what, figure)
    ups, memory = sample.up_s / own.up_s, sample.child_mb / own.child_mb
    ours = f"up {ups:.1f} times, memory {memory:.1f} times as much"
    if not sample.replaced_ms:
        return Row(what, figure, ours)
    return Row(what, figure, f"{ours}; ratio: SIGKILL -> ready", median(sample.replaced_ms) / median(own.replaced_ms))
