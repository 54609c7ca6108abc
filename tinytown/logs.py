"""An agent's own log: one line per thing that happened, one file per agent, bounded."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tinytown import clock
from tinytown.terminal import harmless

KEPT_BYTES = 5_000_000
_ROUND = "_round_"


class AgentLog:
    """`logs/<name>.log`, appended; a full one becomes `<name>.log.1`. A full disk never stops an agent."""

    def __init__(self, folder: Path, name: str, tee: int | None = None) -> None:
        self._path = folder / f"{name}.log"
        self._tee = tee
        self._size = self._path.stat().st_size if self._path.exists() else 0

    def write(self, line: str, *, shown: bool = True) -> None:
        """Append one line with the time of day; `shown` in the terminal too, where there is one."""
        data = f"{clock.now():%H:%M:%S} {harmless(line)}\n".encode("utf-8", "replace")  # read by tail and cat, too
        with contextlib.suppress(OSError):
            if self._size > KEPT_BYTES:
                self._path.rename(f"{self._path}.1")
                self._size = 0
            fd = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                self._size += os.write(fd, data)
            finally:
                os.close(fd)
        if self._tee is not None and shown:
            with contextlib.suppress(OSError):
                os.write(self._tee, data)


def round_log(folder: Path, name: str, number: int) -> Path:
    """Where round `number` of this agent streams its output."""
    return folder / f"{name}{_ROUND}{number}.log"


def is_round_log_name(name: str) -> bool:
    """An agent of this name would write its log over another agent's round log."""
    head, mark, number = name.rpartition(_ROUND)
    return bool(head and mark and number.isdigit())


def round_numbers(folder: Path, name: str) -> list[int]:
    """The rounds of this agent that have a log, ascending."""
    found = []
    prefix = name + _ROUND
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            number = entry[len(prefix) : -len(".log")]
            if entry.startswith(prefix) and entry.endswith(".log") and number.isdigit():
                found.append(int(number))
    return sorted(found)
