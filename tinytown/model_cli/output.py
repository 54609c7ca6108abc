"""A run's output: always drained, kept up to a bound in the round's log, split into lines for its reader."""

from __future__ import annotations

import codecs
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from tinytown.model_cli.readers import Reader
from tinytown.terminal import harmless

CHUNK = 65536
AT_ONCE = 4 * CHUNK
LINE = 16 << 20  # a record may hold a whole file, and the last one the whole answer
DIGESTS_AT_ONCE = 100


class Output:
    """One non-blocking pipe. The parent keeps its write end open.

    So the pipe never reads as ended: not when a model closes its output early (a selector would spin), not
    when a left-over grandchild holds it (the end of the leader decides, never this pipe).
    """

    def __init__(
        self,
        reader: Reader,
        log: Path,
        log_bytes: int,
        on_line: Callable[[str], None] | None = None,
        tee: int | None = None,
    ) -> None:
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)  # the child's end stays blocking: CLIs do not expect EAGAIN
        self._reader = reader
        self._log_name = log.name
        self._log = _open(log)
        self._room = log_bytes
        self._on_line = on_line
        self._tee = tee
        # A person at a terminal gets text; a pipe gets the bytes.
        self._decode = (
            codecs.getincrementaldecoder("utf-8")("replace").decode if tee is not None and os.isatty(tee) else None
        )
        self._line = bytearray()
        self._digests = 0
        self._skipped = 0

    def pump(self, most: int = AT_ONCE) -> int:
        """Take what is there, at most about `most` bytes; returns how many. Never blocks."""
        total = 0
        while total < most:
            try:
                chunk = os.read(self.read_fd, CHUNK)
            except BlockingIOError:
                break
            total += len(chunk)
            self._keep(chunk)
            self._copy(chunk)
            self._split(chunk)
        self._report_skipped()
        return total

    def drain(self, most: int = 64 * CHUNK) -> None:
        """Take all that is there; bounded, because a left-over process may write on."""
        while most > 0 and (taken := self.pump()):
            most -= taken

    def flush(self) -> None:
        """The end: a last line without its end counts."""
        if self._line:
            self._take(bytes(self._line))
            self._line.clear()
        self._report_skipped()

    def close(self) -> None:
        """Let go of all descriptors."""
        for fd in (self.read_fd, self.write_fd, self._log):
            if fd >= 0:
                os.close(fd)
        self.read_fd = self.write_fd = self._log = -1

    def _split(self, chunk: bytes) -> None:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            if self._line:
                self._grow(line)
                self._take(bytes(self._line))
                self._line.clear()
            else:
                self._take(line[:LINE])
        self._grow(rest)

    def _grow(self, part: bytes) -> None:
        self._line += part[: LINE - len(self._line)]

    def _take(self, line: bytes) -> None:
        self._reader.feed(line)
        if self._on_line is None:
            return
        if self._digests >= DIGESTS_AT_ONCE:
            self._skipped += 1
            return
        said = self._reader.digest(line)
        if said:
            self._digests += 1
            self._on_line(said)

    def _report_skipped(self) -> None:
        self._digests = 0
        if self._skipped and self._on_line is not None:
            self._on_line(f"… {self._skipped} more lines in {self._log_name}")
        self._skipped = 0

    def _keep(self, chunk: bytes) -> None:
        if self._log < 0 or self._room < 0:
            return
        kept = chunk[: self._room]
        self._room -= len(kept)
        if len(kept) < len(chunk):
            self._room = -1
            kept += b"\n[tinytown: the output goes on; the limit of this log is reached]\n"
        with contextlib.suppress(OSError):  # a full disk must not end the run
            _write(self._log, kept)

    def _copy(self, chunk: bytes) -> None:
        if self._tee is None:
            return
        try:
            _write(self._tee, harmless(self._decode(chunk)).encode() if self._decode else chunk)
        except OSError:
            self._tee = None


def _open(log: Path) -> int:
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return -1


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
