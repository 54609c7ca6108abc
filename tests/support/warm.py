"""Runs the programs in forks of a process that has their imports behind it: the same program, without its start.

A command is a process with its own arguments, environment, folder and descriptors, is signalled and ends as any
other. What it cannot show is how a program starts: the real ones are run for that, and by everything that does not
ask here. As a module this is the process that forks.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import setproctitle

from tests.support import leftovers
from tinytown import processes

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MOST_BYTES = 100_000  # of a request
ORPHANS_WAIT_S = 0.5  # at most, for somebody to see that they have ended
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_")  # once, at a start: a command with others of these starts by itself
MODULES = {"tt": "tinytown.cli", "townhall": "tinytown.cli.townhall"}  # program -> where its `main` is
LEFT_OUT = {  # not loaded by the process that forks: libraries that only single commands need
    "tt": ("tinytown.__main__", "tinytown.townhall", "tinytown.cli.top", "tinytown.cli.townhall", "tinytown.github"),
    "townhall": ("tinytown.__main__", "tinytown.townhall.mcp", "tinytown.cli.top", "tinytown.github"),
}


class NotWarm(Exception):
    """This command has to start by itself."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, in the words of subprocess.CompletedProcess."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Process:
    """A running command, as far as the tests need what subprocess.Popen has."""

    def __init__(self, answers: socket.socket, args: list[str]) -> None:
        self.args = args
        self.pid = int(answers.recv(20))
        self.returncode: int | None = None
        self._answers = answers

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for a signal, at its end. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            with self._answers:
                self.returncode = int(self._answers.recv(20))
        return self.returncode

    def send_signal(self, signum: int) -> None:
        """Send it, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Warm:
    """The process that forks one of the programs, seen from the tests; it starts with the first command."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket
        self.env: dict[str, str] = {}  # of its start

    def start(self, args: list[str], cwd: Path, env: Mapping[str, str], out: int, err: int) -> Process:
        """Start it with these descriptors and nothing on stdin. Raises NotWarm when nothing was done."""
        if self._process is None:
            self._start()
        request = json.dumps({"argv": [str(BIN / self.name), *args], "cwd": str(cwd), "env": dict(env)}).encode()
        if len(request) > MOST_BYTES or _read_at_start(env) != _read_at_start(self.env) or not cwd.is_dir():
            raise NotWarm
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._control, [request], [out, err, theirs.fileno()])
        return Process(answers, [self.name, *args])

    def run(self, args: list[str], cwd: Path, env: Mapping[str, str], timeout: float) -> Ended:
        """Run it to its end. Raises NotWarm (nothing was done), TimeoutExpired (it is killed)."""
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        with os.fdopen(out, "rb", 0), os.fdopen(err, "rb", 0):
            with os.fdopen(to_out, "wb", 0), os.fdopen(to_err, "wb", 0):
                process = self.start(args, cwd, env, to_out, to_err)
            try:
                texts = _read_all(out, err, timeout)
            except TimeoutError:
                process.kill()
                process.wait(timeout=10)
                raise subprocess.TimeoutExpired(process.args, timeout) from None
            return Ended(process.wait(timeout), *texts)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._control.close()
            self._process.wait(10)
            leftovers.KNOWN.discard(self._process.pid)
            self._process = None

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, "-m", __name__, self.name, str(theirs.fileno())]
            fds = [theirs.fileno()]
            self._process = subprocess.Popen(argv, cwd=ROOT, env=self.env, pass_fds=fds, stdin=subprocess.DEVNULL)
        leftovers.KNOWN.add(self._process.pid)


TT, TOWNHALL = Warm("tt"), Warm("townhall")


def begin() -> None:
    """Note the environment that they start with; a test may have changed it when the first command comes."""
    for warm in (TT, TOWNHALL):
        warm.env = dict(os.environ)


def stop() -> None:
    """End the processes that fork."""
    for warm in (TT, TOWNHALL):
        warm.stop()


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(READ_AT_START)}


def _read_all(out: int, err: int, timeout: float) -> tuple[bytes, bytes]:
    """What comes from both until they are closed. Raises TimeoutError."""
    until = time.monotonic() + timeout
    found = {out: bytearray(), err: bytearray()}
    left = set(found)
    while left:
        ready, _, _ = select.select(left, [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise TimeoutError
        for descriptor in ready:
            found[descriptor] += (block := os.read(descriptor, 65536))
            if not block:
                left.discard(descriptor)
    return bytes(found[out]), bytes(found[err])


# The process that forks


def serve(name: str, control: socket.socket) -> None:
    """Fork a command for each request, and tell how it ended, until the other side is closed.

    What commands leave behind comes to this process, which waits for its end: thousands of dead ones in the process
    table would cost every look at it.
    """
    processes.become_subreaper()
    running: dict[int, tuple[int, socket.socket]] = {}  # a command's pid -> its pidfd, and who wants to know
    while True:
        ends = [pidfd for pidfd, _answers in running.values()]
        ready = select.select([control.fileno(), *ends], [], [], ORPHANS_WAIT_S)[0]
        for pid, code in _ended():
            if pid in running:
                pidfd, answers = running.pop(pid)
                os.close(pidfd)
                with contextlib.suppress(OSError), answers:  # nobody may wait for it any more
                    answers.send(str(code).encode())
        if control.fileno() in ready:
            request, descriptors, _flags, _address = socket.recv_fds(control, MOST_BYTES, 3)
            if not request:
                return
            if (pid := os.fork()) == 0:
                _become(name, json.loads(request), *descriptors[:2])
            answers = socket.socket(fileno=descriptors[2])
            answers.send(str(pid).encode())
            running[pid] = os.pidfd_open(pid), answers
            os.close(descriptors[0])
            os.close(descriptors[1])


def _ended() -> Iterator[tuple[int, int]]:
    """(pid, exit code) of each child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found[0], os.waitstatus_to_exitcode(found[1])


def _become(name: str, asked: dict[str, Any], out: int, err: int) -> None:
    """Be the command that was asked for; does not return."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 65536)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    sys.stdout = os.fdopen(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)
    sys.argv[:] = asked["argv"]
    sys.path[0] = str(BIN)
    sys.exit(importlib.import_module(MODULES[name]).main())


def load(name: str) -> None:
    """Import what the program imports, now or when it comes to it."""
    import tinytown  # noqa: PLC0415  the tests' side does without

    for found in pkgutil.walk_packages(tinytown.__path__, "tinytown."):
        if not found.name.startswith(LEFT_OUT[name]):
            importlib.import_module(found.name)
    setproctitle.getproctitle()  # looks for its place in memory, which it does not find behind a changed environment
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    load(sys.argv[1])
    with contextlib.suppress(KeyboardInterrupt), socket.socket(fileno=int(sys.argv[2])) as channel:
        serve(sys.argv[1], channel)
