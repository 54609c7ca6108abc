"""Runs `tt` in a fork of a process that has its imports behind it: the same program for a fraction of its start.

The command is a process with its own arguments, environment, folder and descriptors, and ends as any other. What it
cannot show is how `tt` starts: the real binary is run for that, and by whatever does not go through `Tt.__call__`.
As a module this is the process that forks.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import leftovers

ROOT = Path(__file__).parents[2]
MOST_BYTES = 100_000  # of a request
READ_AT_START = ("PYTHON", "LC_", "LANG")  # by the interpreter: a command with others of these starts by itself
LEFT_OUT = ("tinytown.__main__", "tinytown.townhall", "tinytown.cli.top", "tinytown.cli.townhall", "tinytown.github")


class NotWarm(Exception):
    """This command has to start by itself."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, in the words of subprocess.CompletedProcess."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Warm:
    """The process that forks, seen from the tests; it starts with the first command."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket
        self._at_start: dict[str, str] = {}

    def run(self, program: Path, args: list[str], cwd: Path, env: dict[str, str], timeout: float) -> Ended:
        """Run it to its end with nothing on stdin. Raises NotWarm (nothing was done), TimeoutExpired (it is killed)."""
        if self._process is None:
            self._start()
        request = json.dumps({"argv": [str(program), *args], "cwd": str(cwd), "env": env}).encode()
        if len(request) > MOST_BYTES or _read_at_start(env) != self._at_start or not cwd.is_dir():
            raise NotWarm
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with answers:
            socket.send_fds(self._control, [request], [to_out, to_err, theirs.fileno()])
            for descriptor in (to_out, to_err, theirs.detach()):
                os.close(descriptor)
            pid = int(answers.recv(20))
            try:
                texts = _read_all(out, err, timeout)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired([program, *args], timeout) from None
            return Ended(int(answers.recv(20)), *texts)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._control.close()
            self._process.wait(10)
            leftovers.KNOWN.discard(self._process.pid)
            self._process = None

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._at_start = _read_at_start(os.environ)
        with theirs:
            argv = [sys.executable, "-m", __name__, str(theirs.fileno())]
            self._process = subprocess.Popen(argv, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        leftovers.KNOWN.add(self._process.pid)


WARM = Warm()


def _read_at_start(env: Any) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(READ_AT_START)}


def _read_all(out: int, err: int, timeout: float) -> tuple[bytes, bytes]:
    """What comes from both until they are closed; closes our ends. Raises TimeoutError."""
    until = time.monotonic() + timeout
    found = {out: bytearray(), err: bytearray()}
    with os.fdopen(out, "rb", 0), os.fdopen(err, "rb", 0):
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


def serve(control: socket.socket) -> None:
    """Fork a command for each request, and tell how it ended, until the other side is closed."""
    running: dict[int, tuple[int, socket.socket]] = {}  # a command's pidfd -> its pid, and who wants to know
    while True:
        for descriptor in select.select([control.fileno(), *running], [], [])[0]:
            if descriptor in running:
                pid, answers = running.pop(descriptor)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.close(descriptor)
                with contextlib.suppress(OSError), answers:  # nobody may wait for it any more
                    answers.send(str(code).encode())
                continue
            request, descriptors, _flags, _address = socket.recv_fds(control, MOST_BYTES, 3)
            if not request:
                return
            if (pid := os.fork()) == 0:
                _become(request, descriptors)
            answers = socket.socket(fileno=descriptors[2])
            answers.send(str(pid).encode())
            running[os.pidfd_open(pid)] = pid, answers
            os.close(descriptors[0])
            os.close(descriptors[1])


def _become(request: bytes, descriptors: list[int]) -> None:
    """Be the command that was asked for; does not return."""
    from tinytown.cli import main  # noqa: PLC0415  the tests' side does without

    asked = json.loads(request)
    os.dup2(descriptors[0], 1)
    os.dup2(descriptors[1], 2)
    os.closerange(3, max(descriptors) + 1)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    sys.stdout = os.fdopen(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)
    sys.argv[:] = asked["argv"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    main()


def _load() -> None:
    """Import what the commands import, now or when they come to it."""
    import tinytown  # noqa: PLC0415  the tests' side does without

    for found in pkgutil.walk_packages(tinytown.__path__, "tinytown."):
        if not found.name.startswith(LEFT_OUT):
            importlib.import_module(found.name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _load()
    with contextlib.suppress(KeyboardInterrupt), socket.socket(fileno=int(sys.argv[1])) as channel:
        serve(channel)
