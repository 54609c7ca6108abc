"""What the figures are measured against: the least that such a thing takes in Python. Run as processes of their own.

python -m bench.floor echo SOCKET   answer every element of one list with one on another
python -m bench.floor keep SOCKET   a bare supervisor: fork from a warm parent, restart what dies; told by its stdin
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import selectors
import signal
import subprocess
import sys
import time
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.measure import Broken

ASK, ANSWER, READY, NEVER = "bench:ask", "bench:answer", "bench:ready", "bench:never"
ROOT = Path(__file__).parents[1]


def client(socket: Path | str) -> Any:
    """Plain redis-py on this socket."""
    import redis  # noqa: PLC0415  costs 120 ms

    return redis.Redis(unix_socket_path=str(socket))


class _Program:
    """One of this module's programs as a child of the bench; ended with the block."""

    word = ""

    def __init__(self, socket: Path) -> None:
        self.redis = client(socket)
        self.redis.delete(ASK, ANSWER, READY)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bench.floor", self.word, str(socket)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, bufsize=1,
        )  # fmt: skip
        self.hear("warm")

    @property
    def pid(self) -> int:
        """The program's process."""
        return self._child.pid

    def tell(self, line: str) -> None:
        """To its stdin."""
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def hear(self, wanted: str) -> None:
        """Block until it says so."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline().strip()
        if line != wanted:
            raise Broken(f"bench.floor {self.word} said {line!r}, not {wanted!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        if self.word == "echo":
            self._child.terminate()
        self._child.wait(10)
        self.redis.close()


class Echo(_Program):
    """A bare BLPOP round trip: pushed, popped by a blocked reader in another process, acknowledged."""

    word = "echo"

    def round_trip_ms(self) -> float:
        """One."""
        began = time.monotonic_ns()
        self.redis.rpush(ASK, "x")
        self.redis.blpop([ANSWER], 5)
        return (time.monotonic_ns() - began) / 1e6


class Keep(_Program):
    """A bare multiprocessing supervisor, without epochs, leases, journals or anything else."""

    word = "keep"

    def up(self, count: int) -> tuple[float, list[int]]:
        """So many children more: seconds until all are ready on their list, and their pids."""
        began = time.monotonic_ns()
        self.tell(f"up {count}")
        pids = [self.ready() for _ in range(count)]
        return (time.monotonic_ns() - began) / 1e9, pids

    def ready(self) -> int:
        """Block until the next child is ready; its pid."""
        answer = self.redis.blpop([READY], 10)
        if answer is None:
            raise Broken("a child of the bare supervisor did not come up")
        return int(answer[1])

    def replace(self, pid: int) -> tuple[float, int]:
        """Kill this child: milliseconds until its successor is ready, and that one's pid."""
        began = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        successor = self.ready()
        return (time.monotonic_ns() - began) / 1e6, successor

    def down(self) -> float:
        """Seconds until all children have ended."""
        began = time.monotonic_ns()
        self.tell("down")
        self.hear("gone")
        return (time.monotonic_ns() - began) / 1e9


def _echo(socket: str) -> None:
    redis = client(socket)
    redis.ping()
    _say("warm")
    while True:
        answer = redis.blpop([ASK], 0)
        redis.rpush(ANSWER, answer[1])


def _child(socket: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    redis = client(socket)
    redis.rpush(READY, os.getpid())
    redis.blpop([NEVER], 0)


class _Keeper:
    """Children by sentinel; what ends is started again."""

    def __init__(self, socket: str) -> None:
        self.selector = selectors.DefaultSelector()
        self._socket = socket
        self._context = multiprocessing.get_context("fork")
        self._children: dict[int, ForkProcess] = {}

    def start(self) -> None:
        """One child more."""
        process = self._context.Process(target=_child, args=(self._socket,), daemon=True)
        process.start()
        self._children[process.sentinel] = process
        self.selector.register(process.sentinel, selectors.EVENT_READ)

    def replace(self, fd: int) -> None:
        """One died."""
        self._forget(fd)
        self.start()

    def down(self) -> None:
        """End all."""
        for process in self._children.values():
            process.terminate()
        for fd in list(self._children):
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        self.selector.unregister(fd)
        self._children.pop(fd).join()


def _keep(socket: str) -> None:
    import redis  # noqa: F401, PLC0415  warm

    keeper = _Keeper(socket)
    keeper.selector.register(0, selectors.EVENT_READ)
    gc.collect()
    gc.freeze()
    _say("warm")
    while True:
        for key, _events in keeper.selector.select():
            if key.fd != 0:
                keeper.replace(key.fd)
                continue
            word, _space, count = os.read(0, 64).decode().strip().partition(" ")
            for _ in range(int(count or 0)):
                keeper.start()
            if word == "down":
                keeper.down()
                _say("gone")
                break  # what was ready together with it has ended
            if not word:
                keeper.down()
                return


def _say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        {"echo": _echo, "keep": _keep}[sys.argv[1]](sys.argv[2])
