"""What was changed, and who was refused: `.tt/townhall-audit.log`, one JSON object per line, without secrets."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from pathlib import Path
from typing import Any

from tinytown import clock
from tinytown.errors import Forbidden
from tinytown.files import locked

NAME = "townhall-audit.log"  # not among the logs of agents: an agent may have any name, and who may read reads those
KEPT_BYTES = 10_000_000
KEPT_FILES = 4  # beside the one that is written
BURST = 10
VISITORS_MOST = 1000
_TEXT_MOST = 500  # characters
_log = logging.getLogger("tinytown.townhall")


class AuditLog:
    """Appended line by line, by every town hall of the town. A full disk stops no request; the log says so."""

    def __init__(self, folder: Path, most: int = KEPT_BYTES) -> None:
        self.path = folder / NAME
        self._most = most
        self._flood: dict[str, tuple[float, int, int]] = {}  # since when, lines, what had none

    def write(self, **fields: Any) -> None:
        """Append a line; its time is put in front."""
        row = {"time": clock.stamp()} | {name: _shortened(value) for name, value in fields.items()}
        data = (json.dumps(row, separators=(",", ":")) + "\n").encode()
        try:
            if self._append(data) > self._most:
                self._rotate()
        except (OSError, Forbidden) as error:
            _log.error("the audit log cannot be written: %s", error)

    def write_flood(self, who: str, **fields: Any) -> None:
        """As `write`, but at most ten lines a second for each `who`; then `times` counts what had no line.

        Nobody pushes out what is in the log by being refused again and again.
        """
        now = clock.monotonic()
        since, written, more = self._flood.get(who, (-1.0, 0, 0))
        if since < 0 or now - since >= 1.0:
            since, written = now, 0
        if written >= BURST:
            self._flood[who] = (since, written, more + 1)
            return
        if len(self._flood) >= VISITORS_MOST:
            self._flood.clear()
        self._flood[who] = (since, written + 1, 0)
        self.write(**fields, **({"times": more + 1} if more else {}))

    def _append(self, data: bytes) -> int:
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # or the line that another town hall is writing looks like one cut off
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":  # a full disk cut off the line before
                data = b"\n" + data
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def _rotate(self) -> None:
        with locked(self.path.with_name(f"{NAME}.lock")):
            if self.path.stat().st_size <= self._most:
                return  # somebody else was quicker
            for number in range(KEPT_FILES, 1, -1):
                older = Path(f"{self.path}.{number - 1}")
                if older.exists():
                    older.rename(f"{self.path}.{number}")
            self.path.rename(f"{self.path}.1")


def result_of(status: int) -> str:
    """What a status means: success, denied, error."""
    if status < 400:
        return "success"
    return "denied" if status in {401, 403, 421, 429} else "error"


def _shortened(value: Any) -> Any:
    return f"{value[: _TEXT_MOST - 1]}…" if isinstance(value, str) and len(value) > _TEXT_MOST else value
