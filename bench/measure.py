"""Instruments: whole processes timed, a FIFO of stamps, inotify, CPU and memory of processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import select
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

IN_CREATE = 0x100
_EVENT = struct.Struct("iIII")


class Broken(Exception):
    """Something that is measured does not work."""


@dataclass(frozen=True, slots=True)
class Run:
    """One whole process, from its spawn until it was reaped."""

    wall_ms: float
    cpu_ms: float
    output: bytes


def run(argv: Sequence[str], env: dict[str, str], *, tty: bool = False) -> Run:
    """Run it to its end, reading all its output. Raises Broken for another exit code than 0."""
    reader, writer = pty.openpty() if tty else os.pipe()
    stdin = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    actions = [stdin, (os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, writer, 2)]
    began = time.monotonic_ns()
    pid = os.posix_spawn(argv[0], list(argv), env, file_actions=actions)
    os.close(writer)
    output = _drain(reader)
    _pid, status, usage = os.wait4(pid, 0)
    wall = (time.monotonic_ns() - began) / 1e6
    os.close(reader)
    if status:
        raise Broken(f"{' '.join(argv)}: exit {os.waitstatus_to_exitcode(status)}: {output[-500:]!r}")
    return Run(wall, (usage.ru_utime + usage.ru_stime) * 1e3, output)


def _drain(reader: int) -> bytes:
    chunks = []
    with contextlib.suppress(OSError):  # a terminal without its other side: EIO
        while chunk := os.read(reader, 65536):
            chunks.append(chunk)
    return b"".join(chunks)


class Stamps:
    """The FIFO that the stamp program writes to, and the moment its round's log file appeared."""

    def __init__(self, fifo: Path, logs: Path | None = None) -> None:
        os.mkfifo(fifo, 0o600)
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self._inotify = _watch(logs) if logs is not None else -1
        self._early: list[int] = []
        self._poll = select.poll()
        for fd in (self._fifo, self._inotify):
            if fd >= 0:
                self._poll.register(fd, select.POLLIN)

    def next(self, agent: str, timeout_s: float = 10.0) -> tuple[int, int | None]:
        """Block until this agent's model has begun: (its own stamp, when its log file was seen), in ns."""
        logged: int | None = None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for fd, _events in self._poll.poll(max(1.0, (deadline - time.monotonic()) * 1e3)):
                now = time.monotonic_ns()
                if fd == self._inotify:
                    if f"{agent}_round_" in _names(os.read(fd, 65536)):
                        logged = now
                    continue
                for line in os.read(fd, 65536).decode().splitlines():
                    stamp, _space, name = line.partition(" ")
                    if name == agent:
                        return int(stamp), logged
        raise Broken(f"the model of agent '{agent}' did not begin within {timeout_s:g} s")

    def any(self, timeout_s: float = 10.0) -> int:
        """Block until some agent's model has begun: its own stamp, in ns. Every stamp is given once."""
        deadline = time.monotonic() + timeout_s
        while not self._early:
            if time.monotonic() > deadline:
                raise Broken(f"no model began within {timeout_s:g} s")
            for fd, _events in self._poll.poll(1e3):
                if fd == self._inotify:
                    os.read(fd, 65536)
                else:
                    self._early += [int(line.split()[0]) for line in os.read(fd, 65536).decode().splitlines()]
        return self._early.pop(0)

    def close(self) -> None:
        """Both descriptors."""
        for fd in (self._fifo, self._inotify):
            if fd >= 0:
                os.close(fd)


def _watch(folder: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(folder), IN_CREATE) < 0:
        raise Broken(f"inotify: {os.strerror(ctypes.get_errno())}")
    return fd


def _names(data: bytes) -> str:
    names, at = [], 0
    while at < len(data):
        length = _EVENT.unpack_from(data, at)[3]
        at += _EVENT.size
        names.append(data[at : at + length].rstrip(b"\0").decode())
        at += length
    return " ".join(names)


def wait_all_gone(pidfds: Iterable[int], timeout_s: float) -> None:
    """Block until every one of these processes has ended; closes the descriptors. Raises Broken."""
    left = set(pidfds)
    poll = select.poll()
    for fd in left:
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + timeout_s
    try:
        while left:
            ready = poll.poll(max(0.0, (deadline - time.monotonic()) * 1e3))
            if not ready:
                raise Broken(f"{len(left)} process(es) live {timeout_s:g} s after they were told to end")
            for fd, _events in ready:
                poll.unregister(fd)
                left.discard(fd)
                os.close(fd)
    finally:
        for fd in left:
            os.close(fd)


def pidfds(pids: Iterable[int]) -> list[int]:
    """A descriptor for each that lives."""
    found = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            found.append(os.pidfd_open(pid))
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of these processes (all threads) so far, exact to the nanosecond; children they reaped in ticks."""
    total = 0.0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0]) / 1e9
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def uss_mb(pids: Iterable[int]) -> list[float]:
    """The memory that belongs to each process alone."""
    import psutil  # noqa: PLC0415  not every group needs it

    return [psutil.Process(pid).memory_full_info().uss / 1e6 for pid in pids]


def pss_mb(pids: Iterable[int]) -> float:
    """The memory of all of them together, shared pages counted once."""
    import psutil  # noqa: PLC0415  as above

    return float(sum(psutil.Process(pid).memory_full_info().pss for pid in pids)) / 1e6
