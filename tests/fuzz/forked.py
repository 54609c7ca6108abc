"""`tt` in a forked child: the command line as a user's shell runs it, without the time that Python needs to start."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from tinytown import cli, processes
from tinytown.supervisor import main as _supervisor  # noqa: F401  what commands import, imported once

LIMIT_S = 20.0
VERBOSE = frozenset({"-v", "--verbose"})
MOST_SHOWN = 20_000
_UNEXPECTED = re.compile(r"unexpected [A-Z]\w+:|^(?!OS|Perm|FileN|NotADir|IsADir)\w+Error: ", re.MULTILINE)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Ran:
    """How one command ended; a negative code is the signal that ended it."""

    args: list[str]
    code: int
    out: str
    err: str

    def complaints(self, *codes: int) -> list[str]:
        """What is wrong with how it ended. `codes`: other exit codes that are right for it."""
        found = []
        if self.code not in {0, 1, 2, 124, *codes}:
            found.append(f"exit code {self.code}")
        if _UNEXPECTED.search(self.err) and not VERBOSE & set(self.args):
            found.append("an error that nobody expected")
        _before, error, after = self.err.partition("Error: ")
        if self.code in {1, 2} and "Usage:" not in self.err and not (error and len(after.splitlines()) <= 2):
            found.append("not one line of error and one of remedy")
        if self.code in {1, 2} and self.out:
            found.append("something on stdout of a failure")
        if len(self.err) > MOST_SHOWN:
            found.append("a flood on stderr")
        if _CONTROLS.search(self.err):
            found.append("control characters on stderr")
        return found

    def told(self) -> str:
        """The case in a few lines."""
        return f"tt {[word[:300] for word in self.args]} -> {self.code}\n{self.out[-1000:]}\n{self.err[-2000:]}"


def tt(args: list[str], cwd: Path, env: dict[str, str | None] | None = None, *, within_s: float = LIMIT_S) -> Ran:
    """Run it to its end; what does not end `within_s` is killed (code -9)."""
    out, err = (os.memfd_create(name, 0) for name in ("out", "err"))
    pid = os.fork()
    if pid == 0:
        _be_tt(args, cwd, env or {}, out, err)
    fd = os.pidfd_open(pid)
    if not select.select([fd], [], [], within_s)[0]:
        os.kill(pid, signal.SIGKILL)
    os.close(fd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ran(args, code, _text(out), _text(err))


def _be_tt(args: list[str], cwd: Path, env: dict[str, str | None], out: int, err: int) -> None:
    try:
        processes.die_with_parent(os.getppid())
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, number in ((nothing, 0), (out, 1), (err, 2)):
            os.dup2(fd, number)
        os.closerange(3, 256)
        for name, value in env.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        os.chdir(cwd)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  until the end of the process
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["tt", *args]
        cli.main()
    except BaseException:  # noqa: BLE001  a forked test process must never return into pytest
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(99)


def _text(fd: int) -> str:
    with open(fd, "rb") as stream:
        stream.seek(0)
        return stream.read().decode("utf-8", "surrogateescape")
