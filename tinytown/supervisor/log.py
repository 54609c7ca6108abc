"""The supervisor's log: one line per thing that happened, on standard output; bounded when that is a file."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path

from tinytown import clock
from tinytown.terminal import harmless

KEPT_BYTES = 5_000_000


class SupervisorLog:
    """`write` never fails: a log must not stop supervision."""

    def __init__(self, path: Path) -> None:
        self._said: dict[str, str] = {}
        self._path = path  # what standard output is when we run in the background

    def write(self, line: str) -> None:
        """One line, with the time."""
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(f"{clock.now().astimezone():%H:%M:%S} {harmless(line)}\n")
            sys.stdout.flush()
            self._bound()

    def write_once(self, about: str, line: str) -> None:
        """A line that is not said again about the same thing until it changes."""
        if self._said.get(about) != line:
            self._said[about] = line
            self.write(line)

    def _bound(self) -> None:
        fd = sys.stdout.fileno()
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size < KEPT_BYTES:
            return
        if not os.path.samestat(seen, self._path.stat()):
            return  # somebody redirected us into a file of their own
        self._path.rename(self._path.with_name(self._path.name + ".1"))
        fresh = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(fresh, 1)
        os.dup2(fresh, 2)
        os.close(fresh)
